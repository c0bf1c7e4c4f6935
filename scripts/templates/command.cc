// SPDX-License-Identifier: Apache-2.0
// onnxtool @name@: what it does, in one sentence.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "cmd/command.h"

namespace onnxtool {
namespace {

struct Options {
  std::string text = "hello";
};

Status run(const Options& options) {
  fmt::print("{}\n", options.text);
  return ok();
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions&) {
  auto options = std::make_shared<Options>();
  app.add_option("text", options->text, "what to print")->capture_default_str();
  return [options] { return run(*options); };
}

}  // namespace

extern const Command cmd_ @name @;
const Command cmd_ @name @ = {
    .name = "@name@",
    .group = "Other",
    .summary = "what it does, in one line",
    .examples = "onnxtool @name@ hello",
    .setup = setup,
};

}  // namespace onnxtool
