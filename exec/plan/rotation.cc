// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/rotation.h"

namespace onnxtool {

const char* plan_rotation(const StepInfo& s, Rotation* f) {
  const bool standard = s.op.view() == "RotaryEmbedding";
  if (!standard) f->ids = 1, f->cos = 2, f->sin = 3;
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  if (!s.has(f->cos) || !s.has(f->sin)) return "no tables";
  if (!standard && (s.attr_float("scale", 1) != 1 || s.attr_int("is_packed_batching", 0) != 0))
    return "attributes";
  const Dims &x = s.in[0].dims, &cos = s.in[f->cos].dims;
  if (cos.empty() || s.in[f->sin].dims != cos) return "the tables";
  f->heads = s.attr_int("num_heads", 0);
  if (x.size() == 4) {
    f->batch = x[0], f->heads = x[1], f->len = x[2], f->head = x[3];
  } else if (x.size() == 3) {
    f->packed = true;
    f->batch = x[0], f->len = x[1];
    f->head = f->heads > 0 ? x[2] / f->heads : standard ? 0 : 2 * cos.back();
    if (f->head < 1) return "the number of heads";
    f->heads = x[2] / f->head;
    if (f->heads * f->head != x[2]) return "the number of heads";
  } else {
    return "the rank";
  }
  const int64_t asked = s.attr_int("rotary_embedding_dim", 0),
                rotated = asked > 0 ? asked : f->head;
  f->half = rotated / 2;
  if (rotated % 2 != 0 || rotated > f->head || cos.back() != f->half) return "the rotated part";
  f->rows = s.in[f->cos].size() / f->half;
  f->interleaved = s.attr_int("interleaved", 0) != 0;
  f->by_id = s.has(f->ids);
  if (!f->by_id) return f->rows == f->batch * f->len ? nullptr : "the tables";
  const Operand& ids = s.in[f->ids];
  if (ids.dtype != DType::kInt64) return "the positions' type";
  f->one_id = ids.size() == 1 && ids.rank() < 2;
  f->by_start = ids.rank() < 2;
  if (!f->one_id && ids.size() != f->batch * f->len) return "the positions' shape";
  return nullptr;
}

}  // namespace onnxtool
