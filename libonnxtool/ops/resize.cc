// SPDX-License-Identifier: Apache-2.0
// Resize (versions 10 to 19) and Upsample: separable interpolation, axis by axis.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/complex_parts.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/resize_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

using Form = ResizeForm;

std::vector<float> floats_of(const Tensor& t) {
  std::vector<float> r;
  for (double d : t.to_f64()) r.push_back(static_cast<float>(d));
  return r;
}

Error count_error(std::string_view what, size_t have, size_t axes) {
  return invalid(format("{} has {} values for {} axes", what, have, axes));
}

// Size of a symbolic axis under a scale: exact where the scale is p/q with a small power of two q.
Dim scaled_dim(Dim d, float scale) {
  for (int64_t q = 1; q <= 64; q *= 2) {
    const double p = static_cast<double>(scale) * static_cast<double>(q);
    if (p != std::floor(p) || p > 65536) continue;
    const Dim scaled = d * Dim(static_cast<int64_t>(p));
    return q == 1 ? scaled : floor_div(scaled, q);
  }
  return {};
}

// A missing input, or the empty tensor that version 11 needed in its place.
bool absent(const InferContext& ctx, size_t i) {
  if (i == 0 || !ctx.has_input(i)) return true;
  const Shape* s = ctx.shape(i);
  return s != nullptr && s->size() == 1 && (*s)[0].is_const(0);
}

Status infer_resize(InferContext& ctx) {
  TRY_ASSIGN(const Form form, resize_form(ctx.node()));
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  TRY_ASSIGN(const auto axes, resize_axes(ctx.node(), static_cast<int64_t>(s->size())));
  const bool has_scales = !absent(ctx, form.scales_input),
             has_sizes = !absent(ctx, form.sizes_input);
  const auto attr = form.scales_input == 0 ? attribute_scales(ctx.node()) : std::nullopt;
  if (has_scales && has_sizes) return ctx.error("both scales and sizes are given");
  if (!has_scales && !has_sizes && !attr) return ctx.error("neither scales nor sizes are given");
  Shape out = *s;
  auto at = [&](size_t i) { return static_cast<size_t>(axes[i]); };
  for (size_t i = 0; i < axes.size(); ++i) out[at(i)] = Dim();
  if (has_sizes) {
    const auto n = known_length(ctx, form.sizes_input);
    if (n && *n != static_cast<int64_t>(axes.size()))
      return count_error("sizes", static_cast<size_t>(*n), axes.size());
    const PartialValue* p = ctx.partial(form.sizes_input);
    const auto sizes = ctx.ints(form.sizes_input);
    std::vector<int64_t> in;
    for (size_t i = 0; i < axes.size(); ++i)
      if ((*s)[at(i)].is_const()) in.push_back((*s)[at(i)].value());
    if (p != nullptr && form.policy == Form::Policy::kStretch) {
      for (size_t i = 0; i < axes.size(); ++i) {
        const Dim d = (*p)[i];
        if (d.is_const() && d.value() < 0)
          return ctx.error(format("size {} is negative", d.value()));
        out[at(i)] = d;
      }
    } else if (sizes && in.size() == axes.size()) {
      TRY_ASSIGN(const auto r, sized_axes(form, in, *sizes));
      for (size_t i = 0; i < axes.size(); ++i) out[at(i)] = r[i].out;
    }
  } else {
    auto scales = attr;
    if (const Tensor* t = has_scales ? ctx.constant(form.scales_input) : nullptr)
      scales = floats_of(t->to_aligned());
    const auto n =
        scales ? static_cast<int64_t>(scales->size())
               : known_length(ctx, form.scales_input).value_or(static_cast<int64_t>(axes.size()));
    if (n != static_cast<int64_t>(axes.size()))
      return count_error("scales", static_cast<size_t>(n), axes.size());
    for (size_t i = 0; scales && i < axes.size(); ++i) {
      const Dim d = (*s)[at(i)];
      TRY_ASSIGN(const ResizeAxis a, scaled_axis(d.is_const() ? d.value() : 1, (*scales)[i]));
      out[at(i)] = d.is_const() ? Dim(a.out) : scaled_dim(d, (*scales)[i]);
    }
  }
  for (size_t i = 0; i < out.size(); ++i) out[i] = or_fresh(ctx, out[i], 0, i);
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

// ------------------------------------------------------------------------------------- eval
struct Job {
  Form form;
  std::vector<int64_t> axes;
  std::vector<ResizeAxis> sizes;  // in the order of `axes`
};

Result<Job> job_of(const EvalContext& ctx) {
  Job job;
  TRY_ASSIGN(job.form, resize_form(ctx.node()));
  TRY_ASSIGN(job.axes, resize_axes(ctx.node(), ctx.in(0).rank()));
  auto given = [&](size_t i) {
    return i != 0 && ctx.has(i) && ctx.in(i).size() > 0 ? &ctx.in(i) : nullptr;
  };
  const Form& form = job.form;
  TRY_ASSIGN(job.sizes, resized_axes(ctx.node(), form, ctx.in(0).dims(), given(form.roi_input),
                                     given(form.scales_input), given(form.sizes_input)));
  return job;
}

// values [outer, in, inner] -> [outer, out, inner]
std::vector<double> interpolate(const std::vector<double>& v, int64_t outer, const ResizeAxis& a,
                                int64_t inner, const ResizeTaps& t) {
  std::vector<double> r(static_cast<size_t>(outer * a.out * inner), 0.0);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < a.out; ++i) {
      double* to = r.data() + (o * a.out + i) * inner;
      for (size_t k = 0; k < t.taps; ++k) {
        const size_t at = static_cast<size_t>(i) * t.taps + k;
        const double w = t.weight[at];
        if (w == 0) continue;
        const double* from = v.data() + (o * a.in + t.index[at]) * inner;
        for (int64_t j = 0; j < inner; ++j) to[j] += w * from[j];
      }
    }
  return r;
}

