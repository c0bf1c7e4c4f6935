// SPDX-License-Identifier: Apache-2.0
// Passes. A pass looks at one node (or at the whole model) and returns an Edit, a reason why a
// near-match was refused, or nothing. Only the runner applies edits, and it alone checks, once for
// all passes, that an edit is safe: see rewrite/runner.h. A pass file in passes/*/ defines
//     extern const Pass pass_<file stem>;
//     const Pass pass_<file stem> = {.name = "fuse-conv-bn", ...};
// and nothing else has to be edited.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

// A value as an edit sees it: one that exists, or one that the edit makes (index into
// Edit::nodes or Edit::constants). Nothing: an input left out.
struct EditValue {
  enum class Kind : uint8_t { kNone, kExisting, kNode, kConstant } kind = Kind::kNone;
  ValueId value;        // kExisting
  uint32_t index = 0;   // kNode, kConstant
  uint32_t output = 0;  // kNode
  EditValue() = default;
  EditValue(ValueId v) : kind(v.valid() ? Kind::kExisting : Kind::kNone), value(v) {}  // NOLINT
};

// What a pass wants done, as data. All of it is applied or nothing.
struct Edit {
  struct NewNode {
    Sym op;
    Sym domain;
    std::vector<EditValue> inputs;
    size_t num_outputs = 1;
    std::vector<Attribute> attrs;
    std::string name;  // hint; default: the name of `like`
    NodeId like;       // name, docs and metadata are taken from it; default: `at`
  };
  struct NewConstant {
    Tensor tensor;
    std::string name;  // hint
  };
  // A node that stays where it is, with some inputs and attributes set. The types of its results
  // must stay; that all who read them want the new contents is for the pass to know.
  struct Change {
    NodeId node;
    std::vector<std::pair<size_t, EditValue>> inputs;
    std::vector<Attribute> attrs;
  };
  struct Replacement {  // all uses of `from` become uses of `to`
    ValueId from;
    EditValue to;
  };
  std::vector<NewNode> nodes;  // in topological order; placed where `at` stands
  std::vector<NewConstant> constants;
  std::vector<Change> changes;  // each node once
  std::vector<Replacement> replace;
  std::vector<NodeId> remove;  // matched nodes expected to die; they stay while still used
  // Matched nodes whose outputs may have no other users than nodes in `remove`: otherwise the
  // edit is refused, as work would be done twice.
  std::vector<NodeId> exclusive;
  NodeId at;         // root of the match: new nodes take its place in the order
  std::string note;  // one line for --explain

  // Puts the nodes of a body of `at` (a branch of an If) in the place of `at`, whose outputs
  // become those of the body. Nothing else may be set but `at` and `note`.
  GraphId inline_body;
  std::vector<ValueId> drop;  // initializers without users, removed

  EditValue add(Sym op, std::vector<EditValue> inputs, std::vector<Attribute> attrs = {},
                Sym domain = {});
  EditValue constant(Tensor t, std::string name_hint = {});
  void set_input(NodeId n, size_t i, EditValue v) { change(n).inputs.emplace_back(i, v); }
  void set_attr(NodeId n, Attribute a) { change(n).attrs.push_back(std::move(a)); }
  Change& change(NodeId n);
  void replace_output(ValueId from, EditValue to) { replace.push_back({from, to}); }
};

// A near-match that was refused, with the reason; printed by --explain.
struct Refusal {
  std::string reason;
};
struct NoMatch {};
using Match = std::variant<NoMatch, Refusal, Edit>;
inline Match refuse(std::string reason) { return Refusal{std::move(reason)}; }

struct Budget {
  int64_t max_growth_bytes = 32 << 20;    // how much rewriting may add to the model, all in all,
                                          // and 1 MiB more by edits that add up to 8 KiB each
  int64_t max_constant_bytes = 64 << 20;  // one folded tensor
  int64_t max_memory_bytes = int64_t{1} << 30;  // while evaluating
  int64_t max_steps = 50'000'000;               // element operations of one evaluation, roughly
};

// What a pass may ask. Types and partial values are those of the last inference.
class PassContext {
 public:
  virtual ~PassContext() = default;
  virtual const Model& model() const = 0;
  virtual const Inference& inference() const = 0;
  virtual const Budget& budget() const = 0;
  // What may still be added to the model, in bytes.
  virtual int64_t growth_left() const = 0;
  // Evaluates a node whose inputs are initializers or known otherwise (the reference, or an
  // engine that a command plugged in).
  virtual Result<std::vector<Datum>> evaluate(NodeId n) const = 0;
  // Whether an operator exists in the opset that graph g is written in, at least in that version.
  virtual bool available(GraphId g, Sym domain, std::string_view op, int version) const = 0;

  // ---- shorthands
  const Node& node(NodeId n) const { return model().node(n); }
  const Type& type(ValueId v) const { return inference().type(v); }
  // Shape where the rank is known, else nullptr.
  const Shape* shape(ValueId v) const;
  // All dims constant.
  std::optional<Dims> dims(ValueId v) const { return static_dims(type(v)); }
  // Contents of an initializer or Constant node, with aligned bytes; undefined: none.
  Tensor constant(ValueId v) const;
  // Known integers of a value (constant or computed from shapes), all of them.
  std::optional<std::vector<int64_t>> ints(ValueId v) const;
  // Producer of v if it is `op` of the standard domain, held in version >= `version`.
  NodeId producer(ValueId v, std::string_view op, int version = 1) const;
  bool is(NodeId n, std::string_view op, int version = 1) const;
  // The only node that uses v, if there is exactly one use and v is no graph output.
  NodeId sole_user(ValueId v) const;
};

// Applies an edit of a pass over the whole model; false: it was refused, or a limit was reached.
using EditSink = std::function<bool(Edit)>;

struct Pass {
  const char* name;     // "fuse-conv-bn"
  const char* summary;  // one line
  const char* doc;      // before / after, conditions
  // Op types of nodes that can be the root of a match; empty: all nodes.
  std::span<const char* const> roots = {};
  std::function<Match(const PassContext&, NodeId root)> match;
  // Or a pass over the whole model (common subexpressions), called once a round, with the nodes
  // of each graph in topological order: gives its edits
  // to the sink one by one; the model changes with each that is accepted.
  Status (*run)(const PassContext&, const EditSink&) = nullptr;
  // May remove QuantizeLinear, DequantizeLinear and random nodes that have users; the runner
  // refuses such edits of all other passes.
  bool quantization = false;
  // Does the arithmetic in another order, so that results change in their last bits. The runner
  // refuses such edits where a quantization of activations comes behind, which would make steps
  // of these.
  bool reorders = false;
  // Tried only where no other pass finds anything more: it takes from them what they look for.
  bool last = false;
  int level = 2;  // the lowest -O that runs it, where pipelines.cc does not list it
  // The runtime whose own operators it makes ("ort"): run for that target only.
  const char* target = nullptr;
};

std::span<const Pass* const> all_passes();  // generated
const Pass* find_pass(std::string_view name);

}  // namespace onnxtool
