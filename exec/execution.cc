// SPDX-License-Identifier: Apache-2.0
// The loop over the steps of a plan.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "exec/run_state.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// [N, spatial..., C] back to [N, C, spatial...].
Tensor to_plain(const Tensor& t) {
  auto r = Tensor::allocate(t.dtype(), t.dims());
  ONNXTOOL_CHECK(r.ok());
  const Dims& d = t.dims();
  auto size = static_cast<int64_t>(dtype_bits(t.dtype()) / 8);
  int64_t spatial = 1;
  for (size_t i = 2; i < d.size(); ++i) spatial *= d[i];
  std::byte* to = r->mutable_raw();
  for (int64_t n = 0; n < d[0]; ++n)
    for (int64_t c = 0; c < d[1]; ++c)
      for (int64_t s = 0; s < spatial; ++s, to += size)
        std::memcpy(to, t.raw() + ((n * spatial + s) * d[1] + c) * size, static_cast<size_t>(size));
  return std::move(*r);
}

Tensor converted(const Tensor& t, DType to) {
  auto r = Tensor::from_f64(to, t.dims(), t.to_f64());
  return r.ok() ? std::move(*r) : t;
}

bool half_or_float(DType t) {
  return t == DType::kFloat || t == DType::kFloat16 || t == DType::kBfloat16;
}

}  // namespace

void Execution::patch(int root, void* data) {
  for (uint32_t slot : ready_.patch[static_cast<size_t>(root)]) state_.slots[slot] = data;
}

Datum Execution::datum(int v) {
  if (v < 0) return {};
  const PlanValue& value = at(v);
  int r = ready_.root[static_cast<size_t>(v)];
  const PlanValue& root = at(r);
  auto as_value = [&](const Datum& d) {
    if (!d.is_tensor() || !value.known || d.tensor.dims() == value.dims) return d;
    return Datum(d.tensor.reshaped(value.dims));
  };
  auto borrowed = [&](std::byte* data) {
    return Datum(Tensor::view(value.dtype, value.dims, data, static_cast<size_t>(root.bytes),
                              borrow_token()));
  };
  switch (root.place) {
    case Place::kConstant: return as_value(Datum(root.constant));
    case Place::kInput: return as_value(inputs_[static_cast<size_t>(root.index)]);
    case Place::kHeap: return as_value(state_.heap[static_cast<size_t>(r)]);
    case Place::kArena: return borrowed(state_.arena + root.offset);
    case Place::kOutput: {  // written over by what takes its place there later
      const Datum& d = outputs_[static_cast<size_t>(root.index)];
      return d.is_tensor() ? borrowed(const_cast<std::byte*>(d.tensor.raw())) : d;
    }
    case Place::kNone: break;
  }
  return {};
}

Status Execution::bind() {
  // Inputs whose bytes are not aligned are copied; callers that care align them.
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (!inputs_[i].is_tensor() || inputs_[i].tensor.is_string() || inputs_[i].tensor.aligned())
      continue;
    if (aligned_.empty()) aligned_.assign(inputs_.begin(), inputs_.end());
    aligned_[i].tensor = inputs_[i].tensor.to_aligned();
  }
  if (!aligned_.empty()) inputs_ = aligned_;
  for (int v : plan_.inputs) {
    if (v < 0) continue;
    const PlanValue& value = at(v);
    if (value.place != Place::kInput) continue;
    const Datum& d = inputs_[static_cast<size_t>(value.index)];
    if (d.is_tensor() && !d.tensor.is_string()) patch(v, const_cast<std::byte*>(d.tensor.raw()));
  }
  outputs_.resize(plan_.outputs.size());
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    int v = plan_.outputs[i];
    int r = ready_.root[static_cast<size_t>(v)];
    if (at(r).place != Place::kOutput || at(r).index != static_cast<int>(i)) {
      outputs_[i] = Datum();
      continue;
    }
    const PlanValue& value = at(v);
    Datum& out = outputs_[i];
    if (!out.is_tensor() || !shared_.buffers.reusable(out.tensor, value.dtype, value.dims)) {
      out = Datum();
      TRY_ASSIGN(out, shared_.buffers.tensor(value.dtype, value.dims));
    }
    patch(r, const_cast<std::byte*>(out.tensor.raw()));
  }
  return ok();
}

Datum Execution::input(size_t i) { return datum(plan_.steps[step_].in[i]); }

