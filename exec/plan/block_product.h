// SPDX-License-Identifier: Apache-2.0
// Products with constant weights that are quantized in blocks along K: com.microsoft.MatMulNBits
// and step_kind::kBlockMatMul (plan/quantize.h), read alike.
#pragma once
#include "exec/plan/quantize.h"
#include "exec/plan/step.h"

namespace onnxtool {

struct BlockProduct {
  static constexpr size_t kNoBias = SIZE_MAX;
  int64_t k = 0, n = 0, block = 0, bits = 4;
  size_t bias = kNoBias;  // input
  bool nbits = false;     // codes are stored column by column
  int64_t groups() const { return (k + block - 1) / block; }
};
// Why it is none that can be planned; nullptr: it is in *f. The types of A and of the result are
// the kernels' affair.
const char* plan_block_product(const StepInfo& s, BlockProduct* f);

// Codes, scales and zero points of the model, by k (or its group) and column.
class BlockWeightsSource {
 public:
  BlockWeightsSource(const StepInfo& s, const BlockProduct& f)
      : f_(f),
        codes_(s.in[1].constant->to_aligned()),
        scale_(floats(*s.in[2].constant)),
        signed_(s.in[1].dtype == DType::kInt4 || s.in[1].dtype == DType::kInt8) {
    if (!s.has(3)) return;
    zero_ = s.in[3].constant->to_aligned();
    if (is_float(zero_.dtype())) float_zero_ = floats(zero_);
  }
  // From 0 on: signed codes are moved up, with their zero points.
  uint8_t code(int64_t k, int64_t n) const {
    if (f_.nbits) {
      const int64_t blob = f_.block * f_.bits / 8;
      return bits(codes_, (n * f_.groups() + k / f_.block) * blob, k % f_.block);
    }
    const uint8_t c = bits(codes_, 0, k * f_.n + n);
    return signed_ ? static_cast<uint8_t>(c ^ half()) : c;
  }
  float scale(int64_t g, int64_t n) const { return scale_[at(g, n)]; }
  float zero(int64_t g, int64_t n) const {
    if (!zero_.defined()) return f_.nbits || signed_ ? static_cast<float>(half()) : 0.0f;
    if (!f_.nbits) {
      const uint8_t z = bits(zero_, 0, g * f_.n + n);
      return static_cast<float>(signed_ ? static_cast<uint8_t>(z ^ half()) : z);
    }
    if (!float_zero_.empty()) return float_zero_[at(g, n)];
    return static_cast<float>(bits(zero_, n * ((f_.groups() * f_.bits + 7) / 8), g));
  }

 private:
  static std::vector<float> floats(const Tensor& t) {
    const std::vector<double> v = t.to_f64();
    return {v.begin(), v.end()};
  }
  size_t at(int64_t g, int64_t n) const {
    return static_cast<size_t>(f_.nbits ? n * f_.groups() + g : g * f_.n + n);
  }
  uint8_t half() const { return static_cast<uint8_t>(1 << (f_.bits - 1)); }
  uint8_t bits(const Tensor& t, int64_t byte, int64_t i) const {
    const auto* p = reinterpret_cast<const uint8_t*>(t.raw()) + byte;
    if (f_.bits == 8) return p[i];
    return static_cast<uint8_t>(p[i / 2] >> (i % 2 * 4) & 15);
  }
  BlockProduct f_;
  Tensor codes_, zero_;
  std::vector<float> scale_, float_zero_;
  bool signed_;
};

}  // namespace onnxtool
