// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/base/threads.h"

#include <sched.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#ifdef __SANITIZE_THREAD__
extern "C" void __tsan_acquire(void* at);
extern "C" void __tsan_release(void* at);
#endif

namespace onnxtool {
namespace {

// The thread sanitizer does not see how TBB hands tasks over: what was written before tell() is
// there for who comes after saw().
void tell([[maybe_unused]] void* at) {
#ifdef __SANITIZE_THREAD__
  __tsan_release(at);
#endif
}
void saw([[maybe_unused]] void* at) {
#ifdef __SANITIZE_THREAD__
  __tsan_acquire(at);
#endif
}

// Chunks a thread should get: enough that a late or preempted thread delays little.
constexpr int64_t kChunksPerThread = 6;
constexpr int kMaxThreads = 1024;

struct Local {
  int threads = 1;
  int index = 0;
};
thread_local Local local;

// Cores of the cgroup's CPU quota (version 2), rounded up; `cores` if there is none.
int quota_cores(int cores) {
  FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "re");
  if (!f) return cores;
  long long quota = 0, period = 0;
  int got = std::fscanf(f, "%lld %lld", &quota, &period);
  std::fclose(f);
  if (got != 2 || quota <= 0 || period <= 0) return cores;
  return static_cast<int>(std::clamp<long long>((quota + period - 1) / period, 1, cores));
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  int cores = 0;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cores = CPU_COUNT(&set);
  if (cores < 1) cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return quota_cores(cores);
}

// Calls that come at the same time share the threads: each has an arena of its own, of a size that
// leaves the others theirs, so none takes up work of another while it waits.
struct ThreadPool::Impl {
  explicit Impl(int n) : threads(n) {}
  std::unique_ptr<tbb::task_arena> take() {
    std::lock_guard lock(mutex);
    const int size = std::max(1, threads / ++active);
    auto fits = std::find_if(idle.begin(), idle.end(),
                             [&](const auto& arena) { return arena->max_concurrency() == size; });
    if (fits == idle.end()) return std::make_unique<tbb::task_arena>(size, 1);
    auto arena = std::move(*fits);
    idle.erase(fits);
    return arena;
  }
  void give(std::unique_ptr<tbb::task_arena> arena) {
    std::lock_guard lock(mutex);
    --active;
    idle.push_back(std::move(arena));
  }
  const int threads;
  std::mutex mutex;
  int active = 0;
  std::vector<std::unique_ptr<tbb::task_arena>> idle;
};

ThreadPool::ThreadPool(int threads)
    : impl_(std::make_shared<Impl>(
          std::clamp(threads > 0 ? threads : usable_cores(), 1, kMaxThreads))) {}

int ThreadPool::threads() const { return impl_->threads; }

void ThreadPool::execute(FunctionRef<void()> f) const {
  auto arena = impl_->take();
  const Local before = local;
  local = {arena->max_concurrency(), 0};
  arena->execute([&] { f(); });
  local = before;
  impl_->give(std::move(arena));
}

int parallel_threads() { return local.threads; }
int parallel_index() { return local.index; }

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> f) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  int64_t units = (n + grain - 1) / grain;
  int threads = static_cast<int>(std::min<int64_t>(local.threads, units));
  if (threads <= 1) {
    Local before = local;
    local = {1, before.index};  // nested calls are serial
    f(0, n);
    local = before;
    return;
  }
  int64_t chunks = std::min(units, threads * kChunksPerThread);
  std::atomic<int64_t> next{0};
  std::atomic<int> next_index{0};
  tbb::task_group group;
  auto work = [&] {
    saw(&group);
    if (next.load(std::memory_order_relaxed) >= chunks) return;
    Local before = local;
    local = {1, next_index.fetch_add(1, std::memory_order_relaxed)};
    for (int64_t c; (c = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
      int64_t begin = units * c / chunks * grain;
      f(begin, std::min(n, units * (c + 1) / chunks * grain));
    }
    local = before;
    tell(&group);
  };
  tell(&group);
  for (int i = 1; i < threads; ++i) group.run(work);
  work();
  group.wait();
  saw(&group);
}

}  // namespace onnxtool
