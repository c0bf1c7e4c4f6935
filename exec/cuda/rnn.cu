// SPDX-License-Identifier: Apache-2.0
// LSTM, GRU and RNN (plan/recurrent.h): the input product for all steps at once by the library,
// then a kernel a step for all directions, in which a warp makes the gates of one hidden element.
// The steps are enqueued one after the other: a recording of them costs little.
#include "exec/cuda/blas.h"
#include "exec/cuda/warp.h"
#include "exec/plan/recurrent.h"

namespace onnxtool {
namespace cuda {
namespace {

using Cell = RnnForm::Cell;

// Of all directions: products [steps, batch, width], states [batch, hidden], each after the other.
struct State {
  float *products, *h, *next, *c, *given;  // given: h as the products take it
  float *y, *y_h, *y_c;
  const float *h0, *c0;
};
struct Weights {
  const float *recurrent, *late;  // [directions, width, hidden]; [directions, hidden]
};

__global__ void begin(RnnForm r, State s) {
  GRID_LOOP(i, r.directions * r.batch * r.hidden) {
    s.h[i] = s.h0 ? s.h0[i] : 0;
    s.c[i] = s.c0 ? s.c0[i] : 0;
  }
}

// n values of each block's part rounded to the 8-bit grid of their own range with zero.
__global__ void to_grid(int64_t n, const float* from, float* to) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ float shared[kWarps];
  from += blockIdx.x * n;
  to += blockIdx.x * n;
  float low = 0, high = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    low = fminf(low, from[i]);
    high = fmaxf(high, from[i]);
  }
  high = over_block<kWarps>(high, shared, Most());
  low = -over_block<kWarps>(-low, shared, Most());
  float scale = (high - low) / 255.0f;
  if (!(scale > 0)) scale = 1;
  const float zero = fminf(fmaxf(rintf(-low / scale), 0.0f), 255.0f);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const float q = rintf(from[i] / scale) + zero;
    to[i] = (fminf(fmaxf(q, 0.0f), 255.0f) - zero) * scale;
  }
}

// Step i of all directions; reads s.h (s.given in products), writes s.next. GRU without
// linear_before_reset takes two passes: `reset` leaves r * h in s.given.
__global__ void step(RnnForm r, State s, Weights w, int64_t i, bool reset) {
  const int64_t H = r.hidden, W = r.gates * H, warps = int64_t{gridDim.x} * kThreads / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
       at < r.directions * r.batch * H; at += warps) {
    const int64_t j = at % H, b = at / H % r.batch, d = at / H / r.batch;
    const bool backward = d == 1 || r.first_backward;
    const int64_t now = backward ? r.steps - 1 - i : i;
    const float* x = s.products + ((d * r.steps + now) * r.batch + b) * W;
    const auto product = [&](int64_t gate, const float* h) {
      const float* row = w.recurrent + (d * W + gate * H + j) * H;
      float sum = 0;
      for (int64_t k = lane; k < H; k += kWarp) sum += row[k] * h[k];
      return warp_sum(sum);
    };
    const float *h = s.h + (d * r.batch + b) * H, *given = s.given + (d * r.batch + b) * H;
    float out = 0;
    if (r.cell == Cell::kLstm) {
      const float in = sigmoid(x[j] + product(0, given));
      const float shown = sigmoid(x[H + j] + product(1, given));
      const float kept = sigmoid(x[2 * H + j] + product(2, given));
      const float c = kept * s.c[at] + in * tanhf(x[3 * H + j] + product(3, given));
      out = shown * tanhf(c);
      __syncwarp();
      if (lane == 0) s.c[at] = c;
    } else if (r.cell == Cell::kGru) {
      const float z = sigmoid(x[j] + product(0, h));
      float third = x[2 * H + j];
      if (r.linear_before_reset) {
        const float open = sigmoid(x[H + j] + product(1, h));
        third += open * (product(2, h) + w.late[d * H + j]);
      } else if (reset) {
        const float open = sigmoid(x[H + j] + product(1, h));
        if (lane == 0) s.given[at] = open * h[j];
        continue;
      } else {
        third += product(2, given);
      }
      out = (1 - z) * tanhf(third) + z * h[j];
    } else {
      out = tanhf(x[j] + product(0, h));
    }
    if (lane != 0) continue;
    s.next[at] = out;
    if (s.y) s.y[((now * r.directions + d) * r.batch + b) * H + j] = out;
    if (i + 1 < r.steps) continue;
    if (s.y_h) s.y_h[at] = out;
    if (s.y_c) s.y_c[at] = s.c[at];
  }
}

struct Rnn {
  RnnForm form;
  bool grid = false;
  std::shared_ptr<const std::byte> input, recurrent, late, bias;
  std::shared_ptr<const Blas> product;
  bool wants[3] = {}, has_h0 = false, has_c0 = false;
  int64_t workspace = 0, x_floats = 0;
  int64_t products() const { return form.directions * form.steps * form.batch * form.width(); }
  int64_t states() const { return form.directions * form.batch * form.hidden; }
};

