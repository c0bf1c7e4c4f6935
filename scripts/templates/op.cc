// SPDX-License-Identifier: Apache-2.0
// @Name@: what it computes, in one sentence. Source: the operator's specification.
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

Status eval_ @name @(EvalContext& ctx) {
  return eval_unary(ctx, [](double x) { return x; });  // the formula
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(@name @, {
  .name = "@Name@", .infer = infer_same, .eval = eval_ @name @, .flags = kElementwise
})
