// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/plan.h"

#include <algorithm>
#include <mutex>

#include "exec/plan/concretize.h"
#include "exec/plan/rewire.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/base/threads.h"

namespace onnxtool {
namespace {

bool is_dynamic(const Plan& plan, const PlanStep& step) {
  auto unknown = [&](int v) {
    if (v < 0) return false;
    const PlanValue& value = plan.values[static_cast<size_t>(v)];
    return value.is_tensor() ? !value.known : !value.type.known() || value.type.is_tensor();
  };
  return std::any_of(step.in.begin(), step.in.end(), unknown) ||
         std::any_of(step.out.begin(), step.out.end(), unknown);
}

// Lets go of constants once every step that takes them has packed them: a copy that was widened
// for a plan and its packed form are not there together for longer than one step.
class PackedConstants {
 public:
  explicit PackedConstants(Plan& plan) : plan_(plan), readers_(plan.values.size(), 0) {
    const auto count = [&](int v) {
      if (v >= 0) ++readers_[static_cast<size_t>(v)];
    };
    for (const PlanStep& step : plan.steps) {
      std::for_each(step.in.begin(), step.in.end(), count);
      for (const PlanBody& body : step.bodies)
        for (const PlanBody::Capture& c : body.captures) count(c.value);
    }
    std::for_each(plan.outputs.begin(), plan.outputs.end(), count);
    for (size_t v = 0; v < readers_.size(); ++v)
      if (readers_[v] == 0 && plan.values[v].is_constant())
        plan.values[v].constant = hollow(plan.values[v].constant);
  }
  Status settle(const PlanStep& step) {
    std::lock_guard lock(mutex_);
    for (int v : step.in)
      if (v >= 0) TRY(plan_.values[static_cast<size_t>(v)].settle());
    return ok();
  }
  void prepared(const PlanStep& step) {
    std::lock_guard lock(mutex_);
    const uint64_t unread = step.prepared ? step.prepared->unread_inputs : 0;
    for (size_t k = 0; k < step.in.size() && k < 64; ++k) {
      if (step.in[k] < 0 || !(unread >> k & 1)) continue;
      PlanValue& v = plan_.values[static_cast<size_t>(step.in[k])];
      if (--readers_[static_cast<size_t>(step.in[k])] > 0 || !v.is_constant()) continue;
      v.constant = hollow(v.constant);
    }
  }

 private:
  Plan& plan_;
  std::mutex mutex_;
  std::vector<int> readers_;  // steps that take a value; those that still read it stay counted
};

// Constants that no kernel packs are made: what bodies, outputs and steps of unknown sizes take.
Status settle_read(Plan& plan, bool all) {
  std::vector<int> read = plan.outputs;
  for (const PlanStep& step : plan.steps) {
    if (all || step.dynamic) read.insert(read.end(), step.in.begin(), step.in.end());
    for (const PlanBody& body : step.bodies)
      for (const PlanBody::Capture& c : body.captures) read.push_back(c.value);
  }
  for (int v : read)
    if (v >= 0) TRY(plan.values[static_cast<size_t>(v)].settle());
  return ok();
}

// The model lets go of the constants that the plan has.
void take_constants(const Plan& plan, Model& model) {
  for (const PlanValue& v : plan.values) {
    if (!v.is_constant() || !v.origin.valid() || !model.value(v.origin).is_constant()) continue;
    if (const Tensor* t = model.constant(v.origin)) model.set_constant(v.origin, hollow(*t));
  }
}

// What a prepared step needs, without what it holds.
class Needs final : public Prepared {
 public:
  explicit Needs(const Prepared& of) {
    scratch_bytes = of.scratch_bytes;
    unread_inputs = of.unread_inputs;
    any_alignment = of.any_alignment;
    detail = of.detail;
  }
  Status run(const RunArgs&) const override { return internal_error("a step is not prepared"); }
};

Status choose_all(Plan& plan, const Model& model, const KernelIndex& kernels, PrepareContext& ctx,
                  const PlanOptions& options) {
  PackedConstants packed(plan);
  const auto choose = [&](PlanStep& step) -> Status {
    if (step.kernel) {  // on the device
      packed.prepared(step);
      return ok();
    }
    if (options.keep_packs) TRY(packed.settle(step));
    StepInfo info = step_info(plan, step, model);
    std::deque<Tensor> made;
    TRY(add_contents(plan, step, info, made));
    auto chosen =
        choose_kernel(info, kernels, ctx, options.keep_refusals ? &step.refused : nullptr);
    if (!chosen.ok())
      return std::move(chosen)
          .context(step.node.valid() ? model.describe(step.node) : step.op.str())
          .error();
    step.kernel = chosen->kernel;
    step.prepared = std::move(chosen->prepared);
    step.prepare_again = !options.keep_packs && step.prepared && step.prepared->unread_inputs != 0;
    if (step.prepare_again)
      step.prepared = std::make_shared<Needs>(*step.prepared);
    else
      packed.prepared(step);
    return ok();
  };
  std::vector<Status> done(plan.steps.size());
  const auto choose_some = [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      if (!plan.steps[i].dynamic) done[i] = choose(plan.steps[i]);
  };
  const auto all = static_cast<int64_t>(done.size());
  // Packing weights and generating code is most of the work of a plan: all threads take part, but
  // where kernels that are measured want them for themselves.
  if (ctx.tuner)
    choose_some(0, all);
  else
    parallel_for(all, 1, choose_some);
  for (Status& s : done) TRY(std::move(s));
  return ok();
}

Status size_values(Plan& plan, int64_t limit) {
  for (PlanValue& v : plan.values) {
    if (!v.known || v.is_constant()) continue;
    auto bytes =
        v.dtype == DType::kString ? std::optional<int64_t>(0) : raw_bytes(v.dtype, v.size());
    if (!bytes || *bytes > limit)
      return unsupported(format("a value of shape {} is over the memory limit", to_string(v.dims)));
    v.bytes = *bytes;
  }
  return ok();
}

}  // namespace

int64_t PlanValue::size() const { return checked_product(dims).value_or(0); }

Result<Plan> make_plan(const PlanRequest& request, const KernelIndex& kernels, PrepareContext& ctx,
                       const PlanOptions& options, PrepareContext* device) {
  Plan plan;
  const Model& model = *request.model;
  TRY(concretize(request, kernels, ctx, options, plan));
  drop_dead_steps(plan, options);
  for (PlanStep& step : plan.steps) step.dynamic = is_dynamic(plan, step);
  if (options.fuse) TRY(fuse(plan, model, kernels, options));
  TRY(size_values(plan, options.memory_limit));
  TRY(settle_read(plan, device != nullptr));
  if (options.fuse) TRY(assign_layouts(plan, model, kernels));
  if (request.take) take_constants(plan, *request.take);
  if (device) TRY(assign_devices(plan, model, kernels, *device, options));
  TRY(choose_all(plan, model, kernels, ctx, options));
  place_values(plan, model);
  if (plan.arena_bytes > options.memory_limit)
    return unsupported(format("the plan needs {} of memory, over the limit",
                              human_bytes(static_cast<uint64_t>(plan.arena_bytes))));
  return plan;
}

}  // namespace onnxtool
