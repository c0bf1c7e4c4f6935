// SPDX-License-Identifier: Apache-2.0
#include "exec/cpu/onednn.h"

#include <cmath>
#include <cstring>

#include "exec/cpu/identity.h"
#include "exec/cpu/simd/convert.h"
#include "exec/cpu/simd/simd.h"
#include "libonnxtool/base/str.h"

namespace onnxtool::cpu {

using dnnl::algorithm;
using dnnl::memory;

const dnnl::engine& dnnl_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

std::string pack_identity() {
  const dnnl_version_t* v = dnnl_version();
  return format("{}/{} oneDNN {}.{}.{} {}", simd::target_name(), simd::vector_floats(), v->major,
                v->minor, v->patch, static_cast<int>(dnnl::get_effective_cpu_isa()));
}

bool has_bf16() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto bf16 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (isa & bf16) == bf16;
}

bool has_bf16_tiles() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto amx = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  return (isa & amx) == amx;
}

Status check_bf16(const PrepareContext& ctx) {
  if (!ctx.bf16) return unsupported("not asked for");
  return has_bf16() ? ok() : unsupported("no instructions for bfloat16");
}

namespace {

dnnl::stream& dnnl_stream() {
  thread_local dnnl::stream stream(dnnl_engine());
  return stream;
}

struct Eltwise {
  algorithm algo;
  float alpha = 0, beta = 0;
  float scale = 1;  // of the result
};

std::optional<Eltwise> eltwise(const PostOp& p) {
  switch (p.op) {
    case Elt::kRelu: return Eltwise{algorithm::eltwise_relu};
    case Elt::kLeakyRelu: return Eltwise{algorithm::eltwise_relu, p.a};
    case Elt::kElu: return Eltwise{algorithm::eltwise_elu, p.a};
    case Elt::kTanh: return Eltwise{algorithm::eltwise_tanh};
    case Elt::kSigmoid: return Eltwise{algorithm::eltwise_logistic};
    case Elt::kSilu: return Eltwise{algorithm::eltwise_swish, p.a};
    case Elt::kHardSwish: return Eltwise{algorithm::eltwise_hardswish, 1.0f / 6, 0.5f};
    case Elt::kHardSigmoid: return Eltwise{algorithm::eltwise_hardsigmoid, p.a, p.b};
    case Elt::kGelu:
    case Elt::kGeluTanh:
      return Eltwise{
          p.op == Elt::kGelu ? algorithm::eltwise_gelu_erf : algorithm::eltwise_gelu_tanh, 0, 0,
          p.a};
    case Elt::kClip: return Eltwise{algorithm::eltwise_clip, p.a, p.b};
    case Elt::kAbs: return Eltwise{algorithm::eltwise_abs};
    case Elt::kSqrt: return Eltwise{algorithm::eltwise_sqrt};
    case Elt::kSquare: return Eltwise{algorithm::eltwise_square};
    case Elt::kExp: return Eltwise{algorithm::eltwise_exp};
    case Elt::kAffine: return Eltwise{algorithm::eltwise_linear, p.a, p.b};
    case Elt::kRound: return Eltwise{algorithm::eltwise_round};
    case Elt::kNeg: return Eltwise{algorithm::eltwise_linear, -1, 0};
    default: break;
  }
  if (!p.has_imm) return std::nullopt;
  switch (p.op) {
    case Elt::kAdd: return Eltwise{algorithm::eltwise_linear, 1, p.imm};
    case Elt::kMul: return Eltwise{algorithm::eltwise_linear, p.imm, 0};
    case Elt::kSub:
      return p.swapped ? Eltwise{algorithm::eltwise_linear, -1, p.imm}
                       : Eltwise{algorithm::eltwise_linear, 1, -p.imm};
    case Elt::kMax: return Eltwise{algorithm::eltwise_clip, p.imm, INFINITY};
    case Elt::kMin: return Eltwise{algorithm::eltwise_clip, -INFINITY, p.imm};
    default: return std::nullopt;
  }
}

std::optional<algorithm> binary(const PostOp& p) {
  switch (p.op) {
    case Elt::kAdd: return algorithm::binary_add;
    case Elt::kMul: return algorithm::binary_mul;
    case Elt::kMax: return algorithm::binary_max;
    case Elt::kMin: return algorithm::binary_min;
    case Elt::kSub: return p.swapped ? std::nullopt : std::optional(algorithm::binary_sub);
    case Elt::kDiv: return p.swapped ? std::nullopt : std::optional(algorithm::binary_div);
    default: return std::nullopt;
  }
}

}  // namespace

