// SPDX-License-Identifier: Apache-2.0
// Conversions of the element type: Cast, CastLike, BitCast (rules: Cast in Operators.md).
// What Cast leaves undefined gives what x86 and numpy give: see float_to_int.
#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

enum class Round { kUp, kDown, kNearest };  // for float8e8m0

struct CastMode {
  bool saturate = true;
  Round round = Round::kUp;
};

// float8e8m0: code c is 2^(c - 127), 255 is NaN.
uint8_t to_e8m0(double x, CastMode mode) {
  const double a = std::fabs(x);
  if (std::isnan(a)) return 255;
  if (std::isinf(a)) return mode.saturate ? 254 : 255;
  if (a < 0x1p-127) {
    if (mode.saturate) return 0;
    return a == 0 || mode.round != Round::kUp ? 255 : 0;
  }
  int e = 0;
  const double m = std::frexp(a, &e);  // a = m * 2^e, m in [0.5, 1)
  const bool up = mode.round == Round::kUp ? m > 0.5 : mode.round == Round::kNearest && m >= 0.75;
  const int code = e - 1 + 127 + (up ? 1 : 0);
  return static_cast<uint8_t>(code <= 254 ? code : mode.saturate ? 254 : 255);
}

// Integer magnitude as a double that rounds once more to a narrower float without error.
double sticky(uint64_t m) {
  if (m < (uint64_t{1} << 53)) return static_cast<double>(m);
  const int shift = 11 - std::countl_zero(m);
  const uint64_t lost = m & ((uint64_t{1} << shift) - 1);
  return std::ldexp(static_cast<double>((m >> shift) | (lost != 0)), shift);
}

void store_float(Tensor& r, int64_t at, std::span<double> values, CastMode mode) {
  const DType t = r.dtype();
  if (dtype_bits(t) != 8) return store_f64(r, at, values);
  std::byte* p = r.mutable_raw() + at;
  for (size_t k = 0; k < values.size(); ++k)
    p[k] = std::byte(t == DType::kFloat8e8m0
                         ? to_e8m0(values[k], mode)
                         : float_to_narrow(t, round_to_odd(values[k]), mode.saturate));
}

Result<Tensor> cast_numeric(EvalContext& ctx, const Tensor& x, DType to, CastMode mode) {
  TRY_ASSIGN(Tensor r, ctx.allocate(to, x.dims()));
  double f[BroadcastRuns::kMax];
  int64_t i[BroadcastRuns::kMax];
  const bool from_float = is_float(x.dtype()), to_float = is_float(to);
  for (int64_t at = 0; at < x.size(); at += static_cast<int64_t>(BroadcastRuns::kMax)) {
    const size_t n = std::min<size_t>(BroadcastRuns::kMax, static_cast<size_t>(x.size() - at));
    if (from_float)
      load_f64(x, at, {f, n});
    else
      load_i64(x, at, {i, n});
    if (!to_float) {
      for (size_t k = 0; from_float && k < n; ++k) i[k] = float_to_int(f[k], to);
      store_i64(r, at, {i, n});
      continue;
    }
    for (size_t k = 0; !from_float && k < n; ++k) {
      const bool neg = i[k] < 0 && x.dtype() != DType::kUint64;
      const uint64_t m = neg ? 0 - static_cast<uint64_t>(i[k]) : static_cast<uint64_t>(i[k]);
      f[k] = to == DType::kDouble ? static_cast<double>(m) : sticky(m);
      if (neg) f[k] = -f[k];
    }
    store_float(r, at, {f, n}, mode);
  }
  return r;
}

std::string number_text(const Tensor& x, int64_t i) {
  if (!is_float(x.dtype())) {
    const int64_t v = x.i64_at(i);
    return x.dtype() == DType::kUint64 ? format("{}", static_cast<uint64_t>(v)) : format("{}", v);
  }
  const double d = x.f64_at(i);
  if (std::isnan(d)) return "NaN";
  if (std::isinf(d)) return d > 0 ? "INF" : "-INF";
  return x.dtype() == DType::kDouble ? format("{}", d) : format("{}", static_cast<float>(d));
}

