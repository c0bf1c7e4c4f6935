// SPDX-License-Identifier: Apache-2.0
// LSTM, GRU and RNN with their default activations: the input product for all steps at once, then
// per direction the recurrence on packed weights. Directions run side by side.
#include <cmath>
#include <cstring>

#include "exec/cpu/gemm.h"
#include "exec/cpu/simd/convert.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

enum class Cell : uint8_t { kLstm, kGru, kRnn };

// com.microsoft: weights of 8 bits stored [directions, in, 4 * hidden], and the left operand of
// every product rounded to the 8-bit grid of its own range.
constexpr std::string_view kDynamic = "com.microsoft.DynamicQuantizeLSTM";
bool dynamic(const StepInfo& s) { return s.op.view() == kDynamic; }
constexpr size_t kWScale = 8, kRScale = 10;

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

struct Rnn {
  Cell cell = Cell::kLstm;
  int64_t steps = 0, batch = 0, input = 0, hidden = 0, directions = 1, gates = 4;
  bool first_backward = false, linear_before_reset = false;
  int64_t width() const { return gates * hidden; }
};

constexpr size_t kX = 0, kW = 1, kR = 2, kB = 3, kLengths = 4, kH0 = 5, kC0 = 6, kPeephole = 7;

std::optional<Rnn> form_of(const StepInfo& s) {
  Rnn r;
  std::string_view op = s.op.view();
  r.cell = op == "LSTM" || op == kDynamic ? Cell::kLstm : op == "GRU" ? Cell::kGru : Cell::kRnn;
  r.gates = r.cell == Cell::kLstm ? 4 : r.cell == Cell::kGru ? 3 : 1;
  if (s.in.size() < 3 || s.in[kX].rank() != 3 || s.in[kW].rank() != 3 || s.in[kR].rank() != 3)
    return std::nullopt;
  r.steps = s.in[kX].dims[0];
  r.batch = s.in[kX].dims[1];
  r.input = s.in[kX].dims[2];
  r.hidden = s.in[kR].dims[dynamic(s) ? 1 : 2];
  std::string_view direction = s.attr_str("direction", "forward");
  r.directions = direction == "bidirectional" ? 2 : 1;
  r.first_backward = direction == "reverse";
  r.linear_before_reset = s.attr_int("linear_before_reset", 0) != 0;
  const auto weights = [&](int64_t k) {
    return dynamic(s) ? Dims{r.directions, k, r.width()} : Dims{r.directions, r.width(), k};
  };
  if (s.in[kW].dims != weights(r.input) || s.in[kR].dims != weights(r.hidden)) return std::nullopt;
  if (s.has(kB) && s.in[kB].dims != Dims{r.directions, 2 * r.width()}) return std::nullopt;
  for (size_t i : {kH0, kC0})
    if (s.has(i) && s.in[i].dims != Dims{r.directions, r.batch, r.hidden}) return std::nullopt;
  return r;
}

// Weights of 8 bits, their scales and zero points: one a direction, or one a direction and column.
const char* check_bytes(const StepInfo& s, size_t i, const Rnn& r) {
  const Operand& o = s.in[i];
  if (!o.constant) return "weights are not constant";
  const bool scale = i == kWScale || i == kRScale;
  if (scale ? !is_f32(o) : o.dtype != DType::kInt8 && o.dtype != DType::kUint8) return "types";
  if (i == kW || i == kR) return nullptr;
  return o.size() == r.directions || o.size() == r.directions * r.width() ? nullptr : "scales";
}

const char* accept(const StepInfo& s) {
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  auto r = form_of(s);
  if (!r) return "shapes";
  for (size_t i = 0; i < s.in.size(); ++i) {
    if (i == kLengths || !s.in[i].present()) continue;
    if (dynamic(s) && (i == kW || i == kR || i >= kWScale)) {
      if (const char* why = check_bytes(s, i, *r)) return why;
    } else if (!is_f32(s.in[i])) {
      return "not float";
    }
  }
  if (!s.in[kW].constant || !s.in[kR].constant) return "weights are not constant";
  if (s.has(kB) && !s.in[kB].constant) return "the bias is not constant";
  if (s.has(kPeephole)) return "peepholes";
  if (s.attr_int("layout", 0)) return "batch first";
  if (s.attr_int("input_forget", 0)) return "input_forget";
  if (s.attr_float("clip", 0) > 0) return "clip";
  if (s.has(kLengths)) {
    const Tensor* t = s.in[kLengths].constant;
    if (!t) return "sequence lengths";
    for (int64_t n : t->to_i64())
      if (n != r->steps) return "sequence lengths";
  }
  if (const Attribute* a = s.node ? s.node->attr("activations") : nullptr;
      a && a->type == AttrType::kStrings) {
    static constexpr const char* kLstm[] = {"Sigmoid", "Tanh", "Tanh"};
    static constexpr const char* kGru[] = {"Sigmoid", "Tanh"};
    static constexpr const char* kPlain[] = {"Tanh"};
    std::span<const char* const> want = r->cell == Cell::kLstm ? std::span<const char* const>(kLstm)
                                        : r->cell == Cell::kGru
                                            ? std::span<const char* const>(kGru)
                                            : std::span<const char* const>(kPlain);
    const auto& names = a->strings();
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] != want[i % want.size()]) return "activations";
  }
  return nullptr;
}

using Packed = std::vector<std::shared_ptr<const std::byte>>;  // one a direction

