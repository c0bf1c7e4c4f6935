// SPDX-License-Identifier: Apache-2.0
// A plan while steps are being fused: producers and users of values, kept up to date by the edits.
#pragma once
#include <functional>
#include <vector>

#include "exec/plan/plan.h"
#include "exec/plan/quantize.h"

namespace onnxtool {

// Does a fast kernel take the step in some layout.
bool fits_some_kernel(const Plan& plan, const PlanStep& step, const Model& model,
                      const KernelIndex& kernels);

class Rewire {
 public:
  Rewire(Plan& plan, const Model& model, const KernelIndex& kernels, const PlanOptions& options);

  Plan& plan;
  const Model& model;
  const KernelIndex& kernels;

  PlanStep& step(int s) { return plan.steps[static_cast<size_t>(s)]; }
  PlanValue& value(int v) { return plan.values[static_cast<size_t>(v)]; }
  int steps() const { return static_cast<int>(plan.steps.size()); }
  int producer(int v) const { return producer_[static_cast<size_t>(v)]; }  // -1: none
  const std::vector<int>& users(int v) const { return users_[static_cast<size_t>(v)]; }
  // Must exist as it is: an output of the graph, used by a body, or to be observed.
  bool kept(int v) const { return kept_[static_cast<size_t>(v)]; }
  // The only step that uses v; -1 where there are several, none, or it is kept.
  int sole_user(int v) const;
  // Producing step of v when v is used by nobody but `user` and may disappear.
  int private_producer(int v, int user) const;

  void set_inputs(int s, std::vector<int> in);
  void set_output(int s, size_t i, int v);  // takes v over from its present producer
  void add_value(int v);                    // a value appended to the plan
  void remove(int s);                       // and what only fed it
  // Step `fused`, of one output, stands for s and the one after it, e: it takes e's place.
  void take_in(int s, int e, PlanStep fused);
  // The one constant float a value holds.
  std::optional<float> scalar(int v);
  const Tensor* constant(int v);
  bool has_op(int s, std::string_view op) {
    return s >= 0 && !step(s).removed && step(s).is(op) && step(s).post.empty();
  }

  bool fits(const PlanStep& step) { return fits_some_kernel(plan, step, model, kernels); }
  int add_constant(Tensor t);
  Result<int> add_constant(DType dtype, const Dims& dims, MakeTensor make, int depth);
  int add_value_like(int v, DType t);  // of v's dims

 private:
  void unuse(int v, int s);
  std::vector<int> producer_;
  std::vector<std::vector<int>> users_;
  std::vector<char> kept_;
};

// Sets the layouts of the operands that follow the step's data: see layout.cc.
void set_layouts(StepInfo& info, Layout in, Layout out);

// Stages of fuse, in order.
void fuse_patterns(Rewire& g);  // normalizations: several nodes that are one operation
void fuse_attention(Rewire& g);
void fuse_eltwise(Rewire& g);  // elementwise nodes to programs, activations made of several
void fuse_quantized(Rewire& g, const QuantizedConstants& constants);  // products of integers
void fuse_rounding(Rewire& g);   // programs after a convolution that only pass 8-bit numbers on
void fuse_epilogues(Rewire& g);  // elementwise steps into the operation before
void fuse_regions(Rewire& g);    // neighbouring programs into one
void fuse_residuals(Rewire& g);  // programs that go on with the codes of a product of integers
Status fuse(Plan& plan, const Model& model, const KernelIndex& kernels, const PlanOptions& options);

Status assign_layouts(Plan& plan, const Model& model, const KernelIndex& kernels);

}  // namespace onnxtool
