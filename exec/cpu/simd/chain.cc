// SPDX-License-Identifier: Apache-2.0
// The interpreter of fused elementwise chains (chain.h): per block, each instruction is one call of
// a flat kernel on data in L1.
#include "exec/cpu/simd/chain.h"

#include "exec/cpu/simd/convert.h"
#include "exec/cpu/simd/nd_walk.h"
#include "exec/cpu/simd/tables.h"
#include "exec/cpu/simd/ternary.h"

namespace onnxtool::simd {

namespace {

static_assert(kChainBlock == kWalkBlock);

int type_bytes(ChainType t) {
  switch (t) {
    case ChainType::kF32:
    case ChainType::kI32: return 4;
    case ChainType::kF16:
    case ChainType::kBF16: return 2;
    case ChainType::kI64: return 8;
    default: return 1;
  }
}

void load_block(ChainType t, const void* x, float* y, int64_t n) {
  switch (t) {
    case ChainType::kF32: std::memcpy(y, x, static_cast<size_t>(n) * 4); break;
    case ChainType::kF16: f16_to_f32(static_cast<const uint16_t*>(x), y, n); break;
    case ChainType::kBF16: bf16_to_f32(static_cast<const uint16_t*>(x), y, n); break;
    case ChainType::kBool: bool_to_f32(static_cast<const uint8_t*>(x), y, n); break;
    case ChainType::kU8: u8_to_f32(static_cast<const uint8_t*>(x), y, n); break;
    case ChainType::kI8: i8_to_f32(static_cast<const int8_t*>(x), y, n); break;
    case ChainType::kI32: i32_to_f32(static_cast<const int32_t*>(x), y, n); break;
    case ChainType::kI64: i64_to_f32(static_cast<const int64_t*>(x), y, n); break;
  }
}

void store_block(ChainType t, const float* x, void* y, int64_t n) {
  switch (t) {
    case ChainType::kF16: f32_to_f16(x, static_cast<uint16_t*>(y), n); break;
    case ChainType::kBF16: f32_to_bf16(x, static_cast<uint16_t*>(y), n); break;
    case ChainType::kBool: f32_to_bool(x, static_cast<uint8_t*>(y), n); break;
    case ChainType::kU8: f32_to_u8(x, static_cast<uint8_t*>(y), n); break;
    case ChainType::kI8: f32_to_i8(x, static_cast<int8_t*>(y), n); break;
    case ChainType::kI32: f32_to_i32(x, static_cast<int32_t*>(y), n); break;
    default: break;  // kF32 is written in place, kI64 is no output type
  }
}

int sources(ChainForm form) {
  switch (form) {
    case ChainForm::kBinary:
    case ChainForm::kCompare: return 2;
    case ChainForm::kWhere:
    case ChainForm::kMulAdd: return 3;
    default: return 1;
  }
}

// An instruction bound to the kernels of the target in use.
struct Bound {
  UnaryFn unary = nullptr;
  BinaryFn binary[kForms] = {};
};

void bind(const ChainInstr& in, Bound* out) {
  switch (in.form) {
    case ChainForm::kUnary: out->unary = unary_fn(in.unary); break;
    case ChainForm::kBinary:
    case ChainForm::kBinaryImm:
    case ChainForm::kImmBinary:
      for (int f = 0; f < kForms; ++f)
        out->binary[f] = binary_fn(Elem::kF32, in.binary, static_cast<Form>(f));
      break;
    case ChainForm::kCompare:
    case ChainForm::kCompareImm:
      for (int f = 0; f < kForms; ++f)
        out->binary[f] = compare_f32_fn(in.compare, static_cast<Form>(f));
      break;
    default: break;
  }
}

// A value while a block runs: n floats, or one that stands for all.
struct Slot {
  const float* ptr = nullptr;
  bool scalar = false;
};

// dst[0..n) from the operands; returns true when it wrote only dst[0], standing for all.
bool step(const ChainInstr& in, const Bound& fn, const Slot* s, float* dst, int64_t n) {
  const int count = sources(in.form);
  bool scalar = true;
  for (int i = 0; i < count; ++i) scalar = scalar && s[i].scalar;
  const int64_t m = scalar ? 1 : n;
  const auto two = [&](Slot a, Slot b) {
    const Form form = scalar || (!a.scalar && !b.scalar) ? kVectorVector
                      : b.scalar                         ? kVectorScalar
                                                         : kScalarVector;
    fn.binary[form](a.ptr, b.ptr, dst, m);
  };
  const Slot imm = {&in.a, true};
  switch (in.form) {
    case ChainForm::kUnary: fn.unary(s[0].ptr, dst, m, in.a, in.b); break;
    case ChainForm::kBinary:
    case ChainForm::kCompare: two(s[0], s[1]); break;
    case ChainForm::kBinaryImm:
    case ChainForm::kCompareImm: two(s[0], imm); break;
    case ChainForm::kImmBinary: two(imm, s[0]); break;
    case ChainForm::kWhere:
    case ChainForm::kMulAdd: {
      const Ternary op = in.form == ChainForm::kWhere ? Ternary::kSelect : Ternary::kMulAdd;
      ternary_f32(op, s[0].ptr, s[0].scalar, s[1].ptr, s[1].scalar, s[2].ptr, s[2].scalar, dst, m);
      break;
    }
  }
  return scalar;
}

void repeat(float* p, int64_t n) {
  const float v = p[0];
  for (int64_t i = 1; i < n; ++i) p[i] = v;
}

}  // namespace

bool chain_valid(const Chain& c) {
  if (c.instrs < 1 || c.instrs > kChainInstr || c.inputs < 0 || c.inputs > kChainInputs ||
      c.outputs < 1 || c.outputs > kChainOutputs)
    return false;
  unsigned written = 0, stored = 0;
  for (int k = 0; k < c.instrs; ++k) {
    const ChainInstr& in = c.instr[k];
    if (in.unary >= Unary::kCount || in.binary >= Binary::kCount || in.compare >= Compare::kCount)
      return false;
    const bool binary = in.form == ChainForm::kBinary || in.form == ChainForm::kBinaryImm ||
                        in.form == ChainForm::kImmBinary;
    if (binary && !binary_supports(in.binary, true)) return false;
    for (int i = 0; i < sources(in.form); ++i) {
      const ChainRef r = in.src[i];
      if (r.kind == ChainRef::kReg) {
        if (r.index >= kChainRegs || (written >> r.index & 1) == 0) return false;
      } else if (r.kind != ChainRef::kInput || r.index >= c.inputs) {
        return false;
      }
    }
    if (in.dst.kind == ChainRef::kReg && in.dst.index < kChainRegs) {
      written |= 1u << in.dst.index;
    } else if (in.dst.kind == ChainRef::kOutput && in.dst.index < c.outputs &&
               (stored >> in.dst.index & 1) == 0 && c.out_type[in.dst.index] != ChainType::kI64) {
      stored |= 1u << in.dst.index;
    } else {
      return false;
    }
  }
  return stored == (1u << c.outputs) - 1;
}

void chain_run(const Chain& c, const NdPlan& plan, const void* const* in, void* const* out,
               int64_t begin, int64_t end) {
  Bound bound[kChainInstr];
  for (int k = 0; k < c.instrs; ++k) bind(c.instr[k], &bound[k]);
  int elem[kChainInputs];
  for (int i = 0; i < c.inputs; ++i) elem[i] = type_bytes(c.in_type[i]);

  alignas(64) float regs[kChainRegs][kChainBlock];
  alignas(64) float staged[kChainBlock];                // an output that is not float
  alignas(64) float loaded[kChainInputs][kChainBlock];  // inputs that are not float
  nd_walk<kChainInputs>(
      plan, in, elem, begin, end, kChainBlock, [&](int64_t at, int64_t n, const OperandView* v) {
        Slot input[kChainInputs], reg[kChainRegs];
        for (int i = 0; i < c.inputs; ++i) {
          input[i] = {reinterpret_cast<const float*>(v[i].ptr), v[i].scalar};
          if (c.in_type[i] == ChainType::kF32) continue;
          load_block(c.in_type[i], v[i].ptr, loaded[i], v[i].scalar ? 1 : n);
          input[i].ptr = loaded[i];
        }
        for (int k = 0; k < c.instrs; ++k) {
          const ChainInstr& instr = c.instr[k];
          Slot src[3];
          for (int i = 0; i < sources(instr.form); ++i)
            src[i] = instr.src[i].kind == ChainRef::kReg ? reg[instr.src[i].index]
                                                         : input[instr.src[i].index];
          if (instr.dst.kind == ChainRef::kReg) {
            float* dst = regs[instr.dst.index];
            const bool scalar = step(instr, bound[k], src, dst, n);
            reg[instr.dst.index] = {dst, scalar};
            continue;
          }
          const ChainType type = c.out_type[instr.dst.index];
          char* to = static_cast<char*>(out[instr.dst.index]) + at * type_bytes(type);
          float* dst = type == ChainType::kF32 ? reinterpret_cast<float*>(to) : staged;
          if (step(instr, bound[k], src, dst, n)) repeat(dst, n);
          if (type != ChainType::kF32) store_block(type, staged, to, n);
        }
      });
}

}  // namespace onnxtool::simd
