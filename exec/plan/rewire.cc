// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/rewire.h"

#include <algorithm>

#include "exec/plan/concretize.h"
#include "exec/plan/eltwise.h"
#include "exec/plan/expand.h"

namespace onnxtool {

Rewire::Rewire(Plan& p, const Model& m, const KernelIndex& k, const PlanOptions& options)
    : plan(p), model(m), kernels(k) {
  size_t n = plan.values.size();
  producer_.assign(n, -1);
  users_.resize(n);
  kept_.assign(n, options.keep_all ? 1 : 0);
  for (int v : plan.outputs) kept_[static_cast<size_t>(v)] = 1;
  for (size_t v = 0; v < n; ++v)
    if (plan.values[v].origin.valid() && std::find(options.keep.begin(), options.keep.end(),
                                                   plan.values[v].origin) != options.keep.end())
      kept_[v] = 1;
  for (int s = 0; s < steps(); ++s) {
    for (int v : step(s).in)
      if (v >= 0) users_[static_cast<size_t>(v)].push_back(s);
    for (int v : step(s).out)
      if (v >= 0) producer_[static_cast<size_t>(v)] = s;
    for (const PlanBody& b : step(s).bodies)
      for (const PlanBody::Capture& c : b.captures) {
        kept_[static_cast<size_t>(c.value)] = 1;
        users_[static_cast<size_t>(c.value)].push_back(s);
      }
  }
}

int Rewire::sole_user(int v) const {
  if (kept(v) || users(v).empty()) return -1;
  for (int s : users(v))
    if (s != users(v)[0]) return -1;
  return users(v)[0];
}

int Rewire::private_producer(int v, int user) const {
  if (v < 0 || producer(v) < 0) return -1;
  return sole_user(v) == user ? producer(v) : -1;
}

void Rewire::unuse(int v, int s) {
  auto& list = users_[static_cast<size_t>(v)];
  auto it = std::find(list.begin(), list.end(), s);
  if (it != list.end()) list.erase(it);
}

void Rewire::set_inputs(int s, std::vector<int> in) {
  for (int v : in)
    if (v >= 0) users_[static_cast<size_t>(v)].push_back(s);
  std::vector<int> old = std::move(step(s).in);
  step(s).in = std::move(in);
  for (int v : old)
    if (v >= 0) unuse(v, s);
  for (int v : old)
    if (v >= 0 && users(v).empty() && !kept(v) && producer(v) >= 0) {
      int p = producer(v);
      bool needed = std::any_of(step(p).out.begin(), step(p).out.end(),
                                [&](int o) { return o >= 0 && (kept(o) || !users(o).empty()); });
      if (!needed) remove(p);
    }
}

void Rewire::set_output(int s, size_t i, int v) {
  if (step(s).out.size() <= i) step(s).out.resize(i + 1, -1);
  step(s).out[i] = v;
  if (v >= 0) producer_[static_cast<size_t>(v)] = s;
}

void Rewire::add_value(int v) {
  size_t n = static_cast<size_t>(v) + 1;
  if (producer_.size() < n) {
    producer_.resize(n, -1);
    users_.resize(n);
    kept_.resize(n, 0);
  }
}

void Rewire::remove(int s) {
  if (step(s).removed) return;
  step(s).removed = true;
  for (int v : step(s).out)
    if (v >= 0 && producer(v) == s) producer_[static_cast<size_t>(v)] = -1;
  set_inputs(s, {});
}

void Rewire::take_in(int s, int e, PlanStep fused) {
  const int out = fused.out[0];
  std::vector<int> in = fused.in;
  // Slot s disappears without taking its producers along.
  fused.in = step(e).in;
  step(e) = std::move(fused);
  step(e).removed = false;
  set_inputs(e, std::move(in));
  set_output(e, 0, out);
  step(s).out.assign(1, -1);
  step(s).removed = false;
  remove(s);
}

std::optional<float> Rewire::scalar(int v) {
  const Tensor* t = constant(v);
  if (!t || t->size() != 1 || t->is_string()) return std::nullopt;
  return static_cast<float>(t->f64_at(0));
}

const Tensor* Rewire::constant(int v) {
  if (v < 0 || !value(v).is_constant() || !value(v).settle().ok()) return nullptr;
  return &value(v).constant;
}

bool fits_some_kernel(const Plan& plan, const PlanStep& s, const Model& model,
                      const KernelIndex& kernels) {
  auto known = [&](int v) { return v < 0 || plan.values[static_cast<size_t>(v)].known; };
  if (!std::all_of(s.in.begin(), s.in.end(), known) ||
      !std::all_of(s.out.begin(), s.out.end(), known))
    return false;
  StepInfo info = step_info(plan, s, model);
  for (auto [in, out] : {std::pair(Layout::kPlain, Layout::kPlain),
                         std::pair(Layout::kChannelsLast, Layout::kChannelsLast)}) {
    set_layouts(info, in, out);
    for (const Kernel* k : kernels.candidates(s.op))
      if (k->rank < kReferenceRank && !refusal(*k, info)) return true;
  }
  return false;
}

int Rewire::add_constant(Tensor t) {
  int v = add_plan_constant(plan, std::move(t));
  add_value(v);
  return v;
}

Result<int> Rewire::add_constant(DType dtype, const Dims& dims, MakeTensor make, int depth) {
  TRY_ASSIGN(int v, add_plan_constant(plan, dtype, dims, std::move(make), depth));
  add_value(v);
  return v;
}

int Rewire::add_value_like(int v, DType t) {
  PlanValue r;
  r.dtype = t;
  r.known = true;
  r.dims = value(v).dims;
  r.type = Type::tensor(t, to_shape(r.dims));
  plan.values.push_back(std::move(r));
  const int at = static_cast<int>(plan.values.size()) - 1;
  add_value(at);
  return at;
}

Status fuse(Plan& plan, const Model& model, const KernelIndex& kernels,
            const PlanOptions& options) {
  QuantizedConstants constants;
  if (!options.keep_all) {
    expand_attention(plan, model, kernels);
    expand_quantized(plan, model, kernels, constants);
  }
  Rewire g(plan, model, kernels, options);
  fuse_patterns(g);
  fuse_attention(g);
  fuse_eltwise(g);
  fuse_quantized(g, constants);
  fuse_rounding(g);
  fuse_epilogues(g);
  fuse_regions(g);
  fuse_residuals(g);
  drop_dead_steps(plan, options);
  return ok();
}

}  // namespace onnxtool
