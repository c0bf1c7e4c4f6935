// SPDX-License-Identifier: Apache-2.0
// Gelu and Swish as exporters write them.
#pragma once
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

// `root` is the last product. Makes Gelu, or where `foreign` Gelu and FastGelu of com.microsoft.
Match match_gelu(const PassContext& ctx, NodeId root, bool foreign);
// x * Sigmoid(k * x), `root` the product. Makes Swish, or where `foreign` QuickGelu of
// com.microsoft.
Match match_swish(const PassContext& ctx, NodeId root, bool foreign);

}  // namespace onnxtool
