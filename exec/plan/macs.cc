// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/plan.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

// The step's operands as a rule of its operator sees them: types only.
class StepContext final : public InferContext {
 public:
  explicit StepContext(const StepInfo& step) {
    model_ = step.model;
    node_ = step.node;
    for (size_t i = 0; i < step.main_inputs && i < step.in.size(); ++i) {
      const Operand& o = step.in[i];
      Shape shape(o.dims.begin(), o.dims.end());
      types_.push_back(o.present() ? Type::tensor(o.dtype, std::move(shape)) : Type());
    }
  }
  const Type& input(size_t i) const override { return i < types_.size() ? types_[i] : none_; }
  const Tensor* constant(size_t) const override { return nullptr; }
  const PartialValue* partial(size_t) const override { return nullptr; }
  Status set(size_t, Type) override { return ok(); }
  void set_partial(size_t, PartialValue) override {}
  Result<std::vector<Type>> infer_graph(GraphId, std::span<const Type>) override {
    return unsupported("bodies are not counted");
  }
  Dim fresh(size_t, size_t) override { return {}; }

 private:
  std::vector<Type> types_;
  Type none_;
};

}  // namespace

int64_t step_macs(const StepInfo& step) {
  if (step.attention != nullptr) {
    const AttentionSpec& a = *step.attention;
    return checked_product(Dims{a.batch, a.heads, a.q_len, a.kv_len, a.head_dim + a.v_dim})
        .value_or(0);
  }
  const OpDef* def = step.node != nullptr ? find_op(*step.node) : nullptr;
  if (def == nullptr || def->macs == nullptr) return 0;
  const auto macs = def->macs(StepContext(step));
  return macs.ok() ? *macs : 0;
}

}  // namespace onnxtool
