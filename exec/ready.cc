// SPDX-License-Identifier: Apache-2.0
// From a plan to what a run needs: pointer slots, patches, release lists, runners of bodies.
#include "exec/run_state.h"

namespace onnxtool {

ReadyPlan::~ReadyPlan() = default;

void wire(ReadyPlan& ready, EngineShared& shared) {
  Plan& plan = ready.plan;
  size_t values = plan.values.size();
  ready.root.resize(values);
  for (size_t v = 0; v < values; ++v) {
    int r = static_cast<int>(v);
    while (plan.values[static_cast<size_t>(r)].view_of >= 0)
      r = plan.values[static_cast<size_t>(r)].view_of;
    ready.root[v] = r;
  }
  ready.patch.resize(values);
  std::vector<int> last(values, -1);
  std::vector<char> read(values, 0);  // constants that some run() reads: 1 anyhow, 2 aligned
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    ReadyPlan::Wiring w;
    w.in = static_cast<uint32_t>(ready.slots);
    ready.slots += step.in.size();
    w.out = static_cast<uint32_t>(ready.slots);
    ready.slots += step.out.size();
    ready.wiring.push_back(w);
    auto connect = [&](int v, uint32_t slot) {
      if (v < 0) return;
      int r = ready.root[static_cast<size_t>(v)];
      last[static_cast<size_t>(r)] = static_cast<int>(i);
      switch (plan.values[static_cast<size_t>(r)].place) {
        case Place::kConstant:
        case Place::kArena: ready.fixed.emplace_back(slot, r); break;
        case Place::kNone: break;
        default: ready.patch[static_cast<size_t>(r)].push_back(slot);
      }
    };
    uint64_t unread = step.prepared ? step.prepared->unread_inputs : 0;
    uint64_t loose = step.prepared ? step.prepared->any_alignment : 0;
    for (size_t k = 0; k < step.in.size(); ++k) {
      connect(step.in[k], w.in + static_cast<uint32_t>(k));
      if (step.in[k] >= 0 && !(k < 64 && unread >> k & 1))
        read[static_cast<size_t>(ready.root[static_cast<size_t>(step.in[k])])] |=
            k < 64 && loose >> k & 1 ? 1 : 2;
    }
    for (size_t k = 0; k < step.out.size(); ++k)
      connect(step.out[k], w.out + static_cast<uint32_t>(k));
    std::vector<std::unique_ptr<GraphRunner>> bodies;
    for (const PlanBody& body : step.bodies) {
      std::vector<PlanInput> captured;
      for (const PlanBody::Capture& c : body.captures) {
        const PlanValue& v = plan.values[static_cast<size_t>(c.value)];
        int r = ready.root[static_cast<size_t>(c.value)];
        last[static_cast<size_t>(r)] = static_cast<int>(i);
        read[static_cast<size_t>(r)] = 2;
        captured.push_back({c.origin, v.type, v.constant});
      }
      bodies.push_back(
          std::make_unique<GraphRunner>(shared, body.graph, std::move(captured), false));
    }
    ready.bodies.push_back(std::move(bodies));
  }
  for (int v : plan.outputs) {
    size_t r = static_cast<size_t>(ready.root[static_cast<size_t>(v)]);
    last[r] = INT32_MAX;
    read[r] = 2;
  }
  ready.release.resize(plan.steps.size());
  for (size_t v = 0; v < values; ++v) {
    PlanValue& value = plan.values[v];
    if (value.place == Place::kHeap && last[v] >= 0 && last[v] < INT32_MAX)
      ready.release[static_cast<size_t>(last[v])].push_back(static_cast<int>(v));
    if (!value.is_constant()) continue;
    // Computed constants that only fed packed weights are dropped; the others must be aligned.
    if (read[v] & 2)
      value.constant = value.constant.to_aligned();
    else if (!read[v])
      value.constant = Tensor();
  }
  ready.times.resize(plan.steps.size());
}

std::unique_ptr<ReadyPlan::State> ReadyPlan::State::make(ReadyPlan& ready, std::byte* arena) {
  auto state = std::make_unique<State>();
  const Plan& plan = ready.plan;
  state->slots.resize(ready.slots, nullptr);
  state->heap.resize(plan.values.size());
  state->dynamic.resize(plan.steps.size());
  state->arena = arena;
  for (auto [slot, v] : ready.fixed) {
    const PlanValue& value = plan.values[static_cast<size_t>(v)];
    state->slots[slot] = value.place == Place::kArena
                             ? static_cast<void*>(arena + value.offset)
                             : const_cast<std::byte*>(value.constant.raw());
  }
  return state;
}

}  // namespace onnxtool
