// SPDX-License-Identifier: Apache-2.0
// fuse-transpose-region: elementwise work and the like between transposes is done in the order of
// dims that the data has before them.
//
//     before: a -> Transpose ---\                                a ---\.
//             b -> Transpose -> Add -> Relu -> Transpose back    b -> Add -> Relu
//     after:  the right side, for y
#include <algorithm>
#include <map>
#include <set>

#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Transpose"};
constexpr size_t kLargest = 64;  // nodes of a region

bool is_broadcasting(const PassContext& ctx, NodeId n) {
  static const char* const kOps[] = {
      "Add",     "Sub",   "Mul", "Div", "Pow",   "Max",   "Min",         "Less",
      "Greater", "Equal", "And", "Or",  "Where", "PRelu", "LessOrEqual", "GreaterOrEqual",
      "Sum"};
  return std::any_of(std::begin(kOps), std::end(kOps),
                     [&](const char* op) { return ctx.is(n, op, 7); }) &&
         !ctx.node(n).attr("axis") && !ctx.node(n).attr("broadcast");
}

bool is_any(const PassContext& ctx, NodeId n, std::initializer_list<const char*> ops, int version) {
  return std::any_of(ops.begin(), ops.end(),
                     [&](const char* op) { return ctx.is(n, op, version); });
}

// All data inputs are of the rank of the outputs, dims in the same order.
bool reads_all(const PassContext& ctx, NodeId n) {
  return is_broadcasting(ctx, n) || ctx.is(n, "Concat", 4);
}

// Works on dims in any order, if what it says of axes is changed with it. Inputs that it reads as
// numbers for all elements (Clip's bounds) stay as they are.
bool turns(const PassContext& ctx, NodeId n) {
  if (!n.valid()) return false;
  return is_unary_elementwise(ctx, n) || reads_all(ctx, n) || ctx.is(n, "Clip", 6) ||
         is_any(ctx, n, {"Softmax", "LogSoftmax", "QuantizeLinear", "DequantizeLinear"}, 13) ||
         ctx.is(n, "Split", 2) || ctx.is(n, "Slice", 10) || ctx.is(n, "Pad", 11);
}

struct Region {
  Axes perm;                  // of the transposes at its top: those that root turns back, or others
  std::vector<NodeId> nodes;  // producers first
  std::set<uint32_t> inside;  // the same
  std::set<uint32_t> leaves;  // transposes at the top
};

// A Reshape that does what a Transpose by perm would do.
bool moves_ones(const PassContext& ctx, NodeId n, const Axes& perm) {
  if (!ctx.is(n, "Reshape", 5)) return false;
  const Shape *from = ctx.shape(ctx.node(n).input(0)), *to = ctx.shape(ctx.node(n).output(0));
  if (!from || !to || from->size() != perm.size() || to->size() != perm.size()) return false;
  for (size_t i = 0; i < perm.size(); ++i)
    if ((*from)[static_cast<size_t>(perm[i])] != (*to)[i]) return false;
  return moves_only_ones(perm, *from);
}

// Takes the producer of v into the region, with all that feeds it; false: it does not belong to
// one.
bool grow(const PassContext& ctx, Region& r, ValueId v, GraphId g, const Axes& usual, int depth) {
  if (!v.valid() || depth == 0 || ctx.model().value(v).kind != ValueKind::kOutput) return false;
  const NodeId p = ctx.model().value(v).producer;
  if (ctx.node(p).graph != g) return false;
  if (r.inside.count(p.v)) return true;
  if (ctx.is(p, "Transpose")) {
    const Axes perm = perm_of(ctx, p);
    if (r.perm.empty()) r.perm = perm;
    if (perm.empty() || perm != r.perm) return false;
    r.leaves.insert(p.v);
    return true;
  }
  if (moves_ones(ctx, p, r.perm.empty() ? usual : r.perm)) {
    if (r.perm.empty()) r.perm = usual;
    r.leaves.insert(p.v);
    return true;
  }
  if (!turns(ctx, p) || r.nodes.size() >= kLargest) return false;
  const Node& n = ctx.node(p);
  const Shape* out = ctx.shape(v);
  if (!out) return false;
  const bool many = reads_all(ctx, p);
  for (size_t i = 0; i < (many ? n.num_inputs() : 1); ++i) {
    const ValueId in = n.input(i);
    const Shape* s = in.valid() ? ctx.shape(in) : nullptr;
    if (!s || s->size() > out->size()) return false;
    if (ctx.is(p, "PRelu") && i == 1 && !ctx.model().constant(in)) return false;
    if (ctx.model().constant(in)) {
      if (!ctx.is(p, "Concat")) continue;
      return false;
    }
    if (s->size() != out->size() || !grow(ctx, r, in, g, usual, depth - 1)) return false;
  }
  r.inside.insert(p.v);
  r.nodes.push_back(p);
  return true;
}

