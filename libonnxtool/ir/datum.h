// SPDX-License-Identifier: Apache-2.0
// Datum: a value while running: a tensor, a sequence, a map, an optional that may hold one, or a
// sparse tensor. Copies share.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "libonnxtool/ir/attribute.h"
#include "libonnxtool/ir/tensor.h"
#include "libonnxtool/ir/type.h"

namespace onnxtool {

struct Datum;
using Sequence = std::vector<Datum>;
struct MapData {  // ordered as produced; keys int64 or string
  std::variant<std::vector<int64_t>, std::vector<std::string>> keys;
  Tensor values;  // one entry a key along axis 0 ([n] scalars)
};

struct Datum {
  // kTensor, kSparseTensor, kSequence, kMap, kOptional (empty optional: no `tensor`, no `seq`);
  // kUnknown: no value (an output that was not computed, an input left out).
  TypeKind kind = TypeKind::kUnknown;
  Tensor tensor;
  std::shared_ptr<const Sequence> seq;
  std::shared_ptr<const MapData> map;
  std::shared_ptr<const SparseTensor> sparse;
  std::shared_ptr<const Datum> opt;  // kOptional: the element, or null
  DType elem = DType::kUndefined;    // element type of an empty sequence or optional

  Datum() = default;
  Datum(Tensor t) : kind(TypeKind::kTensor), tensor(std::move(t)) {}  // NOLINT
  static Datum sequence(Sequence s, DType elem = DType::kUndefined);
  static Datum optional(std::shared_ptr<const Datum> element, DType elem = DType::kUndefined);
  static Datum of_map(MapData m);
  bool has_value() const { return kind != TypeKind::kUnknown; }
  bool is_tensor() const { return kind == TypeKind::kTensor; }
};

Type type_of(const Datum& d);

}  // namespace onnxtool
