// SPDX-License-Identifier: Apache-2.0
// Evaluation of the recurrent layers.
#include "libonnxtool/ops/rnn_util.h"

#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Sizes {
  int64_t steps = 0, batch = 0, input = 0, hidden = 0, gates = 0;  // gates: gates * hidden
};

// What one direction computes with.
struct Layer {
  RnnKind kind = RnnKind::kRnn;
  Sizes n;
  Activation f, g, h;
  double clip = 0;  // 0: none
  bool input_forget = false, linear_before_reset = false;
  const double* w = nullptr;      // [input, gates]
  const double* r = nullptr;      // [hidden, gates]
  std::vector<double> wb, rb, p;  // biases [gates]; peepholes i, o, f, or empty
  void (*prepare)(std::span<double>) = nullptr;

  double bounded(double x) const { return clip > 0 ? std::min(std::max(x, -clip), clip) : x; }
};

// ------------------------------------------------------------------------------------- cells
// One element of the batch: `x` and `hr` are the products with input and previous hidden state.
void lstm_cell(const Layer& l, const double* x, const double* hr, double* h, double* c) {
  const int64_t n = l.n.hidden;
  const auto gate = [&](int64_t g, int64_t k) {
    return x[g * n + k] + hr[g * n + k] + l.wb[g * n + k] + l.rb[g * n + k];
  };
  for (int64_t k = 0; k < n; k++) {
    const auto peep = [&](int64_t g, double cell) {
      return l.p.empty() ? 0 : l.p[g * n + k] * cell;
    };
    const double i = l.f(l.bounded(gate(0, k) + peep(0, c[k])));
    const double f = l.input_forget ? 1 - i : l.f(l.bounded(gate(2, k) + peep(2, c[k])));
    c[k] = f * c[k] + i * l.g(l.bounded(gate(3, k)));
    const double o = l.f(l.bounded(gate(1, k) + peep(1, c[k])));
    h[k] = o * l.h(c[k]);  // a cell, no gate: not clipped
  }
}

void rnn_cell(const Layer& l, const double* x, const double* hr, double* h) {
  for (int64_t k = 0; k < l.n.hidden; k++) h[k] = l.f(l.bounded(x[k] + hr[k] + l.wb[k] + l.rb[k]));
}

void gru_cell(const Layer& l, const double* x, const double* hr, double* h) {
  const int64_t n = l.n.hidden, pitch = l.n.gates;
  std::vector<double> z(static_cast<size_t>(n)), r(z), inner(z);
  for (int64_t k = 0; k < n; k++) {
    z[k] = l.f(l.bounded(x[k] + hr[k] + l.wb[k] + l.rb[k]));
    r[k] = l.f(l.bounded(x[n + k] + hr[n + k] + l.wb[n + k] + l.rb[n + k]));
  }
  if (l.linear_before_reset) {
    for (int64_t k = 0; k < n; k++) inner[k] = r[k] * (hr[2 * n + k] + l.rb[2 * n + k]);
  } else {
    for (int64_t k = 0; k < n; k++) r[k] *= h[k];
    if (l.prepare != nullptr) l.prepare(r);
    gemm(1, n, n, r.data(), n, l.r + 2 * n, pitch, inner.data(), n);
    for (int64_t k = 0; k < n; k++) inner[k] += l.rb[2 * n + k];
  }
  for (int64_t k = 0; k < n; k++) {
    const double t = l.g(l.bounded(x[2 * n + k] + inner[k] + l.wb[2 * n + k]));
    h[k] = (1 - z[k]) * t + z[k] * h[k];
  }
}

// ---------------------------------------------------------------------------------- settings
// Functions of one direction: names, or the defaults; parameters are consumed in order by the
// functions that take them.
class ActivationReader {
 public:
  explicit ActivationReader(const Node& node)
      : names_(node.attr_strings("activations")),
        alphas_(node.attr_floats("activation_alpha")),
        betas_(node.attr_floats("activation_beta")) {}
  Result<Activation> next(const char* def) {
    const bool named = names_ != nullptr && !names_->empty();
    if (named && at_ >= names_->size())
      return invalid(format("attribute 'activations' has only {} names", names_->size()));
    TRY_ASSIGN(Activation a, activation_of(named ? (*names_)[at_] : def));
    at_++;
    if (a.takes_alpha() && alphas_ != nullptr && alpha_ < alphas_->size())
      a.alpha = (*alphas_)[alpha_++];
    if (a.takes_beta() && betas_ != nullptr && beta_ < betas_->size()) a.beta = (*betas_)[beta_++];
    return a;
  }

