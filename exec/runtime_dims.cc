// SPDX-License-Identifier: Apache-2.0
// Shape rule of one step on the values it has at run time.
#include "exec/run_state.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

class RuntimeInfer final : public InferContext {
 public:
  RuntimeInfer(const Model& model, const Node& node, std::span<const Datum> inputs, uint64_t* used,
               bool contents)
      : inputs_(inputs),
        out(node.num_outputs()),
        partial_(inputs.size()),
        used_(used),
        contents_(contents) {
    model_ = &model;
    node_ = &node;
    for (const Datum& d : inputs)
      types_.push_back(d.is_tensor() ? Type::tensor(d.tensor.dtype(), to_shape(d.tensor.dims()))
                                     : Type());
  }
  const Type& input(size_t i) const override {
    static const Type none;
    return i < types_.size() ? types_[i] : none;
  }
  const Tensor* constant(size_t i) const override {
    if (!contents_ || i >= inputs_.size() || i >= 64 || !inputs_[i].is_tensor()) return nullptr;
    if (inputs_[i].tensor.size() > 1024) return nullptr;
    *used_ |= uint64_t{1} << i;
    return &inputs_[i].tensor;
  }
  const PartialValue* partial(size_t i) const override {
    const Tensor* t = i < types_.size() && is_integer(types_[i].dtype) ? constant(i) : nullptr;
    if (!t || t->rank() > 1) return nullptr;
    if (!partial_[i]) {
      partial_[i].emplace();
      for (int64_t v : t->to_i64()) partial_[i]->emplace_back(v);
    }
    return &*partial_[i];
  }
  Status set(size_t i, Type type) override {
    if (i >= out.size()) return ok();
    if (auto merged = out[i].known() ? merge(out[i], type) : std::optional<Type>())
      out[i] = std::move(*merged);
    else
      out[i] = std::move(type);
    return ok();
  }
  void set_partial(size_t, PartialValue) override {}
  Result<std::vector<Type>> infer_graph(GraphId, std::span<const Type>) override {
    return internal_error("a graph has no run-time shape rule");
  }
  Dim fresh(size_t, size_t) override { return {}; }

 private:
  std::span<const Datum> inputs_;

 public:
  std::vector<Type> out;

 private:
  std::vector<Type> types_;
  mutable std::vector<std::optional<PartialValue>> partial_;
  uint64_t* used_;
  bool contents_;
};

}  // namespace

Result<std::vector<std::optional<Dims>>> runtime_dims(const Model& model, const PlanStep& step,
                                                      std::span<const Datum> inputs,
                                                      uint64_t* used) {
  std::vector<std::optional<Dims>> dims(step.out.size());
  if (!step.node.valid()) {  // elementwise
    Dims all;
    for (const Datum& d : inputs) {
      auto both = d.is_tensor() ? broadcast_dims(all, d.tensor.dims()) : std::nullopt;
      if (!both) return invalid("shapes do not broadcast");
      all = std::move(*both);
    }
    for (auto& d : dims) d = all;
    return dims;
  }
  const Node& node = model.node(step.node);
  const OpDef* def = find_op(node);
  if (!def || !def->infer) return dims;
  // Where only shapes matter, contents stay out of the key.
  RuntimeInfer infer(model, node, inputs, used, !(def->flags & kElementwise));
  TRY(def->infer(infer));
  for (size_t i = 0; i < dims.size() && i < infer.out.size(); ++i) {
    auto d = static_dims(infer.out[i]);
    if (d && checked_product(*d)) dims[i] = std::move(*d);
  }
  return dims;
}

}  // namespace onnxtool
