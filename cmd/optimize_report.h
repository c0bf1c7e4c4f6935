// SPDX-License-Identifier: Apache-2.0
// optimize --report: what became of a model, as a page for a browser that needs no other file.
#pragma once
#include <map>
#include <string>

#include "passes/passes.h"

namespace onnxtool {

struct ModelSide {
  const Model* model = nullptr;
  std::string name;
  std::map<std::string, int64_t> ops;
  int64_t weight_bytes = 0;
};

struct MacCount {
  int64_t macs = 0;
  int64_t unknown = 0;  // nodes whose sizes are not known
};
// Of the main graph and bodies, by the model's own shapes.
MacCount count_macs(const Model& m, const Inference& state);

std::string optimize_report(const ModelSide& before, const ModelSide& after,
                            const OptimizeReport& report, const std::string& verified);

}  // namespace onnxtool
