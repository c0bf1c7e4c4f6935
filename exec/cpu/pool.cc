// SPDX-License-Identifier: Apache-2.0
// Pooling on oneDNN, channels-last.
#include "exec/cpu/onednn.h"
#include "exec/plan/geometry.h"

namespace onnxtool {
namespace cpu {
namespace {

using dnnl::memory;

const char* accept(const StepInfo& s) {
  if (!sole_output(s) || !s.post.empty()) return "a second output";
  const DType t = s.in[0].dtype;
  const bool byte = s.op.view() == "MaxPool" && (t == DType::kUint8 || t == DType::kInt8);
  if ((!is_f32(s.in[0]) && !byte) || s.out[0].dtype != t) return "the element type";
  if (s.in[0].rank() < 3 || s.in[0].rank() > 5) return "the rank";
  if (!channels_last(s.in[0]) || !channels_last(s.out[0])) return "not channels-last";
  auto g = pool_geometry(s);
  if (!g) return "shapes or attributes";
  bool average = s.op.view() == "AveragePool";
  if (average && g->dilated()) return "a dilated average";
  for (size_t i = 0; i < g->rank(); ++i) {
    int64_t reach = (g->kernel[i] - 1) * g->dilations[i] + 1;
    int64_t need = (g->out[i] - 1) * g->strides[i] + reach - g->in[i] - g->begin[i];
    // Windows that hang over the padded end (ceil_mode) count differently.
    if (average && need > g->end[i] && s.attr_int("count_include_pad", 0))
      return "ceil mode with counted pads";
    if (g->begin[i] >= reach || need >= reach) return "a window inside the padding";
  }
  return nullptr;
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  return dnnl_try([&]() -> Result<std::unique_ptr<Prepared>> {
    Geometry g = *pool_geometry(s);
    Operand in = s.in[0], out = s.out[0];
    in.layout = out.layout = Layout::kChannelsLast;
    std::vector<int64_t> dilations = g.dilations, end = g.end;
    for (size_t i = 0; i < g.rank(); ++i) {
      int64_t reach = (g.kernel[i] - 1) * g.dilations[i] + 1;
      end[i] = (g.out[i] - 1) * g.strides[i] + reach - g.in[i] - g.begin[i];
      dilations[i] -= 1;
    }
    auto algo = s.op.view() == "MaxPool"             ? dnnl::algorithm::pooling_max
                : s.attr_int("count_include_pad", 0) ? dnnl::algorithm::pooling_avg_include_padding
                                                     : dnnl::algorithm::pooling_avg_exclude_padding;
    memory::desc src = dnnl_desc(in), dst = dnnl_desc(out);
    dnnl::pooling_forward::primitive_desc pd(dnnl_engine(), dnnl::prop_kind::forward_inference,
                                             algo, src, dst, g.strides, g.kernel, dilations,
                                             g.begin, end, dnnl_attr({}));
    auto step = std::make_unique<DnnlStep>(dnnl::pooling_forward(pd), pd.impl_info_str());
    step->bind(DNNL_ARG_SRC, src, DnnlStep::kInput, 0);
    step->bind(DNNL_ARG_DST, dst, DnnlStep::kOutput, 0);
    step->bind(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), DnnlStep::kScratch, 0);
    return std::unique_ptr<Prepared>(std::move(step));
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(pool, {"onednn_pool", "MaxPool AveragePool", 50, cpu::accept, cpu::prepare})
