// SPDX-License-Identifier: Apache-2.0
// Last stage of a plan: where each value lies. Views share their source's bytes, an output takes
// over the place of an input that nobody needs any more where the kernel allows it, results are
// written where the caller gets them, and the rest is packed into one arena.
#include <algorithm>

#include "exec/plan/memory.h"
#include "exec/plan/plan.h"

namespace onnxtool {
namespace {

class Placer {
 public:
  explicit Placer(Plan& plan)
      : plan_(plan), last_(plan.values.size(), -1), first_(plan.values.size(), -1) {}

  void run() {
    resolve_views();
    uses();
    assign();
    in_place();
    plan_.arena_bytes = arena(false, &plan_.arena_lower_bound);
    plan_.device_arena_bytes = arena(true, nullptr);
  }

 private:
  PlanValue& at(int v) { return plan_.values[static_cast<size_t>(v)]; }
  int root(int v) {
    while (at(v).view_of >= 0) v = at(v).view_of;
    return v;
  }

  void resolve_views() {
    for (PlanStep& step : plan_.steps)
      if (step.kernel && step.kernel->view && !step.dynamic)
        at(step.out[0]).view_of = root(step.in[0]);
  }

  void uses() {
    for (int i = 0; i < static_cast<int>(plan_.steps.size()); ++i) {
      PlanStep& step = plan_.steps[static_cast<size_t>(i)];
      auto touch = [&](int v) {
        if (v < 0) return;
        int r = root(v);
        last_[static_cast<size_t>(r)] = i;
        if (first_[static_cast<size_t>(r)] < 0) first_[static_cast<size_t>(r)] = i;
      };
      for (int v : step.in) touch(v);
      for (int v : step.out) touch(v);
      for (const PlanBody& b : step.bodies)
        for (const PlanBody::Capture& c : b.captures) touch(c.value);
    }
  }

  void assign() {
    for (PlanStep& step : plan_.steps) {
      // What these steps give is allocated while running.
      bool heap = step.dynamic || (step.kernel && step.kernel->rank >= kReferenceRank);
      for (int v : step.out) {
        if (v < 0) continue;
        PlanValue& value = at(v);
        if (value.view_of >= 0) continue;
        const bool strings = value.dtype == DType::kString;  // kernels give them to their host
        value.place = heap || !value.known || strings ? Place::kHeap : Place::kArena;
      }
    }
    for (int i = 0; i < static_cast<int>(plan_.outputs.size()); ++i) {
      int r = root(plan_.outputs[static_cast<size_t>(i)]);
      last_[static_cast<size_t>(r)] = static_cast<int>(plan_.steps.size());
      PlanValue& value = at(r);
      if (value.place != Place::kArena) continue;
      value.place = Place::kOutput;
      value.index = i;
    }
  }

  void in_place() {
    for (int i = 0; i < static_cast<int>(plan_.steps.size()); ++i) {
      PlanStep& step = plan_.steps[static_cast<size_t>(i)];
      if (step.out.empty() || step.out[0] < 0 || !step.kernel || !step.kernel->in_place ||
          step.dynamic)
        continue;
      int out = step.out[0];
      if (at(out).view_of >= 0 ||
          (at(out).place != Place::kArena && at(out).place != Place::kOutput))
        continue;
      uint64_t allowed = allowed_[static_cast<size_t>(i)];
      for (size_t k = 0; k < step.in.size() && k < 64; ++k) {
        if (!(allowed >> k & 1) || step.in[k] < 0) continue;
        int r = root(step.in[k]);
        if (at(r).place != Place::kArena || last_[static_cast<size_t>(r)] != i) continue;
        if (at(r).bytes != at(out).bytes) continue;
        int same = 0;
        for (int v : step.in) same += v >= 0 && root(v) == r;
        if (same != 1) continue;
        // The older buffer goes on as the newer value; a result moves there with its place.
        at(out).view_of = r;
        last_[static_cast<size_t>(r)] = last_[static_cast<size_t>(out)];
        if (at(out).place == Place::kOutput) {
          at(r).place = Place::kOutput;
          at(r).index = at(out).index;
        }
        break;
      }
    }
  }

  int64_t arena(bool on_device, int64_t* lower_bound) {
    std::vector<Lifetime> lives;
    std::vector<int> owner;
    for (int v = 0; v < static_cast<int>(plan_.values.size()); ++v) {
      PlanValue& value = at(v);
      if (value.view_of >= 0 || value.place != Place::kArena || value.on_device != on_device)
        continue;
      lives.push_back({value.bytes, first_[static_cast<size_t>(v)], last_[static_cast<size_t>(v)]});
      owner.push_back(v);
    }
    size_t values = lives.size();
    std::vector<size_t> scratch_of;
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const PlanStep& step = plan_.steps[i];
      if (!step.prepared || step.prepared->scratch_bytes <= 0 || step.on_device != on_device)
        continue;
      lives.push_back({step.prepared->scratch_bytes, static_cast<int>(i), static_cast<int>(i)});
      scratch_of.push_back(i);
    }
    ArenaLayout layout = plan_arena(lives);
    for (size_t i = 0; i < values; ++i) at(owner[i]).offset = layout.offsets[i];
    for (size_t i = 0; i < scratch_of.size(); ++i)
      plan_.steps[scratch_of[i]].scratch_offset = layout.offsets[values + i];
    if (lower_bound) *lower_bound = layout.lower_bound;
    return layout.bytes;
  }

  Plan& plan_;
  std::vector<int> last_, first_;

 public:
  std::vector<uint64_t> allowed_;  // by step: inputs that output 0 may overwrite
};

}  // namespace

void place_values(Plan& plan, const Model& model) {
  Placer placer(plan);
  for (const PlanStep& step : plan.steps) {
    bool ask = step.kernel && step.kernel->in_place && !step.dynamic;
    placer.allowed_.push_back(ask ? step.kernel->in_place(step_info(plan, step, model)) : 0);
  }
  placer.run();
}

}  // namespace onnxtool
