// SPDX-License-Identifier: Apache-2.0
// Elementwise programs: one kernel interprets the operations, so that a chain of any length is one
// sweep over memory. A thread takes four elements through each operation; the result of the one
// before stays in registers, only what is used later is kept aside.
#include "exec/cuda/apply.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kOps = 32, kInputs = kNdOperands, kOutputs = 4, kEach = 4;

struct Source {
  enum Kind : uint8_t { kBefore, kKept, kInput, kImm } kind = kImm;
  uint8_t index = 0;  // of the kept value or the input
  float imm = 0;
};
struct Op {
  Elt op = Elt::kCopy;
  bool unary = false;
  Source src[3];
  float a = 0, b = 0;
  int8_t keep = -1;     // where
  uint8_t outputs = 0;  // bit k: it is output k
};
enum class Lies : uint8_t { kDense, kOne, kBroadcast };  // dense: as the output does

struct Program {
  int ops = 0;
  Op op[kOps];
  Lies lies[kInputs] = {};
  DType in_type[kInputs] = {}, out_type[kOutputs] = {};
  Nd nd;
};
struct Pointers {
  const void* in[kInputs];
  void* out[kOutputs];
};

__global__ void run_program(Program program, Pointers p) {
  const int64_t n = program.nd.size;
  for (int64_t first = int64_t{blockIdx.x} * kThreads * kEach + threadIdx.x; first < n;
       first += int64_t{gridDim.x} * kThreads * kEach) {
    float before[kEach] = {}, kept[kOps][kEach];
    for (int k = 0; k < program.ops; ++k) {
      const Op& op = program.op[k];
      float x[3][kEach] = {};
      for (int j = 0; j < 3; ++j) {
        const Source s = op.src[j];
        if (j > 0 && op.unary) break;
        for (int e = 0; e < kEach; ++e) {
          const int64_t i = first + e * kThreads;
          if (s.kind == Source::kBefore)
            x[j][e] = before[e];
          else if (s.kind == Source::kKept)
            x[j][e] = kept[s.index][e];
          else if (s.kind == Source::kImm)
            x[j][e] = s.imm;
          else if (i < n)
            x[j][e] =
                load_as_float(p.in[s.index],
                              program.lies[s.index] == Lies::kDense ? i
                              : program.lies[s.index] == Lies::kOne ? 0
                                                                    : program.nd.place(i, s.index),
                              program.in_type[s.index]);
        }
      }
      for (int e = 0; e < kEach; ++e) {
        before[e] = op.op == Elt::kWhere ? (x[0][e] != 0 ? x[1][e] : x[2][e])
                    : op.unary           ? apply_unary(op.op, x[0][e], op.a, op.b)
                                         : apply_binary(op.op, x[0][e], x[1][e]);
        if (op.keep >= 0) kept[op.keep][e] = before[e];
      }
      for (int o = 0; op.outputs >> o; ++o)
        for (int e = 0; e < kEach && op.outputs >> o & 1; ++e)
          if (first + e * kThreads < n)
            store_float(p.out[o], first + e * kThreads, program.out_type[o], before[e]);
    }
  }
}

// Which values come from the operation before, and where the others are kept.
void encode(const EltProgram& from, Program* p) {
  const auto& ops = from.ops;
  std::vector<int> keep(ops.size(), -1);
  int kept = 0;
  for (size_t k = 0; k < ops.size(); ++k) {
    Op& to = p->op[k];
    to.op = ops[k].op;
    to.unary = is_unary(to.op);
    to.a = ops[k].a;
    to.b = ops[k].b;
    for (int j = 0; j < 3; ++j) {
      const EltRef& r = ops[k].src[j];
      Source& s = to.src[j];
      s.index = r.index;
      s.imm = r.imm;
      s.kind = r.kind == EltRef::kInput ? Source::kInput : Source::kImm;
      if (r.kind != EltRef::kOp) continue;
      s.kind = Source::kBefore;
      if (r.index + size_t{1} == k) continue;
      if (keep[r.index] < 0) keep[r.index] = kept++;
      s.kind = Source::kKept;
      s.index = static_cast<uint8_t>(keep[r.index]);
    }
  }
  for (size_t k = 0; k < ops.size(); ++k) p->op[k].keep = static_cast<int8_t>(keep[k]);
  for (size_t o = 0; o < from.results.size(); ++o)
    p->op[from.results[o]].outputs |= static_cast<uint8_t>(1 << o);
}

const char* build(const StepInfo& s, Program* p) {
  if (!s.program || !s.post.empty()) return "no program";
  if (s.in.size() > kInputs || s.out.size() > kOutputs || s.program->ops.size() > kOps)
    return "the program is too long";
  p->ops = static_cast<int>(s.program->ops.size());
  encode(*s.program, p);
  if (!plan_broadcast(s.in, s.out[0], &p->nd)) return "layouts or shapes";
  for (size_t i = 0; i < s.in.size(); ++i) {
    if (!edge_type(s.in[i].dtype)) return "an element type";
    p->in_type[i] = s.in[i].dtype;
    const bool same = s.in[i].layout == s.out[0].layout || layout_free(s.out[0].dims);
    p->lies[i] = s.in[i].dims == s.out[0].dims && same ? Lies::kDense
                 : s.in[i].size() == 1                 ? Lies::kOne
                                                       : Lies::kBroadcast;
  }
  for (size_t i = 0; i < s.out.size(); ++i) {
    if (!edge_type(s.out[i].dtype)) return "an element type";
    if (s.out[i].dims != s.out[0].dims || s.out[i].layout != s.out[0].layout)
      return "outputs differ";
    p->out_type[i] = s.out[i].dtype;
  }
  return nullptr;
}

const char* accept(const StepInfo& s) {
  Program p;
  return build(s, &p);
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  auto program = std::make_shared<Program>();
  if (auto* why = build(s, program.get())) return unsupported(why);
  const size_t inputs = s.in.size(), outputs = s.out.size();
  return prepared([=](const RunArgs& a) {
    Pointers p{};
    std::copy_n(a.in, inputs, p.in);
    std::copy_n(a.out, outputs, p.out);
    return launch(run_program, blocks_for(program->nd.size, kThreads * kEach), kThreads, a,
                  *program, p);
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(elementwise, {.name = "program",
                                    .ops = step_kind::kElementwise,
                                    .rank = 10,
                                    .accept = cuda::accept,
                                    .prepare = cuda::prepare,
                                    .device = true})
