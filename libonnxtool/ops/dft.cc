// SPDX-License-Identifier: Apache-2.0
// Fourier transforms: DFT (17: axis as attribute, 20: as input) and STFT.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/fft.h"
#include "libonnxtool/ops/nn_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

using Complex = std::complex<double>;

// The last dim of a signal: 1 real, 2 complex.
Status expect_components(const Shape& s, const char* what) {
  if (s.back().is_const() && !s.back().is_const(1) && !s.back().is_const(2))
    return invalid(format("{} has last dim {}, 1 or 2 expected", what, s.back().text()));
  return ok();
}

// A scalar integer input where it is known, else `def`; unknown Dim where it is not a constant.
Dim scalar(const InferContext& ctx, size_t i, Dim def) {
  if (!ctx.has_input(i)) return def;
  const PartialValue* p = ctx.partial(i);
  return p != nullptr && p->size() == 1 ? (*p)[0] : Dim();
}
Dim scalar(const EvalContext& ctx, size_t i, Dim def) {
  if (!ctx.has(i)) return def;
  return ctx.in(i).size() == 1 ? Dim(ctx.in(i).i64_at(0)) : Dim();
}

Result<Dim> positive(const char* what, Dim d) {
  if (d.is_const() && d.value() < 1) return invalid(format("{} is {}", what, d.text()));
  return d;
}

// -------------------------------------------------------------------------------------- DFT
struct DftRule {
  int64_t axis = 0;
  Dim length;  // of the transform
  Shape out;
  bool inverse = false, onesided = false;
};

// The axis is nullopt where an input gives it and is not known.
template <typename Context>
std::optional<int64_t> asked_axis(const Context& ctx) {
  if (ctx.version() < 20) return ctx.node().attr_int("axis", 1);
  const Dim d = scalar(ctx, 2, Dim(-2));
  return d.is_const() ? std::optional(d.value()) : std::nullopt;
}

Result<DftRule> dft_rule(const Node& node, const Shape& x, int64_t axis, Dim asked) {
  DftRule r;
  const int64_t rank = static_cast<int64_t>(x.size());
  const std::optional<int64_t> at = normalize_axis(axis, rank);
  if (rank < 2 || !at || *at == rank - 1)
    return invalid(format("axis {} is no signal axis of rank {}", axis, rank));
  TRY(expect_components(x, "input"));
  r.axis = *at;
  r.inverse = node.attr_int("inverse", 0) != 0;
  r.onesided = node.attr_int("onesided", 0) != 0;
  const Dim n = x[static_cast<size_t>(r.axis)];
  const bool to_real = r.inverse && r.onesided;
  if (r.onesided && !r.inverse && x.back().is_const(2))
    return invalid("attribute 'onesided' needs a real input");
  const Dim def = to_real ? (n - Dim(1)) * Dim(2) : n;
  TRY_ASSIGN(r.length, positive("length of the transform", asked.is_const(-1) ? def : asked));
  r.out = x;
  r.out[static_cast<size_t>(r.axis)] =
      r.onesided && !r.inverse ? floor_div(r.length, Dim(2)) + Dim(1) : r.length;
  r.out.back() = Dim(to_real ? 1 : 2);
  return r;
}

// Dim(-1) stands for an absent length: no length that is given may be negative.
Result<Dim> asked_length(Dim d, bool given) {
  if (!given) return Dim(-1);
  return positive("input 'dft_length'", d);
}

// The result where the axis is not known: any size may change but the last, unless the transform
// keeps its length.
Shape any_axis(const InferContext& ctx, const Shape& x) {
  const bool onesided = ctx.node().attr_int("onesided", 0) != 0;
  const bool to_real = onesided && ctx.node().attr_int("inverse", 0) != 0;
  Shape y = onesided || ctx.has_input(1) ? Shape(x.size()) : x;
  if (!y.empty()) y.back() = Dim(to_real ? 1 : 2);
  return y;
}

Status infer_dft(InferContext& ctx) {
  const Shape* x = ctx.shape(0);
  if (x == nullptr) return ctx.set(0, Type::tensor(ctx.dtype(0)));
  const auto axis = asked_axis(ctx);
  if (!axis) return ctx.set(0, ctx.dtype(0), any_axis(ctx, *x));
  TRY_ASSIGN(const Dim asked, asked_length(scalar(ctx, 1, Dim()), ctx.has_input(1)));
  TRY_ASSIGN(DftRule r, dft_rule(ctx.node(), *x, *axis, asked));
  return ctx.set(0, ctx.dtype(0), std::move(r.out));
}

