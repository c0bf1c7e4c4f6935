// SPDX-License-Identifier: Apache-2.0
#include "cmd/libraries.h"

#include <CLI/CLI.hpp>

#include "libonnxtool/onnx/function_library.h"
#include "libonnxtool/op_libraries.h"

namespace onnxtool {

void add_library_options(CLI::App& app, GlobalOptions& global) {
  app.add_option("--functions", global.functions,
                 "offer the local functions of another model to models that call them")
      ->allow_extra_args(false)
      ->type_name("LIB.onnx");
  app.add_option("--op-library", global.op_libraries,
                 "run operators of a shared library (op_library.h): it is a program with all your "
                 "rights")
      ->allow_extra_args(false)
      ->type_name("LIB.so");
}

Status open_libraries(GlobalOptions& global) {
  for (const std::string& path : global.op_libraries) TRY(load_op_library(path));
  if (global.functions.empty()) return ok();
  auto library = std::make_shared<FunctionLibrary>();
  for (const std::string& path : global.functions)
    if (auto s = library->add(path); !s.ok()) return std::move(s).context("--functions");
  global.library = std::move(library);
  return ok();
}

Result<Model> load_for(const GlobalOptions& global, const std::string& path, LoadOptions options) {
  options.functions = global.library.get();
  return load_model(path, options);
}

}  // namespace onnxtool
