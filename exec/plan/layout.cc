// SPDX-License-Identifier: Apache-2.0
// Chooses plain or channels-last for every value. Each step has up to four ways to run (layout of
// its data inputs x layout of its outputs), as far as kernels accept them; the total cost is that
// of the kernels plus two passes over memory for each value that is needed in another layout than
// it is made in. A forward pass takes what is cheapest given the inputs, then sweeps in both
// directions improve one step at a time until nothing changes.
#include <algorithm>
#include <map>

#include "exec/plan/eltwise.h"
#include "exec/plan/rewire.h"

namespace onnxtool {
namespace {

constexpr int kSweeps = 8;
constexpr double kRankWeight = 0.02;  // cost of a rank step, in passes over the output

bool follows(const StepInfo& s, size_t i) {
  const Operand& o = s.in[i];
  if (!o.present() || o.rank() < 3) return false;
  return !o.constant || s.program || i >= s.main_inputs;
}

struct Way {
  Layout in = Layout::kPlain, out = Layout::kPlain;
  double cost = 0;
};

class Layouts {
 public:
  Layouts(Plan& plan, const Model& model, const KernelIndex& kernels)
      : plan_(plan), model_(model), kernels_(kernels) {}

  void run() {
    find_ways();
    if (!any_choice_) return;
    users_.resize(plan_.values.size());
    made_.assign(plan_.values.size(), -1);
    output_.assign(plan_.values.size(), 0);
    for (int s = 0; s < static_cast<int>(plan_.steps.size()); ++s) {
      const PlanStep& step = plan_.steps[static_cast<size_t>(s)];
      for (size_t i = 0; i < step.in.size(); ++i)
        if (step.in[i] >= 0) users_[static_cast<size_t>(step.in[i])].push_back({s, i});
      for (int v : step.out)
        if (v >= 0) made_[static_cast<size_t>(v)] = s;
      for (const PlanBody& b : step.bodies)
        for (const PlanBody::Capture& c : b.captures) output_[static_cast<size_t>(c.value)] = 1;
    }
    for (int v : plan_.outputs) output_[static_cast<size_t>(v)] = 1;
    choice_.assign(plan_.steps.size(), 0);
    int n = static_cast<int>(plan_.steps.size());
    for (int s = 0; s < n; ++s) improve(s, true);
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      bool changed = false;
      for (int k = 0; k < n; ++k) changed |= improve(sweep % 2 ? k : n - 1 - k, false);
      if (!changed) break;
    }
    apply();
  }

 private:
  void find_ways() {
    for (PlanStep& step : plan_.steps) {
      std::vector<Way> ways;
      StepInfo info = step_info(plan_, step, model_);
      bool can = !step.dynamic && step.bodies.empty() && !info.has_objects;
      auto image = [](const Operand& o) {
        return o.present() && o.rank() >= 3 && !layout_free(o.dims);
      };
      bool in = false, out = false;
      for (size_t i = 0; i < info.in.size(); ++i) in |= follows(info, i) && image(info.in[i]);
      for (const Operand& o : info.out) out |= image(o);
      for (int v : step.in) can = can && (v < 0 || plan_.values[static_cast<size_t>(v)].known);
      for (int v : step.out) can = can && (v < 0 || plan_.values[static_cast<size_t>(v)].known);
      if (can && (in || out)) {
        double bytes = 0;
        for (const Operand& o : info.out) bytes += static_cast<double>(o.bytes());
        for (int combo = 0; combo < 4; ++combo) {
          Way w{combo & 1 ? Layout::kChannelsLast : Layout::kPlain,
                combo & 2 ? Layout::kChannelsLast : Layout::kPlain};
          if ((w.in == Layout::kChannelsLast && !in) || (w.out == Layout::kChannelsLast && !out))
            continue;
          set_layouts(info, w.in, w.out);
          for (const Kernel* k : kernels_.candidates(step.op)) {
            if (refusal(*k, info)) continue;
            w.cost = k->rank * kRankWeight * bytes;
            ways.push_back(w);
            break;
          }
        }
      }
      if (ways.empty()) ways.push_back({});
      if (ways.size() > 1 || ways[0].in != Layout::kPlain || ways[0].out != Layout::kPlain)
        any_choice_ = true;
      ways_.push_back(std::move(ways));
    }
  }

