// SPDX-License-Identifier: Apache-2.0
// Elementwise programs: one sweep over memory, whatever the number of operations.
#include "exec/cpu/elementwise.h"

#include <cmath>

#include "exec/cpu/util.h"

namespace onnxtool {
namespace cpu {

simd::Unary to_unary(Elt e) {
  static_assert(static_cast<int>(Elt::kShrink) == static_cast<int>(simd::Unary::kShrink));
  static_assert(static_cast<int>(Elt::kGelu) == static_cast<int>(simd::Unary::kGelu));
  static_assert(static_cast<int>(Elt::kRelu) == static_cast<int>(simd::Unary::kRelu));
  return static_cast<simd::Unary>(e);
}

simd::Binary to_binary(Elt e) {
  static_assert(static_cast<int>(Elt::kFmod) - static_cast<int>(Elt::kAdd) ==
                static_cast<int>(simd::Binary::kFmod));
  return static_cast<simd::Binary>(static_cast<int>(e) - static_cast<int>(Elt::kAdd));
}

std::optional<simd::ChainType> to_chain_type(DType t) {
  switch (t) {
    case DType::kFloat: return simd::ChainType::kF32;
    case DType::kFloat16: return simd::ChainType::kF16;
    case DType::kBfloat16: return simd::ChainType::kBF16;
    case DType::kBool: return simd::ChainType::kBool;
    case DType::kUint8: return simd::ChainType::kU8;
    case DType::kInt8: return simd::ChainType::kI8;
    case DType::kInt32: return simd::ChainType::kI32;
    case DType::kInt64: return simd::ChainType::kI64;
    default: return std::nullopt;
  }
}

double elt_cost(Elt e) {
  switch (e) {
    case Elt::kExp:
    case Elt::kExpm1:
    case Elt::kLog:
    case Elt::kLog1p:
    case Elt::kTanh:
    case Elt::kErf:
    case Elt::kSigmoid:
    case Elt::kElu:
    case Elt::kSelu:
    case Elt::kCelu:
    case Elt::kSilu: return 0.5;
    case Elt::kLogSigmoid:
    case Elt::kSoftplus:
    case Elt::kMish:
    case Elt::kGelu:
    case Elt::kGeluTanh: return 0.8;
    case Elt::kSin:
    case Elt::kCos:
    case Elt::kPow:
    case Elt::kPowImm:
    case Elt::kFmod: return 2;
    case Elt::kDiv:
    case Elt::kSqrt:
    case Elt::kRsqrt:
    case Elt::kReciprocal: return 0.2;
    default: return 0.08;
  }
}

namespace {

using simd::Chain;
using simd::ChainForm;
using simd::ChainInstr;
using simd::ChainRef;

// A program as a chain; false where it needs more registers or instructions than there are.
class Compiler {
 public:
  Compiler(const EltProgram& program, Chain& chain) : program_(program), chain_(chain) {}

  bool compile() {
    size_t n = program_.ops.size();
    if (n == 0 || program_.results.size() > simd::kChainOutputs) return false;
    last_use_.assign(n, -1);
    for (size_t i = 0; i < n; ++i)
      for (const EltRef& r : program_.ops[i].src)
        if (r.kind == EltRef::kOp) last_use_[r.index] = static_cast<int>(i);
    where_.assign(n, ChainRef{});
    for (size_t i = 0; i < n; ++i)
      if (!emit(i)) return false;
    return true;
  }

