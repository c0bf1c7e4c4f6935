// SPDX-License-Identifier: Apache-2.0
// For fuzz targets: what must hold for every input, or the run ends as a crash.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#define MUST(cond, ...)                                               \
  do {                                                                \
    if (!(cond)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
      onnxtool::fuzz_show(__VA_ARGS__);                               \
      std::abort();                                                   \
    }                                                                 \
  } while (0)

namespace onnxtool {
template <typename... T>
void fuzz_show(const T&... parts) {
  (std::fprintf(stderr, "%.*s\n",
                static_cast<int>(
                    std::string_view(parts).size() < 4000 ? std::string_view(parts).size() : 4000),
                std::string_view(parts).data()),
   ...);
}
}  // namespace onnxtool
