// SPDX-License-Identifier: Apache-2.0
// What elementwise programs, whose arithmetic is fp32, must leave: exact arithmetic and casts of
// integers, Where on any type.
#include "exec/cuda/gpu.h"
#include "exec/cuda/nd.h"
#include "exec/cuda/types.h"

namespace onnxtool {
namespace cuda {
namespace {

enum class Op : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kMin,
  kMax,
  kClip,  // three operands, the last two may be left out
  kNeg,
  kAbs,
  kSign,
  kEq,  // from here on the result is bool
  kLt,
  kLe,
  kGt,
  kGe
};
struct Row {
  const char* op;
  Op code;
  size_t operands;
};
constexpr Row kRows[] = {
    {"Add", Op::kAdd, 2},          {"Sub", Op::kSub, 2},        {"Mul", Op::kMul, 2},
    {"Div", Op::kDiv, 2},          {"Mod", Op::kMod, 2},        {"Min", Op::kMin, 2},
    {"Max", Op::kMax, 2},          {"Clip", Op::kClip, 3},      {"Neg", Op::kNeg, 1},
    {"Abs", Op::kAbs, 1},          {"Sign", Op::kSign, 1},      {"Equal", Op::kEq, 2},
    {"Less", Op::kLt, 2},          {"LessOrEqual", Op::kLe, 2}, {"Greater", Op::kGt, 2},
    {"GreaterOrEqual", Op::kGe, 2}};

struct Form {
  Op op = Op::kAdd;
  DType type = DType::kInt64;
  bool has[3] = {};
  Nd nd;
};
struct Inputs {
  const void* p[3];
};

// Sums wrap around. A division by zero, which has no result, gives 0.
template <typename T>
__device__ T result(Op op, T x, T y, T z, const bool (&has)[3]) {
  const auto a = static_cast<uint64_t>(x), b = static_cast<uint64_t>(y);
  switch (op) {
    case Op::kAdd: return static_cast<T>(a + b);
    case Op::kSub: return static_cast<T>(a - b);
    case Op::kMul: return static_cast<T>(a * b);
    case Op::kDiv:
      return y == 0 ? T(0) : y == T(-1) ? static_cast<T>(0 - a) : static_cast<T>(x / y);
    case Op::kMod: {  // of the divisor's sign
      if (y == 0 || y == T(-1)) return 0;
      const T r = static_cast<T>(x % y);
      return r != 0 && (r < 0) != (y < 0) ? static_cast<T>(r + y) : r;
    }
    case Op::kMin: return y < x ? y : x;
    case Op::kMax: return x < y ? y : x;
    case Op::kClip:
      if (has[1] && x < y) x = y;
      return has[2] && z < x ? z : x;
    case Op::kNeg: return static_cast<T>(0 - a);
    case Op::kAbs: return x < 0 ? static_cast<T>(0 - a) : x;
    case Op::kSign: return static_cast<T>(x > 0 ? 1 : x < 0 ? -1 : 0);
    case Op::kEq: return x == y;
    case Op::kLt: return x < y;
    case Op::kLe: return x <= y;
    case Op::kGt: return x > y;
    default: return x >= y;
  }
}

template <typename T>
__global__ void elementwise(Form f, Inputs in, void* y) {
  GRID_LOOP(i, f.nd.size) {
    T v[3] = {};
    for (int k = 0; k < 3; ++k)
      if (f.has[k]) v[k] = static_cast<const T*>(in.p[k])[f.nd.place(i, k)];
    const T r = result(f.op, v[0], v[1], v[2], f.has);
    if (f.op >= Op::kEq)
      static_cast<uint8_t*>(y)[i] = r != 0;
    else
      static_cast<T*>(y)[i] = r;
  }
}

template <typename F>
bool with_integer(DType t, F&& f) {
  switch (t) {
    case DType::kInt8: f(int8_t{}); return true;
    case DType::kUint8: f(uint8_t{}); return true;
    case DType::kInt32: f(int32_t{}); return true;
    case DType::kInt64: f(int64_t{}); return true;
    default: return false;
  }
}

// Operands that are left out stand for the first.
bool plan_operands(const StepInfo& s, size_t count, Nd* nd) {
  std::vector<Operand> operands;
  for (size_t i = 0; i < count; ++i) operands.push_back(s.has(i) ? s.in[i] : s.in[0]);
  return plan_broadcast(operands, s.out[0], nd);
}

const char* build(const StepInfo& s, Form* f) {
  if (!s.post.empty()) return "post operations";
  for (const Row& r : kRows) {
    if (s.op.view() != r.op) continue;
    if (s.in.size() > r.operands || (r.op != std::string_view("Clip") && s.in.size() != r.operands))
      return "the number of operands";
    f->op = r.code;
    f->type = s.in[0].dtype;
    if (!with_integer(f->type, [](auto) {})) return "not integers";
    if (s.out[0].dtype != (r.code >= Op::kEq ? DType::kBool : f->type)) return "the output's type";
    for (size_t i = 0; i < s.in.size(); ++i) {
      f->has[i] = s.has(i);
      if (f->has[i] && s.in[i].dtype != f->type) return "types differ";
    }
    if (s.node && (s.node->attr("broadcast") || s.node->attr("axis"))) return "old broadcasting";
    if (f->op == Op::kClip && s.version() < 11) return "an old form";
    if (f->op == Op::kMod && s.attr_int("fmod", 0)) return "fmod";
    return plan_operands(s, 3, &f->nd) ? nullptr : "shapes";
  }
  return "the operator";
}

const char* accept(const StepInfo& s) {
  Form f;
  return build(s, &f);
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Form f;
  if (auto* why = build(s, &f)) return unsupported(why);
  const size_t inputs = s.in.size();
  return prepared([f, inputs](const RunArgs& a) {
    Inputs in{};
    std::copy_n(a.in, inputs, in.p);
    Status status;
    with_integer(f.type, [&](auto t) {
      status =
          launch(elementwise<decltype(t)>, blocks_for(f.nd.size), kThreads, a, f, in, a.out[0]);
    });
    return status;
  });
}

// ---- Where

template <typename T>
__global__ void select(Nd nd, const uint8_t* condition, const T* x, const T* y, T* to) {
  GRID_LOOP(i, nd.size)
  to[i] = condition[nd.place(i, 0)] ? x[nd.place(i, 1)] : y[nd.place(i, 2)];
}

const char* accept_where(const StepInfo& s) {
  if (s.in.size() != 3 || !s.post.empty()) return "inputs";
  if (s.in[0].dtype != DType::kBool || s.in[1].dtype != s.in[2].dtype ||
      !with_bytes(element_size(s.in[1].dtype), [](auto) {}))
    return "the element type";
  Nd nd;
  return plan_operands(s, 3, &nd) ? nullptr : "shapes";
}
Result<std::unique_ptr<Prepared>> prepare_where(const StepInfo& s, PrepareContext&) {
  Nd nd;
  if (!plan_operands(s, 3, &nd)) return unsupported("shapes");
  const int size = element_size(s.in[1].dtype);
  return prepared([nd, size](const RunArgs& a) {
    Status status;
    with_bytes(size, [&](auto t) {
      using T = decltype(t);
      status = launch(select<T>, blocks_for(nd.size), kThreads, a, nd, in<uint8_t>(a, 0),
                      in<T>(a, 1), in<T>(a, 2), out<T>(a));
    });
    return status;
  });
}

// ---- casts from integers, and between float and double

__device__ int64_t load_integer(const void* p, int64_t i, DType t) {
  switch (t) {
    case DType::kBool: return static_cast<const uint8_t*>(p)[i] != 0;
    case DType::kInt8: return static_cast<const int8_t*>(p)[i];
    case DType::kUint8: return static_cast<const uint8_t*>(p)[i];
    case DType::kInt16: return static_cast<const int16_t*>(p)[i];
    case DType::kUint16: return static_cast<const uint16_t*>(p)[i];
    case DType::kInt32: return static_cast<const int32_t*>(p)[i];
    case DType::kUint32: return static_cast<const uint32_t*>(p)[i];
    default: return static_cast<const int64_t*>(p)[i];
  }
}

__global__ void cast(int64_t n, DType from, DType to, const void* x, void* y) {
  GRID_LOOP(i, n) {
    if (from == DType::kFloat) {
      static_cast<double*>(y)[i] = static_cast<const float*>(x)[i];
      continue;
    }
    if (from == DType::kDouble) {
      static_cast<float*>(y)[i] = static_cast<float>(static_cast<const double*>(x)[i]);
      continue;
    }
    const int64_t v = load_integer(x, i, from);
    switch (to) {
      case DType::kFloat: static_cast<float*>(y)[i] = static_cast<float>(v); break;
      case DType::kDouble: static_cast<double*>(y)[i] = static_cast<double>(v); break;
      case DType::kBool: static_cast<uint8_t*>(y)[i] = v != 0; break;
      case DType::kInt8:
      case DType::kUint8: static_cast<uint8_t*>(y)[i] = static_cast<uint8_t>(v); break;
      case DType::kInt16:
      case DType::kUint16: static_cast<uint16_t*>(y)[i] = static_cast<uint16_t>(v); break;
      case DType::kInt32:
      case DType::kUint32: static_cast<uint32_t*>(y)[i] = static_cast<uint32_t>(v); break;
      default: static_cast<int64_t*>(y)[i] = v;
    }
  }
}

bool cast_integer(DType t) {
  switch (t) {
    case DType::kBool:
    case DType::kInt8:
    case DType::kUint8:
    case DType::kInt16:
    case DType::kUint16:
    case DType::kInt32:
    case DType::kUint32:
    case DType::kInt64: return true;
    default: return false;
  }
}

const char* accept_cast(const StepInfo& s) {
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  const DType from = s.in[0].dtype, to = s.out[0].dtype;
  if (cast_integer(from) && (cast_integer(to) || to == DType::kFloat || to == DType::kDouble))
    return nullptr;
  const bool floats = (from == DType::kFloat && to == DType::kDouble) ||
                      (from == DType::kDouble && to == DType::kFloat);
  return floats ? nullptr : "the types";
}
Result<std::unique_ptr<Prepared>> prepare_cast(const StepInfo& s, PrepareContext&) {
  const DType from = s.in[0].dtype, to = s.out[0].dtype;
  const int64_t n = s.out[0].size();
  auto r = prepared([=](const RunArgs& a) {
    return launch(cast, blocks_for(n), kThreads, a, n, from, to, a.in[0], a.out[0]);
  });
  r->unread_inputs = ~uint64_t{1};
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(
    integer,
    {.name = "integer",
     .ops = "Add Sub Mul Div Mod Min Max Clip Neg Abs Sign Equal Less LessOrEqual "
            "Greater GreaterOrEqual",
     .rank = 40,
     .accept = cuda::accept,
     .prepare = cuda::prepare,
     .device = true},
    {.name = "where",
     .ops = "Where",
     .rank = 40,
     .accept = cuda::accept_where,
     .prepare = cuda::prepare_where,
     .device = true},
    {.name = "cast",
     .ops = "Cast CastLike",
     .rank = 40,
     .accept = cuda::accept_cast,
     .prepare = cuda::prepare_cast,
     .device = true})