 private:
  const std::vector<std::string>* names_;
  const std::vector<float>*alphas_, *betas_;
  size_t at_ = 0, alpha_ = 0, beta_ = 0;
};

Result<std::vector<int64_t>> lengths_of(const EvalContext& ctx, const Sizes& n) {
  TRY(reserve_work(ctx, {n.batch}));
  if (!ctx.has(4)) return std::vector<int64_t>(static_cast<size_t>(n.batch), n.steps);
  std::vector<int64_t> lens = ctx.in(4).to_i64();
  for (int64_t v : lens)
    if (v < 0 || v > n.steps)
      return invalid(
          format("input 'sequence_lens' has the value {}, length of 'X' is {}", v, n.steps));
  return lens;
}

// The sequence, hidden and cell state of all directions, [.., batch, ..] in the order of layout 0.
struct State {
  std::vector<double> y, h, c;
};

Result<std::vector<double>> state_of(const EvalContext& ctx, size_t i, const RnnShape& s,
                                     const Sizes& n) {
  TRY_ASSIGN(auto v, scratch(ctx, {s.directions, n.batch, n.hidden}));
  if (!ctx.has(i)) return v;
  for (int64_t d = 0; d < s.directions; d++)
    for (int64_t b = 0; b < n.batch; b++) {
      const int64_t from = s.batch_first ? b * s.directions + d : d * n.batch + b;
      load_f64(ctx.in(i), from * n.hidden,
               std::span(v).subspan(static_cast<size_t>((d * n.batch + b) * n.hidden),
                                    static_cast<size_t>(n.hidden)));
    }
  return v;
}

// Runs one direction over x[steps, batch, input]; y goes to rows [t, d, b].
Status run_direction(const EvalContext& ctx, const Layer& l, std::span<const double> x,
                     std::span<const int64_t> lens, bool reverse, int64_t d, int64_t directions,
                     State& s) {
  const Sizes& n = l.n;
  TRY_ASSIGN(auto products, scratch(ctx, {n.steps, n.batch, n.gates}));
  gemm(n.steps * n.batch, n.gates, n.input, x.data(), n.input, l.w, n.gates, products.data(),
       n.gates);
  TRY_ASSIGN(auto recurrent, scratch(ctx, {n.batch, n.gates}));
  double* h = s.h.data() + d * n.batch * n.hidden;
  double* c = s.c.data() + d * n.batch * n.hidden;
  std::vector<double> operand;
  for (int64_t t = 0; t < n.steps; t++) {
    operand.assign(h, h + n.batch * n.hidden);
    if (l.prepare != nullptr) l.prepare(operand);
    std::fill(recurrent.begin(), recurrent.end(), 0.0);
    gemm(n.batch, n.gates, n.hidden, operand.data(), n.hidden, l.r, n.gates, recurrent.data(),
         n.gates);
    for (int64_t b = 0; b < n.batch; b++) {
      if (t >= lens[b]) continue;  // this sequence is at its end: state stays, output is zero
      const int64_t at = reverse ? lens[b] - 1 - t : t;
      const double* px = products.data() + (at * n.batch + b) * n.gates;
      const double* pr = recurrent.data() + b * n.gates;
      double* hb = h + b * n.hidden;
      if (l.kind == RnnKind::kLstm)
        lstm_cell(l, px, pr, hb, c + b * n.hidden);
      else if (l.kind == RnnKind::kGru)
        gru_cell(l, px, pr, hb);
      else
        rnn_cell(l, px, pr, hb);
      std::copy_n(hb, n.hidden, s.y.begin() + ((at * directions + d) * n.batch + b) * n.hidden);
    }
  }
  return ok();
}

