// SPDX-License-Identifier: Apache-2.0
// GridSample (any number of spatial axes) and AffineGrid, as in PyTorch, whose conventions they
// follow.
#include <algorithm>
#include <array>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/complex_parts.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

enum class Sampling : uint8_t { kLinear, kNearest, kCubic };
enum class Padding : uint8_t { kZeros, kBorder, kReflection };
constexpr size_t kMaxSpatial = 8;

struct Form {
  Sampling sampling;
  Padding padding;
  bool align;
};

Result<Form> form_of(const Node& node) {
  // Version 16 said bilinear and bicubic.
  TRY_ASSIGN(const size_t mode,
             node.version < 20
                 ? choice(node, "mode", "bilinear", {"bilinear", "nearest", "bicubic"})
                 : choice(node, "mode", "linear", {"linear", "nearest", "cubic"}));
  TRY_ASSIGN(const size_t padding,
             choice(node, "padding_mode", "zeros", {"zeros", "border", "reflection"}));
  return Form{static_cast<Sampling>(mode), static_cast<Padding>(padding),
              node.attr_int("align_corners", 0) != 0};
}

Status infer_grid_sample(InferContext& ctx) {
  TRY(form_of(ctx.node()));
  const Shape *x = ctx.shape(0), *grid = ctx.shape(1);
  for (const Shape* s : {x, grid}) {
    if (s == nullptr) continue;
    if (s->size() < 3)
      return ctx.error(format("input {} has fewer than three axes", to_string(*s)));
    if (ctx.version() < 20 && s->size() != 4)
      return ctx.error(format("input {} has not four axes", to_string(*s)));
  }
  if (x == nullptr || grid == nullptr) {
    if (x == nullptr && grid == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
    return ctx.set(0, ctx.dtype(0), Shape((x != nullptr ? x : grid)->size()));
  }
  if (x->size() != grid->size() || Dim::differ(grid->back(), static_cast<int64_t>(x->size()) - 2))
    return ctx.error(format("grid {} does not fit the input {}", to_string(*grid), to_string(*x)));
  const auto n = unify((*x)[0], (*grid)[0]);
  if (!n)
    return ctx.error(
        format("grid {} and input {} differ in batch size", to_string(*grid), to_string(*x)));
  Shape out{*n, (*x)[1]};
  out.insert(out.end(), grid->begin() + 1, grid->end() - 1);
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

// One spatial axis of the input.
struct Axis {
  int64_t size;
  double low, high;  // borders for clamping and reflection
};

double reflect(double x, const Axis& a) {
  const double range = a.high - a.low;
  if (range <= 0) return a.low;
  if (x >= a.low && x <= a.high) return x;
  const bool below = x < a.low;
  const double over = below ? a.low - x : x - a.high;
  const double turns = std::floor(over / range), rest = over - turns * range;
  return (std::fmod(turns, 2) == 0) == below ? a.low + rest : a.high - rest;
}

// Index of the pixel at whole position i, or -1 for a zero.
int64_t pixel(double i, const Axis& a, Padding padding) {
  if (padding == Padding::kReflection) i = std::trunc(reflect(i, a));
  if (padding == Padding::kZeros && (i < 0 || i >= static_cast<double>(a.size))) return -1;
  return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(a.size - 1)));
}

// Where one coordinate samples an axis.
struct Taps {
  size_t count = 0;
  std::array<int64_t, 4> index;
  std::array<double, 4> weight;
};

Taps taps_of(double x, const Axis& a, const Form& form) {
  if (form.sampling == Sampling::kNearest) x = std::nearbyint(x);
  if (x < a.low || x > a.high) {
    if (form.padding == Padding::kBorder) x = std::clamp(x, 0.0, static_cast<double>(a.size - 1));
    if (form.padding == Padding::kReflection) x = reflect(x, a);
  }
  Taps t;
  auto add = [&](double at, double w) {
    t.index[t.count] = pixel(at, a, form.padding);
    t.weight[t.count++] = w;
  };
  if (form.sampling == Sampling::kNearest) {
    add(std::trunc(x), 1);
    return t;
  }
  const double left = std::floor(x), r = x - left;
  if (form.sampling == Sampling::kLinear) {
    add(left, 1 - r);
    add(left + 1, r);
    return t;
  }
  const double c = -0.75;  // Keys' cubic convolution
  auto outer = [&](double d) { return ((c * d - 5 * c) * d + 8 * c) * d - 4 * c; };
  auto inner = [&](double d) { return ((c + 2) * d - (c + 3)) * d * d + 1; };
  add(left - 1, outer(r + 1));
  add(left, inner(r));
  add(left + 1, inner(1 - r));
  add(left + 2, outer(2 - r));
  return t;
}

