// SPDX-License-Identifier: Apache-2.0
// Convolutions and matrix products of 8-bit integers with 32-bit sums, on oneDNN (plan/quantize.h),
// and DynamicQuantizeLinear.
#include <cmath>
#include <limits>

#include "exec/cpu/onednn.h"
#include "exec/cpu/simd/convert.h"
#include "exec/plan/geometry.h"
#include "exec/plan/quantize.h"

namespace onnxtool {
namespace cpu {
namespace {

using dnnl::memory;

bool byte(DType t) { return t == DType::kUint8 || t == DType::kInt8; }

// The step with its quantization as one post operation that oneDNN has; nullopt: not of that form.
struct Posts {
  std::vector<PostOp> list;
  StepInfo step;
};
bool translate(const StepInfo& s, Posts& to) {
  const DType t = s.out[0].dtype;
  to.list.assign(s.post.begin(), s.post.end());
  if (t != DType::kFloat) {
    const auto tail = byte(t) ? quantize_tail(s.post, t) : std::nullopt;
    if (!tail) return false;
    to.list.resize(to.list.size() - tail->count);
    // x * scale + zero: one with what scales before, as after a product, is not worth it.
    if (tail->scale != 1 || tail->zero != 0) {
      PostOp p;
      p.op = Elt::kAffine;
      p.a = tail->scale;
      p.b = tail->zero;
      to.list.push_back(p);
    }
  }
  to.step = s;
  to.step.post = to.list;
  return true;
}

const char* check_weights(const StepInfo& s, int64_t n) {
  if (!byte(s.in[0].dtype)) return "not 8-bit integers";
  if (!s.in[1].constant || s.in[1].dtype != DType::kInt8) return "weights are not constant int8";
  if (s.has(2) && !(s.in[2].constant && is_f32(s.in[2]) && s.in[2].size() == n)) return "the bias";
  if (!s.in[3].constant || !is_f32(s.in[3]) || s.in[3].size() != n) return "the scales";
  return nullptr;
}

std::vector<float> floats(const Operand& o) {
  const Tensor t = o.constant->to_aligned();
  const auto f = t.as<float>();
  return {f.begin(), f.end()};
}
Tensor vector_of(const std::vector<float>& v) {
  return Tensor::of<float>({static_cast<int64_t>(v.size())}, std::span<const float>(v));
}

const char* accept_conv(const StepInfo& s) {
  if (s.main_inputs != 4) return "inputs";
  auto g = conv_geometry(s);
  if (!g) return "shapes or attributes";
  if (s.in[0].rank() > 5) return "more than three spatial dims";
  if (!channels_last(s.in[0]) || !channels_last(s.out[0])) return "not channels-last";
  if (auto* why = check_weights(s, s.out[0].dims[1])) return why;
  Posts p;
  if (!translate(s, p)) return "post operations";
  return check_post(p.step);
}

Result<std::unique_ptr<Prepared>> prepare_conv(const StepInfo& s, PrepareContext& ctx) {
  return dnnl_try([&]() -> Result<std::unique_ptr<Prepared>> {
    const Geometry g = *conv_geometry(s);
    Posts posts;
    if (!translate(s, posts)) return unsupported("post operations");
    Operand x = s.in[0], y = s.out[0];
    x.layout = y.layout = Layout::kChannelsLast;
    const int64_t m = y.dims[1];
    const auto zero = static_cast<int32_t>(s.attr_int("x_zero", 0));
    bool pads = false;
    for (size_t i = 0; i < g.rank(); ++i) pads |= g.begin[i] > 0 || g.end[i] > 0;
    const std::vector<float> scale = floats(s.in[3]);
    std::vector<float> bias(static_cast<size_t>(m), 0.0f);
    if (s.has(2)) bias = floats(s.in[2]);
    bool with_bias = s.has(2);
    const Tensor w = s.in[1].constant->to_aligned();
    if (zero != 0 && !pads) {  // the same everywhere: part of the bias
      const auto v = w.as<int8_t>();
      const size_t each = v.size() / static_cast<size_t>(m);
      for (size_t i = 0; i < bias.size(); ++i) {
        int64_t sum = 0;
        for (size_t k = 0; k < each; ++k) sum += v[i * each + k];
        bias[i] -= static_cast<float>(static_cast<double>(sum * zero) * scale[i]);
      }
      with_bias = true;
    }
    memory::desc src = dnnl_desc(x), dst = dnnl_desc(y);
    memory::desc from = dnnl_conv_weights(s.in[1], g.group, false);
    memory::desc any(from.get_dims(), memory::data_type::s8, memory::format_tag::any);
    memory::desc bias_desc, scale_desc({m}, memory::data_type::f32, memory::format_tag::a);
    if (with_bias) bias_desc = scale_desc;
    std::vector<int64_t> dilations = g.dilations;
    for (int64_t& d : dilations) d -= 1;
    DnnlPost post = make_post(posts.step);
    dnnl::primitive_attr attr = dnnl_attr(post);
    attr.set_scales_mask(DNNL_ARG_WEIGHTS, g.group > 1 ? 3 : 1);
    if (zero != 0 && pads) attr.set_zero_points_mask(DNNL_ARG_SRC, 0);
    dnnl::convolution_forward::primitive_desc pd(
        dnnl_engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, src,
        any, bias_desc, dst, g.strides, dilations, g.begin, g.end, attr);
    auto step = std::make_unique<DnnlStep>(dnnl::convolution_forward(pd), pd.impl_info_str());
    step->bind(DNNL_ARG_SRC, src, DnnlStep::kInput, 0);
    step->bind(DNNL_ARG_DST, dst, DnnlStep::kOutput, 0);
    TRY(step->pack(DNNL_ARG_WEIGHTS, s, 1, from, pd.weights_desc(), ctx));
    if (with_bias) step->bind_data(DNNL_ARG_BIAS, bias_desc, vector_of(bias));
    step->bind_data(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, scale_desc, vector_of(scale));
    if (zero != 0 && pads)
      step->bind_data(DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC,
                      memory::desc({1}, memory::data_type::s32, memory::format_tag::a),
                      Tensor::of<int32_t>({1}, {zero}));
    step->bind_post(post);
    step->bind(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), DnnlStep::kScratch, 0);
    step->unread_inputs |= 0b1100;
    return std::unique_ptr<Prepared>(std::move(step));
  });
}

// ---------------------------------------------------------------------------------------- matmul
struct Product {
  int64_t m = 0, k = 0, n = 0;
};

std::optional<Product> shape_of(const StepInfo& s) {
  if (s.in.size() < 2 || s.in[0].rank() < 2 || s.in[1].rank() != 2) return std::nullopt;
  Product p;
  p.k = s.in[1].dims[0];
  p.n = s.in[1].dims[1];
  if (s.in[0].dims.back() != p.k || s.out[0].dims.back() != p.n) return std::nullopt;
  p.m = s.in[0].size() / std::max<int64_t>(p.k, 1);
  return p;
}

// The output as one matrix, post operands with it.
bool flatten(StepInfo& s, const Product& p) {
  for (const PostOp& post : s.post) {
    if (post.operand < 0) continue;
    Operand& o = s.in[static_cast<size_t>(post.operand)];
    if (o.dims == s.out[0].dims)
      o.dims = {p.m, p.n};
    else if (o.size() == 1)
      o.dims = {1, 1};
    else if (o.size() == p.n && o.dims.back() == p.n)
      o.dims = {1, p.n};
    else
      return false;
  }
  s.op = Sym("MatMul");
  s.out[0].dims = {p.m, p.n};
  return true;
}

const char* accept_matmul(const StepInfo& s) {
  if (s.main_inputs < 4 || s.main_inputs > 5 || !all_plain(s)) return "inputs or layouts";
  const auto p = shape_of(s);
  if (!p) return "shapes";
  if (auto* why = check_weights(s, p->n)) return why;
  if (s.has(4) && (s.in[4].size() != 1 || !byte(s.in[4].dtype))) return "the zero point";
  Posts posts;
  if (!translate(s, posts) || !flatten(posts.step, *p)) return "post operations";
  return check_post(posts.step);
}

// A zero point that is known only while running becomes a bias before each run.
class ZeroStep final : public Prepared {
 public:
  ZeroStep(std::unique_ptr<DnnlStep> inner, std::vector<float> sums, int64_t at, bool sign)
      : inner_(std::move(inner)), sums_(std::move(sums)), at_(at), sign_(sign) {
    scratch_bytes = inner_->scratch_bytes;
    unread_inputs = inner_->unread_inputs;
    any_alignment = inner_->any_alignment;
    detail = inner_->detail;
  }
  Status run(const RunArgs& args) const override {
    const auto* z = static_cast<const uint8_t*>(args.in[4]);
    const float zero = sign_ ? static_cast<float>(static_cast<int8_t>(*z)) : static_cast<float>(*z);
    auto* bias = reinterpret_cast<float*>(args.scratch + at_);
    for (size_t i = 0; i < sums_.size(); ++i) bias[i] = -zero * sums_[i];
    return inner_->run(args);
  }

