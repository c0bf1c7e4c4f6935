// SPDX-License-Identifier: Apache-2.0
// The last candidate for every step: the operator's reference evaluation. Control flow runs here
// too, its bodies by plans of their own.
#include <algorithm>

#include "exec/plan/kernel.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

class Host final : public EvalHost {
 public:
  Host(StepHost& host, const std::vector<GraphId>& bodies) : host_(host), bodies_(bodies) {}
  Result<std::vector<Datum>> run_graph(GraphId g, std::vector<Datum> inputs) override {
    auto it = std::find(bodies_.begin(), bodies_.end(), g);
    if (it == bodies_.end()) return internal_error("a graph that the step does not hold");
    return host_.run_graph(static_cast<size_t>(it - bodies_.begin()), std::move(inputs));
  }
  Status reserve(int64_t bytes) override { return host_.reserve(bytes); }
  Status step() override { return ok(); }
  uint64_t random_seed() override { return 0x5DEECE66Dull; }

 private:
  StepHost& host_;
  const std::vector<GraphId>& bodies_;
};

class Reference final : public Prepared {
 public:
  Reference(const StepInfo& s, const OpDef& def) : model_(*s.model), node_(*s.node), def_(def) {
    for (size_t i = 0; i < s.main_inputs; ++i)
      has_.push_back(i < node_.num_inputs() ? node_.has_input(i) : s.has(i));
    for (const Attribute& a : node_.attrs)
      if (a.type == AttrType::kGraph) bodies_.push_back(a.g());
  }
  Status run(const RunArgs& args) const override {
    // The step's inputs: a convolution may have got a bias that its node does not have.
    std::vector<Datum> in(has_.size()), out(node_.num_outputs());
    for (size_t i = 0; i < in.size(); ++i)
      if (has_[i]) in[i] = args.host->input(i);
    Host host(*args.host, bodies_);
    EvalContext eval(model_, node_, in, out, host);
    TRY(def_.eval(eval));
    for (size_t i = 0; i < out.size(); ++i)
      if (node_.has_output(i)) TRY(args.host->output(i, std::move(out[i])));
    return ok();
  }

 private:
  const Model& model_;
  const Node& node_;
  const OpDef& def_;
  std::vector<bool> has_;
  std::vector<GraphId> bodies_;
};

const char* accept(const StepInfo& s) {
  if (!s.node || s.program || s.attention || !s.attrs.empty()) return "a step of the plan's own";
  const OpDef* def = find_op(*s.node);
  if (!def || !def->eval) return "there is no evaluation of this operator";
  if (!s.post.empty()) return "post operations";
  for (const Operand& o : s.in)
    if (o.layout != Layout::kPlain && !layout_free(o.dims)) return "channels-last";
  for (const Operand& o : s.out)
    if (o.layout != Layout::kPlain && !layout_free(o.dims)) return "channels-last";
  return nullptr;
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  return std::unique_ptr<Prepared>(std::make_unique<Reference>(s, *find_op(*s.node)));
}

// Every output has no elements: there is nothing to compute.
const char* accept_empty(const StepInfo& s) {
  for (const Operand& o : s.out)
    if (o.present() && (o.size() != 0 || o.dtype == DType::kString))
      return "an output with elements";
  return nullptr;
}

class Nothing final : public Prepared {
 public:
  Status run(const RunArgs&) const override { return ok(); }
};
Result<std::unique_ptr<Prepared>> prepare_empty(const StepInfo& s, PrepareContext&) {
  auto r = std::make_unique<Nothing>();
  for (size_t i = 0; i < std::min<size_t>(s.in.size(), 64); ++i)
    r->unread_inputs |= uint64_t{1} << i;
  return std::unique_ptr<Prepared>(std::move(r));
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(reference, {"reference", "*", kReferenceRank, accept, prepare, nullptr, true},
                     {"empty", "*", kReferenceRank - 1, accept_empty, prepare_empty, nullptr, false,
                      false, true})
