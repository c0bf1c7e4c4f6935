// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/plan.h"

#include <algorithm>

#include "exec/plan/concretize.h"
#include "exec/plan/rewire.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

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

Status choose_all(Plan& plan, const Model& model, const KernelIndex& kernels, PrepareContext& ctx,
                  const PlanOptions& options) {
  for (PlanStep& step : plan.steps) {
    if (step.dynamic) continue;
    auto where = [&] { return step.node.valid() ? model.describe(step.node) : step.op.str(); };
    StepInfo info = step_info(plan, step, model);
    auto chosen =
        choose_kernel(info, kernels, ctx, options.keep_refusals ? &step.refused : nullptr);
    if (!chosen.ok()) return std::move(chosen).context(where()).error();
    step.kernel = chosen->kernel;
    step.prepared = std::move(chosen->prepared);
  }
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
                       const PlanOptions& options) {
  Plan plan;
  const Model& model = *request.model;
  TRY(concretize(request, kernels, ctx, options, plan));
  drop_dead_steps(plan, options);
  for (PlanStep& step : plan.steps) step.dynamic = is_dynamic(plan, step);
  if (options.fuse) TRY(fuse(plan, model, kernels, options));
  TRY(size_values(plan, options.memory_limit));
  if (options.fuse) TRY(assign_layouts(plan, model, kernels));
  TRY(choose_all(plan, model, kernels, ctx, options));
  place_values(plan, model);
  if (plan.arena_bytes > options.memory_limit)
    return unsupported(format("the plan needs {} of memory, over the limit",
                              human_bytes(static_cast<uint64_t>(plan.arena_bytes))));
  return plan;
}

}  // namespace onnxtool
