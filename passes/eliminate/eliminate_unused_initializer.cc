// SPDX-License-Identifier: Apache-2.0
// eliminate-unused-initializer: constants that nobody reads.
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

Status run(const PassContext& ctx, const EditSink& apply) {
  const Model& m = ctx.model();
  Edit edit;
  for (uint32_t v = 0; v < m.num_values(); ++v) {
    const Value& value = m.value(ValueId(v));
    if (value.kind == ValueKind::kInitializer && value.constant && value.use_count == 0 &&
        !value.graph_output && !value.lifted)
      edit.drop.emplace_back(v);
  }
  if (edit.drop.empty()) return ok();
  apply(std::move(edit));
  return ok();
}

}  // namespace

extern const Pass pass_eliminate_unused_initializer;
const Pass pass_eliminate_unused_initializer = {
    .name = "eliminate-unused-initializer",
    .summary = "removes constants that nothing reads",
    .doc =
        "Initializers without users that are no graph outputs are removed (a graph input of the "
        "same name stays).",
    .run = run,
};

}  // namespace onnxtool
