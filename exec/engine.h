// SPDX-License-Identifier: Apache-2.0
// The compiled engine: a model in, a plan per set of concrete input shapes, runs that allocate
// nothing beyond results whose size is only known while running. This is the public face; what a
// plan holds is in exec/plan, the kernels are in exec/cpu.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

enum class Precision : uint8_t {
  kFp32,        // fp32-level error
  kTf32,        // on a device: products may round their operands to 11 bits
  kFp32Strict,  // plain fp32 fused multiply-add only: no transformed convolutions, no split formats
  kBf16,        // products and convolutions with weights: operands in bfloat16, sums in fp32
};

struct EngineOptions {
  // "cpu"; "cuda" or "cuda:N": the device of the CUDA plug-in, an error where there is none;
  // "auto": that device if there is one.
  std::string device = "cpu";
  bool device_always = false;  // also steps that gain less there than their copies cost
  int threads = 0;             // 0: every core this process may use
  Precision precision = Precision::kFp32;
  bool reference = false;  // every node by its reference evaluation (an oracle, slow)
  bool fuse = true;        // off: one step a node
  // float16 and bfloat16 are computed in float and rounded where the model gives them out. Off:
  // every value is rounded to its own type (by the reference where no kernel does so).
  bool promote_half = true;
  bool profile = false;  // time every step of every run
  bool explain = false;  // keep why each refused kernel refused, for explain()
  // Every value is computed as the model names it, so that RunOptions::observe sees all of them.
  // Implies fuse = false. To observe a few values of an otherwise fused plan, name them instead.
  bool observe_all = false;
  std::vector<ValueId> observe;
  int64_t memory_limit =
      0;  // bytes for folded constants, arena and run-time values; 0: 3/4 of memory
  // Packed weights are taken from this file where it is there and made for `pack_key`, which must
  // tell the model's content and all that the weights depend on; see Engine::save_packs().
  std::string pack_file, pack_key;
  // Kept in that file too where it is not empty: what the caller made the model of, for
  // packed_model().
  Bytes pack_model;
  // Kernels are chosen by their time on this machine. Choices are kept in this file and taken from
  // it where it has them; see Engine::save_tuning().
  std::string tune_file;
  // Weights are packed for each run anew and not kept, and kernels of libraries, which bring code
  // of their own, come last: for a few runs beside other work.
  bool low_memory = false;
  size_t max_plans = 8;  // plans kept for different input shapes, least recently used goes
};

struct EngineInput {
  std::string name;
  Type type;
  bool has_default = false;  // an initializer stands behind it: the input may be left out
};

struct EngineOutput {
  std::string name;
  Type type;  // as inferred without concrete input shapes
};

// A value while it is alive during a run; `datum` must not be kept without copying its bytes.
struct Observed {
  ValueId value;
  const Datum& datum;
};

// When one step of the main graph ran, in nanoseconds of the steady clock.
struct StepSpan {
  size_t step = 0;  // StepProfile::step
  int64_t start_ns = 0, end_ns = 0;
};

struct RunOptions {
  std::function<Status(const Observed&)>
      observe;                             // called in order of execution; an error ends the run
  bool profile = false;                    // time the steps of this run, for profile()
  std::vector<StepSpan>* spans = nullptr;  // gets one a step; implies profile
};

struct StepProfile {
  size_t step = 0;                   // its index in the plan
  std::string name;                  // of the main node, or "op#index"
  std::string op;                    // "Conv", "Conv+Add+Relu"
  std::string kernel;                // "onednn_conv (brgemm:avx512_core)"
  std::vector<NodeId> nodes;         // nodes of the model that the step stands for
  std::vector<std::string> outputs;  // names of the model's values that it gives
  std::string shapes;                // "[1,64,56,56] [64,64,3,3] -> [1,64,56,56]"
  int64_t calls = 0;
  double total_ms = 0, min_ms = 0;
  int64_t macs = 0;        // multiply-accumulates of one call, 0 where not counted
  int64_t bytes = 0;       // operands read and written by one call, each once
  bool fp32 = true;        // the first operand is float
  bool on_device = false;  // ran there: times are the device's own
  bool copy = false;       // between host and device
};

struct EngineStats {
  double compile_ms = 0;  // Engine::compile and every plan made since
  int64_t nodes = 0;      // of the model, functions inlined, bodies included
  int64_t plans = 0;      // cached now
  // Of the plan used last:
  int64_t steps = 0;
  int64_t folded_nodes = 0;  // nodes whose value was known when planning
  int64_t arena_bytes = 0;
  int64_t arena_lower_bound = 0;  // most bytes alive at once, whatever the placement
  int64_t packed_bytes = 0;       // weights in a kernel's own layout (shared between plans)
  int64_t cached_bytes = 0;       // of these, from the pack file
  std::string pack_note;          // why a pack file that is there was not used, or not all of it
  int64_t tuned = 0;              // steps whose kernel was chosen by time, measured now
  std::string tune_note;          // why a tune file that is there was not used
  int64_t folded_bytes = 0;       // constants computed while planning
  std::string device = "cpu";     // or the name of the device
  int64_t device_steps = 0;       // that run there, without copies
  int64_t device_copies = 0, device_copy_bytes = 0;  // between host and device, a run
  double enqueue_ms = 0;  // of the last run: until the host had enqueued all of it
  // Of the device, by its data sheet: GFLOP/s of fp32 and of half precision, GB/s; 0: not known.
  double device_fp32 = 0, device_half = 0, device_gbs = 0;
};

// EngineOptions::pack_model of the engine that wrote the file; empty where there is no such file,
// it was made for another key or machine, holds none, or is damaged.
Bytes packed_model(const std::string& pack_file, const std::string& pack_key);

class Engine {
 public:
  // Keeps a copy of the model's structure and shares its tensor bytes. Where all input shapes are
  // known the plan is made here, else by prepare() or the first run().
  static Result<Engine> compile(const Model& model, EngineOptions options = {});
  // Takes the model over: what is packed, and read by nobody after that, is let go of.
  static Result<Engine> compile(Model&& model, EngineOptions options = {});
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  const std::vector<EngineInput>& inputs() const;
  const std::vector<EngineOutput>& outputs() const;

  // `inputs` in the order of inputs(); a Datum without value, or a list cut short, leaves an input
  // to its default. Types are checked. Results are in order of outputs().
  Result<std::vector<Datum>> run(std::span<const Datum> inputs, const RunOptions& options = {});
  // The same into `outputs`: tensors there that nobody else holds and that fit are written anew,
  // so a caller who passes the same vector again allocates nothing.
  Status run(std::span<const Datum> inputs, std::vector<Datum>& outputs,
             const RunOptions& options = {});
  // Inputs by name, in any order; unknown names and missing inputs are errors.
  Result<std::vector<Datum>> run(std::span<const std::pair<std::string, Datum>> inputs,
                                 const RunOptions& options = {});

  // Makes the plan for these concrete input types now (one a graph input; unknown: its default).
  Status prepare(std::span<const Type> inputs);

  // Writes the packed weights of all plans so far to options.pack_file, if it lacks some.
  Status save_packs() const;
  // Writes the measured choices of all plans so far to options.tune_file, if it lacks some.
  Status save_tuning() const;

  // The plan used or made last, as text: a line a step with kernel, shapes, layouts, arena places.
  std::string explain() const;
  std::vector<StepProfile> profile() const;  // of the plan used last; of runs with profile on
  void reset_profile();
  EngineStats stats() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  static Result<Engine> make(Model model, EngineOptions options, bool take);
  std::unique_ptr<Impl> impl_;
};

}  // namespace onnxtool
