// SPDX-License-Identifier: Apache-2.0
// Matrix products on oneDNN: MatMul with any batch dims, Gemm, and the reorder between layouts.
#include "exec/cpu/onednn.h"

namespace onnxtool {
namespace cpu {
namespace {

using dnnl::memory;

// A, B and C as oneDNN wants them: equal ranks, strides for transposes.
struct Product {
  Dims a, b, c;
  std::vector<int64_t> sa, sb, sc;
};

std::vector<int64_t> strides(const Dims& d) {
  std::vector<int64_t> s(d.size(), 1);
  for (size_t i = d.size() - 1; i-- > 0;) s[i] = s[i + 1] * d[i + 1];
  return s;
}

std::optional<Product> shape_of(const StepInfo& s) {
  Product p;
  p.a = s.in[0].dims;
  p.b = s.in[1].dims;
  if (p.a.empty() || p.b.empty() || p.a.size() > 12 || p.b.size() > 12) return std::nullopt;
  bool vector_a = p.a.size() == 1, vector_b = p.b.size() == 1;
  if (vector_a) p.a.insert(p.a.begin(), 1);
  if (vector_b) p.b.push_back(1);
  size_t rank = std::max(p.a.size(), p.b.size());
  p.a.insert(p.a.begin(), rank - p.a.size(), 1);
  p.b.insert(p.b.begin(), rank - p.b.size(), 1);
  p.c.assign(rank, 1);
  for (size_t i = 0; i + 2 < rank; ++i) p.c[i] = std::max(p.a[i], p.b[i]);
  p.c[rank - 2] = p.a[rank - 2];
  p.c[rank - 1] = p.b[rank - 1];
  if (p.a[rank - 1] != p.b[rank - 2]) return std::nullopt;
  p.sa = strides(p.a);
  p.sb = strides(p.b);
  p.sc = strides(p.c);
  return p;
}

std::optional<Product> gemm_shape(const StepInfo& s) {
  if (s.in[0].rank() != 2 || s.in[1].rank() != 2) return std::nullopt;
  Product p;
  auto side = [&](const Operand& o, bool t, Dims& d, std::vector<int64_t>& st) {
    d = o.dims;
    st = strides(d);
    if (t) {
      std::swap(d[0], d[1]);
      std::swap(st[0], st[1]);
    }
  };
  side(s.in[0], s.attr_int("transA", 0) != 0, p.a, p.sa);
  side(s.in[1], s.attr_int("transB", 0) != 0, p.b, p.sb);
  if (p.a[1] != p.b[0]) return std::nullopt;
  p.c = {p.a[0], p.b[1]};
  p.sc = strides(p.c);
  return p;
}

const char* check(const StepInfo& s) {
  if (!is_f32(s.in[0]) || !is_f32(s.in[1]) || !is_f32(s.out[0])) return "not float";
  if (!all_plain(s)) return "layouts";
  return check_post(s);
}

const char* accept_matmul(const StepInfo& s) {
  if (s.main_inputs != 2) return "inputs";
  if (auto* why = check(s)) return why;
  auto p = shape_of(s);
  if (!p) return "shapes";
  if (!s.post.empty() && p->c != s.out[0].dims) return "post operations on a vector";
  return nullptr;
}

const char* accept_gemm(const StepInfo& s) {
  if (auto* why = check(s)) return why;
  auto p = gemm_shape(s);
  if (!p || p->c != s.out[0].dims) return "shapes";
  if (s.has(2)) {
    if (!is_f32(s.in[2]) || s.in[2].rank() > 2) return "the bias";
    if (s.attr_float("beta", 1) != 1 && s.attr_float("beta", 1) != 0) return "beta";
    Dims d = s.in[2].dims;
    d.insert(d.begin(), 2 - d.size(), 1);
    if (d != p->c && !(d[0] == 1 && (d[1] == 1 || d[1] == p->c[1]))) return "the bias' shape";
  }
  return nullptr;
}

Result<std::unique_ptr<Prepared>> build(const StepInfo& s, const Product& p, PrepareContext& ctx,
                                        memory::data_type type = memory::data_type::f32) {
  return dnnl_try([&]() -> Result<std::unique_ptr<Prepared>> {
    memory::desc a(p.a, type, p.sa), b = dnnl_desc(s.in[1], p.b, p.sb);
    memory::desc c = dnnl_desc(s.out[0], p.c, p.sc);
    bool pack = s.in[1].constant != nullptr && p.b.size() == 2;
    memory::desc weights = pack ? memory::desc(p.b, type, memory::format_tag::any) : b;
    DnnlPost post = make_post(s);
    if (s.op.view() == "Gemm") {
      // alpha and C come first.
      DnnlPost all;
      if (float alpha = s.attr_float("alpha", 1); alpha != 1)
        all.ops.append_eltwise(dnnl::algorithm::eltwise_linear, alpha, 0);
      if (s.has(2) && s.attr_float("beta", 1) != 0) {
        Dims d = s.in[2].dims;
        d.insert(d.begin(), 2 - d.size(), 1);
        memory::desc desc(d, memory::data_type::f32, strides(d));
        all.binaries.push_back({all.ops.len(), 2, desc});
        all.ops.append_binary(dnnl::algorithm::binary_add, desc);
      }
      int shift = all.ops.len();
      for (int i = 0; i < post.ops.len(); ++i) {
        float alpha, beta;
        dnnl::algorithm algo;
        memory::desc desc;
        if (post.ops.kind(i) == dnnl::primitive::kind::eltwise) {
          post.ops.get_params_eltwise(i, algo, alpha, beta);
          all.ops.append_eltwise(algo, alpha, beta);
        } else {
          post.ops.get_params_binary(i, algo, desc);
          all.ops.append_binary(algo, desc);
        }
      }
      for (DnnlPost::Binary x : post.binaries) {
        x.index += shift;
        all.binaries.push_back(x);
      }
      post = std::move(all);
    }
    dnnl::matmul::primitive_desc pd(dnnl_engine(), a, weights, c, dnnl_attr(post));
    if (is_reference_impl(pd.impl_info_str()))
      return unsupported("oneDNN has only its reference for this");
    auto step = std::make_unique<DnnlStep>(dnnl::matmul(pd), pd.impl_info_str());
    if (type == memory::data_type::bf16)
      step->bind_rounded(DNNL_ARG_SRC, a, 0);
    else
      step->bind(DNNL_ARG_SRC, a, DnnlStep::kInput, 0);
    step->bind(DNNL_ARG_DST, c, DnnlStep::kOutput, 0);
    if (pack)
      TRY(step->pack(DNNL_ARG_WEIGHTS, s, 1, b, pd.weights_desc(), ctx));
    else
      step->bind(DNNL_ARG_WEIGHTS, b, DnnlStep::kInput, 1);
    step->bind_post(post);
    step->bind(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), DnnlStep::kScratch, 0);
    return std::unique_ptr<Prepared>(std::move(step));
  });
}

// With one matrix B the rows of A, C and what is added to C are those of matrices.
StepInfo flattened(const StepInfo& s) {
  StepInfo r = s;
  if (s.in[1].rank() != 2 || s.in[0].rank() <= 2) return r;
  const auto flatten = [](Operand& o) { o.dims = {o.size() / o.dims.back(), o.dims.back()}; };
  flatten(r.in[0]);
  flatten(r.out[0]);
  for (size_t i = s.main_inputs; i < r.in.size(); ++i)
    if (!r.in[i].dims.empty()) flatten(r.in[i]);
  return r;
}

Result<std::unique_ptr<Prepared>> prepare_matmul_as(const StepInfo& s, PrepareContext& ctx,
                                                    memory::data_type type) {
  const StepInfo flat = flattened(s);
  return build(flat, *shape_of(flat), ctx, type);
}
Result<std::unique_ptr<Prepared>> prepare_matmul(const StepInfo& s, PrepareContext& ctx) {
  return prepare_matmul_as(s, ctx, memory::data_type::f32);
}
Result<std::unique_ptr<Prepared>> prepare_gemm(const StepInfo& s, PrepareContext& ctx) {
  return build(s, *gemm_shape(s), ctx);
}

// In bfloat16, with weights.
const char* no_weights(const StepInfo& s) {
  return s.in[1].constant && s.in[1].rank() == 2 ? nullptr : "B is no constant matrix";
}
const char* accept_matmul_bf16(const StepInfo& s) {
  if (auto* why = accept_matmul(s)) return why;
  return no_weights(s);
}
const char* accept_gemm_bf16(const StepInfo& s) {
  if (auto* why = accept_gemm(s)) return why;
  return no_weights(s);
}
Result<std::unique_ptr<Prepared>> prepare_matmul_bf16(const StepInfo& s, PrepareContext& ctx) {
  TRY(check_bf16(ctx));
  return prepare_matmul_as(s, ctx, memory::data_type::bf16);
}
Result<std::unique_ptr<Prepared>> prepare_gemm_bf16(const StepInfo& s, PrepareContext& ctx) {
  TRY(check_bf16(ctx));
  return build(s, *gemm_shape(s), ctx, memory::data_type::bf16);
}

const char* accept_reorder(const StepInfo& s) {
  if (!dnnl_type(s.in[0].dtype) || s.in[0].dtype != s.out[0].dtype) return "the element type";
  return s.in[0].rank() > 12 ? "the rank" : nullptr;
}

Result<std::unique_ptr<Prepared>> prepare_reorder(const StepInfo& s, PrepareContext&) {
  return dnnl_try([&]() -> Result<std::unique_ptr<Prepared>> {
    memory::desc from = dnnl_desc(s.in[0]), to = dnnl_desc(s.out[0]);
    dnnl::reorder::primitive_desc pd(dnnl_engine(), from, dnnl_engine(), to, dnnl_attr({}));
    auto step = std::make_unique<DnnlStep>(dnnl::reorder(pd), pd.impl_info_str());
    step->bind(DNNL_ARG_FROM, from, DnnlStep::kInput, 0);
    step->bind(DNNL_ARG_TO, to, DnnlStep::kOutput, 0);
    step->bind(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc(), DnnlStep::kScratch, 0);
    return std::unique_ptr<Prepared>(std::move(step));
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(
    matmul, {"onednn_matmul", "MatMul", 50, cpu::accept_matmul, cpu::prepare_matmul},
    {"onednn_gemm", "Gemm", 50, cpu::accept_gemm, cpu::prepare_gemm},
    {"bf16_matmul", "MatMul", 29, cpu::accept_matmul_bf16, cpu::prepare_matmul_bf16},
    {"bf16_gemm", "Gemm", 29, cpu::accept_gemm_bf16, cpu::prepare_gemm_bf16},
    {"onednn_reorder", step_kind::kReorder, 50, cpu::accept_reorder, cpu::prepare_reorder})
