// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/schema.h"

#include <algorithm>
#include <functional>
#include <unordered_map>

#include "libonnxtool/ops/schema_table.h"

namespace onnxtool {
namespace {

using schema_table::kContrib;
using schema_table::kOnnx;
using schema_table::Table;

struct OpName {
  std::string_view domain, name;
  bool operator==(const OpName&) const = default;
};
struct HashOpName {
  size_t operator()(const OpName& op) const {
    const std::hash<std::string_view> h;
    return h(op.name) + 31 * h(op.domain);
  }
};

// All versions of each operator: those of the standard where both tables know it.
using Versions = std::unordered_map<OpName, std::span<const Schema>, HashOpName>;

Versions make_versions() {
  Versions all;
  for (const Table* table : {&kOnnx, &kContrib})
    for (const auto& range : table->domains) {
      const auto schemas = table->schemas.subspan(static_cast<size_t>(range.first),
                                                  static_cast<size_t>(range.count));
      for (size_t i = 0, end = 0; i < schemas.size(); i = end) {
        const std::string_view name = schemas[i].name;
        while (end < schemas.size() && name == schemas[end].name) ++end;
        all.try_emplace({range.domain, name}, schemas.subspan(i, end - i));
      }
    }
  return all;
}

std::span<const Schema> versions_of(std::string_view domain, std::string_view name) {
  static const Versions kVersions = make_versions();
  const auto it = kVersions.find({canonical_domain(domain), name});
  return it == kVersions.end() ? std::span<const Schema>() : it->second;
}

const ParamSpec* formal(std::span<const ParamSpec> params, size_t i) {
  if (i < params.size()) return &params[i];
  bool repeats = !params.empty() && params.back().option == ParamOption::kVariadic;
  return repeats ? &params.back() : nullptr;
}

}  // namespace

const ParamSpec* Schema::input(size_t i) const { return formal(inputs, i); }
const ParamSpec* Schema::output(size_t i) const { return formal(outputs, i); }

const AttrSpec* Schema::attr(std::string_view attr_name) const {
  for (const auto& a : attrs)
    if (attr_name == a.name) return &a;
  return nullptr;
}

const TypeConstraint* Schema::constraint(std::string_view constraint_name) const {
  for (const auto& t : types)
    if (constraint_name == t.name) return &t;
  return nullptr;
}

TypeSet Schema::types_of(const ParamSpec& param) const {
  const TypeConstraint* c = constraint(param.type);
  return c != nullptr ? c->types : parse_type_set(param.type);
}

std::string_view canonical_domain(std::string_view domain) {
  return domain == "ai.onnx" ? std::string_view() : domain;
}

const Schema* find_schema(std::string_view domain, std::string_view name, int64_t opset) {
  const auto versions = versions_of(domain, name);
  for (size_t i = versions.size(); i-- > 0;)
    if (versions[i].since_version <= opset) return &versions[i];
  return nullptr;
}

std::vector<const Schema*> schema_versions(std::string_view domain, std::string_view name) {
  std::vector<const Schema*> found;
  for (const Schema& s : versions_of(domain, name)) found.push_back(&s);
  return found;
}

std::span<const Schema> official_schemas() { return kOnnx.schemas; }
std::span<const Schema> contrib_schemas() { return kContrib.schemas; }

bool is_official(const Schema& schema) {
  std::less<const Schema*> before;
  const Schema* begin = kOnnx.schemas.data();
  return !before(&schema, begin) && before(&schema, begin + kOnnx.schemas.size());
}

int64_t newest_opset(std::string_view domain) {
  domain = canonical_domain(domain);
  for (const Table* table : {&kOnnx, &kContrib})
    for (const auto& range : table->domains)
      if (domain == range.domain) return range.newest;
  return 0;
}

}  // namespace onnxtool