std::optional<memory::data_type> dnnl_type(DType t) {
  switch (t) {
    case DType::kFloat: return memory::data_type::f32;
    case DType::kUint8: return memory::data_type::u8;
    case DType::kInt8: return memory::data_type::s8;
    case DType::kInt32: return memory::data_type::s32;
    default: return std::nullopt;
  }
}

memory::desc dnnl_desc(const Operand& o) {
  return {o.dims, *dnnl_type(o.dtype), memory_strides(o.dims, o.layout)};
}
memory::desc dnnl_desc(const Operand& o, const Dims& dims, const std::vector<int64_t>& strides) {
  return {dims, *dnnl_type(o.dtype), strides};
}
memory::desc dnnl_any(const Operand& o) {
  return {o.dims, *dnnl_type(o.dtype), memory::format_tag::any};
}

// [M, C/g, k...] to [g, M/g, C/g, k...], the same bytes.
memory::desc dnnl_conv_weights(const Operand& w, int64_t group, bool transposed) {
  Dims d = w.dims;
  std::vector<int64_t> strides(d.size(), 1);
  for (size_t i = d.size() - 1; i-- > 0;) strides[i] = strides[i + 1] * d[i + 1];
  // oneDNN orders weights of a transposed convolution [out, in] too.
  if (transposed) {
    std::swap(d[0], d[1]);
    std::swap(strides[0], strides[1]);
  }
  if (group > 1) {
    // Conv: out is split; transposed: in is split (now axis 1), the file's outermost axis.
    int64_t inside = transposed ? d[1] / group : d[0] / group;
    int64_t step = (transposed ? strides[1] : strides[0]) * inside;
    if (transposed)
      d[1] = inside;
    else
      d[0] = inside;
    d.insert(d.begin(), group);
    strides.insert(strides.begin(), step);
  }
  return {d, *dnnl_type(w.dtype), strides};
}

const char* check_post(const StepInfo& s) {
  if (s.post.size() > 24) return "too many post operations";
  const Operand& out = s.out[0];
  for (const PostOp& p : s.post) {
    if (p.operand < 0) {
      if (!eltwise(p)) return "a post operation that oneDNN lacks";
      continue;
    }
    if (!binary(p)) return "a post operation that oneDNN lacks";
    const Operand& o = s.in[static_cast<size_t>(p.operand)];
    if (!is_f32(o) || o.rank() > out.rank()) return "a post operand's type or rank";
    Dims d = extended(o, out.dims.size());
    if (d == out.dims) {
      if (!same_order(o, out)) return "a post operand's layout";
      continue;
    }
    // One value for all, or one a channel (the last axis of matrix products, of up to 4 dims).
    const bool product = s.op.view() == "MatMul" || s.op.view() == "Gemm";
    if (product && d.size() > 4) return "a post operand's rank";
    size_t axis = product ? d.size() - 1 : 1;
    for (size_t i = 0; i < d.size(); ++i)
      if (d[i] != 1 && (i != axis || d[i] != out.dims[i])) return "a post operand's broadcast";
  }
  return nullptr;
}

DnnlPost make_post(const StepInfo& s) {
  DnnlPost r;
  for (const PostOp& p : s.post) {
    if (p.operand < 0) {
      Eltwise e = *eltwise(p);
      r.ops.append_eltwise(e.algo, e.alpha, e.beta);
      if (e.scale != 1) r.ops.append_eltwise(algorithm::eltwise_linear, e.scale, 0);
      continue;
    }
    const Operand& o = s.in[static_cast<size_t>(p.operand)];
    Dims d = extended(o, s.out[0].dims.size());
    Layout layout = d == s.out[0].dims ? s.out[0].layout : Layout::kPlain;
    memory::desc desc(d, memory::data_type::f32, memory_strides(d, layout));
    r.binaries.push_back({r.ops.len(), static_cast<size_t>(p.operand), desc});
    r.ops.append_binary(*binary(p), desc);
  }
  return r;
}

