// SPDX-License-Identifier: Apache-2.0
// Internal to rewrite/: the state of one run over a model. runner.cc holds the worklist, check.cc
// and apply.cc the checks and the application of an edit.
#pragma once
#include <chrono>
#include <deque>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "libonnxtool/rewrite/quantization.h"
#include "libonnxtool/rewrite/runner.h"

namespace onnxtool::rewrite {

inline constexpr int64_t kSmallGrowth = 1 << 20;  // by small edits beyond the limit, all in all

// Why a value of type `to` cannot stand for one of type `from`; empty: it can.
std::string disagreement(const Type& from, const Type& to);

class Runner final : public PassContext {
 public:
  Runner(Model& m, const RunnerOptions& o) : m_(m), options_(o), inference_(m) {}
  Result<RunnerReport> run();

  const Model& model() const override { return m_; }
  const Inference& inference() const override { return inference_; }
  const Budget& budget() const override { return options_.budget; }
  int64_t growth_left() const override { return most_weights_ - weights_; }
  Result<std::vector<Datum>> evaluate(NodeId n) const override;
  bool available(GraphId g, Sym domain, std::string_view op, int version) const override;

 private:
  // ---- worklist (runner.cc)
  Status sort_graphs();
  bool in_order(const Graph& graph);
  void number_nodes();
  void fill_queue();
  Status drain();
  Status look_at(NodeId n);
  Status whole_model_passes();
  Status whole_model_pass(size_t pass);
  const std::vector<size_t>& passes_for(Sym op);
  void wake(NodeId n);
  void wake_around(NodeId n);  // the node, what feeds it, and two levels of users
  bool over_limits();
  void charge(size_t pass);
  int64_t work_of(NodeId n, std::span<const Datum> inputs) const;
  void note_refusal(size_t pass, NodeId at, const std::string& reason);

  // ---- edits (check.cc, apply.cc)
  // A reason why not, or nothing. An error ends the run.
  struct Outcome {
    bool applied = false;
    std::string reason;  // why not; empty: it would change nothing
  };
  Result<Outcome> apply(size_t pass, Edit& edit);
  std::string check(const Pass& pass, const Edit& edit, int64_t& growth);
  std::string check_constants(const Edit& edit) const;
  std::string check_replacement(ValueId from, ValueId to) const;
  bool changes_something(const Edit& edit) const;
  int64_t growth(const Edit& edit) const;
  GraphId home(const Edit& edit) const;        // where its constants go
  Result<std::string> make(const Edit& edit);  // fills made_*; a reason if it cannot be
  ValueId reused_for(const Edit& edit, uint32_t constant);
  std::string make_change(const Edit::Change& change);
  bool infers_the_same(const Edit::Change& change) const;
  Status roll_back();
  Status commit(const Edit& edit);
  Status inline_body(const Edit& edit);
  void drop_values(const Edit& edit);
  ValueId resolve(const EditValue& v) const;
  // `from` is from now on the output of the node made for it.
  void take_over(ValueId from, NodeId by, uint32_t index);
  void redirect(ValueId from, ValueId to);
  void detach(ValueId v);
  void remove_dead(NodeId n);
  void let_go(ValueId v);
  Status refresh();  // inference behind what changed
  bool dead(NodeId n) const;
  bool repeats(GraphId inner, GraphId outer) const;

  Model& m_;
  const RunnerOptions& options_;
  Inference inference_;
  RunnerReport report_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point now_;  // read once a match, not at every question
  std::deque<NodeId> queue_;
  std::vector<bool> queued_;
  std::vector<uint32_t> key_;  // position in its graph's order that a node has or took over
  std::unordered_map<Sym, std::vector<size_t>> passes_for_;
  std::set<std::string> told_;  // refusals that were reported
  int64_t edit_limit_ = 0;
  uint32_t first_made_ = 0;                 // value: those before are the model's own
  int64_t weights_ = 0, most_weights_ = 0;  // bytes
  mutable int64_t worked_ = 0;              // by evaluate()
  int64_t sorted_at_ = -1;                  // edits when the graphs were sorted last
  bool limited_ = false;
  bool last_ = false;             // the turn of passes that are last
  QuantizationMap quantization_;  // as of the start of the round
  std::vector<NodeId> placed_;    // nodes that were made, or moved to another graph

  // of the edit that is being applied
  std::vector<NodeId> made_nodes_;
  std::vector<ValueId> made_constants_;
  struct Before {  // a changed node as it was
    NodeId node;
    std::vector<ValueId> inputs;
    std::vector<Attribute> attrs;
    Bytes origin;
  };
  std::vector<Before> changed_;
  std::vector<std::pair<ValueId, std::shared_ptr<const Constant>>> reused_;  // contents before
  std::vector<NodeId> stale_;                                                // nodes to infer again
  std::unordered_map<std::string, uint32_t> name_counts_;  // built by the first inline_body
};

}  // namespace onnxtool::rewrite
