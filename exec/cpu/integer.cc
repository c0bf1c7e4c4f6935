// SPDX-License-Identifier: Apache-2.0
// Elementwise operators on int32 and int64, and Where on any type: what elementwise programs, whose
// arithmetic is fp32, must leave.
#include "exec/cpu/simd/eltwise.h"
#include "exec/cpu/util.h"

namespace onnxtool {
namespace cpu {
namespace {

struct Row {
  const char* op;
  simd::Binary binary;
};
constexpr Row kBinary[] = {{"Add", simd::Binary::kAdd}, {"Sub", simd::Binary::kSub},
                           {"Mul", simd::Binary::kMul}, {"Div", simd::Binary::kDiv},
                           {"Min", simd::Binary::kMin}, {"Max", simd::Binary::kMax},
                           {"Mod", simd::Binary::kMod}};
struct CompareRow {
  const char* op;
  simd::Compare compare;
};
constexpr CompareRow kCompare[] = {{"Equal", simd::Compare::kEq},
                                   {"Less", simd::Compare::kLt},
                                   {"LessOrEqual", simd::Compare::kLe},
                                   {"Greater", simd::Compare::kGt},
                                   {"GreaterOrEqual", simd::Compare::kGe}};

bool plan_of(const StepInfo& s, simd::NdPlan* plan) {
  std::vector<std::span<const int64_t>> shapes;
  for (const Operand& o : s.in) shapes.emplace_back(o.dims);
  return simd::plan_broadcast(shapes, s.out[0].dims, plan);
}

const char* accept(const StepInfo& s) {
  simd::NdPlan plan;
  if (!s.post.empty() || !all_plain(s) || s.in.size() != 2) return "layouts or inputs";
  DType t = s.in[0].dtype;
  if ((t != DType::kInt32 && t != DType::kInt64) || s.in[1].dtype != t) return "not int32 or int64";
  if (s.node && (s.node->attr("broadcast") || s.node->attr("axis"))) return "old broadcasting";
  if (s.op.view() == "Mod" && s.attr_int("fmod", 0)) return "fmod";
  return plan_of(s, &plan) ? nullptr : "shapes";
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  simd::NdPlan plan;
  if (!plan_of(s, &plan)) return unsupported("shapes");
  bool wide = s.in[0].dtype == DType::kInt64;
  int64_t grain = grain_for(0.5, 64);
  for (const Row& r : kBinary) {
    if (s.op.view() != r.op) continue;
    simd::Binary op = r.binary;
    return prepared([=](const RunArgs& a) {
      parallel_for(plan.size(), grain, [&](int64_t begin, int64_t end) {
        if (wide)
          simd::binary_i64(op, plan, in<int64_t>(a, 0), in<int64_t>(a, 1), out<int64_t>(a), begin,
                           end);
        else
          simd::binary_i32(op, plan, in<int32_t>(a, 0), in<int32_t>(a, 1), out<int32_t>(a), begin,
                           end);
      });
    });
  }
  for (const CompareRow& r : kCompare) {
    if (s.op.view() != r.op) continue;
    simd::Compare op = r.compare;
    return prepared([=](const RunArgs& a) {
      parallel_for(plan.size(), grain, [&](int64_t begin, int64_t end) {
        if (wide)
          simd::compare_i64(op, plan, in<int64_t>(a, 0), in<int64_t>(a, 1), out<uint8_t>(a), begin,
                            end);
        else
          simd::compare_i32(op, plan, in<int32_t>(a, 0), in<int32_t>(a, 1), out<uint8_t>(a), begin,
                            end);
      });
    });
  }
  return unsupported("the operator");
}

const char* accept_where(const StepInfo& s) {
  simd::NdPlan plan;
  if (!s.post.empty() || !all_plain(s) || s.in.size() != 3) return "layouts or inputs";
  if (s.in[0].dtype != DType::kBool || !movable(s.in[1].dtype) || s.in[1].dtype != s.in[2].dtype)
    return "types";
  if (element_size(s.in[1].dtype) > 8) return "the element size";
  return plan_of(s, &plan) ? nullptr : "shapes";
}

Result<std::unique_ptr<Prepared>> prepare_where(const StepInfo& s, PrepareContext&) {
  simd::NdPlan plan;
  if (!plan_of(s, &plan)) return unsupported("shapes");
  int size = element_size(s.in[1].dtype);
  return prepared([=](const RunArgs& a) {
    parallel_for(plan.size(), grain_for(0.5, 64), [&](int64_t begin, int64_t end) {
      simd::where(size, plan, in<uint8_t>(a, 0), a.in[1], a.in[2], a.out[0], begin, end);
    });
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(integer,
                     {"integer",
                      "Add Sub Mul Div Min Max Mod Equal Less LessOrEqual Greater GreaterOrEqual",
                      40, cpu::accept, cpu::prepare},
                     {"where", "Where", 40, cpu::accept_where, cpu::prepare_where})
