// SPDX-License-Identifier: Apache-2.0
// Loading as commands do it: read, verify, infer; warnings to standard error.
#pragma once
#include <string>

#include "cmd/command.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

struct LoadedModel {
  std::string path;
  Model model;
};

// Reads the model and refuses an invalid one (the verifier's first error). With `infer` types are
// inferred and errors of shape rules refuse it too.
Result<LoadedModel> load_checked(const std::string& path, const GlobalOptions& global, bool infer = true);

}  // namespace onnxtool
