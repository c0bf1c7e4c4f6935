// SPDX-License-Identifier: Apache-2.0
// MatMul, Gemm, and convolutions of single pixels: products by cuBLASLt.
#include "exec/cuda/product.h"
#include "exec/plan/geometry.h"

namespace onnxtool {
namespace cuda {
namespace {

__global__ void finish(Finish f, const void* product, DType product_type, const void* add,
                       PostPointers from, void* y) {
  GRID_LOOP(i, f.n) {
    float x = load_as_float(product, i, product_type);
    if (f.add) x += f.beta * load_as_float(add, f.add_nd.place(i, 0), f.add_type);
    store_float(y, i, f.type, apply_post(f.post, from, i, x));
  }
}

// One element a column of the output.
bool is_row(const Operand& o, const StepInfo& s, int64_t n) {
  return o.size() == n && o.rank() > 0 && o.rank() <= s.out[0].rank() && o.dims.back() == n &&
         s.out[0].dims.back() == n;
}

}  // namespace

const char* plan_end(const StepInfo& s, ProductPlan* plan) {
  Product& p = plan->product;
  Finish& f = plan->finish;
  f.n = s.out[0].size();
  f.type = s.out[0].dtype;
  // What the library can take: + bias, Relu.
  const auto can_bias = [&](int input) {
    const Operand& o = s.in[static_cast<size_t>(input)];
    return o.dtype == f.type && (is_row(o, s, p.n) || (o.rank() == 1 && s.op.view() == "Conv"));
  };
  size_t taken = 0;
  int bias = plan->added;
  bool fits = bias < 0 || (f.beta == 1 && can_bias(bias));
  if (bias < 0 && !s.post.empty() && s.post[0].op == Elt::kAdd && s.post[0].operand >= 0 &&
      can_bias(s.post[0].operand)) {
    bias = s.post[0].operand;
    ++taken;
  }
  const bool relu = fits && taken < s.post.size() && s.post[taken].op == Elt::kRelu;
  if (relu) ++taken;
  fits = fits && (taken == s.post.size() || f.type == DType::kFloat);
  StepInfo rest = s;
  if (fits) {
    p.bias = bias >= 0;
    p.relu = relu;
    plan->added = bias;
    rest.post = s.post.subspan(taken);
  } else if (plan->added >= 0) {
    const Operand& c = s.in[static_cast<size_t>(plan->added)];
    Operand seen = c;
    if (s.op.view() == "Conv") seen.dims.insert(seen.dims.end(), s.out[0].dims.size() - 2, 1);
    if (!edge_type(c.dtype) || !plan_broadcast({&seen, 1}, s.out[0], &f.add_nd)) return "C";
    f.add = true;
    f.add_type = c.dtype;
  }
  if (auto* why = plan_post(rest, &f.post)) return why;
  p.out = f.needed() ? DType::kFloat : f.type;
  return nullptr;
}

Result<ProductStep> ProductStep::make(ProductPlan plan, const PrepareContext& ctx) {
  Product& p = plan.product;
  p.tf32 = ctx.tf32;
  for (const auto& at : plan.offsets) {
    p.moved_by(at[0] * element_size(p.in));
    p.moved_by(at[1] * element_size(p.in));
    p.moved_by(at[2] * element_size(p.out));
  }
  ProductStep r;
  TRY_ASSIGN(r.blas_, make_blas(plan.product));
  r.plan_ = std::move(plan);
  return r;
}

Status ProductStep::run(const RunArgs& args, const void* a, const void* b,
                        std::byte* scratch) const {
  const Product& p = plan_.product;
  const Finish& f = plan_.finish;
  const int size = element_size(p.in), out_size = element_size(p.out);
  const int64_t aside = (blas_->workspace_bytes + 255) / 256 * 256;  // where an fp32 product lies
  std::byte* c = p.out != f.type ? scratch + aside : out<std::byte>(args);
  const void* added = plan_.added < 0 ? nullptr : args.in[plan_.added];
  for (const auto& at : plan_.offsets)
    TRY(blas_->run(args, static_cast<const std::byte*>(a) + at[0] * size,
                   static_cast<const std::byte*>(b) + at[1] * size, c + at[2] * out_size,
                   p.bias ? added : nullptr, scratch));
  if (!f.needed()) return ok();
  return launch(finish, blocks_for(f.n), kThreads, args, f, c, p.out, f.add ? added : nullptr,
                bind_post(f.post, args), args.out[0]);
}

int64_t ProductStep::scratch_bytes() const {
  const int64_t aside = (blas_->workspace_bytes + 255) / 256 * 256;
  const bool wide = plan_.product.out != plan_.finish.type;
  return aside + (wide ? plan_.finish.n * element_size(plan_.product.out) : 0);
}

namespace {

constexpr int64_t kMostProducts = 64;

// All but the last two dims, broadcast: one strided batch where the strides allow it.
bool plan_batches(const Dims& a, const Dims& b, const Dims& out, ProductPlan* plan) {
  Product& p = plan->product;
  Operand oa, ob, oc;
  auto outer = [](const Dims& d) { return Dims(d.begin(), d.end() - 2); };
  oa.dims = outer(a);
  ob.dims = outer(b);
  oc.dims = outer(out);
  Nd nd;
  const Operand in[] = {oa, ob};
  if (!plan_broadcast(in, oc, &nd)) return false;
  const int64_t ma = a[a.size() - 2] * a.back(), mb = b[b.size() - 2] * b.back(), mc = p.m * p.n;
  if (nd.rank > 0) {
    const int last = nd.rank - 1;
    p.batch = nd.dims[last];
    p.batch_a = nd.strides[0][last] * ma;
    p.batch_b = nd.strides[1][last] * mb;
    p.batch_c = mc;
  }
  if (nd.size / p.batch > kMostProducts) return false;
  plan->offsets.clear();
  for (int64_t i = 0; i < nd.size; i += p.batch) {
    std::array<int64_t, 3> at = {0, 0, i * mc};
    int64_t rest = i;
    for (int d = nd.rank; d-- > 0; rest /= nd.dims[d]) {
      at[0] += rest % nd.dims[d] * nd.strides[0][d] * ma;
      at[1] += rest % nd.dims[d] * nd.strides[1][d] * mb;
    }
    plan->offsets.push_back(at);
  }
  return true;
}

const char* check(const StepInfo& s) {
  if (!is_float_type(s.in[0].dtype) || s.in[1].dtype != s.in[0].dtype ||
      s.out[0].dtype != s.in[0].dtype)
    return "the element types";
  return all_plain(s) ? nullptr : "layouts";
}

const char* plan_matmul(const StepInfo& s, ProductPlan* plan) {
  if (s.main_inputs != 2) return "inputs";
  if (auto* why = check(s)) return why;
  Dims a = s.in[0].dims, b = s.in[1].dims, c = s.out[0].dims;
  if (a.empty() || b.empty()) return "a scalar";
  if (a.size() == 1) {
    a.insert(a.begin(), 1);
    c.insert(c.end() - (s.in[1].rank() > 1 ? 1 : 0), 1);
  }
  if (b.size() == 1) {
    b.push_back(1);
    c.push_back(1);
  }
  if (b.size() == 2) {  // all rows of A are one matrix
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < a.size(); ++i) rows *= a[i];
    a = {rows, a.back()};
    c = {rows, b[1]};
  }
  Product& p = plan->product;
  p.m = a[a.size() - 2];
  p.k = p.lda = a.back();
  p.n = p.ldb = p.ldc = b.back();
  p.in = s.in[0].dtype;
  if (b[b.size() - 2] != p.k) return "shapes";
  if (!plan_batches(a, b, c, plan)) return "the batch";
  return plan_end(s, plan);
}

const char* plan_gemm(const StepInfo& s, ProductPlan* plan) {
  if (auto* why = check(s)) return why;
  if (s.in[0].rank() != 2 || s.in[1].rank() != 2) return "shapes";
  Product& p = plan->product;
  p.transpose_a = s.attr_int("transA", 0) != 0;
  p.transpose_b = s.attr_int("transB", 0) != 0;
  p.lda = s.in[0].dims[1];
  p.ldb = s.in[1].dims[1];
  p.m = s.in[0].dims[p.transpose_a ? 1 : 0];
  p.k = s.in[0].dims[p.transpose_a ? 0 : 1];
  p.n = p.ldc = s.in[1].dims[p.transpose_b ? 0 : 1];
  if (s.in[1].dims[p.transpose_b ? 1 : 0] != p.k) return "shapes";
  p.in = s.in[0].dtype;
  p.alpha = s.attr_float("alpha", 1);
  plan->finish.beta = s.attr_float("beta", 1);
  if (s.has(2) && plan->finish.beta != 0) plan->added = 2;
  return plan_end(s, plan);
}

// Channels-last images are matrices of pixels by channels; the weights are [out, in] as they lie.
const char* plan_pixels(const StepInfo& s, ProductPlan* plan) {
  const auto g = conv_geometry(s);
  if (!g || g->group != 1) return "shapes or groups";
  for (size_t i = 0; i < g->rank(); ++i)
    if (g->kernel[i] != 1 || g->strides[i] != 1 || g->begin[i] != 0 || g->end[i] != 0)
      return "not of single pixels";
  for (const Operand& o : {s.in[0], s.out[0]})
    if (o.layout != Layout::kChannelsLast && !layout_free(o.dims)) return "not channels-last";
  if (!is_float_type(s.in[0].dtype) || s.in[1].dtype != s.in[0].dtype ||
      s.out[0].dtype != s.in[0].dtype)
    return "the element types";
  Product& p = plan->product;
  p.k = p.lda = p.ldb = s.in[0].dims[1];
  p.n = p.ldc = s.out[0].dims[1];
  p.m = s.out[0].size() / p.n;
  p.transpose_b = true;
  p.in = s.in[0].dtype;
  if (s.has(2)) plan->added = 2;
  return plan_end(s, plan);
}

template <const char* (*make_plan)(const StepInfo&, ProductPlan*)>
const char* accept(const StepInfo& s) {
  ProductPlan plan;
  return make_plan(s, &plan);
}

template <const char* (*make_plan)(const StepInfo&, ProductPlan*)>
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  ProductPlan plan;
  if (auto* why = make_plan(s, &plan)) return unsupported(why);
  TRY_ASSIGN(ProductStep step, ProductStep::make(std::move(plan), ctx));
  const int64_t scratch = step.scratch_bytes();
  auto r = prepared([step = std::move(step)](const RunArgs& a) {
    return step.run(a, a.in[0], a.in[1], a.scratch);
  });
  r->scratch_bytes = scratch;
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(matmul,
                      {.name = "cublaslt",
                       .ops = "MatMul",
                       .rank = 30,
                       .accept = cuda::accept<cuda::plan_matmul>,
                       .prepare = cuda::prepare<cuda::plan_matmul>,
                       .device = true},
                      {.name = "cublaslt",
                       .ops = "Gemm",
                       .rank = 30,
                       .accept = cuda::accept<cuda::plan_gemm>,
                       .prepare = cuda::prepare<cuda::plan_gemm>,
                       .device = true},
                      {.name = "cublaslt",
                       .ops = "Conv",
                       .rank = 20,
                       .accept = cuda::accept<cuda::plan_pixels>,
                       .prepare = cuda::prepare<cuda::plan_pixels>,
                       .device = true})
