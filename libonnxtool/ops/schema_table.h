// SPDX-License-Identifier: Apache-2.0
// Shape of the generated schema tables; only schema.cc and the generated files include this.
#pragma once
#include <span>

#include "libonnxtool/ops/schema.h"

namespace onnxtool::schema_table {

// Operators of one domain: schemas [first, first + count) of the table.
struct DomainRange {
  const char* domain;
  int newest;
  int first;
  int count;
};

struct Table {
  std::span<const Schema> schemas;  // sorted by (domain, name, since_version)
  std::span<const DomainRange> domains;
};

extern const Table kOnnx;
extern const Table kContrib;

}  // namespace onnxtool::schema_table