Status eval_dft(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto axis = asked_axis(ctx);
  if (!axis) return ctx.error("input 'axis' is no scalar");
  TRY_ASSIGN(const Dim asked, asked_length(scalar(ctx, 1, Dim()), ctx.has(1)));
  TRY_ASSIGN(const DftRule r, dft_rule(ctx.node(), to_shape(x.dims()), *axis, asked));
  if (!r.length.is_const()) return ctx.error("input 'dft_length' is no scalar");
  TRY_ASSIGN(const Dims out, known_dims(r.out));
  TRY_ASSIGN(auto y, scratch(ctx, out));
  const int64_t n = r.length.value(), parts = x.dims().back(), parts_out = out.back();
  if (n > (int64_t{1} << 40)) return unsupported(format("transform of length {}", n));
  TRY(reserve_work(ctx, {2, static_cast<int64_t>(Fft::work_size(static_cast<size_t>(n)))}));
  const size_t a = static_cast<size_t>(r.axis);
  int64_t inner = 1, outer = 1;  // in units of components
  for (size_t i = 0; i < a; i++) outer *= y.empty() ? 0 : out[i];
  for (size_t i = a + 1; i + 1 < out.size(); i++) inner *= y.empty() ? 0 : out[i];
  const int64_t have = x.dims()[a], give = out[a];
  TRY_ASSIGN(const auto in, values_of(ctx, x));
  const Fft fft(static_cast<size_t>(n));
  std::vector<Complex> line(static_cast<size_t>(n));
  const bool to_real = r.inverse && r.onesided;
  const bool in_float = x.dtype() == DType::kFloat && parts == 2 && !r.onesided && has_short_fft(n);
  const int64_t used = std::min(have, to_real ? n / 2 + 1 : n);
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) {
      std::fill(line.begin(), line.end(), 0);
      for (int64_t k = 0; k < used; k++) {
        const double* v = in.data() + ((o * have + k) * inner + i) * parts;
        line[static_cast<size_t>(k)] = {v[0], parts > 1 ? v[1] : 0};
      }
      // A one-sided spectrum belongs to a real signal: the other half is its conjugate.
      for (int64_t k = 1; to_real && k < n - k; k++)
        line[static_cast<size_t>(n - k)] = std::conj(line[static_cast<size_t>(k)]);
      if (in_float) {
        std::vector<std::complex<float>> narrow(line.begin(), line.end());
        short_fft(narrow, r.inverse);
        const float factor = 1 / static_cast<float>(n);
        for (size_t k = 0; k < narrow.size(); k++)
          line[k] = r.inverse ? narrow[k] * factor : narrow[k];
      } else {
        fft(line, r.inverse);
      }
      for (int64_t k = 0; k < give; k++) {
        double* v = y.data() + ((o * give + k) * inner + i) * parts_out;
        const bool scaled = !r.inverse || in_float;
        const Complex c = line[static_cast<size_t>(k)] / (scaled ? 1.0 : static_cast<double>(n));
        v[0] = c.real();
        if (parts_out > 1) v[1] = c.imag();
      }
    }
  return ctx.set_f64(0, x.dtype(), out, y);
}

