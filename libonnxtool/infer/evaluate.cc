// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/infer/evaluate.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/interpreter.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {

Result<std::vector<Datum>> evaluate_node(const Model& model, const Node& node,
                                         std::span<const Datum> inputs, const EvalBudget& budget,
                                         const OuterValues& outer) {
  InterpreterOptions options;
  options.memory_limit = budget.bytes;
  options.max_steps = budget.steps;
  options.seed = budget.seed;
  return Interpreter(model, std::move(options)).run_node(node, inputs, outer);
}

int64_t datum_bytes(const Datum& d) {
  auto tensor = [](const Tensor& t) {
    if (!t.is_string()) return static_cast<int64_t>(t.bytes());
    int64_t n = 0;
    for (const std::string& s : t.string_data()) n += static_cast<int64_t>(sizeof(s) + s.size());
    return n;
  };
  switch (d.kind) {
    case TypeKind::kTensor: return tensor(d.tensor);
    case TypeKind::kSparseTensor:
      return tensor(d.sparse->values.tensor) + tensor(d.sparse->indices.tensor);
    case TypeKind::kSequence: {
      int64_t n = 0;
      for (const Datum& e : *d.seq) n += static_cast<int64_t>(sizeof(Datum)) + datum_bytes(e);
      return n;
    }
    case TypeKind::kMap: return 2 * tensor(d.map->values);
    case TypeKind::kOptional: return d.opt ? datum_bytes(*d.opt) : 0;
    default: return 0;
  }
}

Result<Tensor> densify(const SparseTensor& s, const std::function<Status(int64_t)>& reserve) {
  const Tensor values = s.values.tensor.to_aligned(), indices = s.indices.tensor.to_aligned();
  const auto count = checked_product(s.dims);
  const int64_t each = values.is_string() ? int64_t{sizeof(std::string)} : 0;
  const auto bytes = !count ? std::nullopt
                     : each ? checked_mul(*count, each)
                            : raw_bytes(values.dtype(), *count);
  if (!bytes)
    return unsupported(format("a sparse tensor of shape {} is too large", to_string(s.dims)));
  TRY(reserve(*bytes));
  TRY_ASSIGN(Tensor dense, Tensor::allocate(values.dtype(), s.dims));
  const int64_t rank = static_cast<int64_t>(s.dims.size());
  const bool linear = indices.rank() == 1;
  if (indices.dtype() != DType::kInt64 || indices.size() != values.size() * (linear ? 1 : rank))
    return invalid("indices of a sparse tensor do not fit its values");
  const std::span<const int64_t> at = indices.as<int64_t>();
  const std::vector<int64_t> strides = row_major_strides(s.dims);
  for (int64_t i = 0; i < values.size(); ++i) {
    int64_t offset = 0;
    bool inside = true;
    if (linear) {
      offset = at[static_cast<size_t>(i)];
      inside = offset >= 0 && offset < *count;
    } else {
      for (size_t k = 0; k < s.dims.size(); ++k) {
        const int64_t x = at[static_cast<size_t>(i * rank) + k];
        inside = inside && x >= 0 && x < s.dims[k];
        if (inside) offset += x * strides[k];
      }
    }
    if (!inside)
      return invalid(format("index {} of a sparse tensor is outside of {}", i, to_string(s.dims)));
    copy_element(dense, offset, values, i);
  }
  return dense;
}

}  // namespace onnxtool
