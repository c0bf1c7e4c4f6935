// SPDX-License-Identifier: Apache-2.0
// Operators that stand for several others, as steps that kernels run: what the expansions share.
#pragma once
#include <vector>

#include "exec/plan/quantize.h"
#include "exec/plan/rewire.h"

namespace onnxtool {

class Expander {
 public:
  Expander(Plan& plan, const Model& model, const KernelIndex& kernels)
      : plan_(plan), model_(model), kernels_(kernels) {}
  virtual ~Expander() = default;

  // Asks expand() about every step whose shapes are known and not empty.
  void run();

 protected:
  // True: the steps in made_ stand for `s`.
  virtual bool expand(const PlanStep& s) = 0;
  // expand() takes the step also where that input has no elements.
  virtual bool may_be_empty(const PlanStep& /*s*/, size_t /*input*/) { return false; }

  PlanValue& at(int v) { return plan_.values[static_cast<size_t>(v)]; }
  const Node& node(const PlanStep& s) { return model_.node(s.node); }
  int in(const PlanStep& s, size_t i) const { return i < s.in.size() ? s.in[i] : -1; }
  bool wants(const PlanStep& s, size_t i) const { return i < s.out.size() && s.out[i] >= 0; }
  const Tensor* constant(int v) {
    return v >= 0 && at(v).is_constant() && at(v).settle().ok() ? &at(v).constant : nullptr;
  }

  int new_value(DType t, const Dims& dims);
  PlanStep& push(std::string_view op, const PlanStep& from, std::vector<int> inputs, int out);
  void program(EltProgram p, const PlanStep& from, std::vector<int> inputs, int out);
  // The main step of the node, in float, with a mark that keeps the reference from it.
  bool main_step(std::string_view op, const PlanStep& from, std::vector<int> inputs, int out);
  // A kernel takes the step that was made last.
  bool fits() { return fits_some_kernel(plan_, made_.back(), model_, kernels_); }

  Plan& plan_;
  const Model& model_;
  const KernelIndex& kernels_;
  std::vector<PlanStep> made_;

 private:
  bool known(const PlanStep& s);
};

// com.microsoft Attention and MultiHeadAttention, and Attention, as attention steps.
void expand_attention(Plan& plan, const Model& model, const KernelIndex& kernels);

}  // namespace onnxtool