  const Way& way(int s) const {
    return ways_[static_cast<size_t>(s)][static_cast<size_t>(choice_[static_cast<size_t>(s)])];
  }
  bool free(int v) const {
    const PlanValue& value = plan_.values[static_cast<size_t>(v)];
    return !value.known || layout_free(value.dims);
  }
  bool constant_weight(int s, size_t i) const {
    const PlanStep& step = plan_.steps[static_cast<size_t>(s)];
    return plan_.values[static_cast<size_t>(step.in[i])].is_constant() && !step.program &&
           i < step.main_inputs;
  }
  Layout produced(int v) const {
    int s = made_[static_cast<size_t>(v)];
    return s < 0 ? Layout::kPlain : way(s).out;
  }
  // Cost of reorders of v: one if some user wants the other layout.
  double value_cost(int v, bool forward, int upto) const {
    if (v < 0 || free(v) || plan_.values[static_cast<size_t>(v)].is_constant()) return 0;
    Layout l = produced(v);
    bool other = output_[static_cast<size_t>(v)] && l != Layout::kPlain && !forward;
    for (auto [s, i] : users_[static_cast<size_t>(v)])
      if ((!forward || s <= upto) && way(s).in != l) other = true;
    return other ? 2.0 * static_cast<double>(plan_.values[static_cast<size_t>(v)].bytes) + 2000 : 0;
  }
  double local_cost(int s, bool forward) const {
    const PlanStep& step = plan_.steps[static_cast<size_t>(s)];
    double cost = way(s).cost;
    for (size_t i = 0; i < step.in.size(); ++i)
      if (step.in[i] >= 0) cost += value_cost(step.in[i], forward, s);
    for (int v : step.out)
      if (!forward) cost += value_cost(v, false, s);
    return cost;
  }
  bool improve(int s, bool forward) {
    auto& choice = choice_[static_cast<size_t>(s)];
    int n = static_cast<int>(ways_[static_cast<size_t>(s)].size());
    if (n == 1) return false;
    int old = choice, best = old;
    double best_cost = local_cost(s, forward);
    for (int c = 0; c < n; ++c) {
      if (c == old) continue;
      choice = c;
      double cost = local_cost(s, forward);
      if (cost < best_cost || (forward && cost == best_cost && c > best)) {
        best = c;
        best_cost = cost;
      }
    }
    choice = best;
    return best != old;
  }

  void apply() {
    std::vector<PlanStep> old;
    old.swap(plan_.steps);
    std::map<std::pair<int, Layout>, int> other;  // value in another layout
    auto wanted = [&](int v, Layout l) {
      if (plan_.values[static_cast<size_t>(v)].layout == l) return v;
      if (free(v)) {  // same bytes: a view with another name for its order
        if (l == Layout::kPlain) return v;
      }
      auto [it, fresh] = other.try_emplace({v, l}, -1);
      if (fresh) it->second = reorder(v, l);
      return it->second;
    };
    for (size_t s = 0; s < old.size(); ++s) {
      PlanStep step = std::move(old[s]);
      const Way& w = way(static_cast<int>(s));
      for (int v : step.out)
        if (v >= 0 && !free(v) && plan_.values[static_cast<size_t>(v)].dims.size() >= 3)
          plan_.values[static_cast<size_t>(v)].layout = w.out;
      for (size_t i = 0; i < step.in.size(); ++i) {
        int v = step.in[i];
        if (v < 0 || free(v)) continue;
        bool weight = plan_.values[static_cast<size_t>(v)].is_constant() && !step.program &&
                      i < step.main_inputs;
        if (weight) continue;
        step.in[i] = wanted(v, w.in);
      }
      for (PlanBody& b : step.bodies)
        for (PlanBody::Capture& c : b.captures) c.value = wanted(c.value, Layout::kPlain);
      plan_.steps.push_back(std::move(step));
    }
    for (int& v : plan_.outputs) v = wanted(v, Layout::kPlain);
  }

  int reorder(int v, Layout to) {
    PlanValue& from = plan_.values[static_cast<size_t>(v)];
    if (from.is_constant() && to == Layout::kChannelsLast && from.settle().ok()) {
      int c = add_plan_constant(plan_, moved(from.constant));
      plan_.values[static_cast<size_t>(c)].layout = to;
      return c;
    }
    PlanValue value;
    value.type = from.type;
    value.dtype = from.dtype;
    value.known = true;
    value.dims = from.dims;
    value.layout = to;
    value.bytes = from.bytes;
    plan_.values.push_back(std::move(value));
    int r = static_cast<int>(plan_.values.size()) - 1;
    PlanStep step;
    step.op = step_kind::kReorder;
    step.in = {v};
    step.main_inputs = 1;
    step.out = {r};
    plan_.steps.push_back(std::move(step));
    return r;
  }

  // Bytes of a constant in channels-last order; the dims stay the logical ones.
  static Tensor moved(const Tensor& t) {
    auto r = Tensor::allocate(t.dtype(), t.dims());
    ONNXTOOL_CHECK(r.ok());
    const Dims& d = t.dims();
    size_t size = static_cast<size_t>(dtype_bits(t.dtype()) / 8);
    int64_t spatial = 1;
    for (size_t i = 2; i < d.size(); ++i) spatial *= d[i];
    std::byte* to = r->mutable_raw();
    for (int64_t n = 0; n < d[0]; ++n)
      for (int64_t s = 0; s < spatial; ++s)
        for (int64_t c = 0; c < d[1]; ++c, to += size)
          std::copy_n(t.raw() + static_cast<size_t>((n * d[1] + c) * spatial + s) * size, size, to);
    return std::move(*r);
  }

  Plan& plan_;
  const Model& model_;
  const KernelIndex& kernels_;
  std::vector<std::vector<Way>> ways_;
  std::vector<int> choice_;
  std::vector<std::vector<std::pair<int, size_t>>> users_;
  std::vector<int> made_;
  std::vector<char> output_;
  bool any_choice_ = false;
};

}  // namespace

void set_layouts(StepInfo& info, Layout in, Layout out) {
  for (size_t i = 0; i < info.in.size(); ++i)
    info.in[i].layout = follows(info, i) && !layout_free(info.in[i].dims) ? in : Layout::kPlain;
  for (Operand& o : info.out)
    o.layout = o.present() && o.rank() >= 3 && !layout_free(o.dims) ? out : Layout::kPlain;
}

Status assign_layouts(Plan& plan, const Model& model, const KernelIndex& kernels) {
  Layouts(plan, model, kernels).run();
  return ok();
}

}  // namespace onnxtool
