// SPDX-License-Identifier: Apache-2.0
// One run of a plan: the state it uses and the loop over its steps.
#pragma once
#include "exec/runner.h"

namespace onnxtool {

// A kernel made at run time for the shapes, and parameter contents, met then.
struct DynamicEntry {
  std::vector<int64_t> key;      // dims of all inputs
  uint64_t used = 0;             // inputs whose content mattered
  std::vector<Tensor> contents;  // of those, in order
  std::vector<Dims> out_dims;
  Chosen chosen;
};

struct ReadyPlan::State {
  static Result<std::unique_ptr<State>> make(ReadyPlan& ready, EngineShared& shared);
  std::shared_ptr<Block> arena_block;
  std::byte* arena = nullptr;
  std::vector<void*> slots;
  std::vector<Datum> heap;                         // by value (roots)
  std::vector<std::vector<DynamicEntry>> dynamic;  // by step
  std::shared_ptr<Block> scratch;                  // of dynamic steps
  std::vector<StepTime> times;
  // Of plans with steps on the device:
  std::unique_ptr<Stream> stream;
  std::shared_ptr<std::byte> device_arena;
  std::vector<std::unique_ptr<Recording>> recordings;  // by segment
  bool warm = false;     // each step has run once: what follows may be recorded
  bool pending = false;  // enqueued work whose results the host has not waited for
};

// Fills the parts of `ready` beside its plan.
Status wire(ReadyPlan& ready, EngineShared& shared);

class Execution final : public StepHost {
 public:
  Execution(EngineShared& shared, ReadyPlan& ready, ReadyPlan::State& state,
            std::span<const Datum> inputs, std::vector<Datum>& outputs, const RunOptions* options)
      : shared_(shared),
        ready_(ready),
        plan_(ready.plan),
        state_(state),
        inputs_(inputs),
        outputs_(outputs),
        options_(options) {}
  Status run();

  Datum input(size_t i) override;
  Status output(size_t i, Datum d) override;
  Result<std::vector<Datum>> run_graph(size_t body, std::vector<Datum> inputs) override;
  Status reserve(int64_t bytes) override { return shared_.buffers.check(bytes); }

 private:
  bool timed() const {
    return shared_.options.profile || (options_ && (options_->profile || options_->spans));
  }
  const PlanValue& at(int v) const { return plan_.values[static_cast<size_t>(v)]; }
  Datum datum(int v);  // maybe borrowed
  void patch(int root, void* data);
  Status bind();
  Status run_step(size_t i);
  Status run_dynamic(size_t i);
  Status run_steps();
  Status run_segment(size_t s);
  Status wait();  // for the device, if it has work
  Status observe(int v);
  Status finish();

  EngineShared& shared_;
  ReadyPlan& ready_;
  Plan& plan_;
  ReadyPlan::State& state_;
  std::span<const Datum> inputs_;
  std::vector<Datum>& outputs_;
  const RunOptions* options_;
  int64_t device_ns_ = 0;       // of the last step there, where steps are timed
  std::vector<Datum> aligned_;  // inputs whose bytes had to be moved
  size_t step_ = 0;             // the one running
};

// Output dims of a step for the inputs it has now; empty where they depend on more than that.
// `used` gets the inputs whose content mattered.
Result<std::vector<std::optional<Dims>>> runtime_dims(const Model& model, const PlanStep& step,
                                                      std::span<const Datum> inputs,
                                                      uint64_t* used);

}  // namespace onnxtool
