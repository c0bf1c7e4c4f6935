// SPDX-License-Identifier: Apache-2.0
// Profiles of --target.
#include <algorithm>

#include "passes/passes.h"

namespace onnxtool {
namespace {

// Its builder fuses these from their parts by itself; whether a version takes them whole differs.
const char* const kTensorRtLacks[] = {"Attention", "RMSNormalization", "RotaryEmbedding", "Swish"};

// OpenVINO has no fast kernel for this one: Clip in its place is fused with what is around it, and
// is no slower in other runtimes.
const char* const kOpenVinoLacks[] = {"HardSigmoid"};

const Target kTargets[] = {
    {"onnx", "standard operators of the model's own opset, nothing else", {}, kOpenVinoLacks},
    {"onnxtool", "this tool's engine: standard operators, all of them fast", {}, {}},
    {"openvino",
     "OpenVINO: standard operators, but for what it has no fast kernel for",
     {},
     kOpenVinoLacks},
    {"ort", "ONNX Runtime on a CPU: its operators of com.microsoft too", "com.microsoft", {}},
    {"tensorrt", "TensorRT: parts that its builder fuses stay apart", {}, kTensorRtLacks},
};

}  // namespace

std::span<const Target> targets() { return kTargets; }

const Target* find_target(std::string_view name) {
  const auto* t = std::find_if(std::begin(kTargets), std::end(kTargets),
                               [&](const Target& x) { return x.name == name; });
  return t == std::end(kTargets) ? nullptr : t;
}

}  // namespace onnxtool