// Result of rows [outer.., batch, hidden]; layout 1 puts the batch first.
Status set_rows(EvalContext& ctx, size_t output, const RnnShape& s, const Sizes& n, int64_t outer,
                std::span<const double> rows) {
  if (!ctx.wants(output)) return ok();
  Dims dims = s.batch_first ? Dims{n.batch} : Dims{};
  if (output == 0) dims.push_back(n.steps);
  dims.push_back(s.directions);
  if (!s.batch_first) dims.push_back(n.batch);
  dims.push_back(n.hidden);
  TRY_ASSIGN(Tensor y, ctx.allocate(ctx.in(0).dtype(), dims));
  for (int64_t o = 0; o < outer; o++)
    for (int64_t b = 0; b < n.batch; b++) {
      const int64_t to = s.batch_first ? b * outer + o : o * n.batch + b;
      store_f64(y, to * n.hidden,
                rows.subspan(static_cast<size_t>((o * n.batch + b) * n.hidden),
                             static_cast<size_t>(n.hidden)));
    }
  ctx.set(output, std::move(y));
  return ok();
}

}  // namespace

Status eval_rnn(EvalContext& ctx, RnnKind kind, const RnnShape& shape, const RnnWeights& weights) {
  const Node& node = ctx.node();
  const bool lstm = kind == RnnKind::kLstm;
  Sizes n = {shape.steps.value(), shape.batch.value(), shape.input.value(), shape.hidden.value(),
             0};
  n.gates = n.hidden * (lstm ? 4 : kind == RnnKind::kGru ? 3 : 1);
  TRY_ASSIGN(const auto lens, lengths_of(ctx, n));
  TRY_ASSIGN(auto x, scratch(ctx, {n.steps, n.batch, n.input}));
  for (int64_t t = 0; t < n.steps; t++)
    for (int64_t b = 0; b < n.batch; b++)
      load_f64(ctx.in(0), (shape.batch_first ? b * n.steps + t : t * n.batch + b) * n.input,
               std::span(x).subspan(static_cast<size_t>((t * n.batch + b) * n.input),
                                    static_cast<size_t>(n.input)));
  if (weights.prepare != nullptr) {  // steps behind the longest sequence are not looked at
    const int64_t longest = lens.empty() ? 0 : *std::max_element(lens.begin(), lens.end());
    weights.prepare(std::span(x).first(static_cast<size_t>(longest * n.batch * n.input)));
  }
  State s;
  TRY_ASSIGN(s.y, scratch(ctx, {n.steps, shape.directions, n.batch, n.hidden}));
  TRY_ASSIGN(s.h, state_of(ctx, 5, shape, n));
  TRY_ASSIGN(s.c, state_of(ctx, lstm ? 6 : SIZE_MAX, shape, n));
  Layer l;
  l.kind = kind;
  l.n = n;
  l.clip = node.attr_float("clip", 0);
  l.input_forget = node.attr_int("input_forget", 0) != 0;
  l.linear_before_reset = node.attr_int("linear_before_reset", 0) != 0;
  l.prepare = weights.prepare;
  ActivationReader activations(node);
  for (int64_t d = 0; d < shape.directions; d++) {
    TRY_ASSIGN(l.f, activations.next(kind == RnnKind::kRnn ? "Tanh" : "Sigmoid"));
    if (kind != RnnKind::kRnn) {
      TRY_ASSIGN(l.g, activations.next("Tanh"));
    }
    if (lstm) {
      TRY_ASSIGN(l.h, activations.next("Tanh"));
    }
    l.w = weights.input.data() + d * n.input * n.gates;
    l.r = weights.recurrent.data() + d * n.hidden * n.gates;
    l.wb.assign(static_cast<size_t>(n.gates), 0);
    l.rb = l.wb;
    if (ctx.has(3)) {
      load_f64(ctx.in(3), 2 * d * n.gates, l.wb);
      load_f64(ctx.in(3), (2 * d + 1) * n.gates, l.rb);
    }
    if (lstm && ctx.has(7)) {
      l.p.assign(static_cast<size_t>(3 * n.hidden), 0);
      load_f64(ctx.in(7), d * 3 * n.hidden, l.p);
    }
    const bool reverse = d == 1 || node.attr_str("direction", "") == "reverse";
    TRY(run_direction(ctx, l, x, lens, reverse, d, shape.directions, s));
  }
  TRY(set_rows(ctx, 0, shape, n, n.steps * shape.directions, s.y));
  TRY(set_rows(ctx, 1, shape, n, shape.directions, s.h));
  if (lstm) TRY(set_rows(ctx, 2, shape, n, shape.directions, s.c));
  return ok();
}

}  // namespace onnxtool
