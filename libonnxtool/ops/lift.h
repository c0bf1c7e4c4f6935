// SPDX-License-Identifier: Apache-2.0
// One form of each operator in memory: after reading, each node is brought to the newest version
// of its operator that means the same; before writing, nodes that changed are brought down to the
// opset they are written for. The steps themselves are in the operators' files (ops/op.h).
#pragma once
#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Sets Node::version of every node and lifts it as far as its steps go. Nodes of unknown operators
// and of opsets we do not know keep version 0. A lifted node keeps its `origin`.
Status lift_model(Model& model);
Status lift_node(Model& model, NodeId n);

// Goes on from the form that a node is held in, where more is known of it than when it was read.
Status lift_further(Model& model, NodeId n);

// Brings a node down to what `opset` of its domain has. kUnsupported, naming op, opset and reason,
// where there is no such form (an attribute, input or element type that came later).
Status lower_node(Model& model, NodeId n, int64_t opset);

// Whether lower_node would succeed for a node made by a rewrite.
Status can_lower(const Model& model, NodeId n, int64_t opset);

// An attribute of Constant in its short form (value_int, value_ints, value_float), which came late,
// as the tensor that says the same; others as they are.
Attribute plain_constant(const Attribute& a);

}  // namespace onnxtool