// Elements with a coordinate outside of the input take the extrapolation value.
Status extrapolate(Tensor& out, const Job& job, std::span<const ResizeTaps> taps, bool imaginary) {
  if (out.is_string()) return invalid("strings cannot be extrapolated");
  const double v = imaginary ? 0 : job.form.extrapolation;
  TRY_ASSIGN(Tensor value, Tensor::allocate(out.dtype(), {}));
  if (is_complex(out.dtype()))
    store_complex(value, 0, v);
  else
    store_f64(value, 0, std::span(&v, 1));
  std::vector<int64_t> idx(out.dims().size(), 0);
  for (int64_t i = 0; i < out.size(); ++i, onnxtool::advance(idx, out.dims())) {
    bool outside = false;
    for (size_t k = 0; k < job.axes.size(); ++k)
      outside |= taps[k].outside[static_cast<size_t>(idx[static_cast<size_t>(job.axes[k])])];
    if (outside) copy_element(out, i, value, 0);
  }
  return ok();
}

Status eval_resize(EvalContext& ctx, bool imaginary) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Job job, job_of(ctx));
  const Form& form = job.form;
  Dims dims = x.dims();
  for (size_t k = 0; k < job.axes.size(); ++k)
    dims[static_cast<size_t>(job.axes[k])] = job.sizes[k].out;
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), dims));
  if (out.size() == 0) {
    ctx.set(0, std::move(out));
    return ok();
  }
  const bool crop = form.coord == Form::Coord::kTfCropAndResize;
  std::vector<ResizeTaps> taps;
  for (const ResizeAxis& a : job.sizes) taps.push_back(resize_taps(form, a));
  if (form.mode == Form::Mode::kNearest) {
    Tensor cur = x;
    for (size_t k = 0; k < job.axes.size(); ++k) {
      if (job.sizes[k].identity()) continue;
      TRY_ASSIGN(cur, picked_rows(ctx, cur, static_cast<size_t>(job.axes[k]), taps[k].index));
    }
    out = std::move(cur);
  } else {
    if (is_complex(x.dtype())) return eval_by_parts(ctx, eval_resize);
    if (x.is_string()) return ctx.error("strings cannot be interpolated");
    std::vector<double> v = x.to_f64();
    Dims cur = x.dims();
    for (size_t k = 0; k < job.axes.size(); ++k) {
      if (job.sizes[k].identity()) continue;
      const size_t a = static_cast<size_t>(job.axes[k]);
      cur[a] = job.sizes[k].out;
      const auto count = checked_product(cur);
      const auto bytes = count ? raw_bytes(DType::kDouble, *count) : std::nullopt;
      if (!bytes) return ctx.error("the result is too large");
      TRY(ctx.host().reserve(*bytes));
      v = interpolate(v, span_size(cur, 0, a), job.sizes[k], span_size(cur, a + 1, cur.size()),
                      taps[k]);
    }
    if (is_integer(x.dtype())) {
      const double lo = static_cast<double>(int_min_of(x.dtype()));
      const double hi = static_cast<double>(int_max_of(x.dtype()));
      for (double& d : v) d = std::isnan(d) ? 0 : std::clamp(std::nearbyint(d), lo, hi);
    }
    store_f64(out, 0, v);
  }
  if (crop) {
    if (form.mode == Form::Mode::kNearest) {
      TRY_ASSIGN(out, copied(ctx, out));
    }
    TRY(extrapolate(out, job, taps, imaginary));
  }
  ctx.set(0, std::move(out));
  return ok();
}

