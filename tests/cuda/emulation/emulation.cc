// SPDX-License-Identifier: Apache-2.0
#undef _FORTIFY_SOURCE  // its longjmp takes a change of stacks for an error
#include <cuda_runtime.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};
struct EmulatedStream {
  std::unique_ptr<EmulatedGraph> capture;
};

struct EmulatedEvent {
  std::chrono::steady_clock::time_point at;
};

namespace {

// What tests set: a number of the environment, or what it is without.
size_t setting(const char* name, size_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// ---- memory

constexpr size_t kMemory = size_t{8} << 30;  // reserved addresses, not memory
// Bytes that the device says it has.
size_t device_memory() {
  static const size_t bytes = setting("EMULATED_CUDA_MEMORY", kMemory);
  return bytes;
}

struct Memory {
  std::mutex mutex;
  std::byte* base = nullptr;
  std::map<size_t, size_t> used;  // offset, bytes
  size_t total = 0;
  int open = 0;

  Memory() {
    void* p = mmap(nullptr, kMemory, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) base = static_cast<std::byte*>(p);
  }
  void* take(size_t bytes) {
    std::lock_guard lock(mutex);
    bytes = (bytes + 4095) / 4096 * 4096 + 4096;  // what lies beyond an end is never another's
    size_t at = 0;
    for (auto [offset, size] : used) {
      if (offset - at >= bytes) break;
      at = offset + size;
    }
    if (!base || bytes > kMemory - at || bytes > device_memory() - total) return nullptr;
    used[at] = bytes;
    total += bytes;
    return base + at;
  }
  void give(void* p) {
    std::lock_guard lock(mutex);
    auto it = used.find(static_cast<size_t>(static_cast<std::byte*>(p) - base));
    if (it == used.end()) return;
    madvise(p, it->second, MADV_DONTNEED);
    total -= it->second;
    used.erase(it);
  }
  void enter() {
    std::lock_guard lock(mutex);
    if (open++ == 0) mprotect(base, kMemory, PROT_READ | PROT_WRITE);
  }
  void leave() {
    std::lock_guard lock(mutex);
    if (--open == 0) mprotect(base, kMemory, PROT_NONE);
  }
};
Memory& memory() {
  static Memory* m = new Memory;  // streams may end after static objects
  return *m;
}

// ---- threads of a block

constexpr size_t kStack = size_t{128} << 10;
enum class State { kIdle, kRunning, kBlock, kWarp };

struct Fiber {
  ucontext_t context{};  // where it begins; afterwards `jump`, which costs no system call
  jmp_buf jump;
  bool begun = false;
  std::unique_ptr<char[]> stack = std::make_unique_for_overwrite<char[]>(kStack);
  unsigned thread = 0;
  State state = State::kIdle;
  // Copies that nobody has waited for yet; those before copies_end[i] belong to commit i.
  struct Copy {
    void* to;
    const void* from;
    size_t bytes;
  };
  std::vector<Copy> copies;
  std::vector<size_t> copies_end;
};

struct Block {
  jmp_buf home;
  std::vector<std::unique_ptr<Fiber>> fibers;  // those used so far; idle ones are used again
  Fiber* current = nullptr;
  unsigned next = 0, threads = 0;
  dim3 shape;
  const std::function<void()>* body = nullptr;
  std::vector<uint64_t> given;  // by thread: what it gave to an exchange

  static void enter();
  void resume(Fiber& f) {
    current = &f;
    place(f.thread);
    f.state = State::kRunning;
    if (_setjmp(home) == 0) {
      if (f.begun) _longjmp(f.jump, 1);
      f.begun = true;
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack.get();
      f.context.uc_stack.ss_size = kStack;
      makecontext(&f.context, enter, 0);
      setcontext(&f.context);
    }
    current = nullptr;
  }
  void place(unsigned t) const {
    threadIdx = dim3(t % shape.x, t / shape.x % shape.y, t / shape.x / shape.y);
  }
  void suspend(State state) {
    Fiber& f = *current;
    f.state = state;
    if (_setjmp(f.jump) == 0) _longjmp(home, 1);
  }
  Fiber& idle() {
    for (auto& f : fibers)
      if (f->state == State::kIdle) return *f;
    fibers.push_back(std::make_unique<Fiber>());
    return *fibers.back();
  }
  void run() {
    next = 0;
    given.assign(threads, 0);
    while (next < threads) {  // until every thread has ended or waits
      Fiber& f = idle();
      f.thread = next;
      resume(f);
    }
    std::vector<Fiber*> warp, block;
    for (bool waiting = true; waiting;) {
      waiting = false;
      // Warps first: a barrier of the block waits for threads that wait in a warp.
      warp.clear();
      block.clear();
      for (auto& f : fibers) {
        if (f->state == State::kWarp) warp.push_back(f.get());
        if (f->state == State::kBlock) block.push_back(f.get());
      }
      for (Fiber* f : warp.empty() ? block : warp) {
        waiting = true;
        resume(*f);
      }
    }
  }
};
thread_local Block the_block;

// A fiber goes on with the next thread while none waits.
void Block::enter() {
  Block& b = the_block;
  Fiber* self = b.current;
  for (;;) {
    while (b.next < b.threads) {
      self->thread = b.next++;
      b.place(self->thread);
      (*b.body)();
      if (!self->copies.empty()) {
        std::fputs("a thread has ended before its copies\n", stderr);
        std::abort();
      }
    }
    b.suspend(State::kIdle);
  }
}

void submit(cudaStream_t s, std::function<void()> work) {
  if (s && s->capture) {
    s->capture->work.push_back(std::move(work));
    return;
  }
  memory().enter();
  work();
  memory().leave();
}

}  // namespace

void emulated_work(cudaStream_t s, std::function<void()> work) { submit(s, std::move(work)); }

void emulated_launch(dim3 grid, dim3 block, cudaStream_t s, std::function<void()> thread) {
  submit(s, [=] {
    gridDim = grid;
    blockDim = block;
    the_block.shape = block;
    the_block.threads = block.x * block.y * block.z;
    the_block.body = &thread;
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
          blockIdx = dim3(x, y, z);
          the_block.run();
        }
  });
}

