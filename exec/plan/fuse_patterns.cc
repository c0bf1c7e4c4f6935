// SPDX-License-Identifier: Apache-2.0
// Normalizations that exporters write as several nodes become one operation.
#include <algorithm>
#include <cmath>

#include "exec/plan/rewire.h"

namespace onnxtool {
namespace {

class Patterns {
 public:
  explicit Patterns(Rewire& g) : g_(g) {}
  void run() {
    for (int s = 0; s < g_.steps(); ++s) {
      if (g_.step(s).removed || g_.step(s).dynamic) continue;
      if (g_.has_op(s, "ReduceMean")) {
        if (!layer_norm(s)) rms_norm(s);
      } else if (g_.has_op(s, "InstanceNormalization")) {
        group_norm(s);
      }
    }
  }

 private:
  const Node& node(int s) { return g_.model.node(g_.step(s).node); }
  const Dims& dims(int v) { return g_.value(v).dims; }
  bool floats(int v) { return g_.value(v).known && g_.value(v).dtype == DType::kFloat; }
  int out(int s) { return g_.step(s).out[0]; }
  int in(int s, size_t i) { return i < g_.step(s).in.size() ? g_.step(s).in[i] : -1; }

  bool mean_of_last(int s, int x) {
    if (!g_.has_op(s, "ReduceMean") || in(s, 0) != x || node(s).attr_int("keepdims", 1) == 0)
      return false;
    std::vector<int64_t> axes;
    if (auto* a = node(s).attr_ints("axes"))
      axes = *a;
    else if (const Tensor* t = in(s, 1) >= 0 ? g_.constant(in(s, 1)) : nullptr)
      axes = t->to_i64();
    auto rank = static_cast<int64_t>(dims(x).size());
    return axes.size() == 1 && (axes[0] == -1 || axes[0] == rank - 1);
  }
  // The only user of v, if it has that operator.
  int user(int v, const char* op) {
    int u = g_.sole_user(v);
    return u >= 0 && g_.has_op(u, op) ? u : -1;
  }
  // x * x, or pow(x, 2)
  bool squares(int s, int x) {
    if (g_.has_op(s, "Mul")) return in(s, 0) == x && in(s, 1) == x;
    if (g_.has_op(s, "Pow")) return in(s, 0) == x && g_.scalar(in(s, 1)) == 2.0f;
    return false;
  }
  // The operand of a two-input step that is not v.
  int other(int s, int v) { return in(s, 0) == v ? in(s, 1) : in(s, 0); }
  // v + epsilon, then Sqrt: the value after.
  int root(int v, float* eps) {
    int add = user(v, "Add");
    if (add < 0) return -1;
    auto e = g_.scalar(other(add, v));
    int sqrt = user(out(add), "Sqrt");
    if (!e || sqrt < 0) return -1;
    *eps = *e;
    return out(sqrt);
  }
  bool vector_of(int v, int64_t n) {
    return v >= 0 && floats(v) && g_.value(v).size() == n && !dims(v).empty() &&
           dims(v).back() == n;
  }

  void replace(int at, std::string_view op, std::vector<int> inputs, std::vector<Attribute> attrs) {
    int base = std::max(0, at - 96);
    std::vector<char> before;
    for (int i = base; i < at; ++i) before.push_back(g_.step(i).removed);
    PlanStep& step = g_.step(at);
    step.op = Sym(op);
    step.node = NodeId();
    step.attrs = std::move(attrs);
    step.main_inputs = inputs.size();
    g_.set_inputs(at, std::move(inputs));
    std::vector<NodeId> nodes;
    for (int i = base; i < at; ++i)
      if (g_.step(i).removed && !before[static_cast<size_t>(i - base)])
        nodes.insert(nodes.end(), g_.step(i).nodes.begin(), g_.step(i).nodes.end());
    nodes.insert(nodes.end(), step.nodes.begin(), step.nodes.end());
    step.nodes = std::move(nodes);
  }
  bool takes(std::string_view op, std::vector<int> inputs, int result,
             const std::vector<Attribute>& attrs) {
    PlanStep s;
    s.op = Sym(op);
    s.in = std::move(inputs);
    s.main_inputs = s.in.size();
    s.out = {result};
    s.attrs = attrs;
    return g_.fits(s);
  }

  // (x - mean) / sqrt(mean((x - mean)^2) + eps) * gamma + beta
  bool layer_norm(int s) {
    int x = in(s, 0);
    if (!floats(x) || !mean_of_last(s, x)) return false;
    int sub = user(out(s), "Sub");
    if (sub < 0 || in(sub, 0) != x) return false;
    int d = out(sub);
    if (g_.kept(d)) return false;
    int square = -1, div = -1;
    for (int u : g_.users(d)) {
      if (squares(u, d))
        square = u;
      else if (g_.has_op(u, "Div") || g_.has_op(u, "Mul"))
        div = u;
      else
        return false;
    }
    if (square < 0 || div < 0) return false;
    int mean = user(out(square), "ReduceMean");
    float eps = 0;
    if (mean < 0 || !mean_of_last(mean, out(square))) return false;
    int std = root(out(mean), &eps);
    if (std < 0) return false;
    if (g_.has_op(div, "Mul")) {  // times a reciprocal
      int r = user(std, "Reciprocal");
      if (r < 0 || other(div, d) != out(r) || g_.sole_user(out(r)) != div) return false;
    } else if (in(div, 0) != d || in(div, 1) != std || g_.sole_user(std) != div) {
      return false;
    }
    int64_t n = dims(x).back();
    int at = div;
    std::vector<int> inputs = {x};
    int mul = user(out(div), "Mul");
    if (mul >= 0 && vector_of(other(mul, out(div)), n) && dims(out(mul)) == dims(x)) {
      inputs.push_back(other(mul, out(div)));
      at = mul;
      int add = user(out(mul), "Add");
      if (add >= 0 && vector_of(other(add, out(mul)), n) && dims(out(add)) == dims(x)) {
        inputs.push_back(other(add, out(mul)));
        at = add;
      }
    }
    std::vector<Attribute> attrs = {Attribute::of("axis", int64_t{-1}),
                                    Attribute::of("epsilon", eps)};
    if (!takes("LayerNormalization", inputs, out(at), attrs)) return false;
    replace(at, "LayerNormalization", std::move(inputs), std::move(attrs));
    return true;
  }

