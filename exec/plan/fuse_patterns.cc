// SPDX-License-Identifier: Apache-2.0
// Operations that exporters write as several nodes.
#include "exec/plan/rewire.h"

namespace onnxtool {

void fuse_patterns(Rewire&) {}

}  // namespace onnxtool