// One direction of 8-bit weights as floats, [k, width].
std::vector<float> dequantized(const StepInfo& s, size_t index, int64_t d, int64_t k,
                               int64_t width) {
  const size_t at = index == kW ? kWScale : kRScale;
  const Tensor& t = *s.in[index].constant;
  const auto scale = s.in[at].constant->to_f64();
  const auto zero =
      s.has(at + 1) ? s.in[at + 1].constant->to_f64() : std::vector<double>(scale.size(), 0);
  const auto param = [&](const std::vector<double>& v, int64_t column) {
    const bool each = static_cast<int64_t>(v.size()) >= (d + 1) * width && width > 1;
    return v[static_cast<size_t>(each ? d * width + column : d)];
  };
  std::vector<float> r(static_cast<size_t>(k * width));
  const auto* bytes = reinterpret_cast<const uint8_t*>(t.raw()) + d * k * width;
  const bool sign = t.dtype() == DType::kInt8;
  for (int64_t i = 0; i < k * width; ++i) {
    const double code =
        sign ? static_cast<double>(static_cast<int8_t>(bytes[i])) : static_cast<double>(bytes[i]);
    r[static_cast<size_t>(i)] =
        static_cast<float>((code - param(zero, i % width)) * param(scale, i % width));
  }
  return r;
}

Result<Packed> pack(const StepInfo& s, size_t index, int64_t k, int64_t n0, int64_t n1,
                    int64_t width, PrepareContext& ctx) {
  Packed result;
  const Tensor& source = *s.in[index].constant;
  int64_t n = n1 - n0;
  for (int64_t d = 0; d < s.in[index].dims[0]; ++d) {
    auto fill = [&](std::byte* to) -> Status {
      if (dynamic(s)) {
        const std::vector<float> b = dequantized(s, index, d, k, width);
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
  Rnn r;
  Packed w, rec, rec_h;     // rec_h: GRU's third gate where it is apart
  std::vector<float> bias;  // [directions, width], both biases where they may be added
  std::vector<float> late;  // GRU, linear_before_reset: recurrent bias of the third gate
  int64_t product_floats = 0, per_direction = 0, x_floats = 0;  // x_floats: of X on its grid
  bool grid = false;
  bool wants_y = false, wants_h = false, wants_c = false, has_h0 = false, has_c0 = false;
};

// One direction, all steps. gx: [steps * batch, width]; work: gates [batch, width], then spare.
void recur(const State& st, const RunArgs& args, int64_t d, const float* gx, float* work) {
  const Rnn& r = st.r;
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
  init(h, st.has_h0, kH0);
  init(c, st.has_c0, kC0);
  bool backward = d == 1 || r.first_backward;
  const float* rec = floats(st.rec[static_cast<size_t>(d)]);
  for (int64_t i = 0; i < r.steps; ++i) {
    int64_t step = backward ? r.steps - 1 - i : i;
    const float* x = gx + step * B * W;
    simd::Epilogue e;
    e.residual = x;
    e.ldr = W;
    e.residual_use = simd::Residual::kAddBeforeAct;
    if (r.cell == Cell::kLstm) {
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
    } else if (r.cell == Cell::kGru) {
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
  Rnn r = st->r = *form_of(s);
  const int64_t H = r.hidden, W = r.width(), D = r.directions;
  TRY_ASSIGN(st->w, pack(s, kW, r.input, 0, W, W, ctx));
  bool gru = r.cell == Cell::kGru;
  TRY_ASSIGN(st->rec, pack(s, kR, H, 0, gru ? 2 * H : W, W, ctx));
  if (gru) {
    TRY_ASSIGN(st->rec_h, pack(s, kR, H, 2 * H, W, W, ctx));
  }
  st->bias.assign(static_cast<size_t>(D * W), 0);
  st->late.assign(static_cast<size_t>(D * H), 0);
  if (s.has(kB)) {
    const Tensor* b = s.in[kB].constant;
    if (!b) return unsupported("the bias is not constant");
    Tensor aligned = b->to_aligned();
    auto v = aligned.as<float>();
    for (int64_t d = 0; d < D; ++d)
      for (int64_t i = 0; i < W; ++i) {
        float wb = v[static_cast<size_t>(d * 2 * W + i)],
              rb = v[static_cast<size_t>(d * 2 * W + W + i)];
        bool apart = gru && r.linear_before_reset && i >= 2 * H;
        st->bias[static_cast<size_t>(d * W + i)] = apart ? wb : wb + rb;
        if (apart) st->late[static_cast<size_t>(d * H + i - 2 * H)] = rb;
      }
  }
  auto wants = [&](size_t i) { return i < s.out.size() && s.out[i].present(); };
  st->wants_y = wants(0);
  st->wants_h = wants(1);
  st->wants_c = wants(2);
  st->has_h0 = s.has(kH0);
  st->has_c0 = s.has(kC0);
  st->grid = dynamic(s);
  st->x_floats = st->grid ? r.steps * r.batch * r.input : 0;
  st->product_floats = (r.steps * r.batch * W + 15) / 16 * 16;
  st->per_direction = (r.batch * (W + 3 * H) + 15) / 16 * 16;
  auto p = prepared([st](const RunArgs& a) {
    const Rnn& q = st->r;
    auto* products = reinterpret_cast<float*>(a.scratch);
    float* work = products + q.directions * st->product_floats;
    const float* x = in<float>(a, kX);
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
  p->unread_inputs =
      (uint64_t{1} << kW) | (uint64_t{1} << kR) | (uint64_t{1} << kB) | (uint64_t{1} << kLengths);
  if (st->grid) p->unread_inputs |= uint64_t{15} << kWScale;
  return p;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(rnn, {"rnn", "LSTM GRU RNN com.microsoft.DynamicQuantizeLSTM", 20, cpu::accept,
                           cpu::prepare})
