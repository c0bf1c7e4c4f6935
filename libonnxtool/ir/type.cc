// SPDX-License-Identifier: Apache-2.0
// Type: construction, text, merge and join (type.h).
#include "libonnxtool/ir/type.h"

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr int kMaxNesting = 64;  // deeper types are cut in text and count as unknown in merges

std::string text_at(const Type& t, int depth) {
  if (depth > kMaxNesting) return "...";
  auto inner = [&] { return t.inner ? text_at(*t.inner, depth + 1) : std::string("?"); };
  switch (t.kind) {
    case TypeKind::kUnknown: return "?";
    case TypeKind::kTensor:
    case TypeKind::kSparseTensor: {
      std::string s(t.dtype == DType::kUndefined ? "?" : dtype_name(t.dtype));
      if (t.shape) s += to_string(*t.shape);
      return t.kind == TypeKind::kTensor ? s : "sparse_tensor(" + s + ")";
    }
    case TypeKind::kSequence: return "seq(" + inner() + ")";
    case TypeKind::kOptional: return "optional(" + inner() + ")";
    case TypeKind::kMap: return "map(" + std::string(dtype_name(t.dtype)) + "," + inner() + ")";
    case TypeKind::kOpaque: return "opaque";
  }
  return "?";
}

bool same_at(const Type& a, const Type& b, int depth) {
  if (a.kind != b.kind || a.dtype != b.dtype || a.shape.has_value() != b.shape.has_value())
    return false;
  if (a.shape) {
    if (a.shape->size() != b.shape->size()) return false;
    for (size_t i = 0; i < a.shape->size(); ++i) {
      Dim x = (*a.shape)[i], y = (*b.shape)[i];
      if (!(x == y) && !(x.is_unknown() && y.is_unknown())) return false;
    }
  }
  if (!a.inner || !b.inner) return !a.inner && !b.inner;
  return a.inner == b.inner || (depth < kMaxNesting && same_at(*a.inner, *b.inner, depth + 1));
}

std::optional<Type> merge_at(const Type& a, const Type& b, int depth) {
  if (!a.known()) return b;
  if (!b.known() || depth > kMaxNesting) return a;
  if (a.kind != b.kind) return std::nullopt;
  if (a.dtype != b.dtype && a.dtype != DType::kUndefined && b.dtype != DType::kUndefined)
    return std::nullopt;
  Type r = a;
  if (r.dtype == DType::kUndefined) r.dtype = b.dtype;
  if (a.shape && b.shape) {
    if (a.shape->size() != b.shape->size()) return std::nullopt;
    for (size_t i = 0; i < r.shape->size(); ++i) {
      Dim& x = (*r.shape)[i];
      Dim y = (*b.shape)[i];
      if (x.is_const() && y.is_const() && x.value() != y.value()) return std::nullopt;
      if (x.is_unknown() || (y.is_const() && !x.is_const())) x = y;
    }
  } else if (b.shape) {
    r.shape = b.shape;
  }
  if (a.inner && b.inner && a.inner != b.inner) {
    auto m = merge_at(*a.inner, *b.inner, depth + 1);
    if (!m) return std::nullopt;
    r.inner = std::make_shared<const Type>(std::move(*m));
  } else if (b.inner) {
    r.inner = b.inner;
  }
  return r;
}

Type join_at(const Type& a, const Type& b, int depth) {
  if (a.kind != b.kind || a.dtype != b.dtype || depth > kMaxNesting) {
    if (a.kind == b.kind && a.is_tensor()) return Type::tensor(DType::kUndefined);
    return {};
  }
  Type r = a;
  if (!a.shape || !b.shape || a.shape->size() != b.shape->size()) {
    r.shape.reset();
  } else {
    for (size_t i = 0; i < r.shape->size(); ++i)
      if (!((*a.shape)[i] == (*b.shape)[i])) (*r.shape)[i] = Dim();
  }
  if (a.inner && b.inner && a.inner != b.inner)
    r.inner = std::make_shared<const Type>(join_at(*a.inner, *b.inner, depth + 1));
  else if (!b.inner)
    r.inner.reset();
  return r;
}

Type nest(TypeKind kind, DType key, Type inner) {
  Type t;
  t.kind = kind;
  t.dtype = key;
  t.inner = std::make_shared<const Type>(std::move(inner));
  return t;
}

}  // namespace

Type Type::sequence(Type elem) {
  return nest(TypeKind::kSequence, DType::kUndefined, std::move(elem));
}
Type Type::optional(Type elem) {
  return nest(TypeKind::kOptional, DType::kUndefined, std::move(elem));
}
Type Type::map(DType key, Type value) { return nest(TypeKind::kMap, key, std::move(value)); }

bool Type::is_static() const {
  if (!is_tensor() || !shape) return false;
  for (Dim d : *shape)
    if (!d.is_const()) return false;
  return true;
}

std::string Type::text() const { return text_at(*this, 0); }
bool Type::same(const Type& other) const { return same_at(*this, other, 0); }

std::optional<std::vector<int64_t>> static_dims(const Type& type) {
  if (!type.is_static()) return std::nullopt;
  std::vector<int64_t> dims;
  dims.reserve(type.shape->size());
  for (Dim d : *type.shape) dims.push_back(d.value());
  return dims;
}

std::string to_string(std::span<const Dim> shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) s += ",";
    s += escape(shape[i].text());
  }
  return s + "]";
}

Shape to_shape(std::span<const int64_t> dims) { return Shape(dims.begin(), dims.end()); }

std::optional<Type> merge(const Type& a, const Type& b) { return merge_at(a, b, 0); }
Type join(const Type& a, const Type& b) { return join_at(a, b, 0); }

}  // namespace onnxtool
