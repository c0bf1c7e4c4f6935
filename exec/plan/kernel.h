// SPDX-License-Identifier: Apache-2.0
// The contract between plans and kernels. Per op there is a list of kernels, fastest first; each
// accepts a step or says why not. An accepted kernel is prepared once (packs weights, builds
// primitives, books scratch) and then run any number of times, also by several threads at once.
// A file exec/cpu/X.cc ends with ONNXTOOL_CPU_KERNELS(X, {...}), exec/cuda/X.cu with
// ONNXTOOL_CUDA_KERNELS; the build collects the tables.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <string>

#include "exec/plan/device.h"
#include "exec/plan/step.h"
#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/datum.h"

namespace onnxtool {

// What a running step may ask of who runs it. Only kernels that need values beyond plain tensors
// (the reference, control flow) use it.
class StepHost {
 public:
  virtual ~StepHost() = default;
  virtual Datum input(size_t i) = 0;             // a tensor among them may be borrowed
  virtual Status output(size_t i, Datum d) = 0;  // checked against the planned type, kept
  virtual Result<std::vector<Datum>> run_graph(size_t body, std::vector<Datum> inputs) = 0;
  virtual Status reserve(int64_t bytes) = 0;
};

struct RunArgs {
  const void* const* in;  // one a step input, null where left out
  void* const* out;
  std::byte* scratch;  // 64-byte aligned, Prepared::scratch_bytes of it
  StepHost* host;
  Stream* stream = nullptr;  // of kernels of a device: in, out and scratch are its memory, run()
                             // enqueues; `host` is null
};

class Prepared {
 public:
  virtual ~Prepared() = default;
  virtual Status run(const RunArgs& args) const = 0;
  int64_t scratch_bytes = 0;
  uint64_t unread_inputs = 0;  // bit i: run() does not read input i (its weights were packed)
  uint64_t any_alignment = 0;  // bit i: constant input i may lie at any address
  std::string detail;          // "brgemm:avx512_core": for explain and profiles
};

// Weights in a kernel's own layout, shared between plans of one engine. For kernels of a device the
// buffers are the device's, and `fill` writes a buffer of the host that is uploaded.
class PackCache {
 public:
  virtual ~PackCache() = default;
  // The buffer for this source and form; `fill` writes it when it is not there yet.
  virtual Result<std::shared_ptr<const std::byte>> get(
      const Tensor& source, const std::string& form, int64_t bytes,
      const std::function<Status(std::byte*)>& fill) = 0;
};

class Tuner;  // exec/plan/tune.h

struct PrepareContext {
  PackCache& packs;
  int threads = 1;
  bool strict = false;       // Precision::kFp32Strict
  Device* device = nullptr;  // where kernels with Kernel::device run
  bool bf16 = false;         // Precision::kBf16
  Tuner* tuner = nullptr;    // null: the first candidate that accepts is taken
  bool tf32 = false;         // Precision::kTf32
};

// Kernels that may write an output over an input tell so by bits.
struct Kernel {
  const char* name;
  std::string_view ops;  // names it is a candidate for, separated by spaces; "*": every step
  int rank;              // candidates are tried in ascending rank; the reference has the highest
  // nullptr: accepted. Else why not, a phrase: "dilated kernel". Looks at types, shapes, layouts,
  // attributes and post ops only; cheap.
  const char* (*accept)(const StepInfo& step);
  Result<std::unique_ptr<Prepared>> (*prepare)(const StepInfo& step, PrepareContext& ctx);
  // Bit i: output 0 may lie where input i lies, if nobody else needs it. Null: none.
  uint64_t (*in_place)(const StepInfo& step) = nullptr;
  // Takes steps with sizes_unknown: gives its outputs to StepHost::output.
  bool sizes_outputs = false;
  bool view = false;    // output 0 is the bytes of input 0: nothing is prepared or run
  bool empty = false;   // takes steps with operands that have no elements
  bool device = false;  // runs on the second device
};
inline constexpr int kReferenceRank = 1000;

struct KernelTable {
  const Kernel* kernels;
  size_t count;
};

std::span<const KernelTable* const> all_cpu_kernels();   // generated
std::span<const KernelTable* const> all_cuda_kernels();  // generated, in the plug-in

extern const KernelTable plan_views;  // the kernels with `view`

// The candidates of each op in order of rank, those of the device first; the views are always
// among them.
class KernelIndex {
 public:
  struct Options {
    bool reference_only = false;
    bool libraries_last = false;  // those named onednn_* after our own
  };
  KernelIndex(std::span<const KernelTable* const> tables, Options options,
              std::span<const KernelTable* const> device = {});
  std::span<const Kernel* const> candidates(Sym op) const;

 private:
  struct Map;
  std::shared_ptr<const Map> map_;
};

}  // namespace onnxtool

#define ONNXTOOL_KERNELS(symbol, ...)                                           \
  namespace onnxtool {                                                          \
  namespace {                                                                   \
  const Kernel kKernels_##symbol[] = {__VA_ARGS__};                             \
  }                                                                             \
  extern const KernelTable symbol;                                              \
  const KernelTable symbol = {kKernels_##symbol, std::size(kKernels_##symbol)}; \
  }
#define ONNXTOOL_CPU_KERNELS(stem, ...) ONNXTOOL_KERNELS(cpu_##stem, __VA_ARGS__)
#define ONNXTOOL_CUDA_KERNELS(stem, ...) ONNXTOOL_KERNELS(cuda_##stem, __VA_ARGS__)