// Parses all of `s` (blanks around it ignored).
template <typename T>
bool parse(std::string_view s, T& value) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  if (s.size() > 1 && s[0] == '+' && s[1] != '-') s.remove_prefix(1);
  const auto [end, err] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (err == std::errc::result_out_of_range && end == s.data() + s.size()) {
    if constexpr (std::is_floating_point_v<T>) {  // too large or too small: as strtod
      value = std::strtod(std::string(s).c_str(), nullptr);
      return true;
    }
  }
  return err == std::errc() && end == s.data() + s.size();
}

Result<Tensor> cast_strings(EvalContext& ctx, const Tensor& x, DType to, CastMode mode) {
  TRY_ASSIGN(Tensor r, ctx.allocate(to, x.dims()));
  for (int64_t k = 0; k < x.size(); ++k) {
    const std::string& s = x.string_data()[static_cast<size_t>(k)];
    double d = 0;
    int64_t i = 0;
    uint64_t u = 0;
    if (is_float(to)) {
      if (!parse(s, d)) return ctx.error(format("element {} is {}, no number", k, quoted(s)));
      store_float(r, k, {&d, 1}, mode);
      continue;
    }
    if (to == DType::kUint64 && parse(s, u))
      i = static_cast<int64_t>(u);
    else if (to == DType::kBool && (s == "True" || s == "true" || s == "False" || s == "false"))
      i = s == "True" || s == "true";
    else if (!parse(s, i)) {
      if (!parse(s, d)) return ctx.error(format("element {} is {}, no number", k, quoted(s)));
      i = float_to_int(d, to);
    }
    store_i64(r, k, {&i, 1});
  }
  return r;
}

Result<Tensor> cast(EvalContext& ctx, const Tensor& x, DType to, CastMode mode) {
  if (x.dtype() == to) return x;
  if (is_complex(x.dtype()) || is_complex(to))
    return unsupported(format("cast from {} to {}", dtype_name(x.dtype()), dtype_name(to)));
  if (x.is_string()) return cast_strings(ctx, x, to, mode);
  if (to != DType::kString) return cast_numeric(ctx, x, to, mode);
  TRY_ASSIGN(Tensor r, ctx.allocate(to, x.dims()));
  auto& out = r.mut_strings();
  for (int64_t k = 0; k < x.size(); ++k) out[static_cast<size_t>(k)] = number_text(x, k);
  return r;
}

Result<CastMode> mode_of(const Node& node) {
  const std::string_view round = node.attr_str("round_mode", "up");
  if (round != "up" && round != "down" && round != "nearest")
    return invalid(
        format("attribute 'round_mode' is {}, must be 'up', 'down' or 'nearest'", quoted(round)));
  return CastMode{node.attr_int("saturate", 1) != 0, round == "up"     ? Round::kUp
                                                     : round == "down" ? Round::kDown
                                                                       : Round::kNearest};
}

std::optional<DType> dtype_from_upper(std::string_view s) {
  std::string lower;
  for (char c : s) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return dtype_from_name(lower);
}

// Attribute `to`: the number of a type; before version 6 its name.
Result<DType> target_of(const Node& node) {
  const std::string_view name = node.attr_str("to", "");
  if (node.version < 6 && !name.empty()) {
    if (auto t = dtype_from_upper(name)) return *t;
    return invalid(format("attribute 'to' is {}, which is no element type", quoted(name)));
  }
  TRY_ASSIGN(const DType t, dtype_attr(node, "to", DType::kUndefined));
  if (t == DType::kUndefined) return invalid("attribute 'to' is missing or undefined");
  return t;
}

Status eval_cast(EvalContext& ctx) {
  TRY_ASSIGN(const DType to, target_of(ctx.node()));
  TRY_ASSIGN(const CastMode mode, mode_of(ctx.node()));
  TRY_ASSIGN(Tensor r, cast(ctx, ctx.in(0), to, mode));
  ctx.set(0, std::move(r));
  return ok();
}

