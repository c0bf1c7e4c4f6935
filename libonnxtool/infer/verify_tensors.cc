// SPDX-License-Identifier: Apache-2.0
// Initializers, tensors and sparse tensors (verifier.h). Sizes against data are the reader's.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/verifier.h"

namespace onnxtool::verifying {
namespace {

constexpr size_t kMaxScanned = 1 << 20;  // bytes looked at for values that should not be there

}  // namespace

void Verifier::check_tensor(const Tensor& t, const std::string& where, GraphId g, NodeId n,
                            ValueId v) {
  if (!t.defined()) {
    add("E302", "tensor has no element type", where, g, n, v);
    return;
  }
  if (!checked_product(t.dims()))
    add("E301", format("shape {} is no size", to_string(t.dims())), where, g, n, v);
  if (t.dtype() == DType::kBool && t.bytes() <= kMaxScanned) {
    const auto* p = reinterpret_cast<const uint8_t*>(t.raw());
    const auto* bad = std::find_if(p, p + t.bytes(), [](uint8_t b) { return b > 1; });
    if (bad != p + t.bytes())
      add("W307", format("element {} of a bool tensor is {}", bad - p, *bad), where, g, n, v);
  }
}

void Verifier::check_sparse(const SparseTensor& s, const std::string& where, GraphId g, NodeId n,
                            ValueId v) {
  auto bad = [&](const char* code, std::string message) {
    add(code, std::move(message), where, g, n, v);
  };
  if (s.dims.empty()) return bad("E303", "sparse tensor has no dimensions");
  for (int64_t d : s.dims)
    if (d <= 0) return bad("E303", format("sparse tensor has shape {}", to_string(s.dims)));
  const Tensor& values = s.values.tensor;
  const Tensor& indices = s.indices.tensor;
  if (values.rank() != 1)
    return bad("E303", format("values of a sparse tensor have shape {}", to_string(values.dims())));
  if (indices.dtype() != DType::kInt64)
    return bad("E303",
               format("indices of a sparse tensor are {}, not int64", dtype_name(indices.dtype())));
  const int64_t rank = static_cast<int64_t>(s.dims.size());
  if (indices.rank() != 1 && indices.rank() != 2)
    return bad("E303",
               format("indices of a sparse tensor have shape {}", to_string(indices.dims())));
  if (indices.dims()[0] != values.size())
    return bad("E303", format("sparse tensor has {} values and {} indices", values.size(),
                              indices.dims()[0]));
  if (indices.rank() == 2 && indices.dims()[1] != rank)
    return bad("E303", format("indices of a sparse tensor have {} columns for {} dimensions",
                              indices.dims()[1], rank));
  const Tensor aligned = indices.to_aligned();
  const auto at = aligned.as<int64_t>();
  const auto count = checked_product(s.dims);
  const size_t width = indices.rank() == 2 ? static_cast<size_t>(rank) : 1;
  for (size_t i = 0; i < static_cast<size_t>(values.size()); ++i) {
    const auto row = at.subspan(i * width, width);
    for (size_t k = 0; k < width; ++k) {
      const bool over =
          width == 1 && indices.rank() == 1 ? (count && row[k] >= *count) : row[k] >= s.dims[k];
      if (row[k] < 0 || over)
        return bad("E304", format("index {} of a sparse tensor of shape {} is {}", i,
                                  to_string(s.dims), row[k]));
    }
    if (i == 0) continue;
    const auto before = at.subspan((i - 1) * width, width);
    if (!std::lexicographical_compare(before.begin(), before.end(), row.begin(), row.end()))
      return bad("E304", format("indices {} and {} of a sparse tensor do not ascend", i - 1, i));
  }
}

void Verifier::check_initializer(GraphId g, ValueId v) {
  const Value& value = model.value(v);
  if (!value.constant) return;
  const std::string where = format("initializer {} of {}", quoted(value.name), place(g));
  const Tensor& t = value.constant->dense.tensor;
  Type type;
  if (value.constant->sparse) {
    check_sparse(*value.constant->sparse, where, g, {}, v);
    type = Type::tensor(value.constant->sparse->values.tensor.dtype(),
                        to_shape(value.constant->sparse->dims));
  } else {
    check_tensor(t, where, g, {}, v);
    type = Type::tensor(t.dtype(), to_shape(t.dims()));
  }
  if (value.declared.known() && type.dtype != DType::kUndefined && !merge(type, value.declared))
    add("E305", format("is {}, declared {}", type.text(), value.declared.text()), where, g, {}, v);
  if (!is_float(type.dtype) || t.size() > 4096 || !t.defined()) return;
  bool scale = false;
  model.for_each_use(v, [&](Use u) {
    const Node& n = model.node(u.node);
    scale = scale || (u.index == 1 && (n.is("QuantizeLinear") || n.is("DequantizeLinear")));
  });
  if (!scale) return;
  const Tensor aligned = t.to_aligned();
  for (int64_t i = 0; i < t.size(); ++i) {
    const double x = aligned.f64_at(i);
    if (std::isfinite(x) && x > 0) continue;
    add("W306", format("element {} of a scale is {}", i, x), where, g, {}, v);
    return;
  }
}

}  // namespace onnxtool::verifying
