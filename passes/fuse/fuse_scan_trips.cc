// SPDX-License-Identifier: Apache-2.0
// fuse-scan-trips
//
//     before: Scan(x, w), whose body is d = x - row; ReduceSumSquare(d)
//     after:  ReduceSumSquare(x[..., 1] - Transpose(w)), all rows at once along a new last axis
//
// A last axis leaves the axes of reductions and the alignment of broadcast shapes as they are.
#include <algorithm>
#include <unordered_map>

#include "libonnxtool/base/str.h"
#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Scan"};
const char* const kBinary[] = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"};
const char* const kReductions[] = {"ReduceSum", "ReduceSumSquare", "ReduceMean", "ReduceL1",
                                   "ReduceL2",  "ReduceMax",       "ReduceMin",  "ReduceProd"};
constexpr int64_t kMostElements = 8192;  // of a value with all trips in it, unknown dims left out

bool any_of(std::span<const char* const> names, const Node& n) {
  return n.domain.view().empty() && n.version >= 7 &&
         std::any_of(names.begin(), names.end(), [&](const char* s) { return n.is(s); });
}

class Trips {
 public:
  Trips(const PassContext& ctx, NodeId root)
      : ctx_(ctx), root_(ctx.node(root)), body_(root_.attr_graph("body")) {
    edit_.at = root;
    edit_.remove = {root};
  }

  Match match() {
    if (!root_.domain.view().empty() || root_.version < 9 || !body_.valid()) return NoMatch{};
    const Graph& body = ctx_.model().graph(body_);
    const int64_t taken = root_.attr_int("num_scan_inputs", 0);
    const auto inputs = static_cast<int64_t>(root_.num_inputs());
    if (taken < 1 || taken > inputs || body.inputs.size() != root_.num_inputs()) return NoMatch{};
    carried_ = static_cast<size_t>(inputs - taken);
    if (body.outputs.size() < std::max(carried_, root_.num_outputs())) return NoMatch{};
    for (const char* other :
         {"scan_input_axes", "scan_output_axes", "scan_input_directions", "scan_output_directions"})
      if (const auto* v = root_.attr_ints(other))
        if (std::any_of(v->begin(), v->end(), [](int64_t x) { return x != 0; }))
          return refuse("it does not go forward along the first axis");
    for (size_t i = 0; i < carried_; ++i) {
      if (source(body.outputs[i]) != body.inputs[i])
        return refuse("a value changes with the trips");
      fixed_[body.inputs[i].v] = root_.input(i);
      if (i < root_.num_outputs() && root_.has_output(i))
        edit_.replace_output(root_.output(i), root_.input(i));
    }
    for (size_t i = carried_; i < root_.num_inputs(); ++i) {
      const Shape* s = ctx_.shape(root_.input(i));
      if (!s || s->empty() || !(*s)[0].is_const())
        return refuse("the number of trips is not known");
      trips_ = (*s)[0].value();
      varying_[body.inputs[i].v] = turned(root_.input(i), s->size(), 1);
    }
    auto order = ctx_.model().topological_order(body_);
    if (!order.ok()) return NoMatch{};
    for (const NodeId id : *order)
      if (const char* why = copy(id)) return refuse(why);
    for (size_t i = carried_; i < root_.num_outputs(); ++i) {
      if (!root_.has_output(i)) continue;
      const Shape* s = ctx_.shape(body.outputs[i]);
      const auto it = varying_.find(body.outputs[i].v);
      if (!s || it == varying_.end()) return refuse("a result is the same in each trip");
      edit_.replace_output(root_.output(i), turned(it->second, s->size() + 1, s->size()));
    }
    edit_.note = format("{} trips at once", trips_);
    return std::move(edit_);
  }

 private:
  // Behind all Identity nodes.
  ValueId source(ValueId v) const {
    for (NodeId id; (id = ctx_.producer(v, "Identity")).valid();) v = ctx_.node(id).input(0);
    return v;
  }

  // With the first `count` axes moved behind the others.
  EditValue turned(EditValue x, size_t rank, size_t count) {
    Axes perm;
    for (size_t i = 0; i < rank; ++i) perm.push_back(static_cast<int64_t>((i + count) % rank));
    return keeps_order(perm) ? x : make_transpose(edit_, x, std::move(perm));
  }

