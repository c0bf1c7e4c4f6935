// SPDX-License-Identifier: Apache-2.0
// A model on its way into the engine: loaded, checked, simplified by exact passes.
#pragma once
#include <string>

#include "cmd/command.h"
#include "exec/engine.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

struct EngineFlags {
  std::string precision = "fp32", device = "cpu", backend = "engine";
  bool explain = false;
  bool optimize = true;
};

// Declares --precision, --device, --backend, --explain and --no-optimize.
void add_engine_options(CLI::App& app, EngineFlags& f);

struct PreparedModel {
  Model model;
  EngineOptions options;
  double load_ms = 0;  // reading, checking and rewriting
};

// Refuses invalid models (kInvalid). Names of graph inputs and outputs stay.
Result<PreparedModel> prepare_model(const std::string& path, const EngineFlags& flags,
                                    const GlobalOptions& global);

}  // namespace onnxtool
