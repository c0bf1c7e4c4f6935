// SPDX-License-Identifier: Apache-2.0
// The one pool of threads. Work is shared, never split ahead: a range is cut into chunks that idle
// threads take one by one, so a core that another process took delays one chunk, not all.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace onnxtool {

// Cores that this process may run on (affinity and cgroup quota).
int usable_cores();

// A borrowed callable, no allocation: valid while the call that takes it lasts.
template <typename Signature>
class FunctionRef;
template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT(google-explicit-constructor)
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* o, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(o))(static_cast<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, static_cast<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// A pool of `threads` (the caller counts as one). Copies share.
class ThreadPool {
 public:
  explicit ThreadPool(int threads = 0);  // 0: usable_cores()
  int threads() const;
  // Runs f with this pool current: parallel_for inside (on this thread) uses its threads. Calls at
  // the same time by several threads share them.
  void execute(FunctionRef<void()> f) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Threads of the pool that is current on this thread; 1 outside execute() and inside chunks.
int parallel_threads();
// Index of this thread inside the running parallel_for, in [0, parallel_threads() of the caller).
int parallel_index();

// f(begin, end) over [0, n) in chunks whose bounds are multiples of `grain` (the last one's end is
// n). Serial where one chunk covers all or no pool is current. Nested calls are serial.
void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> f);

}  // namespace onnxtool
