// SPDX-License-Identifier: Apache-2.0
// Elementwise operators of two inputs: arithmetic, bits, logic, comparison.
// Integer division truncates (Div since onnx 1.20 says so; ONNX Runtime does); division and modulo
// by zero give 0 as onnx's reference (numpy) does.
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/legacy_broadcast.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

// ------------------------------------------------------------------------------------ evaluation
// Input 1 in the shape that numpy-style broadcasting needs.
Result<Tensor> operand(const EvalContext& ctx) {
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  if (ctx.version() >= 7) return b;
  TRY_ASSIGN(const Shape s,
             legacy_operand_shape(ctx.node(), to_shape(a.dims()), to_shape(b.dims())));
  Dims d;
  for (const Dim& x : s) d.push_back(x.value());
  return b.reshaped(std::move(d));
}

Status eval(EvalContext& ctx, const BinaryF& f, const BinaryI& i, const BinaryU& u,
            DType out = DType::kUndefined) {
  TRY_ASSIGN(const Tensor b, operand(ctx));
  TRY_ASSIGN(Tensor r, map_binary(ctx, ctx.in(0), b, f, i, u, out));
  ctx.set(0, std::move(r));
  return ok();
}

int64_t wrap(uint64_t x) { return static_cast<int64_t>(x); }
uint64_t bits(int64_t x) { return static_cast<uint64_t>(x); }

Status eval_add(EvalContext& ctx) {
  return eval(
      ctx, [](double a, double b) { return a + b; },
      [](int64_t a, int64_t b) { return wrap(bits(a) + bits(b)); }, nullptr);
}
Status eval_sub(EvalContext& ctx) {
  return eval(
      ctx, [](double a, double b) { return a - b; },
      [](int64_t a, int64_t b) { return wrap(bits(a) - bits(b)); }, nullptr);
}
Status eval_mul(EvalContext& ctx) {
  return eval(
      ctx, [](double a, double b) { return a * b; },
      [](int64_t a, int64_t b) { return wrap(bits(a) * bits(b)); }, nullptr);
}

int64_t div_trunc(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? wrap(0 - bits(a)) : a / b; }
int64_t mod_trunc(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
int64_t mod_floor(int64_t a, int64_t b) { return b == 0 ? 0 : floor_mod(a, b); }
double mod_floor_f(double a, double b) {
  const double r = std::fmod(a, b);
  if (r == 0) return std::copysign(0.0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

Status eval_div(EvalContext& ctx) {
  return eval(
      ctx, [](double a, double b) { return a / b; }, div_trunc,
      [](uint64_t a, uint64_t b) { return b == 0 ? 0 : a / b; });
}

Status eval_mod(EvalContext& ctx) {
  const bool trunc = ctx.node().attr_int("fmod", 0) != 0;
  const BinaryF f =
      trunc ? BinaryF([](double a, double b) { return std::fmod(a, b); }) : mod_floor_f;
  return eval(ctx, f, trunc ? mod_trunc : mod_floor,
              [](uint64_t a, uint64_t b) { return b == 0 ? 0 : a % b; });
}

// Base of an integer type: exact and wrapping for an exponent >= 0, truncated towards zero else.
int64_t int_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 1) return 1;
    return base == -1 ? ((exponent & 1) ? -1 : 1) : 0;
  }
  uint64_t r = 1, b = bits(base);
  for (; exponent != 0; exponent >>= 1, b *= b)
    if (exponent & 1) r *= b;
  return wrap(r);
}