 private:
  bool emit(size_t i) {
    const EltOp& op = program_.ops[i];
    ChainInstr c;
    c.a = op.a;
    c.b = op.b;
    int operands = is_unary(op.op) ? 1 : op.op == Elt::kWhere ? 3 : 2;
    ChainRef ref[3];
    for (int k = 0; k < operands; ++k) {
      const EltRef& r = op.src[k];
      if (r.kind == EltRef::kInput)
        ref[k] = ChainRef::input(r.index);
      else if (r.kind == EltRef::kOp)
        ref[k] = where_[r.index];
    }
    bool imm0 = op.src[0].kind == EltRef::kImm,
         imm1 = operands > 1 && op.src[1].kind == EltRef::kImm;
    if (is_unary(op.op)) {
      if (imm0) return false;
      c.form = ChainForm::kUnary;
      c.unary = to_unary(op.op);
      c.src[0] = ref[0];
    } else if (op.op == Elt::kWhere) {
      for (int k = 0; k < 3; ++k)
        if (op.src[k].kind == EltRef::kImm) return where_imm(i, op, ref);
      c.form = ChainForm::kWhere;
      for (int k = 0; k < 3; ++k) c.src[k] = ref[k];
    } else if (is_compare(op.op)) {
      static constexpr simd::Compare kCompare[] = {simd::Compare::kEq, simd::Compare::kNe,
                                                   simd::Compare::kLt, simd::Compare::kLe,
                                                   simd::Compare::kGt, simd::Compare::kGe};
      static constexpr simd::Compare kSwapped[] = {simd::Compare::kEq, simd::Compare::kNe,
                                                   simd::Compare::kGt, simd::Compare::kGe,
                                                   simd::Compare::kLt, simd::Compare::kLe};
      auto index = static_cast<size_t>(op.op) - static_cast<size_t>(Elt::kEq);
      if (imm0 && imm1) return false;
      c.form = imm0 || imm1 ? ChainForm::kCompareImm : ChainForm::kCompare;
      c.compare = imm0 ? kSwapped[index] : kCompare[index];
      c.src[0] = imm0 ? ref[1] : ref[0];
      if (c.form == ChainForm::kCompare)
        c.src[1] = ref[1];
      else
        c.a = imm0 ? op.src[0].imm : op.src[1].imm;
    } else {
      if (imm0 && imm1) return false;
      c.form = imm0 ? ChainForm::kImmBinary : imm1 ? ChainForm::kBinaryImm : ChainForm::kBinary;
      c.binary = to_binary(op.op);
      c.src[0] = imm0 ? ref[1] : ref[0];
      if (c.form == ChainForm::kBinary)
        c.src[1] = ref[1];
      else
        c.a = imm0 ? op.src[0].imm : op.src[1].imm;
    }
    return finish(i, c);
  }

  // Where with numbers for its branches: they go through registers.
  bool where_imm(size_t i, const EltOp& op, ChainRef* ref) {
    if (op.src[0].kind == EltRef::kImm) return false;
    ChainInstr c;
    c.form = ChainForm::kWhere;
    c.src[0] = ref[0];
    int taken[2] = {-1, -1};
    for (int k = 1; k < 3; ++k) {
      if (op.src[k].kind != EltRef::kImm) {
        c.src[k] = ref[k];
        continue;
      }
      int r = take();
      if (r < 0) return false;
      taken[k - 1] = r;
      // The condition clipped to the value from both sides, which keeps the sign of a zero; NaN is
      // no bound, but the condition is finite.
      ChainInstr set;
      const float value = op.src[k].imm;
      set.form = ChainForm::kUnary;
      set.unary = std::isnan(value) ? simd::Unary::kAffine : simd::Unary::kClip;
      set.a = std::isnan(value) ? 0 : value;
      set.b = value;
      set.src[0] = ref[0];
      set.dst = ChainRef::reg(r);
      if (!push(set)) return false;
      c.src[k] = ChainRef::reg(r);
    }
    for (int r : taken)
      if (r >= 0) used_ &= ~(1u << r);
    return finish(i, c);
  }

  bool finish(size_t i, ChainInstr c) {
    // Registers whose last use this is are free for the result.
    for (const EltRef& r : program_.ops[i].src)
      if (r.kind == EltRef::kOp && last_use_[r.index] == static_cast<int>(i) &&
          where_[r.index].kind == ChainRef::kReg)
        used_ &= ~(1u << where_[r.index].index);
    std::vector<int> outs;
    for (size_t k = 0; k < program_.results.size(); ++k)
      if (program_.results[k] == i) outs.push_back(static_cast<int>(k));
    if (last_use_[i] < 0 && outs.size() == 1) {
      c.dst = ChainRef::output(outs[0]);
      return push(c);
    }
    int r = take();
    if (r < 0) return false;
    c.dst = where_[i] = ChainRef::reg(r);
    if (!push(c)) return false;
    for (int k : outs) {
      ChainInstr copy;
      copy.unary = simd::Unary::kCopy;
      copy.src[0] = where_[i];
      copy.dst = ChainRef::output(k);
      if (!push(copy)) return false;
    }
    if (last_use_[i] < 0) used_ &= ~(1u << r);
    return true;
  }

  bool push(const ChainInstr& c) {
    if (chain_.instrs >= simd::kChainInstr) return false;
    chain_.instr[chain_.instrs++] = c;
    return true;
  }
  int take() {
    for (int r = 0; r < simd::kChainRegs; ++r)
      if (!(used_ >> r & 1)) {
        used_ |= 1u << r;
        return r;
      }
    return -1;
  }

