// SPDX-License-Identifier: Apache-2.0
// Kernels chosen by their time (--tune): where several take a step of some work, each is run on
// made-up data and the fastest is remembered by what the step looks like, from start to start in a
// text file. The file is trusted for nothing: a sum at its end guards it, and a name in it counts
// only if that kernel takes the step.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "exec/plan/kernel.h"

namespace onnxtool {

class Tuner {
 public:
  // `key`: all that choices depend on beside the step. A file for another key is not used.
  Tuner(std::string path, std::string key);
  // Null: too little work, or one candidate.
  const Kernel* fastest(const StepInfo& step, std::span<const Kernel* const> candidates,
                        PrepareContext& ctx);
  Status save() const;                               // if the file lacks some
  int64_t measured() const;                          // steps, in this process
  const std::string& note() const { return note_; }  // why a file that is there is not used

 private:
  Status read();
  std::string path_, head_, note_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> choices_;  // kernel by step
  int64_t measured_ = 0;
};

}  // namespace onnxtool
