// SPDX-License-Identifier: Apache-2.0
// onnxtool version: what this build is made of.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "cmd/output.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {
namespace {

std::function<Status()> setup(CLI::App& app, const GlobalOptions&) {
  auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "print a JSON document");
  return [json]() -> Status {
    constexpr int kNewestIr = 14;
    const auto opset = newest_opset(""), ml = newest_opset("ai.onnx.ml");
    if (*json) {
      nlohmann::ordered_json j = {{"version", ONNXTOOL_VERSION},
                                  {"ir_version", kNewestIr},
                                  {"opsets", {{"ai.onnx", opset}, {"ai.onnx.ml", ml}}},
                                  {"compiler", __VERSION__}};
      print(j.dump(2) + "\n");
      return ok();
    }
    print(format(
        "onnxtool {}\nONNX IR up to {}, ai.onnx opset up to {}, ai.onnx.ml up to {}\ncompiler {}\n",
        ONNXTOOL_VERSION, kNewestIr, opset, ml, __VERSION__));
    return ok();
  };
}

}  // namespace

extern const Command cmd_version;
const Command cmd_version = {
    .name = "version",
    .group = "About",
    .summary = "print what this build is and supports",
    .examples = "  onnxtool version --json\n",
    .setup = setup,
};

}  // namespace onnxtool