Status enqueue(const Rnn& n, const RunArgs& a) {
  const RnnForm& r = n.form;
  State s{};
  s.products = reinterpret_cast<float*>(a.scratch + n.workspace);
  float* at = s.products + n.products();
  float* states[4];  // h, next, c, given
  for (float*& p : states) {
    p = at;
    at += n.states();
  }
  s.h = states[0], s.next = states[1], s.c = states[2], s.given = states[3];
  const float* x = in<float>(a, RnnForm::kX);
  if (n.grid) {
    TRY(launch(to_grid, 1, kThreads, a, n.x_floats, x, at));
    x = at;
  }
  if (n.wants[0]) s.y = out<float>(a, 0);
  if (n.wants[1]) s.y_h = out<float>(a, 1);
  if (n.wants[2]) s.y_c = out<float>(a, 2);
  if (n.has_h0) s.h0 = in<float>(a, RnnForm::kH0);
  if (n.has_c0) s.c0 = in<float>(a, RnnForm::kC0);
  const auto floats = [](const std::shared_ptr<const std::byte>& p) {
    return reinterpret_cast<const float*>(p.get());
  };
  for (int64_t d = 0; d < r.directions; ++d)
    TRY(n.product->run(a, x, floats(n.input) + d * r.width() * r.input,
                       s.products + d * r.steps * r.batch * r.width(),
                       floats(n.bias) + d * r.width(), a.scratch));
  TRY(launch(begin, blocks_for(n.states()), kThreads, a, r, s));
  const Weights w = {floats(n.recurrent), floats(n.late)};
  const bool two = r.cell == Cell::kGru && !r.linear_before_reset;
  const int64_t blocks = blocks_for(n.states() * kWarp);
  float* const given = s.given;
  for (int64_t i = 0; i < r.steps; ++i) {
    s.given = given;
    if (n.grid)
      TRY(launch(to_grid, r.directions, kThreads, a, r.batch * r.hidden, s.h, s.given));
    else if (!two)
      s.given = s.h;
    if (two) TRY(launch(step, blocks, kThreads, a, r, s, w, i, true));
    TRY(launch(step, blocks, kThreads, a, r, s, w, i, false));
    std::swap(s.h, s.next);
  }
  return ok();
}

const char* accept(const StepInfo& s) {
  RnnForm r;
  return plan_rnn(s, &r);
}

// [directions, width, k] of input `index`.
Result<std::shared_ptr<const std::byte>> pack(const StepInfo& s, size_t index, int64_t k,
                                              const RnnForm& r, PrepareContext& ctx) {
  const int64_t W = r.width(), floats = r.directions * W * k;
  return ctx.packs.get(*s.in[index].constant, format("rnn:{}:{}", k, W), floats * 4,
                       [&](std::byte* bytes) -> Status {
                         auto* to = reinterpret_cast<float*>(bytes);
                         if (!is_dynamic_lstm(s)) {
                           const Tensor t = s.in[index].constant->to_aligned();
                           memcpy(to, t.raw(), static_cast<size_t>(floats) * 4);
                           return ok();
                         }
                         for (int64_t d = 0; d < r.directions; ++d) {
                           const std::vector<float> v = dequantized_rnn(s, index, d, k, W);
                           for (int64_t n = 0; n < W; ++n)
                             for (int64_t i = 0; i < k; ++i)
                               *to++ = v[static_cast<size_t>(i * W + n)];
                         }
                         return ok();
                       });
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  auto n = std::make_shared<Rnn>();
  RnnForm& r = n->form;
  if (auto* why = plan_rnn(s, &r)) return unsupported(why);
  TRY_ASSIGN(n->input, pack(s, RnnForm::kW, r.input, r, ctx));
  TRY_ASSIGN(n->recurrent, pack(s, RnnForm::kR, r.hidden, r, ctx));
  const RnnBias bias = rnn_bias(s, r);
  const auto upload = [&](const std::vector<float>& v) {
    return ctx.device->upload(v.data(), static_cast<int64_t>(v.size()) * 4);
  };
  TRY_ASSIGN(n->bias, upload(bias.sum));
  TRY_ASSIGN(n->late, upload(bias.late));
  Product p;
  p.m = r.steps * r.batch;
  p.n = p.ldc = r.width();
  p.k = p.lda = p.ldb = r.input;
  p.transpose_b = true;
  p.bias = true;
  p.tf32 = ctx.tf32;
  for (int64_t floats :
       {r.width() * r.input, r.steps * r.batch * r.width(), r.width(), n->products(), n->states()})
    p.moved_by(floats * int64_t{sizeof(float)});
  TRY_ASSIGN(n->product, make_blas(p));
  n->grid = is_dynamic_lstm(s);
  n->x_floats = n->grid ? s.in[RnnForm::kX].size() : 0;
  n->workspace = (n->product->workspace_bytes + 255) / 256 * 256;
  for (size_t i = 0; i < 3; ++i) n->wants[i] = i < s.out.size() && s.out[i].present();
  n->has_h0 = s.has(RnnForm::kH0);
  n->has_c0 = s.has(RnnForm::kC0);
  auto prepared_step = prepared([n](const RunArgs& a) { return enqueue(*n, a); });
  prepared_step->scratch_bytes = n->workspace + 4 * (n->products() + 4 * n->states() + n->x_floats);
  prepared_step->unread_inputs =
      ~(uint64_t{1} << RnnForm::kX | uint64_t{1} << RnnForm::kH0 | uint64_t{1} << RnnForm::kC0);
  return Result<std::unique_ptr<Prepared>>(std::move(prepared_step));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(rnn, {.name = "rnn",
                            .ops = "LSTM GRU RNN com.microsoft.DynamicQuantizeLSTM",
                            .rank = 20,
                            .accept = cuda::accept,
                            .prepare = cuda::prepare,
                            .device = true})