// A constant that broadcasts against a value whose dims are put back by `back`: its dims in the
// order before.
std::optional<Tensor> turned(const Tensor& t, const Axes& back) {
  if (t.size() == 1) return t;
  const size_t rank = back.size();
  if (t.dims().size() > rank || t.is_string() || t.size() > (1 << 22)) return std::nullopt;
  Dims full(rank - t.dims().size(), 1);
  full.insert(full.end(), t.dims().begin(), t.dims().end());
  Dims to;
  for (int64_t b : back) to.push_back(full[static_cast<size_t>(b)]);
  // Where only dims of 1 move, the bytes stay.
  int64_t last = -1;
  bool moves = false;
  for (int64_t b : back) {
    if (full[static_cast<size_t>(b)] == 1) continue;
    moves = moves || b < last;
    last = b;
  }
  if (!moves || t.size() == 0) return t.to_aligned().reshaped(std::move(to));
  const size_t each = t.bytes() / static_cast<size_t>(t.size());
  if (each * static_cast<size_t>(t.size()) != t.bytes()) return std::nullopt;
  auto r = Tensor::allocate(t.dtype(), to);
  if (!r.ok()) return std::nullopt;
  const std::vector<int64_t> from = row_major_strides(full);
  std::vector<int64_t> at(rank);
  for (int64_t i = 0; i < t.size(); ++i) {
    int64_t offset = 0;
    for (size_t k = 0; k < rank; ++k) offset += at[k] * from[static_cast<size_t>(back[k])];
    std::copy_n(t.raw() + static_cast<size_t>(offset) * each, each,
                r->mutable_raw() + static_cast<size_t>(i) * each);
    for (size_t k = rank; k > 0 && ++at[k - 1] == to[k - 1]; --k) at[k - 1] = 0;
  }
  return std::move(*r);
}