Status eval_grid_sample(EvalContext& ctx, bool) {
  const Tensor &x = ctx.in(0), &grid = ctx.in(1);
  TRY_ASSIGN(const Form form, form_of(ctx.node()));
  if (x.rank() < 3 || grid.rank() != x.rank() || grid.dims().back() != x.rank() - 2 ||
      grid.dims()[0] != x.dims()[0])
    return ctx.error(
        format("grid {} does not fit the input {}", to_string(grid.dims()), to_string(x.dims())));
  const size_t spatial = x.dims().size() - 2;
  if (spatial > kMaxSpatial) return unsupported(format("GridSample over {} spatial axes", spatial));
  const bool nearest = form.sampling == Sampling::kNearest;
  if (!nearest && (x.is_string() || is_complex(x.dtype())))
    return is_complex(x.dtype()) ? eval_by_parts(ctx, eval_grid_sample)
                                 : ctx.error("strings cannot be interpolated");
  Dims dims{x.dims()[0], x.dims()[1]};
  dims.insert(dims.end(), grid.dims().begin() + 1, grid.dims().end() - 1);
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), dims));
  if (out.size() == 0) {
    ctx.set(0, std::move(out));
    return ok();
  }
  std::vector<Axis> axes;
  for (size_t i = 0; i < spatial; ++i) {
    const int64_t n = x.dims()[2 + i];
    if (n == 0) return ctx.error(format("input {} has no pixel to sample", to_string(x.dims())));
    axes.push_back({n, form.align ? 0.0 : -0.5, static_cast<double>(n) - (form.align ? 1.0 : 0.5)});
  }
  const std::vector<double> points = grid.to_f64();
  const std::vector<double> values = nearest ? std::vector<double>() : x.to_f64();
  std::vector<double> result(nearest ? 0 : static_cast<size_t>(out.size()));
  const auto strides = row_major_strides(x.dims());
  const int64_t channels = dims[1], pixels = span_size(x.dims(), 2, x.dims().size());
  const int64_t places = span_size(dims, 2, dims.size());
  std::vector<Taps> taps(spatial);
  std::vector<std::pair<int64_t, double>> terms;  // offset into one channel, weight
  for (int64_t p = 0; p < dims[0] * places; ++p) {
    for (size_t i = 0; i < spatial; ++i) {
      // Coordinates come innermost first; single precision, as the definition has it.
      double g = points[static_cast<size_t>(p) * spatial + (spatial - 1 - i)];
      const double n = static_cast<double>(axes[i].size);
      g = form.align ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
      if (grid.dtype() != DType::kDouble) g = static_cast<float>(g);
      g = std::isnan(g) ? -1e15 : std::clamp(g, -1e15, 1e15);
      taps[i] = taps_of(g, axes[i], form);
    }
    terms.assign(1, {0, 1.0});
    for (size_t i = 0; i < spatial; ++i) {
      std::vector<std::pair<int64_t, double>> next;
      for (const auto& [offset, w] : terms)
        for (size_t k = 0; k < taps[i].count; ++k)
          if (taps[i].index[k] >= 0 && taps[i].weight[k] != 0)
            next.emplace_back(offset + taps[i].index[k] * strides[2 + i], w * taps[i].weight[k]);
      terms = std::move(next);
    }
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t base = (p / places * channels + c) * pixels;
      const int64_t to = (p / places * channels + c) * places + p % places;
      if (nearest) {
        if (!terms.empty()) copy_element(out, to, x, base + terms[0].first);
        continue;
      }
      double sum = 0;
      for (const auto& [offset, w] : terms) sum += w * values[static_cast<size_t>(base + offset)];
      result[static_cast<size_t>(to)] = sum;
    }
  }
  if (!nearest) store_f64(out, 0, result);
  ctx.set(0, std::move(out));
  return ok();
}

Status eval_grid_sample_of(EvalContext& ctx) { return eval_grid_sample(ctx, false); }

