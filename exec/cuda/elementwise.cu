// SPDX-License-Identifier: Apache-2.0
// Elementwise programs: one kernel interprets the operations on registers, so that a chain of any
// length is one sweep over memory.
#include "exec/cuda/apply.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kOps = 32, kInputs = kNdOperands, kOutputs = 4;

struct Program {
  int ops = 0, inputs = 0, outputs = 0;
  bool dense[kInputs] = {};  // lies as the output does: no index arithmetic
  bool all_dense = true;
  EltOp op[kOps];
  uint8_t result[kOutputs] = {};
  DType in_type[kInputs] = {}, out_type[kOutputs] = {};
  Nd nd;
};
struct Pointers {
  const void* in[kInputs];
  void* out[kOutputs];
};

__global__ void run_program(Program program, Pointers p) {
  GRID_LOOP(i, program.nd.size) {
    float in[kInputs], value[kOps];
    int64_t at[kInputs] = {};
    if (!program.all_dense) program.nd.locate(i, at, program.inputs);
    for (int k = 0; k < program.inputs; ++k)
      in[k] = load_as_float(p.in[k], program.dense[k] ? i : at[k], program.in_type[k]);
    for (int k = 0; k < program.ops; ++k) {
      const EltOp& op = program.op[k];
      float x[3];
      for (int j = 0; j < 3; ++j) {
        const EltRef& r = op.src[j];
        x[j] = r.kind == EltRef::kInput ? in[r.index]
               : r.kind == EltRef::kOp  ? value[r.index]
                                        : r.imm;
      }
      value[k] = op.op == Elt::kWhere    ? (x[0] != 0 ? x[1] : x[2])
                 : op.op <= Elt::kShrink ? apply_unary(op.op, x[0], op.a, op.b)
                                         : apply_binary(op.op, x[0], x[1]);
    }
    for (int k = 0; k < program.outputs; ++k)
      store_float(p.out[k], i, program.out_type[k], value[program.result[k]]);
  }
}

const char* build(const StepInfo& s, Program* p) {
  if (!s.program || !s.post.empty()) return "no program";
  if (s.in.size() > kInputs || s.out.size() > kOutputs || s.program->ops.size() > kOps)
    return "the program is too long";
  p->ops = static_cast<int>(s.program->ops.size());
  p->inputs = static_cast<int>(s.in.size());
  p->outputs = static_cast<int>(s.out.size());
  std::copy(s.program->ops.begin(), s.program->ops.end(), p->op);
  if (!plan_broadcast(s.in, s.out[0], &p->nd)) return "layouts or shapes";
  for (size_t i = 0; i < s.in.size(); ++i) {
    if (!edge_type(s.in[i].dtype)) return "an element type";
    p->in_type[i] = s.in[i].dtype;
    p->dense[i] = s.in[i].dims == s.out[0].dims && s.in[i].layout == s.out[0].layout;
    p->all_dense = p->all_dense && p->dense[i];
  }
  for (size_t i = 0; i < s.out.size(); ++i) {
    if (!edge_type(s.out[i].dtype)) return "an element type";
    if (s.out[i].dims != s.out[0].dims || s.out[i].layout != s.out[0].layout)
      return "outputs differ";
    p->out_type[i] = s.out[i].dtype;
    p->result[i] = s.program->results[i];
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
  return prepared([program](const RunArgs& a) {
    Pointers p{};
    std::copy_n(a.in, program->inputs, p.in);
    std::copy_n(a.out, program->outputs, p.out);
    return launch(run_program, blocks_for(program->nd.size), kThreads, a, *program, p);
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
