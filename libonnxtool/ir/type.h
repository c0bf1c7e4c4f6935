// SPDX-License-Identifier: Apache-2.0
// Type of a value: tensor, sparse tensor, sequence, map, optional (onnx.proto TypeProto).
// A tensor type has an element type (kUndefined = not known) and a shape that may be absent
// (rank unknown); each dim may be a constant, symbolic or unknown.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/base/dtype.h"
#include "libonnxtool/ir/dim.h"

namespace onnxtool {

using Shape = std::vector<Dim>;

enum class TypeKind : uint8_t {
  kUnknown,
  kTensor,
  kSparseTensor,
  kSequence,
  kMap,
  kOptional,
  kOpaque
};

struct Type {
  TypeKind kind = TypeKind::kUnknown;
  DType dtype = DType::kUndefined;    // tensor element; map key
  std::optional<Shape> shape;         // tensors only
  std::shared_ptr<const Type> inner;  // sequence, map (value), optional

  static Type unknown() { return {}; }
  static Type tensor(DType t) { return {TypeKind::kTensor, t, std::nullopt, nullptr}; }
  static Type tensor(DType t, Shape s) { return {TypeKind::kTensor, t, std::move(s), nullptr}; }
  static Type tensor(DType t, std::optional<Shape> s) {
    return {TypeKind::kTensor, t, std::move(s), nullptr};
  }
  static Type sequence(Type elem);
  static Type optional(Type elem);
  static Type map(DType key, Type value);

  bool is_tensor() const { return kind == TypeKind::kTensor; }
  bool known() const { return kind != TypeKind::kUnknown; }
  bool has_shape() const { return shape.has_value(); }
  bool is_static() const;    // a tensor whose dims are all constants
  std::string text() const;  // "float[1,3,N]", "seq(int64[?])", "float" (rank unknown)
  // Same kind, element type, and shapes equal dim by dim (unknown dims equal unknown dims here).
  bool same(const Type& other) const;
};

std::optional<std::vector<int64_t>> static_dims(const Type& type);
std::string to_string(std::span<const Dim> shape);  // "[1,3,N]"
Shape to_shape(std::span<const int64_t> dims);

// The more precise of both, dim by dim. nullopt: they contradict (kind, element type, rank, or two
// different constants). A constant wins over a symbol, a symbol over unknown, `a` over `b` else.
std::optional<Type> merge(const Type& a, const Type& b);
// What holds for both (joins of If branches): equal dims stay, others become unknown.
Type join(const Type& a, const Type& b);

}  // namespace onnxtool