 private:
  std::unique_ptr<DnnlStep> inner_;
  std::vector<float> sums_;
  int64_t at_;
  bool sign_;
};

std::vector<double> column_sums(const Tensor& w, const Product& p) {
  std::vector<double> sums(static_cast<size_t>(p.n), 0);
  const auto v = w.as<int8_t>();
  for (size_t i = 0; i < v.size(); ++i) sums[i % sums.size()] += v[i];
  return sums;
}

Result<std::unique_ptr<Prepared>> prepare_matmul(const StepInfo& s, PrepareContext& ctx) {
  return dnnl_try([&]() -> Result<std::unique_ptr<Prepared>> {
    const Product p = *shape_of(s);
    Posts posts;
    if (!translate(s, posts) || !flatten(posts.step, p)) return unsupported("post operations");
    const auto zero = static_cast<double>(s.attr_int("x_zero", 0));
    const bool runtime = s.has(4);
    const std::vector<float> scale = floats(s.in[3]);
    std::vector<float> bias(static_cast<size_t>(p.n), 0.0f);
    if (s.has(2)) bias = floats(s.in[2]);
    const bool with_bias = s.has(2) || zero != 0 || runtime;
    std::vector<double> sums;
    if (zero != 0 || runtime) sums = column_sums(s.in[1].constant->to_aligned(), p);
    if (zero != 0)
      for (size_t i = 0; i < bias.size(); ++i)
        bias[i] -= static_cast<float>(sums[i] * zero * static_cast<double>(scale[i]));
    bool scaled = false;
    for (float f : scale) scaled |= f != 1;
    const auto strides = [](int64_t n) { return std::vector<int64_t>{n, 1}; };
    memory::desc src = dnnl_desc(s.in[0], {p.m, p.k}, strides(p.k));
    memory::desc dst = dnnl_desc(s.out[0], {p.m, p.n}, strides(p.n));
    memory::desc from = dnnl_desc(s.in[1], {p.k, p.n}, strides(p.n));
    memory::desc any({p.k, p.n}, memory::data_type::s8, memory::format_tag::any);
    memory::desc bias_desc;
    if (with_bias) bias_desc = memory::desc({1, p.n}, memory::data_type::f32, strides(p.n));
    DnnlPost post = make_post(posts.step);
    dnnl::primitive_attr attr = dnnl_attr(post);
    if (scaled) attr.set_scales_mask(DNNL_ARG_WEIGHTS, 2);
    dnnl::matmul::primitive_desc pd(dnnl_engine(), src, any, bias_desc, dst, attr);
    auto step = std::make_unique<DnnlStep>(dnnl::matmul(pd), pd.impl_info_str());
    step->bind(DNNL_ARG_SRC, src, DnnlStep::kInput, 0);
    step->bind(DNNL_ARG_DST, dst, DnnlStep::kOutput, 0);
    TRY(step->pack(DNNL_ARG_WEIGHTS, s, 1, from, pd.weights_desc(), ctx));
    int64_t at = 0;
    if (runtime)
      at = step->bind(DNNL_ARG_BIAS, bias_desc, DnnlStep::kScratch, 0);
    else if (with_bias)
      step->bind_data(DNNL_ARG_BIAS, bias_desc, vector_of(bias));
    if (scaled)
      step->bind_data(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
                      memory::desc({p.n}, memory::data_type::f32, memory::format_tag::a),
                      vector_of(scale));
    step->bind_post(post);
    step->bind(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), DnnlStep::kScratch, 0);
    step->unread_inputs |= 0b1100;
    if (!runtime) return std::unique_ptr<Prepared>(std::move(step));
    std::vector<float> scaled_sums(sums.size());
    for (size_t i = 0; i < sums.size(); ++i)
      scaled_sums[i] = static_cast<float>(sums[i] * static_cast<double>(scale[i]));
    return std::unique_ptr<Prepared>(std::make_unique<ZeroStep>(
        std::move(step), std::move(scaled_sums), at, s.in[4].dtype == DType::kInt8));
  });
}

// --------------------------------------------------------------------------------- quantization
const char* accept_dynamic(const StepInfo& s) {
  if (s.out.size() != 3 || !s.post.empty() || !all_plain(s)) return "outputs or layouts";
  if (!is_f32(s.in[0]) || s.out[0].dtype != DType::kUint8) return "types";
  for (const Operand& o : s.out)
    if (!o.present()) return "an output is left out";
  return nullptr;
}

Result<std::unique_ptr<Prepared>> prepare_dynamic(const StepInfo& s, PrepareContext& ctx) {
  const int64_t n = s.in[0].size();
  constexpr int64_t kLine = 16;  // floats: no two threads write the same line
  auto r = prepared([n](const RunArgs& a) {
    const auto* x = in<float>(a, 0);
    auto* parts = reinterpret_cast<float*>(a.scratch);
    const int threads = parallel_threads();
    for (int t = 0; t < threads; ++t) {
      parts[t * kLine] = std::numeric_limits<float>::infinity();
      parts[t * kLine + 1] = -std::numeric_limits<float>::infinity();
    }
    parallel_for(n, grain_for(0.05, 64), [&](int64_t begin, int64_t end) {
      float low, high;
      simd::min_max_f32(x + begin, end - begin, &low, &high);
      float* mine = parts + parallel_index() * kLine;
      mine[0] = std::min(mine[0], low);
      mine[1] = std::max(mine[1], high);
    });
    float low = parts[0], high = parts[1];
    for (int t = 1; t < threads; ++t) {
      low = std::min(low, parts[t * kLine]);
      high = std::max(high, parts[t * kLine + 1]);
    }
    float* scale = out<float>(a, 1);
    uint8_t* zero = out<uint8_t>(a, 2);
    simd::dynamic_quant_params(low, high, scale, zero);
    parallel_for(n, grain_for(0.2, 64), [&](int64_t begin, int64_t end) {
      simd::quantize_u8(x, out<uint8_t>(a), scale, zero, 1, n, begin, end);
    });
  });
  r->scratch_bytes = ctx.threads * kLine * static_cast<int64_t>(sizeof(float));
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(
    quantized, {"onednn_qconv", step_kind::kQConv, 30, cpu::accept_conv, cpu::prepare_conv},
    {"onednn_qmatmul", step_kind::kQMatMul, 30, cpu::accept_matmul, cpu::prepare_matmul},
    {"dynamic_quantize", "DynamicQuantizeLinear", 30, cpu::accept_dynamic, cpu::prepare_dynamic})