  const EltProgram& program_;
  Chain& chain_;
  std::vector<int> last_use_;
  std::vector<ChainRef> where_;
  uint32_t used_ = 0;
};

// Dims of an operand in memory order, as seen from the output; empty: it cannot be.
std::optional<Dims> operand_dims(const Operand& o, const Operand& out) {
  if (!same_order(o, out)) return std::nullopt;
  if (out.layout == Layout::kPlain || out.rank() < 3) return o.dims;
  if (o.rank() > out.rank()) return std::nullopt;
  return physical_dims(extended(o, out.dims.size()), Layout::kChannelsLast);
}

bool plan_of(const StepInfo& s, simd::NdPlan* plan) {
  std::vector<Dims> dims;
  for (const Operand& o : s.in) {
    auto d = operand_dims(o, s.out[0]);
    if (!d) return false;
    dims.push_back(std::move(*d));
  }
  std::vector<std::span<const int64_t>> spans(dims.begin(), dims.end());
  Dims out = physical_dims(s.out[0].dims, s.out[0].layout);
  return simd::plan_broadcast(spans, out, plan);
}

const char* build(const StepInfo& s, Chain* chain, simd::NdPlan* plan) {
  if (!s.program || !s.post.empty()) return "no program";
  if (s.in.empty() || s.in.size() > simd::kChainInputs) return "too many inputs";
  if (s.out.empty() || s.out.size() > simd::kChainOutputs) return "too many outputs";
  chain->inputs = static_cast<int>(s.in.size());
  chain->outputs = static_cast<int>(s.out.size());
  for (size_t i = 0; i < s.in.size(); ++i) {
    auto t = to_chain_type(s.in[i].dtype);
    if (!t) return "an element type";
    chain->in_type[i] = *t;
  }
  for (size_t i = 0; i < s.out.size(); ++i) {
    auto t = to_chain_type(s.out[i].dtype);
    if (!t || *t == simd::ChainType::kI64) return "an element type";
    if (s.out[i].dims != s.out[0].dims || s.out[i].layout != s.out[0].layout)
      return "outputs differ";
    chain->out_type[i] = *t;
  }
  if (!Compiler(*s.program, *chain).compile()) return "the program is too long";
  if (!simd::chain_valid(*chain)) return "the program is not valid";
  if (!plan_of(s, plan)) return "layouts or shapes";
  return nullptr;
}

}  // namespace

const char* check_chain(const StepInfo& s) {
  Chain chain;
  simd::NdPlan plan;
  return build(s, &chain, &plan);
}

Result<std::unique_ptr<Prepared>> prepare_chain(const StepInfo& s, PrepareContext&) {
  struct State {
    Chain chain;
    simd::NdPlan plan;
    int64_t n = 0, grain = 0;
  };
  auto state = std::make_shared<State>();
  if (auto* why = build(s, &state->chain, &state->plan)) return unsupported(why);
  state->n = state->plan.size();
  double ns = 0.05 * static_cast<double>(s.in.size() + s.out.size());
  for (const EltOp& op : s.program->ops) ns += elt_cost(op.op);
  state->grain = grain_for(ns, simd::kChainBlock);
  return prepared([state](const RunArgs& a) {
    parallel_for(state->n, state->grain, [&](int64_t begin, int64_t end) {
      simd::chain_run(state->chain, state->plan, a.in, a.out, begin, end);
    });
  });
}

namespace {

uint64_t in_place(const StepInfo& s) {
  if (!s.program) return 0;
  uint64_t mask = 0;
  uint8_t made = s.program->results[0];
  for (size_t i = 0; i < s.in.size() && i < 64; ++i) {
    if (s.in[i].dims != s.out[0].dims || s.in[i].layout != s.out[0].layout ||
        dtype_bits(s.in[i].dtype) != dtype_bits(s.out[0].dtype))
      continue;
    bool later = false;
    for (size_t k = made + size_t{1}; k < s.program->ops.size(); ++k)
      for (const EltRef& r : s.program->ops[k].src)
        later |= r.kind == EltRef::kInput && r.index == i;
    if (!later) mask |= uint64_t{1} << i;
  }
  return mask;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(elementwise, {"chain", step_kind::kElementwise, 10, cpu::check_chain,
                                   cpu::prepare_chain, cpu::in_place})
