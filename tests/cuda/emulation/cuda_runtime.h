// SPDX-License-Identifier: Apache-2.0
// The part of the CUDA runtime that exec/cuda uses, on the CPU: for tests of the kernels'
// arithmetic on machines without a device. Threads of a block are fibers that take turns at
// barriers and warp exchanges; blocks run one after the other. Device memory can be touched only
// while a kernel or a copy runs, so that a host that reads it crashes here as it would there.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __CUDA_EMULATION__ 1

struct dim3 {
  unsigned x, y, z;
  constexpr explicit dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

enum cudaError_t {
  cudaSuccess,
  cudaErrorMemoryAllocation,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
  cudaErrorInvalidValue
};
const char* cudaGetErrorString(cudaError_t code);
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device);
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }

enum cudaDeviceAttr {
  cudaDevAttrClockRate,
  cudaDevAttrMemoryClockRate,
  cudaDevAttrGlobalMemoryBusWidth
};
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int device);
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

cudaError_t cudaMalloc(void** p, size_t bytes);
cudaError_t cudaFree(void* p);
enum { cudaHostAllocMapped = 2 };
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);

struct EmulatedStream;
using cudaStream_t = EmulatedStream*;
enum { cudaStreamNonBlocking = 1 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind, cudaStream_t s);
cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind);
struct EmulatedEvent;
using cudaEvent_t = EmulatedEvent*;
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t s);

struct EmulatedGraph;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s);

// Work on device memory, in the order of the stream; `thread` is called for each thread.
void emulated_launch(dim3 grid, dim3 block, cudaStream_t s, std::function<void()> thread);
void emulated_work(cudaStream_t s, std::function<void()> work);

void __syncthreads();
void __syncwarp(unsigned mask = ~0u);
// What the lanes of this warp gave to the same call; until a __syncwarp(), which must follow.
const uint64_t* emulated_share(uint64_t mine);
// Copies that are done when waited for, all but the last `but` commits.
void emulated_copy(void* to, const void* from, size_t bytes);
void emulated_commit();
void emulated_wait(size_t but);
// The value that lane `from` of this warp gave to the same call.
uint64_t emulated_exchange(uint64_t mine, unsigned from);
template <typename T>
T __shfl_xor_sync(unsigned, T v, int lanes) {
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  bits = emulated_exchange(bits, (threadIdx.x & 31) ^ static_cast<unsigned>(lanes));
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
template <typename T>
T atomicAdd(T* p, T v) {
  T old = *p;
  *p = old + v;
  return old;
}
template <typename T>
T atomicMax(T* p, T v) {
  T old = *p;
  if (v > old) *p = v;
  return old;
}
