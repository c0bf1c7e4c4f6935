// SPDX-License-Identifier: Apache-2.0
// RotaryEmbedding of ai.onnx and of com.microsoft, fp32 (RoFormer, arXiv 2104.09864).
#include "exec/cpu/rotary.h"

#include <atomic>

#include "exec/cpu/util.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

struct Form {
  int64_t batch = 0, heads = 0, len = 0, head = 0, half = 0, rows = 0;
  size_t cos = 1, sin = 2, ids = 3;
  bool by_id = false, one_id = false, by_start = false;  // one_id: the only one; by_start: + l
  bool interleaved = false, packed = false;              // packed: [batch, len, heads * head]
};

const char* form_of(const StepInfo& s, Form* f) {
  const bool standard = s.op.view() == "RotaryEmbedding";
  if (!standard) f->ids = 1, f->cos = 2, f->sin = 3;
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  if (!is_f32(s.in[0]) || !is_f32(s.out[0]) || !s.has(f->cos) || !s.has(f->sin) ||
      !is_f32(s.in[f->cos]) || !is_f32(s.in[f->sin]))
    return "not float";
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

const char* accept(const StepInfo& s) {
  Form f;
  return form_of(s, &f);
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Form f;
  if (const char* why = form_of(s, &f)) return unsupported(why);
  return prepared([f](const RunArgs& a) -> Status {
    std::atomic<bool> failed{false};
    std::atomic<int64_t> bad{0};
    const double ns = 0.7 * static_cast<double>(f.heads * f.head);
    parallel_for(f.batch * f.len, grain_for(ns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / f.len, l = i % f.len;
        int64_t row = i;
        if (f.by_id) {
          row = in<int64_t>(a, f.ids)[f.one_id ? 0 : i];
          if (f.by_start && row >= 0 && row < f.rows) row += l;
        }
        if (row < 0 || row >= f.rows) {
          bad = row;
          failed = true;
          return;
        }
        const float* c = in<float>(a, f.cos) + row * f.half;
        const float* n = in<float>(a, f.sin) + row * f.half;
        for (int64_t h = 0; h < f.heads; ++h) {
          const int64_t at =
              (f.packed ? (i * f.heads + h) : ((b * f.heads + h) * f.len + l)) * f.head;
          const float* x = in<float>(a, 0) + at;
          float* y = out<float>(a) + at;
          rotate_head(x, y, c, n, f.half, f.head, f.interleaved);
        }
      }
    });
    if (failed)
      return invalid(format("position {} is outside of the tables of {} rows", bad.load(), f.rows));
    return ok();
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(rotary, {"rotary", "RotaryEmbedding com.microsoft.RotaryEmbedding", 30,
                              cpu::accept, cpu::prepare})
