// SPDX-License-Identifier: Apache-2.0
// Where the time goes: steps with what they achieve against this machine's roofline, and the nodes
// of the model's file that each stands for.
#pragma once
#include "cmd/bench_measure.h"
#include "cmd/roofline.h"

namespace onnxtool {

struct ProfileRow {
  StepProfile step;
  double ms = 0, share = 0;  // of the fastest call; per cent of all of these
  double gflops = 0, gbs = 0;
  double roofline = 0;             // per cent; 0 where it says nothing (integers, no time)
  std::vector<std::string> nodes;  // of the file: names, or "Op:first output" without one
};

// The most expensive first; steps that never ran are left out.
std::vector<ProfileRow> profile_rows(const Contender& c, const Roofline& machine);
std::string profile_table(const std::vector<ProfileRow>& rows, const Roofline& machine);

}  // namespace onnxtool