Status eval_cast_like(EvalContext& ctx) {
  TRY_ASSIGN(const CastMode mode, mode_of(ctx.node()));
  TRY_ASSIGN(Tensor r, cast(ctx, ctx.in(0), ctx.in(1).dtype(), mode));
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_to(InferContext& ctx, DType to) {
  TRY(mode_of(ctx.node()));
  TRY(ctx.set(0, to, ctx.input(0).shape));
  const DType from = ctx.dtype(0);
  if (is_integer(from) || from == DType::kBool)
    map_partial(ctx, 1, to, [to](std::span<const Dim> a) -> Dim {
      if (to != DType::kBool) return a[0];
      if (a[0].is_const()) return a[0].value() != 0;
      return a[0].lower_bound().value_or(0) > 0 ? Dim(1) : Dim();
    });
  return ok();
}

Status infer_cast(InferContext& ctx) {
  TRY_ASSIGN(const DType to, target_of(ctx.node()));
  return infer_to(ctx, to);
}

Status infer_cast_like(InferContext& ctx) { return infer_to(ctx, ctx.dtype(1)); }

Status check_bits(DType from, DType to) {
  if (from == DType::kUndefined || dtype_bits(from) == dtype_bits(to)) return ok();
  return invalid(format("{} has {} bits, {} has {}", dtype_name(from), dtype_bits(from),
                        dtype_name(to), dtype_bits(to)));
}

Status eval_bit_cast(EvalContext& ctx) {
  TRY_ASSIGN(const DType to, target_of(ctx.node()));
  if (ctx.in(0).is_string() || to == DType::kString) return ctx.error("strings have no bits");
  TRY(check_bits(ctx.in(0).dtype(), to));
  if (ctx.in(0).dtype() != DType::kBool && to == DType::kBool) {
    // A bool of ours is 0 or 1; other bytes stay true.
    TRY_ASSIGN(Tensor r, ctx.allocate(to, ctx.in(0).dims()));
    std::vector<int64_t> v(static_cast<size_t>(r.size()));
    for (int64_t i = 0; i < r.size(); ++i)
      v[static_cast<size_t>(i)] = ctx.in(0).raw()[i] != std::byte{0};
    store_i64(r, 0, v);
    ctx.set(0, std::move(r));
    return ok();
  }
  ctx.set(0, ctx.in(0).retyped(to));
  return ok();
}

Status infer_bit_cast(InferContext& ctx) {
  TRY_ASSIGN(const DType to, target_of(ctx.node()));
  if (to == DType::kString || ctx.dtype(0) == DType::kString)
    return ctx.error("BitCast does not take strings");
  TRY(check_bits(ctx.dtype(0), to));
  return ctx.set(0, to, ctx.input(0).shape);
}

Result<bool> cast_up6(Model& m, NodeId n) {
  if (refers(m.node(n), "to")) return false;
  const auto t = dtype_from_upper(m.node(n).attr_str("to", ""));
  if (!t) return false;
  m.set_attr(n, Attribute::of("to", static_cast<int64_t>(*t)));
  return true;
}

Status cast_down6(Model& m, NodeId n) {
  TRY_ASSIGN(const DType to, target_of(m.node(n)));
  std::string name(dtype_name(to));
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  m.set_attr(n, Attribute::of("to", std::move(name)));
  return ok();
}

constexpr VersionStep kCastSteps[] = {{6, cast_up6, cast_down6}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    cast,
    {.name = "Cast",
     .infer = infer_cast,
     .eval = eval_cast,
     .steps = kCastSteps,
     .flags = kElementwise},
    {.name = "CastLike", .infer = infer_cast_like, .eval = eval_cast_like, .flags = kElementwise},
    {.name = "BitCast", .infer = infer_bit_cast, .eval = eval_bit_cast, .flags = kElementwise}, )
