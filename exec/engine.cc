// SPDX-License-Identifier: Apache-2.0
#include "exec/engine.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "exec/cpu/identity.h"
#include "exec/device_plugin.h"
#include "exec/runner.h"
#include "libonnxtool/base/file_identity.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/infer/inline.h"

namespace onnxtool {
namespace {

int64_t default_limit() {
  int64_t pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || size <= 0) return int64_t{1} << 40;
  return pages / 4 * 3 * size;
}

PlanOptions plan_options(const EngineOptions& o, int64_t limit, bool device) {
  PlanOptions p;
  p.fuse = o.fuse && !o.reference && !o.observe_all;
  p.promote_half = o.promote_half && !o.reference && !device;  // devices compute in half themselves
  if (!o.promote_half) p.fuse = false;
  p.islands = o.device_always;
  p.keep_all = o.observe_all;
  p.keep = o.observe;
  p.keep_refusals = o.explain;
  p.keep_packs = !o.low_memory || device;
  p.memory_limit = limit;
  return p;
}

// Does what is given fit the declared type of the input: kind, element type, rank and fixed dims.
Status check_input(const EngineInput& input, const Type& given) {
  const Type& want = input.type;
  auto mismatch = [&](const std::string& what) {
    return invalid(format("input {} is {}, the model wants {}{}", quoted(input.name), given.text(),
                          want.text(), what));
  };
  if (!want.known()) return ok();
  if (given.kind != want.kind) return mismatch("");
  if (!want.is_tensor()) return ok();
  if (want.dtype != DType::kUndefined && given.dtype != want.dtype) return mismatch("");
  if (!want.shape) return ok();
  if (!given.shape) return ok();
  if (want.shape->size() != given.shape->size()) return mismatch(": another rank");
  for (size_t i = 0; i < want.shape->size(); ++i)
    if ((*want.shape)[i].is_const() && !((*want.shape)[i] == (*given.shape)[i]))
      return mismatch(format(": dim {} differs", i));
  return ok();
}

std::string full_key(const std::string& pack_key) {
  return format("{}\n{}", pack_key, cpu::pack_identity());
}

}  // namespace

Bytes packed_model(const std::string& pack_file, const std::string& pack_key) {
  if (file_identity(pack_file).empty()) return {};
  auto file = PackFile::open(pack_file, full_key(pack_key));
  if (!file.ok()) return {};
  const auto size = (*file)->size_of(kModelEntry);
  if (!size) return {};
  auto data = (*file)->find(kModelEntry, *size);
  if (!data) return {};
  const std::byte* at = data.get();
  return {at, static_cast<size_t>(*size), std::move(data)};
}

