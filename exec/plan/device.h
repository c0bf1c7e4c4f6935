// SPDX-License-Identifier: Apache-2.0
// A second device beside the CPU, as plans and the engine see it. Its memory is not the host's: a
// pointer to one is never read by the other. What implements it is a plug-in that is opened at run
// time (exec/cuda), so that nothing here needs its libraries.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "libonnxtool/base/error.h"

namespace onnxtool {

struct KernelTable;

// Work recorded once and played many times, with the addresses it was recorded with.
class Recording {
 public:
  virtual ~Recording() = default;
};

// Work in order, beside the host. Errors of the work itself come with a later call.
class Stream {
 public:
  virtual ~Stream() = default;
  // `from` may be changed when the call returns.
  virtual Status upload(std::byte* to, const void* from, int64_t bytes) = 0;
  // `to` is whole after wait().
  virtual Status download(void* to, const std::byte* from, int64_t bytes) = 0;
  virtual Status wait() = 0;
  // What is enqueued between the two is recorded instead of done; no upload, download or wait.
  virtual Status begin_recording() = 0;
  virtual Result<std::unique_ptr<Recording>> end_recording() = 0;
  virtual Status play(const Recording& recording) = 0;
  // What the device spends, in nanoseconds, on what is enqueued between the two; end_timing()
  // waits.
  virtual Status begin_timing() = 0;
  virtual Result<int64_t> end_timing() = 0;
};

// What a device can do at most, by its data sheet: 0 where that is not known.
struct DevicePeak {
  double fp32 = 0, half = 0;  // GFLOP/s; half: tensor cores
  double gbs = 0;             // GB/s of its memory
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;  // "cuda:0, NVIDIA H100 PCIe, 79.1 GiB, sm_90"
  virtual std::span<const KernelTable* const> kernels() const = 0;
  // Memory of the device, aligned to kDeviceAlignment; the owner may outlive the call, not the
  // device. kUnsupported when there is not enough.
  virtual Result<std::shared_ptr<std::byte>> allocate(int64_t bytes) = 0;
  virtual Result<std::unique_ptr<Stream>> make_stream() = 0;
  // A copy of the host's bytes, there when the call returns.
  virtual Result<std::shared_ptr<std::byte>> upload(const void* from, int64_t bytes) = 0;
  virtual DevicePeak peak() const = 0;
};
inline constexpr int64_t kDeviceAlignment = 256;

// What a plug-in exports under kPluginSymbol. `build` is ONNXTOOL_PLUGIN_BUILD of the caller: C++
// across libraries needs the same version and compiler on both sides, else it refuses. `option` is
// what follows the colon of --device, "" for the best device.
using OpenDevice = Result<std::unique_ptr<Device>> (*)(const char* build,
                                                       const std::string& option);
inline constexpr const char* kPluginSymbol = "onnxtool_open_device";
// And under kPluginKernels, which needs neither driver nor device.
using DeviceKernels = std::span<const KernelTable* const> (*)(const char* build);
inline constexpr const char* kPluginKernels = "onnxtool_device_kernels";

}  // namespace onnxtool

#define ONNXTOOL_PLUGIN_BUILD ONNXTOOL_VERSION " " __VERSION__
