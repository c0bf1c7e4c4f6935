// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/fold.h"

#include <algorithm>

#include "exec/plan/packs.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

class FoldHost final : public EvalHost {
 public:
  explicit FoldHost(int64_t budget) : budget_(budget) {}
  Result<std::vector<Datum>> run_graph(GraphId, std::vector<Datum>) override {
    return unsupported("folding a graph");
  }
  Status reserve(int64_t bytes) override {
    if (bytes > budget_) return unsupported("a constant is too large to compute ahead");
    budget_ -= bytes;
    return ok();
  }
  Status step() override { return ok(); }
  uint64_t random_seed() override { return 0; }

 private:
  int64_t budget_;
};

// The node on a fast kernel; no value where none takes it.
std::optional<std::vector<Tensor>> by_kernel(const Model& model, const Node& node,
                                             std::span<const Tensor* const> inputs,
                                             std::span<const PlanValue> out,
                                             const KernelIndex& kernels, int threads,
                                             int64_t budget) {
  int64_t bytes = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!node.has_output(i)) continue;
    if (!out[i].known || out[i].size() == 0) return std::nullopt;
    auto b = raw_bytes(out[i].dtype, out[i].size());
    if (!b || (bytes += *b) > budget) return std::nullopt;
  }
  StepInfo step;
  step.op = node.domain.view().empty() ? node.op : Sym(node.domain.str() + "." + node.op.str());
  step.model = &model;
  step.node = &node;
  step.main_inputs = inputs.size();
  std::vector<Tensor> aligned(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    Operand o;
    if (inputs[i]) {
      aligned[i] = inputs[i]->to_aligned();
      if (aligned[i].size() == 0) return std::nullopt;
      o.dtype = aligned[i].dtype();
      o.dims = aligned[i].dims();
      o.constant = &aligned[i];
    }
    step.in.push_back(std::move(o));
  }
  for (size_t i = 0; i < out.size(); ++i) {
    Operand o;
    if (node.has_output(i)) {
      o.dtype = out[i].dtype;
      o.dims = out[i].dims;
    }
    step.out.push_back(std::move(o));
  }
  PassingPacks cache;  // a folded node runs once
  PrepareContext ctx{cache, threads, true};
  for (const Kernel* k : kernels.candidates(step.op)) {
    if (k->device || k->rank >= kReferenceRank || refusal(*k, step)) continue;
    if (k->view) {
      std::vector<Tensor> results(out.size());
      results[0] = aligned[0].reshaped(out[0].dims);
      return results;
    }
    auto prepared = k->prepare(step, ctx);
    if (!prepared.ok()) continue;
    std::vector<Tensor> results(out.size());
    std::vector<const void*> in_ptrs;
    std::vector<void*> out_ptrs;
    for (const Tensor& t : aligned) in_ptrs.push_back(t.defined() ? t.raw() : nullptr);
    for (size_t i = 0; i < out.size(); ++i) {
      if (node.has_output(i)) {
        auto t = Tensor::allocate(out[i].dtype, out[i].dims);
        if (!t.ok()) return std::nullopt;
        results[i] = std::move(*t);
      }
      out_ptrs.push_back(results[i].defined() ? results[i].mutable_raw() : nullptr);
    }
    auto scratch = Tensor::allocate(DType::kUint8, {(*prepared)->scratch_bytes});
    if (!scratch.ok()) return std::nullopt;
    RunArgs args{in_ptrs.data(), out_ptrs.data(), scratch->mutable_raw(), nullptr};
    if (!(*prepared)->run(args).ok()) return std::nullopt;
    return results;
  }
  return std::nullopt;
}

}  // namespace

Tensor half_to_float(const Tensor& t) {
  auto r = Tensor::allocate(DType::kFloat, t.dims());
  ONNXTOOL_CHECK(r.ok());
  Tensor source = t.to_aligned();
  auto from = source.as<uint16_t>();
  auto to = r->mut<float>();
  bool f16 = t.dtype() == DType::kFloat16;
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = f16 ? half_to_float(from[i]) : bfloat16_to_float(from[i]);
  return std::move(*r);
}

Result<std::vector<Tensor>> evaluate_constant(const Model& model, const Node& node,
                                              std::span<const Tensor* const> inputs,
                                              std::span<const PlanValue> out,
                                              const KernelIndex& kernels, int threads,
                                              int64_t budget) {
  if (auto fast = by_kernel(model, node, inputs, out, kernels, threads, budget))
    return std::move(*fast);
  std::vector<Datum> in(inputs.size()), results(out.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i]) in[i] = inputs[i]->to_aligned();
  FoldHost host(budget);
  EvalContext eval(model, node, in, results, host);
  TRY(find_op(node)->eval(eval));
  std::vector<Tensor> tensors(out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!node.has_output(i)) continue;
    if (!results[i].is_tensor()) return unsupported("folding a value that is not a tensor");
    tensors[i] = std::move(results[i].tensor);
  }
  return tensors;
}

}  // namespace onnxtool
