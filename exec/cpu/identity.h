// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace onnxtool::cpu {

// What packed weights depend on beside their form: instruction sets, and oneDNN's version.
std::string pack_identity();
// This machine multiplies bfloat16, and by tiles (AMX).
bool has_bf16();
bool has_bf16_tiles();

}  // namespace onnxtool::cpu
