// SPDX-License-Identifier: Apache-2.0
#include "exec/runner.h"

#include <algorithm>
#include <chrono>

#include "exec/run_state.h"

namespace onnxtool {
namespace {

void append_type(std::vector<int64_t>& key, const Datum& d) {
  key.push_back(static_cast<int64_t>(d.kind));
  if (d.is_tensor()) {
    key.push_back(static_cast<int64_t>(d.tensor.dtype()));
    key.push_back(d.tensor.rank());
    key.insert(key.end(), d.tensor.dims().begin(), d.tensor.dims().end());
  } else if (d.has_value()) {
    key.push_back(static_cast<int64_t>(std::hash<std::string>()(type_of(d).text())));
  }
}

void append_type(std::vector<int64_t>& key, const Type& t) {
  key.push_back(static_cast<int64_t>(t.kind));
  if (t.is_tensor()) {
    key.push_back(static_cast<int64_t>(t.dtype));
    key.push_back(static_cast<int64_t>(t.shape ? t.shape->size() : 0));
    if (t.shape)
      for (Dim d : *t.shape) key.push_back(d.is_const() ? d.value() : -1);
  } else if (t.known()) {
    key.push_back(static_cast<int64_t>(std::hash<std::string>()(t.text())));
  }
}

}  // namespace

GraphRunner::GraphRunner(EngineShared& shared, GraphId graph, std::vector<PlanInput> captured,
                         bool main, bool take)
    : shared_(shared), graph_(graph), main_(main), take_(take) {
  for (ValueId v : shared.model.graph(graph).inputs) formals_.push_back({v, {}, {}});
  own_inputs_ = formals_.size();
  for (PlanInput& c : captured) formals_.push_back(std::move(c));
}

GraphRunner::~GraphRunner() = default;

std::shared_ptr<ReadyPlan> GraphRunner::last() const {
  std::lock_guard lock(mutex_);
  return plans_.empty() ? nullptr : plans_.front();
}

size_t GraphRunner::plans() const {
  std::lock_guard lock(mutex_);
  return plans_.size();
}

Result<std::shared_ptr<ReadyPlan>> GraphRunner::make(std::span<const Type> types,
                                                     std::vector<int64_t> key) {
  auto start = std::chrono::steady_clock::now();
  PlanRequest request{&shared_.model, graph_, formals_, main_, take_ ? &shared_.model : nullptr};
  for (size_t i = 0; i < request.inputs.size() && i < types.size(); ++i)
    if (!request.inputs[i].constant.defined()) request.inputs[i].type = types[i];
  PrepareContext ctx = shared_.prepare_context();
  PrepareContext device = shared_.device_context();
  TRY_ASSIGN(Plan plan, make_plan(request, shared_.kernels, ctx, shared_.plan_options,
                                  shared_.device ? &device : nullptr));
  auto ready = std::make_shared<ReadyPlan>();
  ready->plan = std::move(plan);
  ready->key = std::move(key);
  TRY(wire(*ready, shared_));
  if (main_)
    shared_.plan_ns += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
  std::lock_guard lock(mutex_);
  plans_.push_front(ready);
  while (plans_.size() > std::max<size_t>(1, shared_.options.max_plans)) plans_.pop_back();
  return ready;
}

Result<std::shared_ptr<ReadyPlan>> GraphRunner::prepare(std::span<const Type> types) {
  std::vector<int64_t> key;
  for (const Type& t : types) append_type(key, t);
  if (auto ready = find(key)) return ready;
  return make(types, std::move(key));
}

std::shared_ptr<ReadyPlan> GraphRunner::find(const std::vector<int64_t>& key) {
  std::lock_guard lock(mutex_);
  for (auto it = plans_.begin(); it != plans_.end(); ++it) {
    if ((*it)->key != key) continue;
    if (it != plans_.begin()) plans_.splice(plans_.begin(), plans_, it);
    return plans_.front();
  }
  return nullptr;
}

const std::vector<int64_t>& GraphRunner::key_of(std::span<const Datum> inputs) {
  static thread_local std::vector<int64_t> key;
  key.clear();
  for (const Datum& d : inputs) append_type(key, d);
  return key;
}

Result<std::shared_ptr<ReadyPlan>> GraphRunner::plan_for(std::span<const Datum> inputs) {
  const std::vector<int64_t>& key = key_of(inputs);
  if (auto ready = find(key)) return ready;
  std::vector<Type> types;
  for (const Datum& d : inputs) types.push_back(d.has_value() ? type_of(d) : Type());
  return make(types, key);
}

Status GraphRunner::run(std::span<const Datum> inputs, std::vector<Datum>& outputs,
                        const RunOptions* options) {
  TRY_ASSIGN(std::shared_ptr<ReadyPlan> ready, plan_for(inputs));
  std::unique_ptr<ReadyPlan::State> state;
  {
    std::lock_guard lock(ready->mutex);
    if (!ready->idle.empty()) {
      state = std::move(ready->idle.back());
      ready->idle.pop_back();
    }
  }
  if (!state) {
    TRY_ASSIGN(state, ReadyPlan::State::make(*ready, shared_));
  }
  Status status = Execution(shared_, *ready, *state, inputs, outputs, options).run();
  for (Datum& d : state->heap)
    if (d.has_value()) d = Datum();
  if (main_) shared_.buffers.trim();
  std::lock_guard lock(ready->mutex);
  ready->idle.push_back(std::move(state));
  return status;
}

}  // namespace onnxtool