Status Execution::output(size_t i, Datum d) {
  int v = plan_.steps[step_].out[i];
  if (v < 0) return ok();
  const PlanValue& value = at(v);
  if (value.is_tensor()) {
    if (!d.is_tensor()) return internal_error("a step gave no tensor for a tensor output");
    if (d.tensor.dtype() != value.dtype) {
      if (!half_or_float(d.tensor.dtype()) || !half_or_float(value.dtype))
        return internal_error(format("a step gave {} where {} was planned",
                                     dtype_name(d.tensor.dtype()), dtype_name(value.dtype)));
      d.tensor = converted(d.tensor, value.dtype);
    }
    // Of a Loop without trips the plan may know sizes that no trip has shown.
    if (value.known && d.tensor.size() == 0 &&
        std::find(value.dims.begin(), value.dims.end(), 0) != value.dims.end())
      d.tensor = d.tensor.reshaped(value.dims);
    if (value.known && d.tensor.dims() != value.dims)
      return internal_error(format("a step gave shape {} where {} was planned",
                                   to_string(d.tensor.dims()), to_string(value.dims)));
  }
  TRY_ASSIGN(d, own(d, shared_.buffers));
  if (d.is_tensor() && !d.tensor.is_string()) {
    d.tensor = d.tensor.to_aligned();
    patch(ready_.root[static_cast<size_t>(v)], const_cast<std::byte*>(d.tensor.raw()));
  }
  state_.heap[static_cast<size_t>(ready_.root[static_cast<size_t>(v)])] = std::move(d);
  return ok();
}

Result<std::vector<Datum>> Execution::run_graph(size_t body, std::vector<Datum> inputs) {
  size_t step = step_;
  GraphRunner& runner = *ready_.bodies[step][body];
  const PlanBody& info = plan_.steps[step].bodies[body];
  inputs.resize(runner.num_own_inputs());
  std::span<const PlanInput> captured = runner.captured();
  for (size_t i = 0; i < captured.size(); ++i)
    inputs.push_back(captured[i].constant.defined() ? Datum() : datum(info.captures[i].value));
  std::vector<Datum> outputs;
  // Steps of bodies are neither timed nor listed: the step that runs them is.
  TRY(runner.run(inputs, outputs, options_ && options_->observe ? options_ : nullptr));
  step_ = step;
  return outputs;
}

Status Execution::wait() {
  if (!state_.pending) return ok();
  state_.pending = false;
  return state_.stream->wait();
}

Status Execution::observe(int v) {
  const PlanValue& value = at(v);
  if (!value.origin.valid()) return ok();
  Datum d;
  if (value.on_device) {
    TRY_ASSIGN(d.tensor, shared_.buffers.tensor(value.dtype, value.dims));
    d.kind = TypeKind::kTensor;
    const PlanValue& root = at(ready_.root[static_cast<size_t>(v)]);
    TRY(state_.stream->download(const_cast<std::byte*>(d.tensor.raw()),
                                state_.device_arena.get() + root.offset, root.bytes));
    state_.pending = true;
  } else {
    d = datum(v);
  }
  TRY(wait());
  if (!d.has_value()) return ok();
  if (value.layout == Layout::kChannelsLast && d.is_tensor()) d.tensor = to_plain(d.tensor);
  return options_->observe({value.origin, d});
}

Status Execution::run_step(size_t i) {
  const PlanStep& step = plan_.steps[i];
  if (!step.on_device) TRY(wait());
  if (step.dynamic) return run_dynamic(i);
  if (step.kernel->view) return ok();
  const ReadyPlan::Wiring& w = ready_.wiring[i];
  if (!step.on_device) {
    const RunArgs args{state_.slots.data() + w.in, state_.slots.data() + w.out,
                       state_.arena + step.scratch_offset, this};
    if (!step.prepare_again) return step.prepared->run(args);
    PrepareContext ctx = shared_.prepare_context();
    StepInfo info = step_info(plan_, step, shared_.model);
    std::deque<Tensor> made;
    TRY(add_contents(plan_, step, info, made));
    TRY_ASSIGN(auto once, step.kernel->prepare(info, ctx));
    return once->run(args);
  }
  state_.pending = true;
  const bool time = timed();
  if (time) TRY(state_.stream->begin_timing());
  TRY(step.prepared->run({state_.slots.data() + w.in, state_.slots.data() + w.out,
                          state_.device_arena.get() + step.scratch_offset, nullptr,
                          state_.stream.get()}));
  if (!time) return ok();
  TRY_ASSIGN(device_ns_, state_.stream->end_timing());
  return wait();
}

