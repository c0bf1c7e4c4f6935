// SPDX-License-Identifier: Apache-2.0
// Calls of local functions replaced by the functions' bodies.
#pragma once
#include <cstdint>
#include <span>

#include "libonnxtool/ir/model.h"

namespace onnxtool {

struct InlineOptions {
  int64_t max_nodes = 4'000'000;  // that inlining may add
};

// In the main graph and its bodies, also calls that come out of bodies of functions; then no
// function is left. Values of a body get names of their own (CALL/NAME, unique), results keep
// theirs. Nodes keep the form of their operator that the function's operator sets gave them:
// writing the model brings them to the model's. Operator sets that only functions import are added
// to the model's. Returns how many calls were replaced. Errors: kInvalid (a function calls itself,
// or is called with too many operands), kUnsupported (too many nodes; an operator that is not
// known, of a domain that function and model import in different versions).
Result<int64_t> inline_functions(Model& model, const InlineOptions& options = {});

// Those of `placed` whose name another node has get one of their own; nodes without names stay so.
// Names of nodes are labels, but runtimes refuse a graph with two of a kind.
void name_nodes_apart(Model& model, std::span<const NodeId> placed);

}  // namespace onnxtool
