// SPDX-License-Identifier: Apache-2.0
// The device: memory, streams, recordings as CUDA graphs, and the plug-in's entry.
#include "exec/cuda/gpu.h"

#include <charconv>

namespace onnxtool {
namespace cuda {

Status check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return ok();
  const std::string text = format("{}: {}", what, cudaGetErrorString(code));
  return code == cudaErrorMemoryAllocation ? unsupported(text) : internal_error(text);
}

namespace {

class Graph final : public Recording {
 public:
  explicit Graph(cudaGraphExec_t exec) : exec(exec) {}
  ~Graph() override { cudaGraphExecDestroy(exec); }
  cudaGraphExec_t exec;
};

class GpuStream final : public Stream {
 public:
  GpuStream(int device, cudaStream_t handle, uint32_t* bad)
      : handle(handle), bad_index(bad), device_(device) {}
  ~GpuStream() override {
    for (cudaEvent_t e : timing_)
      if (e) cudaEventDestroy(e);
    cudaStreamDestroy(handle);
    cudaFreeHost(bad_index);
  }

  Status upload(std::byte* to, const void* from, int64_t bytes) override {
    if (bytes == 0) return ok();
    TRY(use());
    // From pageable memory the call returns when the bytes have been taken.
    return check(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, handle),
        "copying to the device failed");
  }
  Status download(void* to, const std::byte* from, int64_t bytes) override {
    if (bytes == 0) return ok();
    TRY(use());
    return check(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, handle),
        "copying from the device failed");
  }
  Status wait() override {
    TRY(use());
    TRY(check(cudaStreamSynchronize(handle), "work on the device failed"));
    if (!*bad_index) return ok();
    *bad_index = 0;
    return invalid("an index is out of range");
  }
  Status begin_recording() override {
    TRY(use());
    return check(cudaStreamBeginCapture(handle, cudaStreamCaptureModeThreadLocal),
                 "a recording could not begin");
  }
  Result<std::unique_ptr<Recording>> end_recording() override {
    cudaGraph_t graph = nullptr;
    TRY(check(cudaStreamEndCapture(handle, &graph), "a recording failed"));
    cudaGraphExec_t exec = nullptr;
    const cudaError_t code = cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    TRY(check(code, "a recording could not be made ready"));
    return std::unique_ptr<Recording>(std::make_unique<Graph>(exec));
  }
  Status play(const Recording& recording) override {
    TRY(use());
    return check(cudaGraphLaunch(static_cast<const Graph&>(recording).exec, handle),
                 "a recording could not be played");
  }
  Status begin_timing() override {
    TRY(use());
    for (cudaEvent_t& e : timing_)
      if (!e) TRY(check(cudaEventCreate(&e), "an event"));
    return check(cudaEventRecord(timing_[0], handle), "an event");
  }
  Result<int64_t> end_timing() override {
    TRY(check(cudaEventRecord(timing_[1], handle), "an event"));
    TRY(wait());
    float ms = 0;
    TRY(check(cudaEventElapsedTime(&ms, timing_[0], timing_[1]), "an event"));
    return static_cast<int64_t>(static_cast<double>(ms) * 1e6);
  }
  cudaStream_t handle;
  uint32_t* bad_index;  // of the host, mapped: kernels write it

 private:
  // Runs may come from any thread, each of which has a current device of its own.
  Status use() { return check(cudaSetDevice(device_), "the device cannot be used"); }
  int device_;
  cudaEvent_t timing_[2] = {};
};

// Fused multiply-adds of a multiprocessor in a clock: plain, and of half precision on its tensor
// cores (CUDA C++ Programming Guide, "Arithmetic instructions"; white papers of the architectures).
struct Rate {
  int major, minor, fp32, half;
};
constexpr Rate kRates[] = {
    {8, 0, 64, 1024}, {8, 6, 128, 512}, {8, 9, 128, 512}, {9, 0, 128, 2048}, {10, 0, 128, 4096}};

class Gpu final : public Device {
 public:
  Gpu(int index, const cudaDeviceProp& p)
      : index_(index),
        name_(format("cuda:{}, {}, {}, sm_{}{}", index, p.name,
                     human_bytes(static_cast<uint64_t>(p.totalGlobalMem)), p.major, p.minor)) {
    const auto number = [&](cudaDeviceAttr what) {
      int v = 0;
      return cudaDeviceGetAttribute(&v, what, index) == cudaSuccess ? static_cast<double>(v) : 0.0;
    };
    const double ghz = 1e-6 * number(cudaDevAttrClockRate);
    peak_.gbs =
        2e-6 * number(cudaDevAttrMemoryClockRate) * number(cudaDevAttrGlobalMemoryBusWidth) / 8;
    for (const Rate& r : kRates) {
      if (r.major != p.major || r.minor != p.minor) continue;
      peak_.fp32 = 2 * ghz * p.multiProcessorCount * r.fp32;
      peak_.half = 2 * ghz * p.multiProcessorCount * r.half;
    }
  }
  DevicePeak peak() const override { return peak_; }
  const std::string& name() const override { return name_; }
  std::span<const KernelTable* const> kernels() const override { return all_cuda_kernels(); }