Status Execution::run_segment(size_t s) {
  auto [first, last] = ready_.segments[s];
  std::unique_ptr<Recording>& recording = state_.recordings[s];
  if (!recording) {
    TRY(state_.stream->begin_recording());
    Status status;
    for (step_ = first; step_ <= last && status.ok(); ++step_) status = run_step(step_);
    auto ended = state_.stream->end_recording();
    TRY(std::move(status));
    TRY_ASSIGN(recording, std::move(ended));
  }
  state_.pending = true;
  return state_.stream->play(*recording);
}

Status Execution::run_dynamic(size_t i) {
  const PlanStep& step = plan_.steps[i];
  std::vector<Datum> in(step.in.size());
  for (size_t k = 0; k < in.size(); ++k) in[k] = datum(step.in[k]);
  StepInfo info = step_info(plan_, step, shared_.model);
  bool plain = !info.has_objects;
  for (const Datum& d : in)
    if (d.has_value() && (!d.is_tensor() || d.tensor.is_string())) plain = false;
  PrepareContext ctx = shared_.prepare_context();
  if (!plain) {
    TRY_ASSIGN(Chosen reference, choose_kernel(info, shared_.kernels, ctx));
    return reference.prepared->run({nullptr, nullptr, nullptr, this});
  }
  std::vector<int64_t> key;
  std::vector<const Tensor*> contents;
  for (size_t k = 0; k < in.size(); ++k) {
    const Datum& d = in[k];
    bool small = d.has_value() && d.tensor.size() <= 1024;
    contents.push_back(small ? &d.tensor : nullptr);
    key.push_back(d.has_value() ? d.tensor.rank() : -1);
    if (d.has_value()) key.insert(key.end(), d.tensor.dims().begin(), d.tensor.dims().end());
  }
  std::vector<DynamicEntry>& entries = state_.dynamic[i];
  auto fits = [&](const DynamicEntry& e) {
    if (e.key != key) return false;
    size_t at = 0;
    for (size_t k = 0; k < in.size() && k < 64; ++k)
      if (e.used >> k & 1 && !e.contents[at++].same_bytes(in[k].tensor)) return false;
    return true;
  };
  auto entry = std::find_if(entries.begin(), entries.end(), fits);
  if (entry == entries.end()) {
    DynamicEntry e;
    e.key = key;
    TRY_ASSIGN(auto dims, runtime_dims(shared_.model, step, in, &e.used));
    bool known = true;
    for (size_t k = 0; k < step.out.size(); ++k) {
      if (step.out[k] < 0) dims[k] = Dims{};
      known = known && dims[k];
    }
    for (size_t k = 0; k < in.size(); ++k) {
      info.in[k].dims = in[k].has_value() ? in[k].tensor.dims() : Dims();
      info.in[k].constant =
          step.in[k] >= 0 && at(step.in[k]).is_constant() ? &in[k].tensor : nullptr;
    }
    for (size_t k = 0; known && k < step.out.size(); ++k) info.out[k].dims = *dims[k];
    info.run_time = contents;
    info.sizes_unknown = !known;
    TRY_ASSIGN(e.chosen, choose_kernel(info, shared_.kernels, ctx));
    e.used |= info.used_contents;
    for (size_t k = 0; known && k < step.out.size(); ++k) e.out_dims.push_back(*dims[k]);
    for (size_t k = 0; k < in.size() && k < 64; ++k) {
      if (!(e.used >> k & 1)) continue;
      TRY_ASSIGN(Tensor copy, Tensor::allocate(in[k].tensor.dtype(), in[k].tensor.dims()));
      if (copy.bytes()) std::memcpy(copy.mutable_raw(), in[k].tensor.raw(), copy.bytes());
      e.contents.push_back(std::move(copy));
    }
    constexpr size_t kMaxEntries = 8;
    if (entries.size() >= kMaxEntries) entries.erase(entries.begin());
    entries.push_back(std::move(e));
    entry = std::prev(entries.end());
  }
  if (timed() && !state_.times.empty()) state_.times[i].kernel = entry->chosen.kernel->name;
  if (entry->chosen.kernel->view)
    return output(0, Datum(in[0].tensor.reshaped(entry->out_dims[0])));
  if (entry->chosen.kernel->rank >= kReferenceRank || entry->out_dims.size() != step.out.size())
    return entry->chosen.prepared->run({nullptr, nullptr, nullptr, this});
  std::vector<const void*> in_ptr(in.size());
  for (size_t k = 0; k < in.size(); ++k)
    in_ptr[k] = in[k].has_value() ? in[k].tensor.raw() : nullptr;
  std::vector<void*> out_ptr(step.out.size());
  std::vector<Datum> out(step.out.size());
  for (size_t k = 0; k < step.out.size(); ++k) {
    if (step.out[k] < 0 || at(step.out[k]).dtype == DType::kString) continue;
    TRY_ASSIGN(out[k], shared_.buffers.tensor(at(step.out[k]).dtype, entry->out_dims[k]));
    out_ptr[k] = const_cast<std::byte*>(out[k].tensor.raw());
  }
  int64_t scratch = entry->chosen.prepared->scratch_bytes;
  if (scratch > 0 && (!state_.scratch || state_.scratch->capacity < scratch)) {
    TRY_ASSIGN(state_.scratch, shared_.buffers.get(scratch));
  }
  TRY(entry->chosen.prepared->run(
      {in_ptr.data(), out_ptr.data(), state_.scratch ? state_.scratch->data : nullptr, this}));
  for (size_t k = 0; k < out.size(); ++k)
    if (out[k].has_value()) TRY(output(k, std::move(out[k])));
  return ok();
}

