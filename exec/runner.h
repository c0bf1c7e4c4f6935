// SPDX-License-Identifier: Apache-2.0
// Runs a graph by plans: one plan per set of concrete input types, made when first needed. The
// main graph has one runner; each body of If, Loop and Scan has one in the plan that runs it.
#pragma once
#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "exec/buffers.h"
#include "exec/engine.h"
#include "exec/plan/packs.h"
#include "exec/plan/plan.h"
#include "exec/plan/tune.h"
#include "libonnxtool/base/threads.h"

namespace onnxtool {

// What all runners of an engine share.
struct EngineShared {
  // `d`: the second device, null without one.
  EngineShared(EngineOptions o, int64_t limit, std::unique_ptr<Device> d)
      : device(std::move(d)),
        options(std::move(o)),
        pool(options.threads),
        kernels(all_cpu_kernels(),
                {.reference_only = options.reference, .libraries_last = options.low_memory},
                device ? device->kernels() : std::span<const KernelTable* const>()),
        device_packs(device.get()),
        buffers(limit) {}
  std::unique_ptr<Device> device;  // outlives what lies in its memory
  Model model;
  EngineOptions options;
  PlanOptions plan_options;
  ThreadPool pool;
  KernelIndex kernels;
  SharedPacks packs, device_packs;
  PassingPacks passing;
  std::unique_ptr<Tuner> tuner;
  BufferPool buffers;
  std::atomic<int64_t> plan_ns{0};
  PrepareContext prepare_context() {
    return {options.low_memory ? static_cast<PackCache&>(passing) : packs,
            pool.threads(),
            options.precision == Precision::kFp32Strict,
            nullptr,
            options.precision == Precision::kBf16,
            tuner.get()};
  }
  PrepareContext device_context() {
    return {device_packs, 1,       options.precision == Precision::kFp32Strict, device.get(),
            false,        nullptr, options.precision == Precision::kTf32};
  }
};

class GraphRunner;

struct StepTime {
  int64_t calls = 0, total_ns = 0, min_ns = 0;
  std::string kernel;  // dynamic steps: the last one used
};

// A plan with what running it needs, and the states of runs that are not in progress.
struct ReadyPlan {
  Plan plan;
  struct Wiring {
    uint32_t in = 0, out = 0;  // first slot of the step's pointers
  };
  std::vector<Wiring> wiring;
  size_t slots = 0;
  std::vector<int> root;                        // by value: whose bytes it is
  std::vector<std::vector<uint32_t>> patch;     // by root: slots to set when its place is known
  std::vector<std::vector<int>> release;        // by step: heap values done after it
  std::vector<std::pair<uint32_t, int>> fixed;  // slot, value: constants and arena places
  // Slot: constants that steps of the device read.
  std::vector<std::pair<uint32_t, std::shared_ptr<const std::byte>>> resident;
  // First and last step of runs of work on the device without copies; by step: the one that
  // starts there, or -1.
  std::vector<std::pair<size_t, size_t>> segments;
  std::vector<int> segment_at;
  std::vector<std::vector<std::unique_ptr<GraphRunner>>> bodies;  // by step
  std::vector<int64_t> key;

  struct State;
  std::mutex mutex;
  std::atomic<int64_t> enqueue_ns{0};  // of the last run: until all of it was enqueued
  std::vector<std::unique_ptr<State>> idle;
  std::vector<StepTime> times;
  ~ReadyPlan();
};

class GraphRunner {
 public:
  // `captured`: values of graphs around that the graph uses, bound after its own inputs. Those
  // whose constant is defined are known already and not bound.
  // `take`: see PlanRequest::take.
  GraphRunner(EngineShared& shared, GraphId graph, std::vector<PlanInput> captured, bool main,
              bool take = false);
  ~GraphRunner();

  size_t num_inputs() const { return formals_.size(); }
  size_t num_own_inputs() const { return own_inputs_; }
  std::span<const PlanInput> captured() const { return std::span(formals_).subspan(own_inputs_); }
  // Inputs without value are left to their defaults.
  Status run(std::span<const Datum> inputs, std::vector<Datum>& outputs, const RunOptions* options);
  // Makes the plan for these types the one used last.
  Result<std::shared_ptr<ReadyPlan>> prepare(std::span<const Type> types);
  // There is a plan for inputs of these types.
  bool planned(std::span<const Datum> inputs) { return find(key_of(inputs)) != nullptr; }
  std::shared_ptr<ReadyPlan> last() const;
  size_t plans() const;

 private:
  // The plan of that key, which becomes the one used last; null: none.
  std::shared_ptr<ReadyPlan> find(const std::vector<int64_t>& key);
  static const std::vector<int64_t>& key_of(std::span<const Datum> inputs);  // until the next call
  Result<std::shared_ptr<ReadyPlan>> plan_for(std::span<const Datum> inputs);
  Result<std::shared_ptr<ReadyPlan>> make(std::span<const Type> types, std::vector<int64_t> key);

  EngineShared& shared_;
  GraphId graph_;
  std::vector<PlanInput> formals_;
  size_t own_inputs_ = 0;
  bool main_, take_;
  mutable std::mutex mutex_;
  std::list<std::shared_ptr<ReadyPlan>> plans_;  // most recently used first
};

}  // namespace onnxtool
