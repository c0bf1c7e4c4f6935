// SPDX-License-Identifier: Apache-2.0
// LSTM, GRU and RNN with their default activations: the input product for all steps at once, then
// per direction the recurrence on packed weights. Directions run side by side.
#include <cmath>
#include <cstring>

#include "exec/cpu/gemm.h"
#include "exec/cpu/simd/convert.h"
#include "exec/plan/recurrent.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

void to_grid(float* v, int64_t n) {
  float low, high, scale;
  uint8_t zero;
  simd::min_max_f32(v, n, &low, &high);
  simd::dynamic_quant_params(low, high, &scale, &zero);
  const auto z = static_cast<float>(zero);
  for (int64_t i = 0; i < n; ++i) {
    const float q = std::nearbyint(v[i] / scale) + z;
    v[i] = (std::min(std::max(q, 0.0f), 255.0f) - z) * scale;
  }
}

const char* accept(const StepInfo& s) {
  RnnForm r;
  return plan_rnn(s, &r);
}

using Packed = std::vector<std::shared_ptr<const std::byte>>;  // one a direction

Result<Packed> pack(const StepInfo& s, size_t index, int64_t k, int64_t n0, int64_t n1,
                    int64_t width, PrepareContext& ctx) {
  Packed result;
  const Tensor& source = *s.in[index].constant;
  int64_t n = n1 - n0;
  for (int64_t d = 0; d < s.in[index].dims[0]; ++d) {
    auto fill = [&](std::byte* to) -> Status {
      if (is_dynamic_lstm(s)) {
        const std::vector<float> b = dequantized_rnn(s, index, d, k, width);
        simd::pack_b_f32(b.data(), width, false, k, n, reinterpret_cast<float*>(to), 0,
                         simd::gemm_panels(n, simd::gemm_nr()));
        return ok();
      }
      Tensor aligned = source.to_aligned();
      const auto* b = reinterpret_cast<const float*>(aligned.raw()) + (d * width + n0) * k;
      simd::pack_b_f32(b, k, true, k, n, reinterpret_cast<float*>(to), 0,
                       simd::gemm_panels(n, simd::gemm_nr()));
      return ok();
    };
    TRY_ASSIGN(auto p, ctx.packs.get(source, format("rnn:{}:{}:{}:{}", d, k, n0, n1),
                                     simd::packed_b_floats(k, n) * 4, fill));
    result.push_back(std::move(p));
  }
  return result;
}

const float* floats(const std::shared_ptr<const std::byte>& p) {
  return reinterpret_cast<const float*>(p.get());
}

struct State {
  RnnForm r;
  Packed w, rec, rec_h;     // rec_h: GRU's third gate where it is apart
  std::vector<float> bias;  // [directions, width], both biases where they may be added
  std::vector<float> late;  // GRU, linear_before_reset: recurrent bias of the third gate
  int64_t product_floats = 0, per_direction = 0, x_floats = 0;  // x_floats: of X on its grid
  bool grid = false;
  bool wants_y = false, wants_h = false, wants_c = false, has_h0 = false, has_c0 = false;
};

