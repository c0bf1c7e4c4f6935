// SPDX-License-Identifier: Apache-2.0
// Whether two models compute the same by the same nodes: names of inner values, the order of nodes
// and how constants are held do not count.
#pragma once
#include <string>

#include "libonnxtool/ir/model.h"

namespace onnxtool::cases {

// The first difference found, or nothing. Reals agree within 1e-5 relative.
std::string graph_difference(const Model& got, const Model& want);

}  // namespace onnxtool::cases