// Axis attributes and inputs of the node `id`, made again for dims in the order before: dim a of
// the order behind is perm[a] there. A reason why not, or nothing.
const char* turn_axes(const PassContext& ctx, NodeId id, const Axes& perm, Edit& edit,
                      std::vector<EditValue>& inputs, std::vector<Attribute>& attrs) {
  const Node& n = ctx.node(id);
  const auto rank = static_cast<int64_t>(perm.size());
  const auto known = [&](size_t input) -> std::optional<Axes> {
    if (n.has_input(input)) return ctx.ints(n.input(input));
    Axes all;
    for (int64_t a = 0; a < rank; ++a) all.push_back(a);
    return all;
  };
  const auto moved = [&](Axes axes) -> std::optional<Axes> {
    for (int64_t& a : axes) {
      if (a < 0) a += rank;
      if (a < 0 || a >= rank) return std::nullopt;
      a = perm[static_cast<size_t>(a)];
    }
    return axes;
  };
  const auto set_axis = [&](int64_t by_default) {
    const auto axis = moved({n.attr_int("axis", by_default)});
    if (!axis) return "an axis is out of range";
    std::erase_if(attrs, [](const Attribute& a) { return a.name == "axis"; });
    attrs.push_back(Attribute::of("axis", axis->front()));
    return static_cast<const char*>(nullptr);
  };
  if (n.is("Concat") || n.is("Split")) return set_axis(0);
  if (n.is("Softmax") || n.is("LogSoftmax")) return set_axis(-1);
  if (n.is("QuantizeLinear") || n.is("DequantizeLinear")) {
    const auto scale = ctx.dims(n.input(1));
    if (!scale || scale->size() > 1 || n.attr_int("block_size", 0) != 0)
      return "the scale is not known to be of one axis";
    return scale->empty() || scale->front() == 1 ? nullptr : set_axis(1);
  }
  if (n.is("Slice")) {
    auto axes = known(3);
    const auto starts = ctx.dims(n.input(1));
    if (!axes || !starts || starts->size() != 1 || starts->front() > rank)
      return "the axes are not known";
    if (!n.has_input(3)) axes->resize(static_cast<size_t>(starts->front()));
    axes = moved(std::move(*axes));
    if (!axes) return "an axis is out of range";
    inputs.resize(std::max<size_t>(inputs.size(), 4));
    inputs[3] = edit.constant(Tensor::ints(*axes), "axes");
    return nullptr;
  }
  if (n.is("Pad")) {
    const auto axes = known(3), pads = n.has_input(1) ? ctx.ints(n.input(1)) : std::nullopt;
    const auto to = axes ? moved(*axes) : std::nullopt;
    if (!to || !pads || pads->size() != 2 * to->size()) return "the padding is not known";
    Axes all(static_cast<size_t>(2 * rank));
    for (size_t i = 0; i < to->size(); ++i) {
      all[static_cast<size_t>((*to)[i])] = (*pads)[i];
      all[static_cast<size_t>((*to)[i] + rank)] = (*pads)[i + to->size()];
    }
    inputs.resize(std::min<size_t>(inputs.size(), 3));
    inputs[1] = edit.constant(Tensor::ints(all), "pads");
  }
  return nullptr;
}

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Transpose") || ctx.producer(n.input(0), "Transpose").valid()) return NoMatch{};
  Region r;
  const Axes outer = perm_of(ctx, root);
  if (outer.empty() || !grow(ctx, r, n.input(0), n.graph, inverse(outer), 32) || r.leaves.empty() ||
      outer.size() != r.perm.size())
    return NoMatch{};
  const Axes back = inverse(r.perm);
  // All transposes behind the region that it makes needless, and what else reads it.
  std::vector<NodeId> needless;
  std::vector<ValueId> shared;
  for (NodeId id : r.nodes) {
    for (const ValueId v : ctx.node(id).outputs()) {
      if (!v.valid()) continue;
      if (m.value(v).use_count > 256) return NoMatch{};
      bool others = m.value(v).graph_output;
      m.for_each_use(v, [&](Use u) {
        if (r.inside.count(u.node.v)) return;
        if (ctx.is(u.node, "Transpose") && perm_of(ctx, u.node) == back &&
            ctx.node(u.node).graph == n.graph)
          needless.push_back(u.node);
        else if (u.node != root)
          others = true;
      });
      if (others) shared.push_back(v);
    }
  }
  const bool cancels = outer == back;
  size_t gone = needless.size() + (cancels ? 0 : 1), made = shared.size() + (cancels ? 0 : 1);
  for (uint32_t leaf : r.leaves) {
    const ValueId v = ctx.node(NodeId(leaf)).output(0);
    bool dies = !m.value(v).graph_output && m.value(v).use_count <= 256;
    if (dies) m.for_each_use(v, [&](Use u) { dies = dies && r.inside.count(u.node.v); });
    gone += dies;
  }
  if (gone <= made) return refuse("as many transposes would be left");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  std::map<uint32_t, EditValue> before;  // by value: what it is in the order before
  for (uint32_t leaf : r.leaves) {
    before[ctx.node(NodeId(leaf)).output(0).v] = ctx.node(NodeId(leaf)).input(0);
    edit.remove.push_back(NodeId(leaf));
  }
  for (NodeId id : r.nodes) {
    const Node& node = ctx.node(id);
    const bool many = is_broadcasting(ctx, id);
    std::vector<EditValue> inputs;
    for (size_t i = 0; i < node.num_inputs(); ++i) {
      const ValueId in = node.input(i);
      const auto it = in.valid() ? before.find(in.v) : before.end();
      if (it != before.end()) {
        inputs.push_back(it->second);
      } else if (many && in.valid()) {
        const auto t = turned(*m.constant(in), back);
        if (!t) return refuse("a constant cannot be turned");
        inputs.push_back(t->same_bytes(*m.constant(in)) ? EditValue(in)
                                                        : edit.constant(*t, m.value(in).name));
      } else {
        inputs.emplace_back(in);
      }
    }
    std::vector<Attribute> attrs = node.attrs;
    if (const char* why = turn_axes(ctx, id, r.perm, edit, inputs, attrs)) return refuse(why);
    EditValue made = edit.add(node.op, std::move(inputs), std::move(attrs));
    edit.nodes.back().num_outputs = node.num_outputs();
    edit.nodes.back().like = id;
    edit.remove.push_back(id);
    for (size_t i = 0; i < node.num_outputs(); ++i) {
      made.output = static_cast<uint32_t>(i);
      if (node.has_output(i)) before[node.output(i).v] = made;
    }
  }
  for (ValueId v : shared) edit.replace_output(v, make_transpose(edit, before[v.v], r.perm));
  for (NodeId id : needless) {
    edit.replace_output(ctx.node(id).output(0), before[ctx.node(id).input(0).v]);
    if (id != root) edit.remove.push_back(id);
  }
  if (!cancels) {
    Axes both;
    for (int64_t p : outer) both.push_back(r.perm[static_cast<size_t>(p)]);
    edit.replace_output(n.output(0), make_transpose(edit, before[n.input(0).v], std::move(both)));
  }
  // New nodes stand where the first of the region stood, before all that reads them.
  edit.at = r.nodes.front();
  edit.note = "the order of dims before";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_transpose_region;
const Pass pass_fuse_transpose_region = {
    .name = "fuse-transpose-region",
    .summary = "does elementwise work and the like between transposes in the order of dims before",
    .doc =
        "Elementwise operators, Concat, Split, Softmax, Slice, Pad, QuantizeLinear and "
        "DequantizeLinear all of whose inputs\n"
        "are transposed alike or constants, before a Transpose: they work on what comes before the "
        "transposes, and\n"
        "constants and axes are turned. Others that read the region get a Transpose of their own; "
        "there must be fewer of\n"
        "these than of those that disappear.",
    .roots = kRoots,
    .match = match,
    .quantization = true,
};

}  // namespace onnxtool