  // x / sqrt(mean(x^2) + eps) * gamma
  bool rms_norm(int s) {
    int square = g_.private_producer(in(s, 0), s);
    if (square < 0 || g_.step(square).in.empty()) return false;
    int x = in(square, 0);
    if (x < 0 || !floats(x) || !squares(square, x) || !mean_of_last(s, in(s, 0))) return false;
    float eps = 0;
    int std = root(out(s), &eps);
    if (std < 0) return false;
    int next = g_.sole_user(std);
    int at = -1;
    if (next < 0) return false;
    if (g_.has_op(next, "Div") && in(next, 0) == x) {
      at = next;
    } else {
      bool inverse = g_.has_op(next, "Reciprocal") ||
                     (g_.has_op(next, "Div") && g_.scalar(in(next, 0)) == 1.0f);
      if (!inverse) return false;
      at = user(out(next), "Mul");
      if (at < 0 || other(at, out(next)) != x) return false;
    }
    if (dims(out(at)) != dims(x)) return false;
    int64_t n = dims(x).back();
    int mul = user(out(at), "Mul");
    if (mul < 0 || !vector_of(other(mul, out(at)), n) || dims(out(mul)) != dims(x)) return false;
    std::vector<int> inputs = {x, other(mul, out(at))};
    std::vector<Attribute> attrs = {Attribute::of("axis", int64_t{-1}),
                                    Attribute::of("epsilon", eps)};
    if (!takes("RMSNormalization", inputs, out(mul), attrs)) return false;
    replace(mul, "RMSNormalization", std::move(inputs), std::move(attrs));
    return true;
  }

  // Reshape to [N, G, rest], InstanceNormalization with ones and zeros, Reshape back, scale, shift.
  bool group_norm(int s) {
    int reshape = g_.private_producer(in(s, 0), s);
    if (reshape < 0 || !g_.has_op(reshape, "Reshape")) return false;
    int x = in(reshape, 0);
    if (!floats(x) || dims(x).size() < 3 || dims(in(s, 0)).size() != 3) return false;
    int64_t channels = dims(x)[1], groups = dims(in(s, 0))[1];
    if (dims(in(s, 0))[0] != dims(x)[0] || groups < 1 || channels % groups) return false;
    const Tensor* one = g_.constant(in(s, 1));
    const Tensor* zero = g_.constant(in(s, 2));
    auto all = [](const Tensor* t, double c) {
      if (!t) return false;
      auto v = t->to_f64();
      return std::all_of(v.begin(), v.end(), [c](double y) { return y == c; });
    };
    if (!all(one, 1) || !all(zero, 0)) return false;
    int back = user(out(s), "Reshape");
    if (back < 0 || dims(out(back)) != dims(x)) return false;
    int at = back;
    auto channel_vector = [&](int step, int v) -> const Tensor* {
      const Tensor* t = step >= 0 ? g_.constant(other(step, v)) : nullptr;
      if (!t || t->dtype() != DType::kFloat || t->size() != channels) return nullptr;
      size_t rank = dims(x).size(), r = t->dims().size();
      if (r > rank || r + 1 < rank) return nullptr;
      return t->dims()[1 - (rank - r)] == channels ? t : nullptr;
    };
    auto make = [&](const Tensor* t, float fill) -> Tensor {
      if (t) return t->to_aligned().reshaped({channels});
      std::vector<float> f(static_cast<size_t>(channels), fill);
      return Tensor::of<float>({channels}, std::span<const float>(f));
    };
    int mul = user(out(back), "Mul");
    const Tensor* gamma = channel_vector(mul, out(back));
    if (gamma) at = mul;
    int add = user(out(at), "Add");
    const Tensor* beta = channel_vector(add, out(at));
    if (beta) at = add;
    std::vector<Attribute> attrs = {Attribute::of("num_groups", groups),
                                    Attribute::of("epsilon", node(s).attr_float("epsilon", 1e-5f))};
    Tensor g = make(gamma, 1), b = make(beta, 0);
    std::vector<int> inputs = {x, g_.add_constant(std::move(g)), g_.add_constant(std::move(b))};
    if (!takes("GroupNormalization", inputs, out(at), attrs)) return false;
    replace(at, "GroupNormalization", std::move(inputs), std::move(attrs));
    return true;
  }

  Rewire& g_;
};

}  // namespace

void fuse_patterns(Rewire& g) { Patterns(g).run(); }

}  // namespace onnxtool
