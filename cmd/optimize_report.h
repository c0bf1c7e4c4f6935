// SPDX-License-Identifier: Apache-2.0
// optimize --report: what became of a model, as a page for a browser that needs no other file.
#pragma once
#include <map>
#include <string>

#include "cmd/macs.h"
#include "passes/passes.h"

namespace onnxtool {

struct ModelSide {  // a model before or after
  const Model* model = nullptr;
  std::string name;
  std::map<std::string, int64_t> ops;
  int64_t weight_bytes = 0;
  MacCount macs;
};

std::string optimize_report(const ModelSide& before, const ModelSide& after,
                            const OptimizeReport& report, const std::string& verified);

}  // namespace onnxtool
