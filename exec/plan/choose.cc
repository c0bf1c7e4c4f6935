// SPDX-License-Identifier: Apache-2.0
// The lists of kernels, and the choice of one for a step.
#include <algorithm>
#include <unordered_map>

#include "exec/plan/plan.h"
#include "exec/plan/tune.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {

struct KernelIndex::Map {
  std::unordered_map<Sym, std::vector<const Kernel*>> by_op;
  std::vector<const Kernel*> any;  // only those for every step
};

KernelIndex::KernelIndex(std::span<const KernelTable* const> tables, Options options,
                         std::span<const KernelTable* const> device) {
  auto map = std::make_shared<Map>();
  std::vector<const Kernel*> all;
  for (const KernelTable* t : tables)
    for (size_t i = 0; i < t->count; ++i)
      if (!options.reference_only || t->kernels[i].rank >= kReferenceRank || t->kernels[i].empty)
        all.push_back(&t->kernels[i]);
  for (const KernelTable* t : device)
    for (size_t i = 0; i < t->count; ++i) all.push_back(&t->kernels[i]);
  for (size_t i = 0; i < plan_views.count; ++i) all.push_back(&plan_views.kernels[i]);
  for (const Kernel* k : all) {
    std::string_view ops = k->ops;
    while (!ops.empty()) {
      size_t end = std::min(ops.find(' '), ops.size());
      std::string_view op = ops.substr(0, end);
      ops.remove_prefix(std::min(end + 1, ops.size()));
      if (op == "*")
        map->any.push_back(k);
      else if (!op.empty())
        map->by_op[Sym(op)].push_back(k);
    }
  }
  const auto rank = [&](const Kernel* k) {
    const bool library = options.libraries_last && std::string_view(k->name).starts_with("onednn_");
    return k->rank + (library ? kReferenceRank / 2 : 0);
  };
  auto by_rank = [&](const Kernel* a, const Kernel* b) {
    if (a->device != b->device) return a->device;
    const int at = rank(a), bt = rank(b);
    return at != bt ? at < bt : std::string_view(a->name) < b->name;
  };
  for (auto& [op, list] : map->by_op) {
    list.insert(list.end(), map->any.begin(), map->any.end());
    std::sort(list.begin(), list.end(), by_rank);
  }
  std::sort(map->any.begin(), map->any.end(), by_rank);
  map_ = std::move(map);
}

std::span<const Kernel* const> KernelIndex::candidates(Sym op) const {
  auto it = map_->by_op.find(op);
  return it == map_->by_op.end() ? map_->any : it->second;
}

StepInfo step_info(const Plan& plan, const PlanStep& step, const Model& model) {
  StepInfo info;
  info.op = step.op;
  info.model = &model;
  info.node = step.node.valid() ? &model.node(step.node) : nullptr;
  info.main_inputs = step.main_inputs;
  info.attrs = step.attrs;
  info.post = step.post;
  info.program = step.program.get();
  info.attention = step.attention.get();
  auto operand = [&](int v) {
    Operand o;
    if (v < 0) return o;
    const PlanValue& value = plan.values[static_cast<size_t>(v)];
    o.dtype = value.dtype;
    o.dims = value.dims;
    o.layout = value.layout;
    if (value.is_constant()) o.constant = &value.constant;
    return o;
  };
  for (int v : step.in) info.in.push_back(operand(v));
  for (int v : step.out) info.out.push_back(operand(v));
  for (int v : step.in)
    if (v >= 0 && !plan.values[static_cast<size_t>(v)].is_tensor()) info.has_objects = true;
  for (int v : step.out)
    if (v >= 0 && !plan.values[static_cast<size_t>(v)].is_tensor()) info.has_objects = true;
  info.has_objects |= !step.bodies.empty();
  return info;
}

const char* refusal(const Kernel& kernel, const StepInfo& step) {
  if (kernel.rank < kReferenceRank) {
    if (step.sizes_unknown && !kernel.sizes_outputs) return "sizes known only while running";
    if (step.has_objects) return "a value that is not a tensor";
    for (const Operand& o : step.in) {
      if (o.dtype == DType::kString) return "strings";
      if (o.present() && o.size() == 0 && !kernel.empty) return "an empty input";
    }
    for (const Operand& o : step.out)
      if (o.present() && o.size() == 0 && !kernel.empty) return "an empty output";
  }
  return kernel.accept(step);
}

Result<Chosen> choose_kernel(const StepInfo& step, const KernelIndex& kernels, PrepareContext& ctx,
                             std::vector<std::pair<const char*, std::string>>* refused, Side side) {
  if (const Kernel* k =
          ctx.tuner ? ctx.tuner->fastest(step, kernels.candidates(step.op), ctx) : nullptr) {
    auto prepared = k->prepare(step, ctx);
    if (prepared.ok()) return Chosen{k, std::shared_ptr<const Prepared>(std::move(*prepared))};
  }
  std::string last;
  for (const Kernel* k : kernels.candidates(step.op)) {
    if (!k->view && k->device != (side == Side::kDevice)) continue;
    if (const char* why = refusal(*k, step)) {
      if (refused) refused->emplace_back(k->name, why);
      last = why;
      continue;
    }
    if (k->view) return Chosen{k, nullptr};
    auto prepared = k->prepare(step, ctx);
    if (prepared.ok()) return Chosen{k, std::shared_ptr<const Prepared>(std::move(*prepared))};
    if (prepared.error().code != Code::kUnsupported) return std::move(prepared).error();
    if (refused) refused->emplace_back(k->name, prepared.error().message);
    last = prepared.error().message;
  }
  std::string types;
  for (const Operand& o : step.in)
    if (o.present()) types += format(" {}{}", dtype_name(o.dtype), to_string(o.dims));
  return unsupported(format("no kernel for '{}' with{}: {}", escape(step.op.view()), types, last));
}

}  // namespace onnxtool
