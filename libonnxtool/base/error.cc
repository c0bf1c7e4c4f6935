// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/base/error.h"

#include <cstdio>
#include <cstdlib>

#include "libonnxtool/base/str.h"

namespace onnxtool {

int exit_status(Code code) {
  switch (code) {
    case Code::kNegative: return 1;
    case Code::kUsage: return 2;
    case Code::kInvalid: return 3;
    case Code::kUnsupported: return 4;
    case Code::kOutput: return 5;
    case Code::kInternal: return 70;
  }
  return 70;
}

Error make_error(Code code, std::string message) { return {code, std::move(message), {}}; }

std::string Error::text() const {
  std::string s;
  for (auto it = context.rbegin(); it != context.rend(); ++it) s += *it + ": ";
  return escape(s + message, 500);
}

void bug(const char* file, int line, const char* what) {
  std::fprintf(stderr, "onnxtool: BUG: %s:%d: %s\n", file, line, what);
  std::fflush(stderr);
  std::_Exit(70);
}

}  // namespace onnxtool