// -------------------------------------------------------------------------------- AffineGrid
Status infer_affine_grid(InferContext& ctx) {
  TRY(expect_rank(ctx, 0, "theta", 3));
  TRY(expect_rank(ctx, 1, "size", 1));
  const Shape* theta = ctx.shape(0);
  const auto n = known_length(ctx, 1);
  if (n && *n != 4 && *n != 5) return ctx.error(format("size has {} values, 4 or 5 expected", *n));
  std::optional<int64_t> spatial;
  if (n)
    spatial = *n - 2;
  else if (theta != nullptr && (*theta)[1].is_const())
    spatial = (*theta)[1].value();
  if (!spatial) return ctx.set(0, ctx.dtype(0), std::nullopt);
  if (theta != nullptr &&
      (Dim::differ((*theta)[1], *spatial) || Dim::differ((*theta)[2], *spatial + 1)))
    return ctx.error(format("theta {} does not fit {} spatial axes", to_string(*theta), *spatial));
  PartialValue size(static_cast<size_t>(*spatial) + 2);
  if (const PartialValue* p = ctx.partial(1); p != nullptr && p->size() == size.size()) size = *p;
  Shape out{or_fresh(ctx, theta ? unify((*theta)[0], size[0]).value_or(Dim()) : size[0], 0, 0)};
  for (size_t i = 2; i < size.size(); ++i) out.push_back(or_fresh(ctx, size[i], 0, i - 1));
  out.push_back(*spatial);
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Status eval_affine_grid(EvalContext& ctx) {
  const Tensor& theta = ctx.in(0);
  const std::vector<int64_t> size = ctx.in(1).to_i64();
  if (size.size() != 4 && size.size() != 5) return ctx.error("size has not 4 or 5 values");
  const int64_t spatial = static_cast<int64_t>(size.size()) - 2;
  if (theta.dims() != Dims{size[0], spatial, spatial + 1})
    return ctx.error(
        format("theta {} does not fit the size {}", to_string(theta.dims()), to_string(size)));
  Dims dims{size[0]};
  for (size_t i = 2; i < size.size(); ++i) {
    if (size[i] < 0) return ctx.error(format("size has the negative value {}", size[i]));
    dims.push_back(size[i]);
  }
  dims.push_back(spatial);
  TRY_ASSIGN(Tensor out, ctx.allocate(theta.dtype(), dims));
  const bool align = ctx.node().attr_int("align_corners", 0) != 0;
  const std::vector<double> m = theta.to_f64();
  std::vector<double> r(static_cast<size_t>(out.size()));
  Dims places(dims.begin(), dims.end() - 1);
  std::vector<int64_t> idx(places.size(), 0);
  const size_t s = static_cast<size_t>(spatial);
  for (size_t at = 0; at < r.size(); at += s, onnxtool::advance(idx, places)) {
    // Position in the homogeneous space, innermost axis first.
    std::vector<double> pos;
    for (size_t i = s; i-- > 0;) {
      const double n = static_cast<double>(places[i + 1]), k = static_cast<double>(idx[i + 1]);
      pos.push_back(align ? (n > 1 ? 2 * k / (n - 1) - 1 : 0) : (2 * k + 1) / n - 1);
    }
    pos.push_back(1);
    const double* row = m.data() + static_cast<size_t>(idx[0]) * s * (s + 1);
    for (size_t i = 0; i < s; ++i)
      for (size_t k = 0; k <= s; ++k) r[at + i] += row[i * (s + 1) + k] * pos[k];
  }
  store_f64(out, 0, r);
  ctx.set(0, std::move(out));
  return ok();
}

Result<bool> lift_names(Model& m, NodeId n) {
  const std::string_view mode = m.node(n).attr_str("mode", "bilinear");
  if (refers(m.node(n), "mode")) return false;
  if (mode == "bilinear")
    m.set_attr(n, Attribute::of("mode", "linear"));
  else if (mode == "bicubic")
    m.set_attr(n, Attribute::of("mode", "cubic"));
  return true;
}

Status lower_names(Model& m, NodeId n) {
  const std::string_view mode = m.node(n).attr_str("mode", "linear");
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (rank && *rank != 4) return step_error("opset 16 samples 4-D inputs only");
  if (mode == "linear")
    m.set_attr(n, Attribute::of("mode", "bilinear"));
  else if (mode == "cubic")
    m.set_attr(n, Attribute::of("mode", "bicubic"));
  return ok();
}

constexpr VersionStep kSteps[] = {{20, lift_names, lower_names}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(grid_sample,
             {.name = "GridSample",
              .infer = infer_grid_sample,
              .eval = eval_grid_sample_of,
              .steps = kSteps,
              .flags = kManyReads},
             {.name = "GridSample",
              .domain = "com.microsoft",
              .infer = infer_grid_sample,
              .eval = eval_grid_sample_of,
              .flags = kManyReads},
             {.name = "AffineGrid", .infer = infer_affine_grid, .eval = eval_affine_grid});
