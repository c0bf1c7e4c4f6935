// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/block_product.h"

namespace onnxtool {

const char* plan_block_product(const StepInfo& s, BlockProduct* f) {
  if (!all_plain(s)) return "layouts";
  for (size_t i : {1, 2})
    if (!s.has(i) || !s.in[i].constant) return "weights are not constant";
  const auto is_float = [](const Operand& o) {
    return o.dtype == DType::kFloat || o.dtype == DType::kFloat16 || o.dtype == DType::kBfloat16;
  };
  if (!is_float(s.in[2])) return "the scales' type";
  f->nbits = s.op.view() == "com.microsoft.MatMulNBits";
  if (s.has(3) && !s.in[3].constant) return "zero points are not constant";
  if (f->nbits) {
    f->k = s.attr_int("K", 0);
    f->n = s.attr_int("N", 0);
    f->block = s.attr_int("block_size", 0);
    f->bits = s.attr_int("bits", 4);
    if (f->bits != 4 && f->bits != 8) return "the number of bits";
    if (s.has(4) || s.attr_int("weight_prepacked", 0) != 0) return "groups by index";
    if (f->k < 1 || f->n < 1 || f->block < 16) return "attributes";
    if (s.in[1].dtype != DType::kUint8 ||
        s.in[1].size() != f->n * f->groups() * f->block * f->bits / 8 ||
        s.in[2].size() != f->n * f->groups())
      return "sizes";
    const int64_t zero_bytes = (f->groups() * f->bits + 7) / 8;
    if (s.has(3) && !(is_float(s.in[3]) && s.in[3].size() == f->n * f->groups()) &&
        !(s.in[3].dtype == DType::kUint8 && s.in[3].size() == f->n * zero_bytes))
      return "zero points";
    if (s.has(5)) {
      if (!is_float(s.in[5]) || s.in[5].size() != f->n) return "the bias";
      f->bias = 5;
    }
  } else {
    if (s.in[1].rank() != 2 || s.in[2].rank() != 2) return "the rank";
    f->k = s.in[1].dims[0];
    f->n = s.in[1].dims[1];
    f->block = s.attr_int("block_size", 0);
    f->bits = dtype_bits(s.in[1].dtype);
    if (f->block < 1 || s.in[2].dims != Dims{f->groups(), f->n}) return "sizes";
    if (s.has(3) && s.in[3].dims != s.in[2].dims) return "zero points";
  }
  if (s.in[0].rank() < 1 || s.in[0].dims.back() != f->k || s.out[0].dims.back() != f->n)
    return "shapes";
  return nullptr;
}

}  // namespace onnxtool