// ------------------------------------------------------------------------------------- STFT
// Inputs: signal, frame_step, window, frame_length.
struct StftRule {
  Dim step, frame;
  Shape out;
};
Result<StftRule> stft_rule(const InShapes& in, Dim step, Dim frame) {
  const Shape *x = in[0], *window = in[2];
  TRY(expect_rank(x, "signal", 3));
  TRY(expect_rank(window, "window", 1));
  StftRule r;
  TRY_ASSIGN(r.step, positive("input 'frame_step'", step));
  r.frame = frame;
  if (!in.has(3) && in.has(2)) r.frame = window != nullptr ? (*window)[0] : Dim();
  if (!in.has(3) && !in.has(2)) r.frame = x != nullptr ? (*x)[1] : Dim();
  TRY_ASSIGN(r.frame, positive("length of a frame", r.frame));
  if (window != nullptr)
    TRY(agree("length of the window", (*window)[0], "length of a frame", r.frame));
  const bool onesided = in.node().attr_int("onesided", 1) != 0;
  Dim batch, length;
  if (x != nullptr) {
    TRY(expect_components(*x, "signal"));
    if (onesided && (*x)[2].is_const(2)) return invalid("attribute 'onesided' needs a real signal");
    batch = (*x)[0];
    length = (*x)[1];
  }
  if (length.is_const() && r.frame.is_const() && r.frame.value() > length.value())
    return invalid(
        format("a frame of {} is longer than the signal of {}", r.frame.text(), length.text()));
  const Dim frames = r.step.is_const() && r.step.value() > 0
                         ? floor_div(length - r.frame, r.step) + Dim(1)
                         : Dim();
  r.out = {batch, frames, onesided ? floor_div(r.frame, Dim(2)) + Dim(1) : r.frame, Dim(2)};
  return r;
}

Status infer_stft(InferContext& ctx) {
  TRY_ASSIGN(StftRule r, stft_rule(InShapes(ctx), scalar(ctx, 1, Dim()), scalar(ctx, 3, Dim())));
  return ctx.set(0, ctx.dtype(0), std::move(r.out));
}

Status eval_stft(EvalContext& ctx) {
  TRY_ASSIGN(const StftRule r,
             stft_rule(InShapes(ctx), scalar(ctx, 1, Dim()), scalar(ctx, 3, Dim())));
  if (!r.step.is_const() || !r.frame.is_const())
    return ctx.error("inputs 'frame_step' and 'frame_length' are no scalars");
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Dims out, known_dims(r.out));
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), out));
  const int64_t frame = r.frame.value(), length = x.dims()[1], parts = x.dims()[2];
  TRY(reserve_work(ctx, {2, static_cast<int64_t>(Fft::work_size(static_cast<size_t>(frame)))}));
  const Fft fft(static_cast<size_t>(frame));
  const std::vector<double> window = ctx.has(2) ? ctx.in(2).to_f64() : std::vector<double>();
  std::vector<Complex> line(static_cast<size_t>(frame));
  std::vector<double> signal(static_cast<size_t>(frame * parts)), bins;
  for (int64_t b = 0; b < out[0]; b++)
    for (int64_t f = 0; f < out[1]; f++) {
      load_f64(x, (b * length + f * r.step.value()) * parts, signal);
      for (size_t k = 0; k < line.size(); k++) {
        const double* v = signal.data() + k * static_cast<size_t>(parts);
        line[k] = Complex{v[0], parts > 1 ? v[1] : 0} * (window.empty() ? 1.0 : window[k]);
      }
      fft(line, false);
      bins.clear();
      for (size_t k = 0; k < static_cast<size_t>(out[2]); k++) {
        bins.push_back(line[k].real());
        bins.push_back(line[k].imag());
      }
      store_f64(y, (b * out[1] + f) * out[2] * 2, bins);
    }
  ctx.set(0, std::move(y));
  return ok();
}

// --------------------------------------------------------------------------------- versions
// 20: the axis became an input, and its default another.
Result<bool> axis_up(Model& m, NodeId n) {
  if (refers(m.node(n), "axis")) return false;
  const int64_t axis = m.node(n).attr_int("axis", 1);
  m.remove_attr(n, "axis");
  set_constant_input(m, n, 2, "axis", Tensor::scalar<int64_t>(axis));
  return true;
}
Status axis_down(Model& m, NodeId n) {
  int64_t axis = -2;
  if (m.node(n).has_input(2)) {
    const Tensor* t = m.constant(m.node(n).input(2));
    if (t == nullptr || t->size() != 1) return step_error("input 'axis' is not constant");
    axis = t->i64_at(0);
  }
  drop_input(m, n, 2);
  m.set_attr(n, Attribute::of("axis", axis));
  return ok();
}
constexpr VersionStep kDftSteps[] = {{20, axis_up, axis_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    dft,
    {.name = "DFT", .infer = infer_dft, .eval = eval_dft, .steps = kDftSteps, .flags = kManyReads},
    {.name = "STFT", .infer = infer_stft, .eval = eval_stft, .flags = kManyReads})