// One direction, all steps. gx: [steps * batch, width]; work: gates [batch, width], then spare.
void recur(const State& st, const RunArgs& args, int64_t d, const float* gx, float* work) {
  const RnnForm& r = st.r;
  const int64_t H = r.hidden, B = r.batch, W = r.width();
  float* g = work;
  float* h = g + B * W;
  float* c = h + B * H;
  float* t = c + B * H;  // [batch, H]
  auto init = [&](float* to, bool given, size_t index) {
    if (given)
      std::memcpy(to, in<float>(args, index) + d * B * H, static_cast<size_t>(B * H) * 4);
    else
      std::memset(to, 0, static_cast<size_t>(B * H) * 4);
  };
  init(h, st.has_h0, RnnForm::kH0);
  init(c, st.has_c0, RnnForm::kC0);
  bool backward = d == 1 || r.first_backward;
  const float* rec = floats(st.rec[static_cast<size_t>(d)]);
  for (int64_t i = 0; i < r.steps; ++i) {
    int64_t step = backward ? r.steps - 1 - i : i;
    const float* x = gx + step * B * W;
    simd::Epilogue e;
    e.residual = x;
    e.ldr = W;
    e.residual_use = simd::Residual::kAddBeforeAct;
    if (r.cell == RnnForm::Cell::kLstm) {
      if (st.grid) {
        std::memcpy(t, h, static_cast<size_t>(B * H) * 4);
        to_grid(t, B * H);
      }
      parallel_gemm(st.grid ? t : h, H, rec, g, W, B, H, W, e);
      for (int64_t b = 0; b < B; ++b) {
        float* gb = g + b * W;
        float *cb = c + b * H, *hb = h + b * H;
        simd::unary_f32(simd::Unary::kSigmoid, gb, gb, 3 * H);  // i, o, f
        simd::unary_f32(simd::Unary::kTanh, gb + 3 * H, gb + 3 * H, H);
        for (int64_t j = 0; j < H; ++j) cb[j] = gb[2 * H + j] * cb[j] + gb[j] * gb[3 * H + j];
        simd::unary_f32(simd::Unary::kTanh, cb, hb, H);
        for (int64_t j = 0; j < H; ++j) hb[j] *= gb[H + j];
      }
    } else if (r.cell == RnnForm::Cell::kGru) {
      // z and r; the third gate apart.
      parallel_gemm(h, H, rec, g, W, B, H, 2 * H, e);
      for (int64_t b = 0; b < B; ++b)
        simd::unary_f32(simd::Unary::kSigmoid, g + b * W, g + b * W, 2 * H);
      const float* third = floats(st.rec_h[static_cast<size_t>(d)]);
      simd::Epilogue e3;
      if (r.linear_before_reset) {
        e3.bias_n = st.late.data() + d * H;
        parallel_gemm(h, H, third, t, H, B, H, H, e3);
        for (int64_t b = 0; b < B; ++b)
          for (int64_t j = 0; j < H; ++j)
            t[b * H + j] = x[b * W + 2 * H + j] + g[b * W + H + j] * t[b * H + j];
      } else {
        for (int64_t b = 0; b < B; ++b)
          for (int64_t j = 0; j < H; ++j) c[b * H + j] = g[b * W + H + j] * h[b * H + j];
        e3.residual = x + 2 * H;
        e3.ldr = W;
        e3.residual_use = simd::Residual::kAddBeforeAct;
        parallel_gemm(c, H, third, t, H, B, H, H, e3);
      }
      simd::unary_f32(simd::Unary::kTanh, t, t, B * H);
      for (int64_t b = 0; b < B; ++b)
        for (int64_t j = 0; j < H; ++j) {
          float z = g[b * W + j];
          h[b * H + j] = (1 - z) * t[b * H + j] + z * h[b * H + j];
        }
    } else {
      e.act = simd::Unary::kTanh;
      parallel_gemm(h, H, rec, t, H, B, H, H, e);
      std::swap(h, t);
    }
    if (st.wants_y)
      std::memcpy(out<float>(args, 0) + (step * r.directions + d) * B * H, h,
                  static_cast<size_t>(B * H) * 4);
  }
  if (st.wants_h) std::memcpy(out<float>(args, 1) + d * B * H, h, static_cast<size_t>(B * H) * 4);
  if (st.wants_c) std::memcpy(out<float>(args, 2) + d * B * H, c, static_cast<size_t>(B * H) * 4);
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  auto st = std::make_shared<State>();
  RnnForm r;
  if (const char* why = plan_rnn(s, &r)) return unsupported(why);
  st->r = r;
  const int64_t H = r.hidden, W = r.width(), D = r.directions;
  TRY_ASSIGN(st->w, pack(s, RnnForm::kW, r.input, 0, W, W, ctx));
  bool gru = r.cell == RnnForm::Cell::kGru;
  TRY_ASSIGN(st->rec, pack(s, RnnForm::kR, H, 0, gru ? 2 * H : W, W, ctx));
  if (gru) {
    TRY_ASSIGN(st->rec_h, pack(s, RnnForm::kR, H, 2 * H, W, W, ctx));
  }
  RnnBias bias = rnn_bias(s, r);
  st->bias = std::move(bias.sum);
  st->late = std::move(bias.late);
  auto wants = [&](size_t i) { return i < s.out.size() && s.out[i].present(); };
  st->wants_y = wants(0);
  st->wants_h = wants(1);
  st->wants_c = wants(2);
  st->has_h0 = s.has(RnnForm::kH0);
  st->has_c0 = s.has(RnnForm::kC0);
  st->grid = is_dynamic_lstm(s);
  st->x_floats = st->grid ? r.steps * r.batch * r.input : 0;
  st->product_floats = (r.steps * r.batch * W + 15) / 16 * 16;
  st->per_direction = (r.batch * (W + 3 * H) + 15) / 16 * 16;
  auto p = prepared([st](const RunArgs& a) {
    const RnnForm& q = st->r;
    auto* products = reinterpret_cast<float*>(a.scratch);
    float* work = products + q.directions * st->product_floats;
    const float* x = in<float>(a, RnnForm::kX);
    if (st->grid) {
      float* copy = work + q.directions * st->per_direction;
      std::memcpy(copy, x, static_cast<size_t>(st->x_floats) * 4);
      to_grid(copy, st->x_floats);
      x = copy;
    }
    for (int64_t d = 0; d < q.directions; ++d) {
      simd::Epilogue e;
      e.bias_n = st->bias.data() + d * q.width();
      parallel_gemm(x, q.input, floats(st->w[static_cast<size_t>(d)]),
                    products + d * st->product_floats, q.width(), q.steps * q.batch, q.input,
                    q.width(), e);
    }
    auto direction = [&](int64_t d) {
      recur(*st, a, d, products + d * st->product_floats, work + d * st->per_direction);
    };
    if (q.directions == 1) return direction(0);
    parallel_for(q.directions, 1, [&](int64_t begin, int64_t end) {
      for (int64_t d = begin; d < end; ++d) direction(d);
    });
  });
  p->scratch_bytes = 4 * (D * (st->product_floats + st->per_direction) + st->x_floats);
  p->unread_inputs = (uint64_t{1} << RnnForm::kW) | (uint64_t{1} << RnnForm::kR) |
                     (uint64_t{1} << RnnForm::kB) | (uint64_t{1} << RnnForm::kLengths);
  if (st->grid) p->unread_inputs |= uint64_t{15} << RnnForm::kWScale;
  return p;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(rnn, {"rnn", "LSTM GRU RNN com.microsoft.DynamicQuantizeLSTM", 20, cpu::accept,
                           cpu::prepare})
