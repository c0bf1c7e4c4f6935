// SPDX-License-Identifier: Apache-2.0
// A model on its way into the engine: loaded, checked, simplified by exact passes.
#pragma once
#include <string>

#include "cmd/command.h"
#include "exec/engine.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

struct EngineFlags {
  bool keep_original = false;  // fill PreparedModel::original
  std::string precision = "fp32", device = "cpu", backend = "engine", tune;
  std::string cache;  // folder of packed weights; empty: none
  bool explain = false;
  bool optimize = true;
};

void add_device_option(CLI::App& app, std::string& device);  // --device
// Declares --precision, --device, --backend, --cache, --tune, --explain and --no-optimize.
// `precisions`: gets all of a list, for commands that take one.
void add_engine_options(CLI::App& app, EngineFlags& f,
                        std::vector<std::string>* precisions = nullptr);

// A node of the model's main graph as the file has it, by names.
struct OriginalNode {
  std::string name, op;
  std::vector<std::string> in, out;
};

struct PreparedModel {
  Model model;
  std::vector<OriginalNode> original;
  EngineOptions options;
  std::string precision;  // what is computed in: never less than was asked for
  double load_ms = 0;     // reading, checking and rewriting
};

// Refuses invalid models (kInvalid). Names of graph inputs and outputs stay.
Result<PreparedModel> prepare_model(const std::string& path, const EngineFlags& flags,
                                    const GlobalOptions& global);

// Keeps what a run packed, and what it measured, for the next start (--cache, --tune). A folder
// that cannot be written or that holds damaged files is a warning: results do not depend on it.
void save_cache(const Engine& engine, const EngineFlags& flags, const GlobalOptions& global);

}  // namespace onnxtool
