// SPDX-License-Identifier: Apache-2.0
// Gelu as exporters write it, by the error function or Tanh.
#pragma once
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

// `root` is the last product. Makes Gelu, or where `foreign` Gelu and FastGelu of com.microsoft.
Match match_gelu(const PassContext& ctx, NodeId root, bool foreign);

}  // namespace onnxtool