struct Engine::Impl {
  Impl(EngineOptions options, int64_t limit, std::unique_ptr<Device> device)
      : shared(std::move(options), limit, std::move(device)) {}
  EngineShared shared;
  std::unique_ptr<GraphRunner> runner;
  std::vector<EngineInput> inputs;
  std::vector<EngineOutput> outputs;
  double compile_ms = 0;
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Result<Engine> Engine::compile(const Model& model, EngineOptions options) {
  return make(model.clone(), std::move(options), false);
}

Result<Engine> Engine::compile(Model&& model, EngineOptions options) {
  return make(std::move(model), std::move(options), true);
}

Result<Engine> Engine::make(Model model, EngineOptions options, bool take) {
  auto start = std::chrono::steady_clock::now();
  int64_t limit = options.memory_limit > 0 ? options.memory_limit : default_limit();
  TRY_ASSIGN(auto device, open_device(options.reference ? "cpu" : options.device));
  auto impl = std::make_unique<Impl>(std::move(options), limit, std::move(device));
  EngineShared& shared = impl->shared;
  shared.model = std::move(model);
  shared.plan_options = plan_options(shared.options, limit, shared.device != nullptr);
  if (shared.model.num_graphs() == 0) return invalid("the model has no graph");
  if (shared.options.precision == Precision::kBf16 && !cpu::has_bf16())
    return unsupported("bf16: this CPU has no instructions that multiply bfloat16");
  if (!shared.options.tune_file.empty())
    shared.tuner = std::make_unique<Tuner>(
        shared.options.tune_file,
        format("{} {}", file_identity("/proc/self/exe"), cpu::pack_identity()));
  if (!shared.model.functions.empty()) {
    TRY(inline_functions(shared.model));
    (void)Inference(shared.model).run();
  }
  if (!shared.options.pack_file.empty())
    shared.packs.keep_in(shared.options.pack_file, full_key(shared.options.pack_key), shared.model,
                         std::move(shared.options.pack_model));
  const Graph& graph = shared.model.graph(shared.model.main());
  bool fixed = true;
  for (ValueId v : graph.inputs) {
    const Value& value = shared.model.value(v);
    Type type = value.declared.known() ? value.declared : value.type;
    fixed = fixed && (value.constant || type.is_static());
    take = take && !value.constant;
    impl->inputs.push_back({value.name, type, value.constant != nullptr});
  }
  for (ValueId v : graph.outputs) {
    const Value& value = shared.model.value(v);
    impl->outputs.push_back({value.name, value.type.known() ? value.type : value.declared});
  }
  // Fixed inputs make one plan, which alone reads the constants where no body does.
  impl->runner =
      std::make_unique<GraphRunner>(shared, shared.model.main(), std::vector<PlanInput>(), true,
                                    take && fixed && shared.model.num_graphs() == 1);
  if (fixed) {
    std::vector<Type> types;
    for (const EngineInput& i : impl->inputs) types.push_back(i.has_default ? Type() : i.type);
    Status made;
    shared.pool.execute([&] {
      auto plan = impl->runner->prepare(types);
      if (!plan.ok()) made = std::move(plan).error();
    });
    TRY(std::move(made));
  }
  shared.plan_ns = 0;
  impl->compile_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return Engine(std::move(impl));
}

const std::vector<EngineInput>& Engine::inputs() const { return impl_->inputs; }
const std::vector<EngineOutput>& Engine::outputs() const { return impl_->outputs; }

Status Engine::run(std::span<const Datum> inputs, std::vector<Datum>& outputs,
                   const RunOptions& options) {
  if (inputs.size() > impl_->inputs.size())
    return invalid(
        format("{} inputs given, the model has {}", inputs.size(), impl_->inputs.size()));
  const bool planned = impl_->runner->planned(inputs);  // then their types were checked before
  for (size_t i = 0; i < impl_->inputs.size(); ++i) {
    if (i < inputs.size() && inputs[i].has_value()) {
      if (!planned) TRY(check_input(impl_->inputs[i], type_of(inputs[i])));
    } else if (!impl_->inputs[i].has_default) {
      return invalid(format("input {} is missing", quoted(impl_->inputs[i].name)));
    }
  }
  std::vector<Datum> all;
  if (inputs.size() < impl_->inputs.size()) {
    all.assign(inputs.begin(), inputs.end());
    all.resize(impl_->inputs.size());
    inputs = all;
  }
  Status status;
  impl_->shared.pool.execute([&] { status = impl_->runner->run(inputs, outputs, &options); });
  return status;
}

Result<std::vector<Datum>> Engine::run(std::span<const Datum> inputs, const RunOptions& options) {
  std::vector<Datum> outputs;
  TRY(run(inputs, outputs, options));
  return outputs;
}

Result<std::vector<Datum>> Engine::run(std::span<const std::pair<std::string, Datum>> inputs,
                                       const RunOptions& options) {
  std::vector<Datum> ordered(impl_->inputs.size());
  for (const auto& [name, datum] : inputs) {
    auto it = std::find_if(impl_->inputs.begin(), impl_->inputs.end(),
                           [&, &name = name](const EngineInput& i) { return i.name == name; });
    if (it == impl_->inputs.end())
      return invalid(format("the model has no input named {}", quoted(name)));
    ordered[static_cast<size_t>(it - impl_->inputs.begin())] = datum;
  }
  return run(std::span<const Datum>(ordered), options);
}

Status Engine::prepare(std::span<const Type> inputs) {
  std::vector<Type> types(inputs.begin(), inputs.end());
  types.resize(impl_->inputs.size());
  for (size_t i = 0; i < types.size(); ++i)
    if (types[i].known()) TRY(check_input(impl_->inputs[i], types[i]));
  Status made;
  impl_->shared.pool.execute([&] {
    auto plan = impl_->runner->prepare(types);
    if (!plan.ok()) made = std::move(plan).error();
  });
  return made;
}

Status Engine::save_packs() const { return impl_->shared.packs.save(); }

Status Engine::save_tuning() const {
  return impl_->shared.tuner ? impl_->shared.tuner->save() : ok();
}

std::string Engine::explain() const {
  auto ready = impl_->runner->last();
  return ready ? explain_plan(ready->plan, impl_->shared.model) : std::string("no plan yet\n");
}

std::vector<StepProfile> Engine::profile() const {
  std::vector<StepProfile> result;
  auto ready = impl_->runner->last();
  if (!ready) return result;
  std::lock_guard lock(ready->mutex);
  const Plan& plan = ready->plan;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    if (step.kernel && step.kernel->view) continue;
    StepProfile p;
    p.step = i;
    if (step.node.valid()) p.name = impl_->shared.model.node(step.node).name;
    p.op = step_ops(plan, step, impl_->shared.model);
    if (p.name.empty()) p.name = format("{}#{}", p.op, i);
    p.kernel = step.kernel ? step.kernel->name : ready->times[i].kernel;
    if (step.prepared && !step.prepared->detail.empty())
      p.kernel += " (" + step.prepared->detail + ")";
    p.nodes = step.nodes;
    p.shapes = step_shapes(plan, step);
    p.calls = ready->times[i].calls;
    p.total_ms = static_cast<double>(ready->times[i].total_ns) * 1e-6;
    p.min_ms = static_cast<double>(ready->times[i].min_ns) * 1e-6;
    p.macs = step_macs(step_info(plan, step, impl_->shared.model));
    auto add = [&](int v) {
      if (v >= 0 && plan.values[static_cast<size_t>(v)].known)
        p.bytes += plan.values[static_cast<size_t>(v)].bytes;
    };
    for (int v : step.in) add(v);
    for (int v : step.out) {
      add(v);
      if (v < 0) continue;
      const ValueId origin = plan.values[static_cast<size_t>(v)].origin;
      if (origin.valid()) p.outputs.push_back(impl_->shared.model.value(origin).name);
    }
    if (!step.in.empty() && step.in[0] >= 0)
      p.fp32 = plan.values[static_cast<size_t>(step.in[0])].dtype == DType::kFloat;
    p.on_device = step.on_device;
    p.copy = is_transfer(step);
    result.push_back(std::move(p));
  }
  return result;
}