dnnl::primitive_attr dnnl_attr(const DnnlPost& post) {
  dnnl::primitive_attr attr;
  attr.set_post_ops(post.ops);
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

bool is_reference_impl(const std::string& info) { return info.rfind("ref", 0) == 0; }

int64_t DnnlStep::bind(int arg, const memory::desc& desc, Source source, size_t index,
                       int64_t offset) {
  if (source == kScratch) {
    if (desc.get_size() == 0) return 0;
    offset = (scratch_bytes + 63) / 64 * 64;
    scratch_bytes = offset + static_cast<int64_t>(desc.get_size());
  }
  bound_.push_back({arg, desc, source, index, offset});
  return offset;
}

void DnnlStep::bind_rounded(int arg, const memory::desc& desc, size_t index) {
  const int64_t at = bind(arg, desc, kScratch, 0);
  rounded_.push_back({index, at, static_cast<int64_t>(desc.get_size() / 2)});
}

void DnnlStep::bind_data(int arg, const memory::desc& desc, Tensor data) {
  auto holder = std::make_shared<Tensor>(std::move(data));
  bound_.push_back({arg, desc, kFixed, packed_.size(), 0});
  packed_.push_back(std::shared_ptr<const std::byte>(holder, holder->raw()));
}

void DnnlStep::bind_post(const DnnlPost& post) {
  for (const DnnlPost::Binary& b : post.binaries)
    bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(b.index) | DNNL_ARG_SRC_1, b.desc, kInput, b.input);
}

Status DnnlStep::pack(int arg, const StepInfo& s, size_t index, const memory::desc& from,
                      const memory::desc& to, PrepareContext& ctx) {
  const Tensor& source = *s.in[index].constant;
  if (from == to && source.aligned()) {
    bind(arg, to, kInput, index);
    return ok();
  }
  std::string form =
      format("dnnl:{}:{}:{}", arg, static_cast<int>(to.get_data_type()), to.get_size());
  for (int64_t d : to.get_dims()) form += format(",{}", d);
  for (int64_t x : from.get_strides()) form += format(";{}", x);
  if (to.get_format_kind() == memory::format_kind::blocked) {
    for (int64_t x : to.get_strides()) form += format("/{}", x);
    for (int64_t x : to.get_padded_dims()) form += format("+{}", x);
    for (int64_t x : to.get_inner_blks()) form += format("b{}", x);
    for (int64_t x : to.get_inner_idxs()) form += format("i{}", x);
  } else {
    form += format("opaque{}", static_cast<const void*>(this));
  }
  auto fill = [&](std::byte* data) {
    return dnnl_try([&]() -> Status {
      Tensor aligned = source.to_aligned();
      memory src(from, dnnl_engine(), const_cast<std::byte*>(aligned.raw()));
      memory dst(to, dnnl_engine(), data);
      dnnl::reorder(src, dst).execute(dnnl_stream(), src, dst);
      dnnl_stream().wait();
      return ok();
    });
  };
  TRY_ASSIGN(auto packed, ctx.packs.get(source, form, static_cast<int64_t>(to.get_size()), fill));
  bound_.push_back({arg, to, kFixed, packed_.size(), 0});
  packed_.push_back(std::move(packed));
  unread_inputs |= uint64_t{1} << index;
  return ok();
}

std::unique_ptr<DnnlStep::Set> DnnlStep::take() const {
  {
    std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      auto set = std::move(free_.back());
      free_.pop_back();
      return set;
    }
  }
  auto set = std::make_unique<Set>();
  for (const Bound& b : bound_) {
    set->memory.emplace_back(b.desc, dnnl_engine(), nullptr);
    set->args.push_back({b.arg, set->memory.back().get()});
  }
  return set;
}

Status DnnlStep::run(const RunArgs& args) const {
  for (const Rounded& r : rounded_)
    parallel_for(r.count, 1 << 14, [&](int64_t begin, int64_t end) {
      simd::f32_to_bf16(in<float>(args, r.index) + begin,
                        reinterpret_cast<uint16_t*>(args.scratch + r.offset) + begin, end - begin);
    });
  std::unique_ptr<Set> set = take();
  for (size_t i = 0; i < bound_.size(); ++i) {
    const Bound& b = bound_[i];
    const std::byte* p = nullptr;
    switch (b.source) {
      case kInput: p = static_cast<const std::byte*>(args.in[b.index]); break;
      case kOutput: p = static_cast<const std::byte*>(args.out[b.index]); break;
      case kScratch: p = args.scratch; break;
      case kFixed: p = packed_[b.index].get(); break;
    }
    dnnl_memory_set_data_handle(set->args[i].memory, const_cast<std::byte*>(p + b.offset));
  }
  dnnl_status_t status = dnnl_primitive_execute(
      primitive_.get(), dnnl_stream().get(), static_cast<int>(set->args.size()), set->args.data());
  std::lock_guard lock(mutex_);
  free_.push_back(std::move(set));
  if (status != dnnl_success)
    return internal_error(format("oneDNN failed to run ({})", static_cast<int>(status)));
  return ok();
}

}  // namespace onnxtool::cpu
