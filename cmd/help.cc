// SPDX-License-Identifier: Apache-2.0
// onnxtool help [COMMAND]
#include <CLI/CLI.hpp>
#include <memory>

#include "cmd/main.h"
#include "cmd/output.h"
#include "cmd/usage.h"

namespace onnxtool {
namespace {

std::function<Status()> setup(CLI::App& app, const GlobalOptions&) {
  auto name = std::make_shared<std::string>();
  app.add_option("command", *name, "command to explain")->type_name("COMMAND");
  return [name]() -> Status {
    CLI::App root;
    GlobalOptions global;
    std::vector<CommandApp> commands;
    build_app(root, global, commands);
    if (name->empty()) {
      print(root.help());
      return ok();
    }
    for (const CommandApp& c : commands)
      if (*name == c.command->name) {
        print(c.app->help());
        return ok();
      }
    std::vector<std::string> names;
    for (const CommandApp& c : commands) names.emplace_back(c.command->name);
    const std::string near = nearest(*name, names);
    return usage_error(format("there is no command {}{} (`onnxtool help` lists them)",
                              onnxtool::quoted(*name),
                              near.empty() ? "" : format("; did you mean '{}'?", near)));
  };
}

}  // namespace

extern const Command cmd_help;
const Command cmd_help = {
    .name = "help",
    .group = "About",
    .summary = "show the commands, or one command's options",
    .examples = "  onnxtool help optimize\n",
    .setup = setup,
};

}  // namespace onnxtool
