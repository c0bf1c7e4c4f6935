// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ir/datum.h"

namespace onnxtool {

Datum Datum::sequence(Sequence s, DType elem) {
  Datum d;
  d.kind = TypeKind::kSequence;
  d.elem = elem;
  d.seq = std::make_shared<const Sequence>(std::move(s));
  return d;
}

Datum Datum::optional(std::shared_ptr<const Datum> element, DType elem) {
  Datum d;
  d.kind = TypeKind::kOptional;
  d.elem = elem;
  d.opt = std::move(element);
  return d;
}

Datum Datum::of_map(MapData m) {
  Datum d;
  d.kind = TypeKind::kMap;
  d.map = std::make_shared<const MapData>(std::move(m));
  return d;
}

Type type_of(const Datum& d) {
  switch (d.kind) {
    case TypeKind::kTensor: return Type::tensor(d.tensor.dtype(), to_shape(d.tensor.dims()));
    case TypeKind::kSparseTensor: {
      Type t = Type::tensor(d.sparse->values.tensor.dtype(), to_shape(d.sparse->dims));
      t.kind = TypeKind::kSparseTensor;
      return t;
    }
    case TypeKind::kSequence: {
      if (d.seq->empty()) return Type::sequence(Type::tensor(d.elem));
      Type t = type_of(d.seq->front());  // what holds for every element
      for (size_t i = 1; i < d.seq->size(); ++i) t = join(t, type_of((*d.seq)[i]));
      return Type::sequence(std::move(t));
    }
    case TypeKind::kMap:
      return Type::map(d.map->keys.index() == 0 ? DType::kInt64 : DType::kString,
                       Type::tensor(d.map->values.dtype()));
    case TypeKind::kOptional: return Type::optional(d.opt ? type_of(*d.opt) : Type::tensor(d.elem));
    default: return {};
  }
}

}  // namespace onnxtool
