// SPDX-License-Identifier: Apache-2.0
// The whole command line as one CLI11 app: used by the driver, `help` and the completions.
#pragma once
#include <functional>
#include <vector>

#include "cmd/command.h"

namespace onnxtool {

struct CommandApp {
  const Command* command;
  CLI::App* app;
  std::function<Status()> run;
};

void build_app(CLI::App& app, GlobalOptions& global, std::vector<CommandApp>& commands);

}  // namespace onnxtool
