// SPDX-License-Identifier: Apache-2.0
// Optimizer steps of ai.onnx.preview.training: Adagrad, Adam, Momentum. Inputs are R, T and then
// groups of equally many tensors: X, its gradient G, and one (V or H) or two (V, H) states.
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {
namespace {

size_t states_of(const Node& node) { return node.op.view() == "Adam" ? 2 : 1; }

// Number of optimized tensors.
Result<size_t> tensors_of(const Node& node) {
  const size_t groups = 2 + states_of(node);
  if (node.num_inputs() < 2 + groups || (node.num_inputs() - 2) % groups != 0)
    return invalid(format("{} inputs are no groups of {} tensors", node.num_inputs(), groups));
  const size_t n = (node.num_inputs() - 2) / groups;
  for (size_t i = 2; i < node.num_inputs(); i++)
    if (!node.has_input(i)) return invalid(format("input {} is left out", i));
  return n;
}

Status check(const InShapes& in, size_t n) {
  TRY(expect_scalar(in[0], "input 'R'"));
  TRY(expect_scalar(in[1], "input 'T'"));
  for (size_t i = 2 + n; i < in.size(); i++) {
    const Shape *x = in[2 + (i - 2) % n], *s = in[i];
    if (x == nullptr || s == nullptr) continue;
    bool same = x->size() == s->size();
    for (size_t d = 0; same && d < x->size(); d++) same = !Dim::differ((*x)[d], (*s)[d]);
    if (!same)
      return invalid(format("optimized tensor has shape {}, input {} has {}", to_string(*x), i,
                            to_string(*s)));
  }
  return ok();
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const size_t n, tensors_of(ctx.node()));
  TRY(check(InShapes(ctx), n));
  // Outputs: new X, then the new states.
  for (size_t i = 0; i < ctx.num_outputs(); i++)
    if (ctx.has_output(i)) TRY(ctx.set(i, ctx.input(i < n ? 2 + i : 2 + n + i)));
  return ok();
}

struct Settings {
  double rate = 0, regularization = 0, alpha = 0, beta = 0, epsilon = 0, post = 0;
  bool nesterov = false;
};

// One element: x, gradient and states; the states are updated.
double adagrad(const Settings& s, double x, double g, double* state) {
  g += s.regularization * x;
  state[0] += g * g;
  return x - s.rate * g / (std::sqrt(state[0]) + s.epsilon);
}
double adam(const Settings& s, double x, double g, double* state) {
  g += s.regularization * x;
  state[0] = s.alpha * state[0] + (1 - s.alpha) * g;
  state[1] = s.beta * state[1] + (1 - s.beta) * g * g;
  return (1 - s.post) * (x - s.rate * state[0] / (std::sqrt(state[1]) + s.epsilon));
}
double momentum(const Settings& s, double x, double g, double* state) {
  g += s.regularization * x;
  state[0] = s.alpha * state[0] + s.beta * g;
  return x - s.rate * (s.nesterov ? g + s.alpha * state[0] : state[0]);
}

Result<Settings> settings_of(const EvalContext& ctx) {
  const Node& node = ctx.node();
  Settings s;
  s.rate = ctx.in(0).f64_at(0);
  const double t = ctx.in(1).f64_at(0);
  s.regularization = node.attr_float("norm_coefficient", 0);
  s.epsilon = node.attr_float("epsilon", 1e-6f);
  if (node.op.view() == "Adagrad") {
    s.rate /= 1 + t * node.attr_float("decay_factor", 0);
  } else if (node.op.view() == "Adam") {
    s.alpha = node.attr_float("alpha", 0.9f);
    s.beta = node.attr_float("beta", 0.999f);
    s.post = node.attr_float("norm_coefficient_post", 0);
    if (t > 0) s.rate *= std::sqrt(1 - std::pow(s.beta, t)) / (1 - std::pow(s.alpha, t));
  } else {
    s.alpha = node.attr_float("alpha", 0);
    s.beta = t > 0 ? node.attr_float("beta", 0) : 1;
    const std::string_view mode = node.attr_str("mode", "");
    if (mode != "nesterov" && mode != "standard")
      return invalid(format("attribute 'mode' has the unknown value {}", quoted(mode)));
    s.nesterov = mode == "nesterov";
  }
  return s;
}

using Update = double (*)(const Settings&, double, double, double*);
template <Update kUpdate>
Status eval(EvalContext& ctx) {
  TRY_ASSIGN(const size_t n, tensors_of(ctx.node()));
  TRY(check(InShapes(ctx), n));
  TRY_ASSIGN(const Settings s, settings_of(ctx));
  const size_t states = states_of(ctx.node());
  for (size_t k = 0; k < n; k++) {
    TRY_ASSIGN(auto x, values_of(ctx, ctx.in(2 + k)));
    TRY(reserve_work(ctx, {2, ctx.in(2 + k).size()}));
    const std::vector<double> g = ctx.in(2 + n + k).to_f64();
    std::vector<double> state[2];
    for (size_t j = 0; j < states; j++) state[j] = ctx.in(2 + (2 + j) * n + k).to_f64();
    for (size_t i = 0; i < x.size(); i++) {
      double now[2] = {state[0][i], states > 1 ? state[1][i] : 0};
      x[i] = kUpdate(s, x[i], g[i], now);
      for (size_t j = 0; j < states; j++) state[j][i] = now[j];
    }
    const Tensor& like = ctx.in(2 + k);
    TRY(ctx.set_f64(k, like.dtype(), like.dims(), x));
    for (size_t j = 0; j < states; j++)
      TRY(ctx.set_f64((1 + j) * n + k, ctx.in(2 + (2 + j) * n + k).dtype(), like.dims(), state[j]));
  }
  return ok();
}

constexpr const char* kDomain = "ai.onnx.preview.training";

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(optimizer,
             {.name = "Adagrad", .domain = kDomain, .infer = infer, .eval = eval<adagrad>},
             {.name = "Adam", .domain = kDomain, .infer = infer, .eval = eval<adam>},
             {.name = "Momentum", .domain = kDomain, .infer = infer, .eval = eval<momentum>})