  // What v is outside, where it is the same in each trip.
  EditValue fixed(ValueId v) {
    if (const auto it = fixed_.find(v.v); it != fixed_.end()) return it->second;
    if (const Tensor* t = ctx_.model().constant(v)) return fixed_[v.v] = edit_.constant(*t);
    return v;
  }

  // Too large with all trips in it: Scan needs memory for one.
  bool fits(const Shape& s) const {
    int64_t count = std::max<int64_t>(trips_, 1), unknown = 0;
    for (const Dim& d : s) {
      unknown += d.is_const() ? 0 : 1;
      if (d.is_const() && d.value() > kMostElements) return false;
      count *= d.is_const() ? std::max<int64_t>(d.value(), 1) : 1;
      if (count > kMostElements) return false;
    }
    return unknown <= 1;
  }

  // nullptr: done.
  const char* copy(NodeId id) {
    const Node& n = ctx_.node(id);
    if (n.removed() || (n.has_output(0) && ctx_.model().constant(n.output(0)))) return nullptr;
    const bool reduces = any_of(kReductions, n);
    if (!reduces && !any_of(kBinary, n) && !is_unary_elementwise(ctx_, id))
      return "the body does more than elementwise arithmetic and reductions";
    const Shape* out = ctx_.shape(n.output(0));
    if (!out) return "the rank of a value is not known";
    if (!fits(*out)) return "all trips at once would take too much memory";
    const auto varies = [&](ValueId v) { return varying_.count(v.v) > 0; };
    std::vector<EditValue> inputs;
    for (size_t i = 0; i < n.num_inputs(); ++i) inputs.push_back(n.input(i));
    if (std::none_of(inputs.begin(), inputs.end(), [&](auto& v) { return varies(v.value); })) {
      for (EditValue& v : inputs) v = fixed(v.value);
      fixed_[n.output(0).v] = add(id, std::move(inputs));
      return nullptr;
    }
    if (reduces) {
      const Shape* in = ctx_.shape(n.input(0));
      const auto axes = in ? axes_of(ctx_, id, static_cast<int64_t>(in->size())) : std::nullopt;
      if (!axes || axes->empty()) return "the axes of a reduction are not known";
      varying_[n.output(0).v] = make_reduction(edit_, ctx_, id, varying_[n.input(0).v], *axes);
      return nullptr;
    }
    for (EditValue& v : inputs) {
      if (varies(v.value)) {
        v = varying_[v.value.v];
        continue;
      }
      const Shape* s = ctx_.shape(v.value);
      if (!s) return "the rank of a value is not known";
      const auto rank = static_cast<int64_t>(s->size());
      v = fixed(v.value);
      if (rank == 0) continue;
      auto axis = Tensor::from_i64(DType::kInt64, {1}, {&rank, 1});
      if (!axis.ok()) return "no memory";
      v = edit_.add("Unsqueeze", {v, edit_.constant(std::move(*axis))});
    }
    varying_[n.output(0).v] = add(id, std::move(inputs));
    return nullptr;
  }

  EditValue add(NodeId like, std::vector<EditValue> inputs) {
    const EditValue v = edit_.add(ctx_.node(like).op, std::move(inputs), ctx_.node(like).attrs);
    edit_.nodes.back().like = like;
    return v;
  }

  const PassContext& ctx_;
  const Node& root_;
  const GraphId body_;
  size_t carried_ = 0;
  int64_t trips_ = 0;
  Edit edit_;
  // Values of the body outside: the same in each trip, or with all trips along a new last axis.
  std::unordered_map<uint32_t, EditValue> fixed_, varying_;
};

Match match(const PassContext& ctx, NodeId root) { return Trips(ctx, root).match(); }

}  // namespace

extern const Pass pass_fuse_scan_trips;
const Pass pass_fuse_scan_trips = {
    .name = "fuse-scan-trips",
    .summary = "takes all trips of a Scan at once where none depends on another",
    .doc =
        "Bodies of elementwise arithmetic and reductions over known axes, whose carried values do "
        "not change; forward along\n"
        "the first axis. The number of trips is known, and no value has more than 8192 elements "
        "with all trips in it, one\n"
        "unknown dim left out.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
