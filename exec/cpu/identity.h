// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace onnxtool::cpu {

// What packed weights depend on beside their form: instruction sets, and oneDNN's version.
std::string pack_identity();

}  // namespace onnxtool::cpu
