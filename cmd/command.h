// SPDX-License-Identifier: Apache-2.0
// A command of the tool. A file cmd/<name>.cc defines
//     extern const Command cmd_<name>;
//     const Command cmd_<name> = {.name = "inspect", ...};
// and the driver finds it, parses global options, prints errors and checks standard output.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/base/error.h"

namespace CLI {
class App;
}

namespace onnxtool {

class FunctionLibrary;

// Options that mean the same everywhere.
struct GlobalOptions {
  bool quiet = false;
  int verbose = 0;
  int threads = 0;             // 0: all cores this process may use
  std::string color = "auto";  // auto, always, never
  std::string progress = "auto";
  std::vector<std::string> functions, op_libraries;
  std::shared_ptr<const FunctionLibrary> library;  // of --functions (cmd/libraries.h)
};

struct Command {
  const char* name;
  const char* group;     // heading in `onnxtool help`
  const char* summary;   // one line
  const char* examples;  // lines for --help and the man page
  // Declares options on `app` and returns what runs after parsing. A negative answer (exit 1) is
  // an Error of code kNegative; with an empty message nothing more is printed.
  std::function<Status()> (*setup)(CLI::App& app, const GlobalOptions& global);
};

std::span<const Command* const> all_commands();  // generated

}  // namespace onnxtool
