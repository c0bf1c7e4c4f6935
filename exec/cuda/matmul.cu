// SPDX-License-Identifier: Apache-2.0
// MatMul and Gemm: products by cuBLASLt, then post operations in one sweep.
#include "exec/cuda/apply.h"
#include "exec/cuda/blas.h"

namespace onnxtool {
namespace cuda {
namespace {

// Adds beta C of Gemm, then the post operations. Products of half precision come to it in fp32, so
// that there is one rounding.
struct Finish {
  int64_t n = 0;
  DType type = DType::kFloat;
  bool add = false;
  float beta = 1;
  DType add_type = DType::kFloat;
  Nd add_nd;
  Post post;
  bool needed() const { return add || post.count > 0; }
};

__global__ void finish(Finish f, const void* product, DType product_type, const void* add,
                       PostPointers from, void* y) {
  GRID_LOOP(i, f.n) {
    float x = load_as_float(product, i, product_type);
    if (f.add) {
      int64_t at[1] = {};
      f.add_nd.locate(i, at, 1);
      x += f.beta * load_as_float(add, at[0], f.add_type);
    }
    store_float(y, i, f.type, apply_post(f.post, from, i, x));
  }
}

constexpr int64_t kMostProducts = 64;

struct Plan {
  Product product;
  // Elements into A, B, C; several where the batch has no single stride.
  std::vector<std::array<int64_t, 3>> offsets;
  Finish finish;
};

// All but the last two dims, broadcast: one strided batch where the strides allow it.
bool plan_batches(const Dims& a, const Dims& b, const Dims& out, Plan* plan) {
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

const char* plan_matmul(const StepInfo& s, Plan* plan) {
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
  p.in = p.out = s.in[0].dtype;
  if (b[b.size() - 2] != p.k) return "shapes";
  if (!plan_batches(a, b, c, plan)) return "the batch";
  plan->finish.n = s.out[0].size();
  plan->finish.type = s.out[0].dtype;
  if (auto* why = plan_post(s, &plan->finish.post)) return why;
  if (plan->finish.needed()) p.out = DType::kFloat;
  return nullptr;
}

const char* plan_gemm(const StepInfo& s, Plan* plan) {
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
  p.in = p.out = s.in[0].dtype;
  p.alpha = s.attr_float("alpha", 1);
  Finish& f = plan->finish;
  f.n = p.m * p.n;
  f.type = s.out[0].dtype;
  f.beta = s.attr_float("beta", 1);
  if (auto* why = plan_post(s, &f.post)) return why;
  if (s.has(2) && f.beta != 0) {
    const Operand& c = s.in[2];
    const bool row = c.size() == p.n && c.rank() > 0 && c.dims.back() == p.n;
    if (row && f.beta == 1 && f.post.count == 0 && c.dtype == p.out) {
      p.bias = true;
    } else {
      if (!edge_type(c.dtype) || !plan_broadcast({&c, 1}, s.out[0], &f.add_nd)) return "C";
      f.add = true;
      f.add_type = c.dtype;
    }
  }
  plan->offsets = {{0, 0, 0}};
  if (f.needed()) p.out = DType::kFloat;
  return nullptr;
}

template <const char* (*make_plan)(const StepInfo&, Plan*)>
const char* accept(const StepInfo& s) {
  Plan plan;
  return make_plan(s, &plan);
}

template <const char* (*make_plan)(const StepInfo&, Plan*)>
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  auto plan = std::make_shared<Plan>();
  if (auto* why = make_plan(s, plan.get())) return unsupported(why);
  TRY_ASSIGN(std::shared_ptr<const Blas> blas, make_blas(plan->product));
  const int size = element_size(plan->product.in), out_size = element_size(plan->product.out);
  const int64_t aside = (blas->workspace_bytes + 255) / 256 * 256;  // where an fp32 product lies
  const bool wide = plan->product.out != plan->finish.type;
  auto r = prepared([=](const RunArgs& a) -> Status {
    std::byte* c = wide ? a.scratch + aside : out<std::byte>(a);
    for (const auto& at : plan->offsets)
      TRY(blas->run(a, in<std::byte>(a, 0) + at[0] * size, in<std::byte>(a, 1) + at[1] * size,
                    c + at[2] * out_size, plan->product.bias ? a.in[2] : nullptr, a.scratch));
    const Finish& f = plan->finish;
    if (!f.needed()) return ok();
    return launch(finish, blocks_for(f.n), kThreads, a, f, c, plan->product.out,
                  f.add ? a.in[2] : nullptr, bind_post(f.post, a), a.out[0]);
  });
  r->scratch_bytes = aside + (wide ? plan->finish.n * out_size : 0);
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
                       .device = true})