// Base and exponent may be of different types.
Status eval_pow(EvalContext& ctx) {
  TRY_ASSIGN(const Tensor y, operand(ctx));
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(Dims dims, broadcast_all({x.dims(), y.dims()}));
  TRY_ASSIGN(Tensor r, ctx.allocate(x.dtype(), dims));
  const bool ints = is_integer(x.dtype()) && is_integer(y.dtype());
  BroadcastRuns runs(dims, {x.dims(), y.dims()});
  double fa[BroadcastRuns::kMax], fb[BroadcastRuns::kMax];
  int64_t ia[BroadcastRuns::kMax], ib[BroadcastRuns::kMax];
  while (runs.next()) {
    const size_t n = runs.count();
    if (ints) {
      load_i64(x, runs.offset(0), {ia, n}, runs.stride(0));
      load_i64(y, runs.offset(1), {ib, n}, runs.stride(1));
      const bool unsigned_exponent = y.dtype() == DType::kUint64;
      for (size_t k = 0; k < n; ++k) {
        // An exponent of 2^63 and more: even bases give 0, odd ones have a period dividing 2^62.
        if (unsigned_exponent && ib[k] < 0) ib[k] = (ib[k] & INT64_MAX) | (int64_t{1} << 62);
        ia[k] = int_power(ia[k], ib[k]);
      }
      store_i64(r, runs.out(), {ia, n});
    } else {
      load_f64(x, runs.offset(0), {fa, n}, runs.stride(0));
      load_f64(y, runs.offset(1), {fb, n}, runs.stride(1));
      for (size_t k = 0; k < n; ++k) fa[k] = std::pow(fa[k], fb[k]);
      store_f64(r, runs.out(), {fa, n});
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status eval_bit_shift(EvalContext& ctx) {
  const std::string_view dir = ctx.node().attr_str("direction", "");
  if (dir != "LEFT" && dir != "RIGHT")
    return ctx.error("attribute 'direction' is missing or unknown");
  const bool left = dir == "LEFT";
  const uint64_t width = static_cast<uint64_t>(dtype_bits(ctx.in(0).dtype()));
  return eval(
      ctx, nullptr,
      [=](int64_t x, int64_t y) -> int64_t {
        if (bits(y) >= width) return !left && x < 0 ? -1 : 0;
        return left ? wrap(bits(x) << y) : x >> y;
      },
      [=](uint64_t x, uint64_t y) { return y >= width ? 0
                                           : left     ? x << y
                                                      : x >> y; });
}

Status eval_and(EvalContext& ctx) {
  return eval(
      ctx, nullptr, [](int64_t a, int64_t b) { return a & b; }, nullptr);
}
Status eval_or(EvalContext& ctx) {
  return eval(
      ctx, nullptr, [](int64_t a, int64_t b) { return a | b; }, nullptr);
}
Status eval_xor(EvalContext& ctx) {
  return eval(
      ctx, nullptr, [](int64_t a, int64_t b) { return a ^ b; }, nullptr);
}

Status eval_equal(EvalContext& ctx) {
  TRY_ASSIGN(const Tensor b, operand(ctx));
  const Tensor& a = ctx.in(0);
  if (!a.is_string())
    return eval(
        ctx, [](double x, double y) { return x == y ? 1.0 : 0.0; },
        [](int64_t x, int64_t y) -> int64_t { return x == y; }, nullptr, DType::kBool);
  if (!b.is_string()) return ctx.error("a string is compared with a number");
  TRY_ASSIGN(Dims dims, broadcast_all({a.dims(), b.dims()}));
  TRY_ASSIGN(Tensor r, ctx.allocate(DType::kBool, dims));
  BroadcastWalk walk(dims, {a.dims(), b.dims()});
  for (auto& out : r.mut<uint8_t>()) {
    out = a.string_data()[static_cast<size_t>(walk.offset(0))] ==
          b.string_data()[static_cast<size_t>(walk.offset(1))];
    walk.next();
  }
  ctx.set(0, std::move(r));
  return ok();
}

enum class Order { kLess, kLessEqual, kGreater, kGreaterEqual };
template <Order order, typename T>
bool holds(T a, T b) {
  if constexpr (order == Order::kLess) return a < b;
  if constexpr (order == Order::kLessEqual) return a <= b;
  if constexpr (order == Order::kGreater) return a > b;
  return a >= b;
}
template <Order order>
Status eval_order(EvalContext& ctx) {
  return eval(
      ctx, [](double a, double b) { return holds<order>(a, b) ? 1.0 : 0.0; },
      [](int64_t a, int64_t b) -> int64_t { return holds<order>(a, b); },
      [](uint64_t a, uint64_t b) -> uint64_t { return holds<order>(a, b); }, DType::kBool);
}

// -------------------------------------------------------------------------------- partial values
Dim d_add(Dim a, Dim b) { return a + b; }
Dim d_sub(Dim a, Dim b) { return a - b; }
Dim d_mul(Dim a, Dim b) { return a * b; }
bool at_least(Dim d, int64_t low) {
  const auto bound = d.lower_bound();
  return bound && *bound >= low;
}
Dim d_div(Dim a, Dim b) {
  if (b.is_const(0)) return {};
  if (a.is_const() && b.is_const()) return div_trunc(a.value(), b.value());
  const Dim q = floor_div(a, b);
  return (at_least(a, 0) && at_least(b, 1)) || q * b == a ? q : Dim();
}
Dim d_mod(Dim a, Dim b) {
  if (b.is_const(0)) return {};
  return b.is_const() || at_least(b, 1) ? floor_mod(a, b) : Dim();
}
Dim d_fmod(Dim a, Dim b) {
  if (a.is_const() && b.is_const()) return mod_trunc(a.value(), b.value());
  return at_least(a, 0) && at_least(b, 1) ? floor_mod(a, b) : Dim();
}
Dim d_less(Dim a, Dim b) {
  const Dim gap = b - a;
  if (at_least(gap, 1)) return 1;
  const auto high = gap.upper_bound();
  return high && *high <= 0 ? Dim(0) : Dim();
}
Dim d_not(Dim a) { return a.is_const() ? Dim(1 - a.value()) : Dim(); }
Dim d_greater(Dim a, Dim b) { return d_less(b, a); }
Dim d_less_equal(Dim a, Dim b) { return d_not(d_less(b, a)); }
Dim d_greater_equal(Dim a, Dim b) { return d_not(d_less(a, b)); }
Dim d_equal(Dim a, Dim b) {
  if (a == b) return 1;
  return Dim::differ(a, b) ? Dim(0) : Dim();
}
Dim d_and(Dim a, Dim b) {
  if (a.is_const(0) || b.is_const(0)) return 0;
  if (a.is_const(1)) return b;
  return b.is_const(1) ? a : Dim();
}
Dim d_or(Dim a, Dim b) { return d_not(d_and(d_not(a), d_not(b))); }
Dim d_xor(Dim a, Dim b) {
  return a.is_const() && b.is_const() ? Dim(a.value() ^ b.value()) : Dim();
}

// ------------------------------------------------------------------------------------ shape rules
Status infer_shape(InferContext& ctx, DType out) {
  const Shape* a = ctx.shape(0);
  const Shape* b = ctx.shape(1);
  if (ctx.version() < 7) {
    if (a && b) TRY(legacy_operand_shape(ctx.node(), *a, *b));
    return ctx.set(0, out, ctx.input(0).shape);
  }
  if (!a || !b) return ctx.set(0, out, std::optional<Shape>());
  TRY_ASSIGN(Shape s, broadcast_shapes(*a, *b));
  return ctx.set(0, out, std::move(s));
}

template <Dim (*f)(Dim, Dim) = nullptr>
Status infer(InferContext& ctx) {
  TRY(infer_shape(ctx, ctx.dtype(0)));
  if constexpr (f != nullptr) map_partial(ctx, f);
  return ok();
}

template <Dim (*f)(Dim, Dim)>
Status infer_bool(InferContext& ctx) {
  TRY(infer_shape(ctx, DType::kBool));
  if (is_float(ctx.dtype(0))) return ok();
  map_partial(ctx, 2, DType::kBool, [](std::span<const Dim> a) { return f(a[0], a[1]); });
  return ok();
}

Status infer_mod(InferContext& ctx) {
  const int64_t fmod = ctx.node().attr_int("fmod", 0);
  if (fmod != 0 && fmod != 1)
    return ctx.error(format("attribute 'fmod' is {}, must be 0 or 1", fmod));
  return fmod ? infer<d_fmod>(ctx) : infer<d_mod>(ctx);
}

Status infer_bit_shift(InferContext& ctx) {
  const std::string_view d = ctx.node().attr_str("direction", "");
  if (d != "LEFT" && d != "RIGHT")
    return ctx.error(format("attribute 'direction' is {}, must be 'LEFT' or 'RIGHT'", quoted(d)));
  return infer<>(ctx);
}

constexpr VersionStep kSteps6And7[] = {kConsumedInputsStep,
                                       {7, legacy_broadcast_up, legacy_broadcast_down}};
constexpr VersionStep kSteps7[] = {{7, legacy_broadcast_up, legacy_broadcast_down}};
constexpr uint32_t kBoth = kElementwise | kCommutative;

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    binary,
    {.name = "Add", .infer = infer<d_add>, .eval = eval_add, .steps = kSteps6And7, .flags = kBoth},
    {.name = "Sub",
     .infer = infer<d_sub>,
     .eval = eval_sub,
     .steps = kSteps6And7,
     .flags = kElementwise},
    {.name = "Mul", .infer = infer<d_mul>, .eval = eval_mul, .steps = kSteps6And7, .flags = kBoth},
    {.name = "Div",
     .infer = infer<d_div>,
     .eval = eval_div,
     .steps = kSteps6And7,
     .flags = kElementwise},
    {.name = "Pow", .infer = infer<>, .eval = eval_pow, .steps = kSteps7, .flags = kElementwise},
    {.name = "Mod", .infer = infer_mod, .eval = eval_mod, .flags = kElementwise},
    {.name = "BitShift", .infer = infer_bit_shift, .eval = eval_bit_shift, .flags = kElementwise},
    {.name = "BitwiseAnd", .infer = infer<>, .eval = eval_and, .flags = kBoth},
    {.name = "BitwiseOr", .infer = infer<>, .eval = eval_or, .flags = kBoth},
    {.name = "BitwiseXor", .infer = infer<>, .eval = eval_xor, .flags = kBoth},
    {.name = "And", .infer = infer_bool<d_and>, .eval = eval_and, .steps = kSteps7, .flags = kBoth},
    {.name = "Or", .infer = infer_bool<d_or>, .eval = eval_or, .steps = kSteps7, .flags = kBoth},
    {.name = "Xor", .infer = infer_bool<d_xor>, .eval = eval_xor, .steps = kSteps7, .flags = kBoth},
    {.name = "Equal",
     .infer = infer_bool<d_equal>,
     .eval = eval_equal,
     .steps = kSteps7,
     .flags = kBoth},
    {.name = "Less",
     .infer = infer_bool<d_less>,
     .eval = eval_order<Order::kLess>,
     .steps = kSteps7,
     .flags = kElementwise},
    {.name = "LessOrEqual",
     .infer = infer_bool<d_less_equal>,
     .eval = eval_order<Order::kLessEqual>,
     .flags = kElementwise},
    {.name = "Greater",
     .infer = infer_bool<d_greater>,
     .eval = eval_order<Order::kGreater>,
     .steps = kSteps7,
     .flags = kElementwise},
    {.name = "GreaterOrEqual",
     .infer = infer_bool<d_greater_equal>,
     .eval = eval_order<Order::kGreaterEqual>,
     .flags = kElementwise}, )