void Engine::reset_profile() {
  auto ready = impl_->runner->last();
  if (!ready) return;
  std::lock_guard lock(ready->mutex);
  ready->times.assign(ready->plan.steps.size(), {});
}

EngineStats Engine::stats() const {
  EngineStats s;
  s.compile_ms = impl_->compile_ms + static_cast<double>(impl_->shared.plan_ns) * 1e-6;
  for (size_t i = 0; i < impl_->shared.model.num_nodes(); ++i)
    s.nodes += !impl_->shared.model.node(NodeId(static_cast<uint32_t>(i))).removed();
  s.plans = static_cast<int64_t>(impl_->runner->plans());
  if (const Device* device = impl_->shared.device.get()) {
    s.device = device->name();
    const DevicePeak peak = device->peak();
    s.device_fp32 = peak.fp32;
    s.device_half = peak.half;
    s.device_gbs = peak.gbs;
  }
  s.packed_bytes = impl_->shared.packs.bytes();
  s.cached_bytes = impl_->shared.packs.from_file();
  s.pack_note = impl_->shared.packs.note();
  if (const Tuner* tuner = impl_->shared.tuner.get()) {
    s.tuned = tuner->measured();
    s.tune_note = tuner->note();
  }
  if (auto ready = impl_->runner->last()) {
    const Plan& p = ready->plan;
    s.steps = std::count_if(p.steps.begin(), p.steps.end(), [](const PlanStep& step) {
      return !(step.kernel && step.kernel->view);
    });
    s.folded_nodes = p.folded_nodes;
    s.folded_bytes = p.folded_bytes;
    s.arena_bytes = p.arena_bytes;
    s.enqueue_ms = static_cast<double>(ready->enqueue_ns) * 1e-6;
    s.arena_lower_bound = p.arena_lower_bound;
    for (const PlanStep& step : p.steps) {
      if (!step.on_device || (step.kernel && step.kernel->view)) continue;
      if (!is_transfer(step)) {
        ++s.device_steps;
        continue;
      }
      ++s.device_copies;
      s.device_copy_bytes += p.values[static_cast<size_t>(step.out[0])].bytes;
    }
  }
  return s;
}

}  // namespace onnxtool