void __syncthreads() { the_block.suspend(State::kBlock); }
void __syncwarp(unsigned) { the_block.suspend(State::kWarp); }
const uint64_t* emulated_share(uint64_t mine) {
  const unsigned t = the_block.current->thread;
  the_block.given[t] = mine;
  the_block.suspend(State::kWarp);
  return &the_block.given[t & ~31u];
}
uint64_t emulated_exchange(uint64_t mine, unsigned from) {
  const unsigned warp = the_block.current->thread & ~31u;
  const uint64_t* given = emulated_share(mine);
  const uint64_t v = warp + from < the_block.threads ? given[from] : mine;
  __syncwarp();  // nobody gives anew before all have read
  return v;
}

void emulated_copy(void* to, const void* from, size_t bytes) {
  std::memset(to, 0xff, bytes);
  the_block.current->copies.push_back({to, from, bytes});
}
void emulated_commit() {
  Fiber& f = *the_block.current;
  f.copies_end.push_back(f.copies.size());
}
void emulated_wait(size_t but) {
  Fiber& f = *the_block.current;
  if (f.copies_end.size() <= but) return;
  const size_t commits = f.copies_end.size() - but, end = f.copies_end[commits - 1];
  for (size_t i = 0; i < end; ++i) std::memcpy(f.copies[i].to, f.copies[i].from, f.copies[i].bytes);
  f.copies.erase(f.copies.begin(), f.copies.begin() + static_cast<std::ptrdiff_t>(end));
  f.copies_end.erase(f.copies_end.begin(),
                     f.copies_end.begin() + static_cast<std::ptrdiff_t>(commits));
  for (size_t& e : f.copies_end) e -= end;
}

const char* cudaGetErrorString(cudaError_t code) {
  static const char* const text[] = {"no error", "out of memory", "insufficient driver",
                                     "no device", "invalid value"};
  return text[code];
}
cudaError_t cudaGetDeviceCount(int* count) {
  if (setting("EMULATED_CUDA_NO_DRIVER", 0)) return cudaErrorInsufficientDriver;
  *count = static_cast<int>(setting("EMULATED_CUDA_DEVICES", 1));
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int) {
  constexpr int kValues[] = {1000000, 1000000, 512};  // kHz, kHz, bits
  *value = kValues[what];
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {"emulation", device_memory(), 9, 0, 4};
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** p, size_t bytes) {
  *p = memory().take(bytes);
  return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* p) {
  memory().give(p);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  *p = std::malloc(bytes);
  return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = device_memory();
  *free = *total - memory().total;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind, cudaStream_t s) {
  submit(s, [=] { std::memmove(to, from, n); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind) {
  submit(nullptr, [=] { std::memmove(to, from, n); });
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->at = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  *ms = std::chrono::duration<float, std::milli>(end->at - start->at).count();
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t s) {
  submit(s, [=] { std::memset(p, value, n); });
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  s->capture = std::make_unique<EmulatedGraph>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  *graph = s->capture.release();
  return *graph ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  for (const auto& work : exec->work) submit(s, work);
  return cudaSuccess;
}
