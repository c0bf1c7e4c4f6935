// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/data.h"

#include "libonnxtool/onnx/tensor_proto.h"

namespace onnxtool {
namespace {

constexpr int kMaxDepth = 16;

Result<Datum> read(ReadContext& ctx, const std::byte* data, size_t size, TypeKind kind,
                   const Type* type, std::string* name, int depth);

Result<Datum> read_sequence(ReadContext& ctx, const std::byte* data, size_t size, const Type* type,
                            std::string* name, int depth) {
  Sequence items;
  int64_t elem_type = 0;
  TRY(for_each_field(data, size, ctx.base, [&](const WireField& f) -> Status {
    if (f.number == 2 && f.type == WireType::kVarint) elem_type = f.i64();
    if (f.type != WireType::kBytes) return ok();
    if (f.number == 1 && name != nullptr) *name = f.str();
    static constexpr TypeKind kKinds[] = {TypeKind::kTensor, TypeKind::kSparseTensor,
                                          TypeKind::kSequence, TypeKind::kMap, TypeKind::kOptional};
    if (f.number < 3 || f.number > 7) return ok();
    TRY_ASSIGN(items.emplace_back(),
               read(ctx, f.data, f.size, kKinds[f.number - 3], nullptr, nullptr, depth + 1));
    return ok();
  }));
  DType elem = type && type->inner ? type->inner->dtype : DType::kUndefined;
  if (!items.empty() && items[0].is_tensor()) elem = items[0].tensor.dtype();
  return Datum::sequence(std::move(items), elem);
}

Result<Datum> read_map(ReadContext& ctx, const std::byte* data, size_t size, std::string* name,
                       int depth) {
  std::vector<int64_t> keys;
  std::vector<std::string> string_keys;
  Datum values;
  TRY(for_each_field(data, size, ctx.base, [&](const WireField& f) -> Status {
    if (f.number == 1 && f.type == WireType::kBytes && name != nullptr) *name = f.str();
    if (f.number == 3)
      return packed_varints(f, ctx.base,
                            [&](uint64_t v) { keys.push_back(static_cast<int64_t>(v)); });
    if (f.number == 4 && f.type == WireType::kBytes) string_keys.push_back(f.str());
    if (f.number == 5 && f.type == WireType::kBytes) {
      TRY_ASSIGN(values, read_sequence(ctx, f.data, f.size, nullptr, nullptr, depth + 1));
    }
    return ok();
  }));
  MapData m;
  const size_t n = string_keys.empty() ? keys.size() : string_keys.size();
  if (!values.seq || values.seq->size() != n)
    return invalid("map with as many values as keys expected");
  std::vector<double> flat;
  DType t = DType::kFloat;
  for (const Datum& d : *values.seq) {
    if (!d.is_tensor() || d.tensor.size() != 1 || d.tensor.is_string())
      return unsupported("maps of numbers only are supported");
    t = d.tensor.dtype();
    flat.push_back(d.tensor.f64_at(0));
  }
  if (string_keys.empty())
    m.keys = std::move(keys);
  else
    m.keys = std::move(string_keys);
  TRY_ASSIGN(m.values, Tensor::from_f64(t, {static_cast<int64_t>(n)}, flat));
  return Datum::of_map(std::move(m));
}

Result<Datum> read(ReadContext& ctx, const std::byte* data, size_t size, TypeKind kind,
                   const Type* type, std::string* name, int depth) {
  if (depth > kMaxDepth) return unsupported("data nested too deep");
  switch (kind) {
    case TypeKind::kSequence: return read_sequence(ctx, data, size, type, name, depth);
    case TypeKind::kMap: return read_map(ctx, data, size, name, depth);
    case TypeKind::kSparseTensor: {
      TRY_ASSIGN(SparseTensor s, read_sparse_tensor(ctx, data, size));
      Datum d;
      d.kind = TypeKind::kSparseTensor;
      if (name != nullptr) *name = s.values.name;
      d.sparse = std::make_shared<const SparseTensor>(std::move(s));
      return d;
    }
    case TypeKind::kOptional: {
      std::shared_ptr<const Datum> element;
      TRY(for_each_field(data, size, ctx.base, [&](const WireField& f) -> Status {
        if (f.type != WireType::kBytes) return ok();
        if (f.number == 1 && name != nullptr) *name = f.str();
        static constexpr TypeKind kKinds[] = {TypeKind::kTensor, TypeKind::kSparseTensor,
                                              TypeKind::kSequence, TypeKind::kMap,
                                              TypeKind::kOptional};
        if (f.number < 3 || f.number > 7) return ok();
        TRY_ASSIGN(Datum d,
                   read(ctx, f.data, f.size, kKinds[f.number - 3], nullptr, nullptr, depth + 1));
        element = std::make_shared<const Datum>(std::move(d));
        return ok();
      }));
      return Datum::optional(std::move(element));
    }
    default: {
      TRY_ASSIGN(TensorConst t, read_tensor(ctx, data, size));
      if (name != nullptr) *name = t.name;
      return Datum(t.tensor.to_aligned());
    }
  }
}

Result<Rope> write(const Datum& d, const std::string& name) {
  Rope r;
  const auto field_of = [](const Datum& e) -> uint32_t {
    switch (e.kind) {
      case TypeKind::kSparseTensor: return 4;
      case TypeKind::kSequence: return 5;
      case TypeKind::kMap: return 6;
      case TypeKind::kOptional: return 7;
      default: return 3;
    }
  };
  // elem_type: 1 tensor, 2 sparse, 3 sequence, 4 map, 5 optional (onnx-data.proto DataType)
  const auto element = [&](const Datum& e) -> Status {
    TRY_ASSIGN(Rope w, write(e, ""));
    r.message(field_of(e), std::move(w));
    return ok();
  };
  switch (d.kind) {
    case TypeKind::kTensor: {
      TensorConst t;
      t.tensor = d.tensor;
      return write_tensor(t, name);
    }
    case TypeKind::kSparseTensor: return write_sparse_tensor(*d.sparse, name);
    case TypeKind::kSequence:
      if (!name.empty()) r.bytes(1, name);
      r.varint(2, d.seq->empty() ? 1 : field_of(d.seq->front()) - 2);
      for (const Datum& e : *d.seq) TRY(element(e));
      return r;
    case TypeKind::kOptional:
      if (!name.empty()) r.bytes(1, name);
      r.varint(2, d.opt ? field_of(*d.opt) - 2 : 0);
      if (d.opt) TRY(element(*d.opt));
      return r;
    case TypeKind::kMap: {
      if (!name.empty()) r.bytes(1, name);
      const bool ints = d.map->keys.index() == 0;
      r.varint(2, static_cast<uint64_t>(ints ? DType::kInt64 : DType::kString));
      if (ints) {
        for (int64_t k : std::get<0>(d.map->keys)) r.varint(3, static_cast<uint64_t>(k));
      } else {
        for (const std::string& k : std::get<1>(d.map->keys)) r.bytes(4, k);
      }
      Rope values;
      values.varint(2, 1);
      for (int64_t i = 0; i < d.map->values.size(); ++i) {
        const double v = d.map->values.f64_at(i);
        TRY_ASSIGN(Tensor one, Tensor::from_f64(d.map->values.dtype(), {}, std::span(&v, 1)));
        TensorConst t;
        t.tensor = std::move(one);
        values.message(3, write_tensor(t, ""));
      }
      r.message(5, std::move(values));
      return r;
    }
    default: return internal_error("a value without a kind cannot be written");
  }
}

}  // namespace

Result<Datum> read_datum(const Bytes& bytes, const Type& type, std::string* name) {
  ReadContext ctx(bytes.data, bytes.owner);
  return read(ctx, bytes.data, bytes.size, type.known() ? type.kind : TypeKind::kTensor, &type,
              name, 0);
}

Result<std::string> write_datum(const Datum& d, const std::string& name) {
  TRY_ASSIGN(Rope r, write(d, name));
  return r.flat();
}

}  // namespace onnxtool