Status eval_resize_of(EvalContext& ctx) { return eval_resize(ctx, false); }

// ------------------------------------------------------------------------------------ steps
const Tensor* constant_scales(const Model& m, NodeId n, size_t i) {
  const ValueId v = m.node(n).input(i);
  const Tensor* t = v.valid() ? m.constant(v) : nullptr;
  return t != nullptr && t->dtype() == DType::kFloat ? t : nullptr;
}

// Version 10 samples asymmetrically; nearest takes the floor going up and the ceiling going down,
// which one attribute expresses only where all scaled axes go one way.
Result<bool> lift_resize_11(Model& m, NodeId n) {
  const Tensor* t = constant_scales(m, n, 1);
  std::string_view nearest = "floor";
  if (m.node(n).attr_str("mode", "nearest") == "nearest") {
    if (t == nullptr) return false;
    bool up = false, down = false;
    for (float s : floats_of(t->to_aligned())) {
      up |= s > 1;
      down |= s < 1;
    }
    if (up && down) return false;
    if (down) nearest = "ceil";
  }
  const ValueId inputs[] = {m.node(n).input(0), ValueId(), m.node(n).input(1)};
  m.set_inputs(n, inputs);
  m.set_attr(n, Attribute::of("coordinate_transformation_mode", "asymmetric"));
  m.set_attr(n, Attribute::of("nearest_mode", std::string(nearest)));
  return true;
}

Status lower_resize_11(Model& m, NodeId n) {
  const Tensor* t = constant_scales(m, n, 2);
  const Node& node = m.node(n);
  const std::string_view mode = node.attr_str("mode", "nearest");
  if (node.attr_str("coordinate_transformation_mode", "half_pixel") != "asymmetric" ||
      mode == "cubic")
    return step_error("only asymmetric nearest and linear resizing exists in opset 10");
  if (!node.has_input(2) || node.has_input(3))
    return step_error("opset 10 has scales only, no sizes");
  if (mode == "nearest") {
    const std::string_view nearest = node.attr_str("nearest_mode", "round_prefer_floor");
    bool same = t != nullptr && (nearest == "floor" || nearest == "ceil");
    if (same)
      for (float s : floats_of(t->to_aligned())) same &= s == 1 || (s > 1) == (nearest == "floor");
    if (!same) return step_error("nearest_mode has no equal in opset 10");
  }
  const ValueId inputs[] = {node.input(0), node.input(2)};
  m.set_inputs(n, inputs);
  for (const char* a : {"coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a",
                        "exclude_outside", "extrapolation_value"})
    m.remove_attr(n, a);
  return ok();
}

Result<bool> lift_resize_13(Model& m, NodeId n) {
  return m.node(n).attr_str("coordinate_transformation_mode", "half_pixel") !=
         "tf_half_pixel_for_nn";
}

