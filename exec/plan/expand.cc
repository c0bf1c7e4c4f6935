// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/expand.h"

#include <algorithm>

namespace onnxtool {

void Expander::run() {
  std::vector<PlanStep> old;
  old.swap(plan_.steps);
  for (PlanStep& step : old) {
    made_.clear();
    if (step.node.valid() && !step.dynamic && step.bodies.empty() && known(step) && expand(step)) {
      for (PlanStep& s : made_) plan_.steps.push_back(std::move(s));
    } else {
      plan_.steps.push_back(std::move(step));
    }
  }
}

bool Expander::known(const PlanStep& s) {
  for (size_t i = 0; i < s.in.size(); ++i) {
    const int v = s.in[i];
    if (v >= 0 && (!at(v).known || (at(v).size() == 0 && !may_be_empty(s, i)))) return false;
  }
  const auto fine = [&](int v) { return v < 0 || (at(v).known && at(v).size() > 0); };
  return std::all_of(s.out.begin(), s.out.end(), fine) && !s.out.empty() && s.out[0] >= 0;
}

int Expander::new_value(DType t, const Dims& dims) {
  PlanValue v;
  v.dtype = t;
  v.known = true;
  v.dims = dims;
  v.type = Type::tensor(t, to_shape(dims));
  plan_.values.push_back(std::move(v));
  return static_cast<int>(plan_.values.size()) - 1;
}

PlanStep& Expander::push(std::string_view op, const PlanStep& from, std::vector<int> inputs,
                         int out) {
  PlanStep s;
  s.op = Sym(op);
  s.nodes = from.nodes;
  s.in = std::move(inputs);
  s.main_inputs = s.in.size();
  s.out = {out};
  return made_.emplace_back(std::move(s));
}

void Expander::program(EltProgram p, const PlanStep& from, std::vector<int> inputs, int out) {
  push(step_kind::kElementwise, from, std::move(inputs), out).program =
      std::make_shared<EltProgram>(std::move(p));
}

bool Expander::main_step(std::string_view op, const PlanStep& from, std::vector<int> inputs,
                         int out) {
  PlanStep& s = push(op, from, std::move(inputs), out);
  s.node = from.node;
  s.attrs.push_back(Attribute::of("plan.expanded", int64_t{1}));
  return fits();
}

}  // namespace onnxtool
