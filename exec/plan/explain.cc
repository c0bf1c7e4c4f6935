// SPDX-License-Identifier: Apache-2.0
// Plans as text: one line a step, then why other kernels were passed over.
#include <algorithm>

#include "exec/plan/plan.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

std::string value_text(const Plan& plan, int v) {
  if (v < 0) return "-";
  const PlanValue& value = plan.values[static_cast<size_t>(v)];
  if (!value.is_tensor()) return value.type.text();
  std::string text;
  if (value.dtype != DType::kFloat) text = std::string(dtype_name(value.dtype));
  text += value.known ? to_string(value.dims) : "[?]";
  if (value.layout == Layout::kChannelsLast) text += "cl";
  return text;
}

std::string place_text(const Plan& plan, int v) {
  if (v < 0) return "-";
  int r = v;
  while (plan.values[static_cast<size_t>(r)].view_of >= 0)
    r = plan.values[static_cast<size_t>(r)].view_of;
  const PlanValue& root = plan.values[static_cast<size_t>(r)];
  std::string alias = r == v ? "" : format("={}", r);
  switch (root.place) {
    case Place::kNone: return "none";
    case Place::kConstant: return "constant";
    case Place::kInput: return format("input {}{}", root.index, alias);
    case Place::kOutput: return format("output {}{}", root.index, alias);
    case Place::kArena: return format("@{}+{}{}", root.offset, root.bytes, alias);
    case Place::kHeap: return "heap" + alias;
  }
  return {};
}

}  // namespace

std::string step_shapes(const Plan& plan, const PlanStep& step) {
  std::string text;
  for (int v : step.in)
    if (v >= 0) text += value_text(plan, v) + " ";
  text += "->";
  for (int v : step.out)
    if (v >= 0) text += " " + value_text(plan, v);
  return text;
}

std::string step_ops(const Plan& plan, const PlanStep& step, const Model& model) {
  (void)plan;
  std::string text;
  if (step.nodes.empty()) return step.op.str();
  for (size_t i = 0; i < step.nodes.size(); ++i) {
    if (i == 6 && step.nodes.size() > 8) {
      text += format("+{} more", step.nodes.size() - i);
      break;
    }
    text += (i ? "+" : "") + model.node(step.nodes[i]).op.str();
  }
  return escape(text, 200);
}

std::string explain_plan(const Plan& plan, const Model& model) {
  std::string text = format(
      "{} steps, {} nodes folded into {} of constants, arena {} (at least {})\n", plan.steps.size(),
      plan.folded_nodes, human_bytes(static_cast<uint64_t>(plan.folded_bytes)),
      human_bytes(static_cast<uint64_t>(plan.arena_bytes)),
      human_bytes(static_cast<uint64_t>(plan.arena_lower_bound)));
  const bool device = std::any_of(plan.steps.begin(), plan.steps.end(),
                                  [](const PlanStep& s) { return s.on_device; });
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    std::string kernel = step.kernel ? step.kernel->name : "chosen at run time";
    if (step.prepared && !step.prepared->detail.empty())
      kernel += " (" + step.prepared->detail + ")";
    if (device && !step.on_device && !(step.kernel && step.kernel->view)) kernel += " on the host";
    std::string places;
    for (int v : step.out) places += (places.empty() ? "" : ", ") + place_text(plan, v);
    text += format("{:4} {:28} {:28} {}  [{}]", i, step_ops(plan, step, model), kernel,
                   step_shapes(plan, step), places);
    for (const PostOp& p : step.post) text += format(" +{}", elt_name(p.op));
    text += '\n';
    for (const auto& [name, why] : step.refused) text += format("       not {}: {}\n", name, why);
  }
  return text;
}

}  // namespace onnxtool
