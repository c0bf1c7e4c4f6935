// SPDX-License-Identifier: Apache-2.0
// What one step of a plan does, as pure data: the main node, its operands with their layouts, and
// what was fused into it. Kernels decide from this whether they can run it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/ir/model.h"

namespace onnxtool {

// Order of the elements in memory. kPlain: row-major as ONNX says. kChannelsLast: for rank >= 3,
// axis 1 is moved to the end ([N,C,H,W] is stored as [N,H,W,C]); dims stay the logical ones.
enum class Layout : uint8_t { kPlain, kChannelsLast };

// The dims in the order they lie in memory.
Dims physical_dims(const Dims& dims, Layout layout);
// Strides of the axes in elements, in the order of the logical dims.
std::vector<int64_t> memory_strides(const Dims& dims, Layout layout);
// Both layouts are the same bytes (rank below 3, one channel, or one pixel).
bool layout_free(const Dims& dims);

// Elementwise operations, one or more operands and up to two parameters a, b. The first groups are
// named after the kernels that run them (exec/cpu/simd/eltwise.h says what a and b mean).
enum class Elt : uint8_t {
  kCopy,
  kNeg,
  kAbs,
  kSign,
  kFloor,
  kCeil,
  kRound,
  kTrunc,
  kReciprocal,
  kSqrt,
  kRsqrt,
  kSquare,
  kCube,
  kExp,
  kExpm1,
  kLog,
  kLog1p,
  kSin,
  kCos,
  kTanh,
  kErf,
  kSigmoid,
  kLogSigmoid,
  kSoftplus,
  kSoftsign,
  kRelu,
  kLeakyRelu,
  kThresholdedRelu,
  kElu,
  kSelu,
  kCelu,
  kHardSigmoid,
  kHardSwish,
  kSilu,
  kMish,
  kGelu,
  kGeluTanh,
  kClip,
  kAffine,
  kPowImm,
  kShrink,
  // two operands
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMin,
  kMax,
  kPow,
  kPRelu,
  kFmod,
  // two operands, result 0 or 1
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kWhere,  // src0 != 0 ? src1 : src2
};
inline bool is_unary(Elt e) { return e <= Elt::kShrink; }
inline bool is_binary(Elt e) { return e >= Elt::kAdd && e <= Elt::kFmod; }
inline bool is_compare(Elt e) { return e >= Elt::kEq && e <= Elt::kGe; }
const char* elt_name(Elt e);  // "Relu"

// Operand of an elementwise operation inside a program.
struct EltRef {
  enum Kind : uint8_t { kNone, kInput, kOp, kImm } kind = kNone;
  uint8_t index = 0;  // input of the step, or operation of the program
  float imm = 0;
  static EltRef input(size_t i) { return {kInput, static_cast<uint8_t>(i), 0}; }
  static EltRef op(size_t i) { return {kOp, static_cast<uint8_t>(i), 0}; }
  static EltRef immediate(float v) { return {kImm, 0, v}; }
};
struct EltOp {
  Elt op = Elt::kCopy;
  EltRef src[3];
  float a = 0, b = 0;
};
// An elementwise region: operations in order over the step's inputs; output k of the step is
// results[k]. All arithmetic is fp32; inputs and outputs convert at the edge.
struct EltProgram {
  std::vector<EltOp> ops;
  std::vector<uint8_t> results;
};

// Applied to output 0 of the main operation, in order: x = op(x, other).
struct PostOp {
  Elt op = Elt::kCopy;
  int operand = -1;      // index into the step's inputs; -1: none, or `imm`
  bool has_imm = false;  // the other operand is the constant `imm`
  bool swapped = false;  // x = op(other, x)
  float imm = 0;
  float a = 0, b = 0;
};

// softmax(scale * q k^T + mask) v over [batch, heads, len, dim] views of the inputs.
struct AttentionSpec {
  int64_t batch = 1, heads = 1, kv_heads = 1, q_len = 0, kv_len = 0, head_dim = 0, v_dim = 0;
  struct View {
    int64_t offset = 0, batch = 0, head = 0, seq = 0;
  };                  // strides in elements
  View q, k, v, out;  // of inputs 0, 1, 2 and output 0; the last dim is dense
  float scale = 1, softcap = 0;
  bool causal = false;
  int mask = -1;  // input index of the additive float or boolean mask, -1: none
};

struct Operand {
  DType dtype = DType::kUndefined;  // kUndefined: left out, or not a tensor
  Dims dims;
  Layout layout = Layout::kPlain;
  // The value where it is a constant of the plan (its bytes lie in `layout`, maybe unaligned).
  const Tensor* constant = nullptr;
  bool present() const { return dtype != DType::kUndefined; }
  int64_t rank() const { return static_cast<int64_t>(dims.size()); }
  int64_t size() const;
  int64_t bytes() const;
};
// Its bytes lie row-major.
inline bool plain(const Operand& o) { return o.layout == Layout::kPlain || layout_free(o.dims); }
// Bytes of an element; 0 for strings and types of less than a byte.
inline int element_size(DType t) { return dtype_bits(t) / 8; }

// A step as kernels see it.
struct StepInfo {
  Sym op;  // what to do: an ONNX op, or one of the plan's own: see step_kind
  const Model* model = nullptr;
  const Node* node = nullptr;  // attributes of the main node; null for the plan's own steps
  std::vector<Operand> in;     // inputs of the main node, then those of the post ops
  std::vector<Operand> out;
  size_t main_inputs = 0;
  std::span<const PostOp> post;
  const EltProgram* program = nullptr;       // op kElementwise
  const AttentionSpec* attention = nullptr;  // op kAttention

  bool has(size_t i) const { return i < main_inputs && in[i].present(); }
  // Attributes that the plan sets come before those of the node.
  std::span<const Attribute> attrs;
  int64_t attr_int(std::string_view n, int64_t def) const;
  float attr_float(std::string_view n, float def) const;
  std::string_view attr_str(std::string_view n, std::string_view def) const;
  const std::vector<int64_t>* attr_ints(std::string_view n) const;
  const std::vector<float>* attr_floats(std::string_view n) const;
  int version() const { return node ? node->version : 0; }
  // The content of a parameter input (axes, pads, a shape, k): constants, and while a dynamic step
  // is prepared at run time, what the input holds then; the kernel is then made anew when it
  // changes. nullptr where it is not known. Never for bulk data.
  const Tensor* known(size_t i) const;
  // known(i) as integers, else attribute `attr`.
  std::optional<std::vector<int64_t>> ints(size_t i, std::string_view attr = {}) const;
  // known(i) as one number (rank 0 or one element).
  std::optional<double> scalar(size_t i) const;

  bool has_objects = false;    // holds graphs, or an input or output is not a tensor
  bool sizes_unknown = false;  // out dims are not known before the run: outputs go through StepHost
  std::span<const Tensor* const> run_time;  // dynamic steps: what each input holds
  mutable uint64_t used_contents = 0;       // inputs whose run-time content known() has given
};

bool all_plain(const StepInfo& step);

// Ops of the plan itself, in the domain "plan".
namespace step_kind {
inline constexpr std::string_view kElementwise = "plan.Elementwise";  // an EltProgram
inline constexpr std::string_view kReorder = "plan.Reorder";  // the same value in another layout
inline constexpr std::string_view kView = "plan.View";        // the same bytes
inline constexpr std::string_view kUpload = "plan.Upload";    // from the host to the second device
inline constexpr std::string_view kDownload = "plan.Download";    // and back
inline constexpr std::string_view kAttention = "plan.Attention";  // an AttentionSpec
}  // namespace step_kind

}  // namespace onnxtool
