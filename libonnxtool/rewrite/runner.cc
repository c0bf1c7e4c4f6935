// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/rewrite/runner.h"

#include <algorithm>
#include <utility>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/evaluate.h"
#include "libonnxtool/infer/inline.h"
#include "libonnxtool/ir/weights.h"
#include "libonnxtool/ops/schema.h"
#include "libonnxtool/rewrite/runner_impl.h"

namespace onnxtool {

Result<RunnerReport> run_passes(Model& model, const RunnerOptions& options) {
  return rewrite::Runner(model, options).run();
}

namespace rewrite {
namespace {

constexpr int64_t kManyEvaluations = 16;       // times the limit of one: all of them
constexpr int64_t kMostEvaluated = 256 << 20;  // bytes, while one node is evaluated
constexpr uint32_t kMaxWoken = 64;  // users of a value with more are seen by the next round

double seconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

// What weights may grow to. Where that stops them, a second run stops at the same size: the limit
// is not so much above what there is, but the next of growth, 2 * growth, 4 * growth...
int64_t most_weights(int64_t weights, int64_t growth) {
  if (growth <= 0) return weights;
  int64_t limit = growth;
  while (limit < INT64_MAX / 2 && limit + kSmallGrowth < weights) limit *= 2;
  int64_t most = 0;
  return __builtin_add_overflow(weights, growth, &most) ? limit : std::min(limit, most);
}

}  // namespace

Result<std::vector<Datum>> Runner::evaluate(NodeId n) const {
  const Node& node = m_.node(n);
  const auto known = [&](ValueId v) -> Datum {
    if (!v.valid()) return {};
    if (const Tensor* t = m_.constant(v)) return t->to_aligned();
    if (const Tensor* t = inference_.constant(v)) return *t;
    return {};
  };
  std::vector<Datum> inputs;
  for (size_t i = 0; i < node.num_inputs(); ++i) {
    inputs.push_back(known(node.input(i)));
    if (node.has_input(i) && !inputs.back().has_value())
      return unsupported(format("{} is not known", m_.describe(node.input(i))));
  }
  const int64_t work = work_of(n, inputs);
  if (work > options_.budget.max_steps) return unsupported("computing it would take too long");
  if (worked_ > kManyEvaluations * options_.budget.max_steps - work)
    return unsupported("all evaluations together would take too long");
  worked_ += work;
  if (options_.evaluate) return options_.evaluate(m_, n, inputs);
  EvalBudget budget;
  budget.bytes = std::min(options_.budget.max_memory_bytes, kMostEvaluated);
  budget.steps = 100'000;
  auto r = evaluate_node(m_, node, inputs, budget, known);
  if (r.ok())
    for (const Datum& d : *r) worked_ += datum_bytes(d) / 4;
  return r;
}

// Element operations that evaluating the node takes, roughly.
int64_t Runner::work_of(NodeId n, std::span<const Datum> inputs) const {
  const Node& node = m_.node(n);
  const OpDef* def = find_op(node);
  const auto context = inference_.context(n);
  if (def && def->macs && context) {
    const auto macs = def->macs(*context);
    return macs.ok() ? *macs : INT64_MAX;
  }
  int64_t in = 0, out = 0;
  for (const Datum& d : inputs)
    if (d.is_tensor()) in += d.tensor.size();
  for (ValueId o : node.outputs()) {
    const auto dims = o.valid() ? static_dims(inference_.type(o)) : std::nullopt;
    const auto count = dims ? checked_product(*dims) : std::nullopt;
    out = !count ? out : checked_add(out, *count).value_or(INT64_MAX / 2);
  }
  if (def && (def->flags & kManyReads))
    return checked_mul(in, std::max<int64_t>(out, in)).value_or(INT64_MAX);
  return in + out;
}

bool Runner::available(GraphId g, Sym domain, std::string_view op, int version) const {
  const auto& unwanted = options_.unwanted;
  if (!unwanted.empty() && domain.view().empty() &&
      std::find(unwanted.begin(), unwanted.end(), op) != unwanted.end())
    return false;
  const int64_t opset = m_.opset(g, domain);
  const Schema* s = opset > 0 ? find_schema(domain.view(), op, opset) : nullptr;
  return s && !s->deprecated && s->since_version >= version;
}

// ------------------------------------------------------------------------------------ worklist

Status Runner::sort_graphs() {
  for (uint32_t g = 0; g < m_.num_graphs(); ++g) {
    Graph& graph = m_.graph(GraphId(g));
    if (graph.removed) continue;
    m_.compact(GraphId(g));
    // New nodes were appended: they belong where the node stood whose place they took.
    if (!key_.empty())
      std::stable_sort(graph.nodes.begin(), graph.nodes.end(),
                       [&](NodeId a, NodeId b) { return key_[a.v] < key_[b.v]; });
    if (in_order(graph)) continue;
    TRY_ASSIGN(graph.nodes, m_.topological_order(GraphId(g)));
  }
  number_nodes();
  sorted_at_ = report_.edits;
  return ok();
}

// Whether producers stand before their users already.
bool Runner::in_order(const Graph& graph) {
  std::vector<bool> done(m_.num_nodes());
  std::vector<bool> here(m_.num_nodes());
  for (NodeId n : graph.nodes) here[n.v] = true;
  const auto ready = [&](ValueId v) {
    if (!v.valid()) return true;
    const NodeId p = m_.value(v).producer;
    return !p.valid() || !here[p.v] || done[p.v];
  };
  for (NodeId id : graph.nodes) {
    const Node& n = m_.node(id);
    for (size_t i = 0; i < n.num_inputs(); ++i)
      if (!ready(n.input(i))) return false;
    if (n.has_subgraphs())
      for (ValueId v : m_.captures(id))
        if (!ready(v)) return false;
    done[id.v] = true;
  }
  return true;
}

void Runner::number_nodes() {
  key_.assign(m_.num_nodes(), 0);
  for (uint32_t g = 0; g < m_.num_graphs(); ++g) {
    if (m_.graph(GraphId(g)).removed) continue;
    uint32_t k = 0;
    for (NodeId n : m_.graph(GraphId(g)).nodes) key_[n.v] = k++;
  }
}

void Runner::wake(NodeId n) {
  if (!n.valid() || m_.node(n).removed()) return;
  if (m_.graph(m_.node(n).graph).function >= 0) return;
  if (queued_.size() < m_.num_nodes()) queued_.resize(m_.num_nodes());
  if (queued_[n.v]) return;
  queued_[n.v] = true;
  queue_.push_back(n);
}

void Runner::wake_around(NodeId n) {
  if (!n.valid() || m_.node(n).removed()) return;
  const auto users = [&](NodeId of, auto f) {
    for (ValueId o : m_.node(of).outputs())
      if (o.valid() && m_.value(o).use_count <= kMaxWoken)
        m_.for_each_use(o, [&](Use u) { f(u.node); });
  };
  wake(n);
  for (size_t i = 0; i < m_.node(n).num_inputs(); ++i)
    if (m_.node(n).has_input(i)) wake(m_.value(m_.node(n).input(i)).producer);
  users(n, [&](NodeId u) {
    wake(u);
    users(u, [&](NodeId w) { wake(w); });
  });
}

void Runner::fill_queue() {
  // Outer graphs before inner ones: an inner graph has a later id than the graph around it unless
  // it was made by an edit, which the worklist sees anyway.
  for (uint32_t g = 0; g < m_.num_graphs(); ++g) {
    if (m_.graph(GraphId(g)).removed) continue;
    for (NodeId n : m_.graph(GraphId(g)).nodes) wake(n);
  }
}

const std::vector<size_t>& Runner::passes_for(Sym op) {
  auto [it, fresh] = passes_for_.try_emplace(op);
  if (!fresh) return it->second;
  for (size_t i = 0; i < options_.passes.size(); ++i) {
    const Pass& p = *options_.passes[i];
    if (!p.match) continue;
    const bool wanted =
        p.roots.empty() ||
        std::any_of(p.roots.begin(), p.roots.end(), [&](const char* r) { return op.view() == r; });
    if (wanted) it->second.push_back(i);
  }
  return it->second;
}

bool Runner::over_limits() {
  if (limited_) return true;
  limited_ = report_.edits >= options_.max_edits ||
             (options_.time_limit > 0 && seconds(now_ - start_) > options_.time_limit);
  return limited_;
}

void Runner::note_refusal(size_t pass, NodeId at, const std::string& reason) {
  if (reason.empty()) return;
  const std::string node = at.valid() && !m_.node(at).removed() ? m_.describe(at) : "model";
  if (!told_.insert(std::to_string(pass) + "\n" + node + "\n" + reason).second) return;
  ++report_.passes[pass].refused;
  if (options_.refused) options_.refused(*options_.passes[pass], node, reason);
}

// Time since the last call, which belongs to the pass.
void Runner::charge(size_t pass) {
  const auto before = std::exchange(now_, std::chrono::steady_clock::now());
  report_.passes[pass].seconds += seconds(now_ - before);
}

Status Runner::look_at(NodeId n) {
  for (size_t i : passes_for(m_.node(n).op)) {
    if (over_limits()) return ok();
    if (options_.passes[i]->last != last_) continue;
    Match match = options_.passes[i]->match(*this, n);
    Result<Outcome> done = Outcome{};
    if (Edit* edit = std::get_if<Edit>(&match)) {
      if (!edit->at.valid()) edit->at = n;
      done = apply(i, *edit);
    } else if (const Refusal* r = std::get_if<Refusal>(&match)) {
      done->reason = r->reason;
    }
    charge(i);
    if (!done.ok()) return std::move(done).error();
    if (done->applied) {
      wake(n);
      return ok();
    }
    note_refusal(i, n, done->reason);
  }
  return ok();
}

Status Runner::drain() {
  while (!queue_.empty() && !over_limits()) {
    const NodeId n = queue_.front();
    queue_.pop_front();
    queued_[n.v] = false;
    if (m_.node(n).removed()) continue;
    TRY(look_at(n));
    if (report_.edits > edit_limit_) return internal_error("passes undo each other");
  }
  return ok();
}

Status Runner::whole_model_pass(size_t i) {
  Status failed;
  const EditSink sink = [&](Edit edit) {
    charge(i);
    if (!failed.ok() || over_limits()) return false;
    auto done = apply(i, edit);
    if (!done.ok()) {
      failed = std::move(done).error();
      return false;
    }
    if (!done->applied) note_refusal(i, edit.at, done->reason);
    return done->applied;
  };
  Status s = options_.passes[i]->run(*this, sink);
  charge(i);
  TRY(std::move(failed));
  return s;
}

Status Runner::whole_model_passes() {
  for (size_t i = 0; i < options_.passes.size(); ++i)
    if (options_.passes[i]->run) {
      if (sorted_at_ != report_.edits) TRY(sort_graphs());
      TRY(whole_model_pass(i));
    }
  return ok();
}

Result<RunnerReport> Runner::run() {
  start_ = now_ = std::chrono::steady_clock::now();
  for (const Pass* p : options_.passes) report_.passes.push_back({p, 0, 0, 0});
  if (m_.num_graphs() == 0) return std::move(report_);
  most_weights_ = most_weights(weight_bytes(m_), options_.budget.max_growth_bytes);
  first_made_ = static_cast<uint32_t>(m_.num_values());
  edit_limit_ = 50 * static_cast<int64_t>(m_.num_nodes()) + 10'000;
  TRY(sort_graphs());
  TRY(inference_.run());
  for (int64_t before = -1; report_.rounds < options_.max_rounds && before != report_.edits;) {
    if (over_limits()) break;
    before = report_.edits;
    ++report_.rounds;
    quantization_.build(m_);
    weights_ = weight_bytes(m_);
    // What is there twice would be rewritten twice.
    if (report_.rounds == 1) TRY(whole_model_passes());
    fill_queue();
    TRY(drain());
    TRY(whole_model_passes());
    TRY(drain());
    if (before == report_.edits) {
      last_ = true;
      fill_queue();
      TRY(drain());
      last_ = false;
    }
    if (sorted_at_ != report_.edits) TRY(sort_graphs());
  }
  name_nodes_apart(m_, placed_);
  report_.limited = limited_;
  return std::move(report_);
}

}  // namespace rewrite
}  // namespace onnxtool