// Versions 11 and 12 need roi and scales: empty tensors stand for what is left out.
Status lower_resize_13(Model& m, NodeId n) {
  for (size_t i : {size_t{1}, size_t{2}})
    if (!m.node(n).has_input(i))
      set_constant_input(m, n, i, i == 1 ? "roi" : "scales", Tensor::of<float>({0}, {}));
  return ok();
}

Status lower_resize_18(Model& m, NodeId n) {
  if (m.node(n).attr("axes") != nullptr || m.node(n).attr_int("antialias", 0) != 0)
    return step_error("attributes 'axes' and 'antialias' have no form before opset 18");
  TRY(lower_fixed(m, n, "keep_aspect_ratio_policy", "stretch", "stretch"));
  m.remove_attr(n, "antialias");
  return ok();
}

Result<bool> lift_resize_19(Model& m, NodeId n) {
  return m.node(n).attr_str("coordinate_transformation_mode", "half_pixel") !=
         "half_pixel_symmetric";
}

Status lower_resize_19(Model& m, NodeId n) {
  if (m.node(n).attr_str("coordinate_transformation_mode", "half_pixel") == "half_pixel_symmetric")
    return step_error("'half_pixel_symmetric' has no form before opset 19");
  return ok();
}

// Height and width scales of a 4-D image become scales of all axes.
Result<bool> lift_upsample_7(Model& m, NodeId n) {
  const auto scales = attribute_scales(m.node(n));
  if (!scales || m.node(n).attr("scales") != nullptr) return false;
  if (m.node(n).attr_str("mode", "nearest") == "bilinear")
    m.set_attr(n, Attribute::of("mode", "linear"));
  m.remove_attr(n, "height_scale");
  m.remove_attr(n, "width_scale");
  m.set_attr(n, Attribute::of("scales", *scales));
  return true;
}

Status lower_upsample_7(Model& m, NodeId n) {
  const auto scales = attribute_scales(m.node(n));
  if (!scales || scales->size() != 4 || (*scales)[0] != 1 || (*scales)[1] != 1)
    return step_error("opset 6 scales height and width of a 4-D image only");
  if (m.node(n).attr_str("mode", "nearest") == "linear")
    m.set_attr(n, Attribute::of("mode", "bilinear"));
  m.remove_attr(n, "scales");
  m.set_attr(n, Attribute::of("height_scale", (*scales)[2]));
  m.set_attr(n, Attribute::of("width_scale", (*scales)[3]));
  return ok();
}

Result<bool> lift_upsample_9(Model& m, NodeId n) {
  const auto* scales = m.node(n).attr_floats("scales");
  if (scales == nullptr || m.node(n).has_input(1)) return false;
  Tensor t =
      Tensor::of<float>({static_cast<int64_t>(scales->size())}, std::span<const float>(*scales));
  m.remove_attr(n, "scales");
  set_constant_input(m, n, 1, "scales", std::move(t));
  return true;
}

Status lower_upsample_9(Model& m, NodeId n) {
  const Tensor* t = constant_scales(m, n, 1);
  if (t == nullptr) return step_error("scales are not constant, and they are an attribute there");
  m.set_attr(n, Attribute::of("scales", floats_of(t->to_aligned())));
  drop_input(m, n, 1);
  return ok();
}

constexpr VersionStep kResizeSteps[] = {
    {11, lift_resize_11, lower_resize_11},
    {13, lift_resize_13, lower_resize_13},
    {18, step_same_up, lower_resize_18},
    {19, lift_resize_19, lower_resize_19},
};
constexpr VersionStep kUpsampleSteps[] = {
    {7, lift_upsample_7, lower_upsample_7},
    {9, lift_upsample_9, lower_upsample_9},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(resize,
             {.name = "Resize",
              .infer = infer_resize,
              .eval = eval_resize_of,
              .steps = kResizeSteps,
              .flags = kManyReads},
             {.name = "Upsample",
              .infer = infer_resize,
              .eval = eval_resize_of,
              .steps = kUpsampleSteps,
              .flags = kManyReads});
