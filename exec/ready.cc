// SPDX-License-Identifier: Apache-2.0
// From a plan to what a run needs: pointer slots, patches, release lists, runners of bodies.
#include "exec/run_state.h"

namespace onnxtool {

ReadyPlan::~ReadyPlan() = default;

namespace {

// The constants that the step reads, in memory of the device.
Status make_resident(ReadyPlan& ready, EngineShared& shared, size_t i) {
  const PlanStep& step = ready.plan.steps[i];
  for (size_t k = 0; k < step.in.size(); ++k) {
    if (step.in[k] < 0 || (k < 64 && step.prepared->unread_inputs >> k & 1)) continue;
    const Tensor& t = ready.plan.values[static_cast<size_t>(step.in[k])].constant;
    if (!t.defined()) continue;
    TRY_ASSIGN(auto data,
               shared.device_packs.get(t, "", static_cast<int64_t>(t.bytes()), [&](std::byte* to) {
                 std::copy_n(t.raw(), t.bytes(), to);
                 return ok();
               }));
    ready.resident.emplace_back(ready.wiring[i].in + static_cast<uint32_t>(k), std::move(data));
  }
  return ok();
}

void find_segments(ReadyPlan& ready) {
  const std::vector<PlanStep>& steps = ready.plan.steps;
  ready.segment_at.assign(steps.size(), -1);
  for (size_t i = 0; i < steps.size(); ++i) {
    size_t end = i;
    while (end < steps.size() && steps[end].on_device && !is_transfer(steps[end])) ++end;
    if (end == i) continue;
    ready.segment_at[i] = static_cast<int>(ready.segments.size());
    ready.segments.emplace_back(i, end - 1);
    i = end - 1;
  }
}

}  // namespace

Status wire(ReadyPlan& ready, EngineShared& shared) {
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
  // Constants that some run() reads: 1 anyhow, 2 aligned, 4 packing them each time.
  std::vector<char> read(values, 0);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    const bool on_device = step.on_device && !is_transfer(step);  // reads constants there
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
          if (on_device) break;
          [[fallthrough]];
        case Place::kArena: ready.fixed.emplace_back(slot, r); break;
        case Place::kNone: break;
        default: ready.patch[static_cast<size_t>(r)].push_back(slot);
      }
    };
    if (step.prepared && on_device) TRY(make_resident(ready, shared, i));
    uint64_t unread = on_device ? ~uint64_t{0} : step.prepared ? step.prepared->unread_inputs : 0;
    uint64_t loose = step.prepared ? step.prepared->any_alignment : 0;
    for (size_t k = 0; k < step.in.size(); ++k) {
      connect(step.in[k], w.in + static_cast<uint32_t>(k));
      const bool packed = k < 64 && unread >> k & 1;
      if (step.in[k] < 0 || (packed && !step.prepare_again)) continue;
      read[static_cast<size_t>(ready.root[static_cast<size_t>(step.in[k])])] |=
          packed                     ? 4
          : k < 64 && loose >> k & 1 ? 1
                                     : 2;
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
    if (read[v] & 3) TRY(value.settle());
    if (read[v] & 2)
      value.constant = value.constant.to_aligned();
    else if (!read[v])
      value.constant = Tensor();
  }
  ready.times.resize(plan.steps.size());
  find_segments(ready);
  return ok();
}

Result<std::unique_ptr<ReadyPlan::State>> ReadyPlan::State::make(ReadyPlan& ready,
                                                                 EngineShared& shared) {
  auto state = std::make_unique<State>();
  const Plan& plan = ready.plan;
  state->slots.resize(ready.slots, nullptr);
  state->heap.resize(plan.values.size());
  state->dynamic.resize(plan.steps.size());
  TRY_ASSIGN(state->arena_block, shared.buffers.get(plan.arena_bytes));
  state->arena = state->arena_block->data;
  if (shared.device) {
    TRY_ASSIGN(state->stream, shared.device->make_stream());
    TRY_ASSIGN(state->device_arena, shared.device->allocate(plan.device_arena_bytes));
    state->recordings.resize(ready.segments.size());
  }
  for (const auto& [slot, data] : ready.resident)
    state->slots[slot] = const_cast<std::byte*>(data.get());
  for (auto [slot, v] : ready.fixed) {
    const PlanValue& value = plan.values[static_cast<size_t>(v)];
    if (value.place == Place::kArena)
      state->slots[slot] =
          (value.on_device ? state->device_arena.get() : state->arena) + value.offset;
    else
      state->slots[slot] = const_cast<std::byte*>(value.constant.raw());
  }
  return state;
}

}  // namespace onnxtool