Status Execution::finish() {
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    int v = plan_.outputs[i];
    int r = ready_.root[static_cast<size_t>(v)];
    if (at(r).place == Place::kOutput && at(r).index == static_cast<int>(i)) continue;
    Datum d = datum(v);
    if (at(r).place == Place::kOutput) {  // the same value goes out twice
      Datum copy = d;
      copy.tensor = Tensor::view(d.tensor.dtype(), d.tensor.dims(), d.tensor.raw(),
                                 d.tensor.bytes(), borrow_token());
      TRY_ASSIGN(d, own(copy, shared_.buffers));
    } else if (at(r).place != Place::kInput) {
      TRY_ASSIGN(d, own(d, shared_.buffers));
    }
    outputs_[i] = std::move(d);
  }
  return ok();
}

Status Execution::run() {
  TRY(bind());
  const int64_t start = now_ns();
  Status steps = run_steps();
  ready_.enqueue_ns = now_ns() - start;
  Status device = wait();  // also after an error: nothing may write into memory of the caller later
  TRY(std::move(steps));
  TRY(std::move(device));
  state_.warm = true;
  return finish();
}

Status Execution::run_steps() {
  bool watch = options_ && options_->observe;
  const bool time = timed();
  std::vector<StepSpan>* spans = options_ ? options_->spans : nullptr;
  if (time) state_.times.assign(plan_.steps.size(), {});
  if (watch)
    for (size_t v = 0; v < plan_.values.size(); ++v)
      if (plan_.values[v].is_constant() && plan_.values[v].origin.valid() &&
          shared_.model.value(plan_.values[v].origin).kind == ValueKind::kOutput)
        TRY(observe(static_cast<int>(v)));
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    if (state_.warm && !watch && !time && ready_.segment_at[i] >= 0) {
      auto segment = static_cast<size_t>(ready_.segment_at[i]);
      TRY(run_segment(segment));
      i = ready_.segments[segment].second;
      continue;
    }
    step_ = i;
    int64_t start = time ? now_ns() : 0;
    Status status = run_step(i);
    if (!status.ok()) {
      const PlanStep& step = plan_.steps[i];
      return std::move(status).context(step.node.valid() ? shared_.model.describe(step.node)
                                                         : step.op.str());
    }
    if (time) {
      StepTime& t = state_.times[i];
      const int64_t end = now_ns();
      const bool device = plan_.steps[i].on_device && !plan_.steps[i].kernel->view;
      t.total_ns = t.min_ns = device ? device_ns_ : end - start;
      t.calls = 1;
      if (spans) spans->push_back({i, start, end});
    }
    if (watch)
      for (int v : plan_.steps[i].out)
        if (v >= 0) TRY(observe(v));
    for (int v : ready_.release[i]) state_.heap[static_cast<size_t>(v)] = Datum();
  }
  if (time) {
    std::lock_guard lock(ready_.mutex);
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      StepTime& to = ready_.times[i];
      const StepTime& from = state_.times[i];
      to.min_ns = to.calls ? std::min(to.min_ns, from.min_ns) : from.min_ns;
      to.total_ns += from.total_ns;
      to.calls += from.calls;
      if (!from.kernel.empty()) to.kernel = from.kernel;
    }
  }
  return ok();
}

}  // namespace onnxtool
