// SPDX-License-Identifier: Apache-2.0
// --functions and --op-library: operators that neither a model nor onnxtool has.
#pragma once
#include <string>

#include "cmd/command.h"
#include "libonnxtool/onnx/load.h"

namespace CLI {
class App;
}

namespace onnxtool {

// Declares both options.
void add_library_options(CLI::App& app, GlobalOptions& global);
// Opens what they name, before a command runs.
Status open_libraries(GlobalOptions& global);

// load_model() with the functions of the libraries.
Result<Model> load_for(const GlobalOptions& global, const std::string& path,
                       LoadOptions options = {});

}  // namespace onnxtool
