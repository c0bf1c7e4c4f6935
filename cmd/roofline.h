// SPDX-License-Identifier: Apache-2.0
// What this machine can do at most, measured once and kept in the user's cache: fused multiply-adds
// a second, and bytes a second for working sets of several sizes. See Williams, Waterman and
// Patterson, "Roofline" (2009).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace onnxtool {

struct Roofline {
  struct Bandwidth {
    int64_t bytes = 0;  // working set: operands read and written
    double gbs = 0;
  };
  int threads = 0;                   // 0: of a device, by its data sheet
  double gflops = 0;                 // fp32
  double half_gflops = 0;            // half precision, where that is another number; 0: not known
  std::vector<Bandwidth> bandwidth;  // by ascending size
  // The least time for so much work; 0: not known.
  double least_ms(int64_t macs, int64_t bytes, bool fp32 = true) const;
};

// Of `threads` threads. Kept in $XDG_CACHE_HOME/onnxtool (~/.cache/onnxtool); what does not look
// like one there is measured anew.
Roofline roofline(int threads);

std::string cpu_name();

}  // namespace onnxtool
