// SPDX-License-Identifier: Apache-2.0
// Convolution and transposed convolution on oneDNN, channels-last.
#include "exec/cpu/onednn.h"
#include "exec/plan/geometry.h"

namespace onnxtool {
namespace cpu {
namespace {

using dnnl::memory;

// Images with so few channels may stay plain: the first layer's kernel reads them as they are.
constexpr int64_t kFewChannels = 0;

const char* accept_any(const StepInfo& s, const std::optional<Geometry>& g) {
  if (!g) return "shapes or attributes";
  if (s.in[0].rank() > 5) return "more than three spatial dims";
  for (size_t i = 0; i < s.main_inputs; ++i)
    if (s.in[i].present() && !is_f32(s.in[i])) return "not float";
  if (!is_f32(s.out[0])) return "not float";
  if (!s.in[1].constant) return "weights are not constant";
  if (s.has(2) && (s.in[2].rank() != 1 || s.in[2].dims[0] != s.out[0].dims[1])) return "the bias";
  if (!channels_last(s.out[0])) return "output not channels-last";
  return check_post(s);
}

const char* accept_conv(const StepInfo& s) {
  auto g = conv_geometry(s);
  if (auto* why = accept_any(s, g)) return why;
  if (!channels_last(s.in[0]) &&
      (s.in[0].dims[1] > kFewChannels || g->group != 1 || s.in[0].rank() != 4))
    return "input not channels-last";
  return nullptr;
}

const char* accept_transposed(const StepInfo& s) {
  auto g = transposed_geometry(s);
  if (auto* why = accept_any(s, g)) return why;
  if (!channels_last(s.in[0])) return "input not channels-last";
  return nullptr;
}

Operand image(const Operand& o, bool as_last) {
  Operand r = o;
  r.layout = as_last ? Layout::kChannelsLast : Layout::kPlain;
  return r;
}

// Images one pixel wide lie in memory like images one pixel high, and oneDNN blocks by width.
void lay_down(StepInfo& s, Geometry& g) {
  if (g.rank() != 2 || g.in[1] != 1 || g.out[1] != 1 || g.kernel[1] != 1) return;
  for (std::vector<int64_t>* v :
       {&g.in, &g.out, &g.kernel, &g.strides, &g.dilations, &g.begin, &g.end})
    std::swap((*v)[0], (*v)[1]);
  const auto turn = [](Operand& o) {
    if (o.rank() == 4) std::swap(o.dims[2], o.dims[3]);
  };
  std::for_each(s.in.begin(), s.in.end(), turn);
  turn(s.out[0]);
}

template <typename Primitive>
Result<std::unique_ptr<Prepared>> build(const StepInfo& s, const Geometry& g, bool transposed,
                                        PrepareContext& ctx,
                                        memory::data_type type = memory::data_type::f32) {
  return dnnl_try([&]() -> Result<std::unique_ptr<Prepared>> {
    bool last = channels_last(s.in[0]);
    const Operand x = image(s.in[0], last);
    memory::desc src(x.dims, type, memory_strides(x.dims, x.layout));
    memory::desc dst = dnnl_desc(image(s.out[0], true));
    memory::desc from = dnnl_conv_weights(s.in[1], g.group, transposed);
    memory::desc weights(from.get_dims(), type, memory::format_tag::any);
    memory::desc bias;
    if (s.has(2))
      bias = memory::desc({s.out[0].dims[1]}, memory::data_type::f32, memory::format_tag::a);
    std::vector<int64_t> dilations = g.dilations;
    for (int64_t& d : dilations) d -= 1;
    DnnlPost post = make_post(s);
    auto algo =
        transposed ? dnnl::algorithm::deconvolution_direct : dnnl::algorithm::convolution_direct;
    typename Primitive::primitive_desc pd(dnnl_engine(), dnnl::prop_kind::forward_inference, algo,
                                          src, weights, bias, dst, g.strides, dilations, g.begin,
                                          g.end, dnnl_attr(post));
    auto step = std::make_unique<DnnlStep>(Primitive(pd), pd.impl_info_str());
    if (type == memory::data_type::bf16)
      step->bind_rounded(DNNL_ARG_SRC, src, 0);
    else
      step->bind(DNNL_ARG_SRC, src, DnnlStep::kInput, 0);
    step->bind(DNNL_ARG_DST, dst, DnnlStep::kOutput, 0);
    TRY(step->pack(DNNL_ARG_WEIGHTS, s, 1, from, pd.weights_desc(), ctx));
    if (s.has(2)) step->bind(DNNL_ARG_BIAS, bias, DnnlStep::kInput, 2);
    step->bind_post(post);
    step->bind(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), DnnlStep::kScratch, 0);
    return std::unique_ptr<Prepared>(std::move(step));
  });
}

Result<std::unique_ptr<Prepared>> prepare_as(const StepInfo& s, PrepareContext& ctx,
                                             memory::data_type type) {
  StepInfo lying = s;
  Geometry g = *conv_geometry(s);
  lay_down(lying, g);
  return build<dnnl::convolution_forward>(lying, g, false, ctx, type);
}
Result<std::unique_ptr<Prepared>> prepare_conv(const StepInfo& s, PrepareContext& ctx) {
  return prepare_as(s, ctx, memory::data_type::f32);
}
const char* accept_conv_bf16(const StepInfo& s) {
  if (auto* why = accept_conv(s)) return why;
  return conv_geometry(s)->group == 1 ? nullptr : "groups";
}
Result<std::unique_ptr<Prepared>> prepare_conv_bf16(const StepInfo& s, PrepareContext& ctx) {
  TRY(check_bf16(ctx));
  return prepare_as(s, ctx, memory::data_type::bf16);
}
Result<std::unique_ptr<Prepared>> prepare_transposed(const StepInfo& s, PrepareContext& ctx) {
  return build<dnnl::deconvolution_forward>(s, *transposed_geometry(s), true, ctx);
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(conv, {"onednn_conv", "Conv", 50, cpu::accept_conv, cpu::prepare_conv},
                     {"bf16_conv", "Conv", 29, cpu::accept_conv_bf16, cpu::prepare_conv_bf16},
                     {"onednn_deconv", "ConvTranspose", 50, cpu::accept_transposed,
                      cpu::prepare_transposed})