  Result<std::shared_ptr<std::byte>> allocate(int64_t bytes) override {
    TRY(check(cudaSetDevice(index_), "the device cannot be used"));
    void* data = nullptr;
    const cudaError_t code = cudaMalloc(&data, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
    if (code == cudaErrorMemoryAllocation) {
      size_t free = 0, total = 0;
      (void)cudaGetLastError();
      (void)cudaMemGetInfo(&free, &total);
      return unsupported(format("{} needed on {}, {} free",
                                human_bytes(static_cast<uint64_t>(bytes)), name_,
                                human_bytes(free)));
    }
    TRY(check(code, "memory of the device"));
    return std::shared_ptr<std::byte>(static_cast<std::byte*>(data),
                                      [](std::byte* p) { cudaFree(p); });
  }

  Result<std::shared_ptr<std::byte>> upload(const void* from, int64_t bytes) override {
    TRY_ASSIGN(std::shared_ptr<std::byte> to, allocate(bytes));
    if (bytes == 0) return to;
    TRY(check(cudaMemcpy(to.get(), from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice),
              "copying to the device failed"));
    // Streams of the engine do not wait for the one that this copy went by.
    TRY(check(cudaDeviceSynchronize(), "copying to the device failed"));
    return to;
  }

  Result<std::unique_ptr<Stream>> make_stream() override {
    TRY(check(cudaSetDevice(index_), "the device cannot be used"));
    cudaStream_t handle = nullptr;
    TRY(check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "a stream"));
    void* bad = nullptr;
    const cudaError_t code = cudaHostAlloc(&bad, sizeof(uint32_t), cudaHostAllocMapped);
    if (code != cudaSuccess) cudaStreamDestroy(handle);
    TRY(check(code, "memory of a stream"));
    *static_cast<uint32_t*>(bad) = 0;
    return std::unique_ptr<Stream>(
        std::make_unique<GpuStream>(index_, handle, static_cast<uint32_t*>(bad)));
  }

 private:
  int index_;
  std::string name_;
  DevicePeak peak_;
};

Result<std::unique_ptr<Device>> open(const std::string& option) {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver)
    return unsupported("no NVIDIA driver, or one too old for this CUDA plug-in");
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0))
    return unsupported("no CUDA device");
  TRY(check(code, "CUDA"));
  int index = 0;
  if (!option.empty()) {
    auto [end, error] = std::from_chars(option.data(), option.data() + option.size(), index);
    if (error != std::errc() || end != option.data() + option.size() || index < 0)
      return usage_error(format("no number of a CUDA device: {}", quoted(option)));
    if (index >= count)
      return unsupported(
          format("no CUDA device {}: there {} {}", index, count == 1 ? "is" : "are", count));
  }
  cudaDeviceProp p{};
  TRY(check(cudaGetDeviceProperties(&p, index), "the device"));
  if (p.major < 8)
    return unsupported(format("{} has compute capability {}.{}, this plug-in is for 8.0 and newer",
                              p.name, p.major, p.minor));
  return std::unique_ptr<Device>(std::make_unique<Gpu>(index, p));
}

}  // namespace

uint32_t* bad_index(const RunArgs& args) { return static_cast<GpuStream*>(args.stream)->bad_index; }

cudaStream_t stream_of(const RunArgs& args) { return static_cast<GpuStream*>(args.stream)->handle; }

}  // namespace cuda
}  // namespace onnxtool

extern "C" std::span<const onnxtool::KernelTable* const> onnxtool_device_kernels(
    const char* build) {
  if (std::string_view(build) != ONNXTOOL_PLUGIN_BUILD) return {};
  return onnxtool::all_cuda_kernels();
}

extern "C" onnxtool::Result<std::unique_ptr<onnxtool::Device>> onnxtool_open_device(
    const char* build, const std::string& option) {
  if (std::string_view(build) != ONNXTOOL_PLUGIN_BUILD)
    return onnxtool::unsupported("the CUDA plug-in belongs to another build of onnxtool");
  return onnxtool::cuda::open(option);
}
