// SPDX-License-Identifier: Apache-2.0
// The model in memory (onnx.proto ModelProto). A Model owns three dense tables, values, nodes and
// graphs, indexed by strong ids; the main graph, the bodies of If/Loop/Scan and the bodies of
// local functions are all entries of `graphs`, and an inner graph uses an outer value simply by
// its ValueId. Names are labels, never keys. Values know their producer and their uses, and only
// the member functions here change those links. Removed entries stay as tombstones.
//
// Nodes are held at the newest version of their operator that means the same (see ops/lift.h);
// `Node::origin` keeps the bytes as read, so that a node nobody touched is written back as it was.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/attribute.h"
#include "libonnxtool/ir/ids.h"
#include "libonnxtool/ir/type.h"

namespace onnxtool {

// One use of a value: input slot `index` of node `node`.
struct Use {
  NodeId node;
  uint32_t index = 0;
  friend bool operator==(Use, Use) = default;
};

enum class ValueKind : uint8_t {
  kNone,         // tombstone
  kInput,        // graph input (may also hold a default: constant != nullptr)
  kInitializer,  // constant of its graph
  kOutput,       // output of `producer`
  kUndefined,    // used by name but defined nowhere (an invalid model; the verifier reports it)
};

struct Constant {  // a dense tensor, or a sparse one
  TensorConst dense;
  std::unique_ptr<SparseTensor> sparse;
};

struct Value {
  std::string name;
  ValueKind kind = ValueKind::kNone;
  Type type;                                 // declared (value_info) and, after inference, inferred
  Type declared;                             // as the file says; unknown if it says nothing
  NodeId producer;                           // kOutput
  uint32_t output_index = 0;                 // kOutput: which output of the producer
  GraphId graph;                             // where it is defined
  std::shared_ptr<const Constant> constant;  // kInitializer, or default of kInput
  Bytes info;                                // its ValueInfoProto as read (docs, denotations)
  bool listed = false;                       // has an entry in value_info
  bool lifted = false;        // a constant made by lifting (ops/lift.h), not in the file
  bool graph_output = false;  // is an output of its graph (maybe of an inner one too)
  Use first_use;              // head of the use list; see Model::uses()
  uint32_t use_count = 0;

  bool is_constant() const { return constant && kind == ValueKind::kInitializer; }
};

struct Node {
  Sym op;      // "Conv"; empty = tombstone
  Sym domain;  // "" is ai.onnx (also written "ai.onnx" in files)
  std::string overload;
  std::string name;
  int32_t version = 0;  // since_version of the form it is held in; 0 = not known to us
  GraphId graph;
  std::vector<Attribute> attrs;
  Bytes origin;  // the NodeProto as read; empty once touched
  Bytes extra;   // doc, metadata, device configurations, unknown fields (wire)

  size_t num_inputs() const { return inputs_.size(); }
  size_t num_outputs() const { return outputs_.size(); }
  // Invalid id for an input or output that is left out.
  ValueId input(size_t i) const { return i < inputs_.size() ? inputs_[i].value : ValueId(); }
  ValueId output(size_t i) const { return i < outputs_.size() ? outputs_[i] : ValueId(); }
  bool has_input(size_t i) const { return input(i).valid(); }
  bool has_output(size_t i) const { return output(i).valid(); }
  std::span<const ValueId> outputs() const { return outputs_; }
  bool removed() const { return op.view().empty() && graph == GraphId(); }

  bool is(std::string_view op_type) const { return op.view() == op_type && domain.view().empty(); }
  bool is(std::string_view dom, std::string_view op_type) const {
    return op.view() == op_type && domain.view() == dom;
  }
  const Attribute* attr(std::string_view attr_name) const;
  // Typed reads with a default; an attribute of another type counts as absent (the verifier
  // reports it), as does one that refers to a function's attribute.
  int64_t attr_int(std::string_view n, int64_t def) const;
  float attr_float(std::string_view n, float def) const;
  std::string_view attr_str(std::string_view n, std::string_view def) const;
  const std::vector<int64_t>* attr_ints(std::string_view n) const;
  const std::vector<float>* attr_floats(std::string_view n) const;
  const std::vector<std::string>* attr_strings(std::string_view n) const;
  const Tensor* attr_tensor(std::string_view n) const;
  GraphId attr_graph(std::string_view n) const;
  bool has_subgraphs() const;

 private:
  friend class Model;
  struct Slot {
    ValueId value;
    Use prev, next;  // neighbours in the value's use list
  };
  std::vector<Slot> inputs_;
  std::vector<ValueId> outputs_;
};

struct OpsetImport {
  Sym domain;  // "" also where the file says "ai.onnx"
  int64_t version = 0;
  Sym spelled = {};   // the domain as the file spells it
  bool named = true;  // the file has the domain field, be it empty
};

struct Graph {
  std::string name;
  NodeId owner;           // the node that holds it as an attribute; invalid for main and functions
  GraphId parent;         // graph of `owner`
  int32_t function = -1;  // index into Model::functions when it is (inside) a function body
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;       // may hold inputs, constants, outer values and repeats
  std::vector<ValueId> initializers;  // in file order, dense and sparse
  std::vector<NodeId> nodes;          // in file order, which may be no topological one
  std::vector<Bytes> output_info;     // ValueInfoProto of each output as read
  // value_info in file order: the value it is for, or the bytes of an entry for no or a known one.
  std::vector<std::pair<ValueId, Bytes>> infos;
  std::vector<Type> output_types;  // declared type of each output
  Bytes extra;                     // doc, metadata, quantization annotations, unknown fields
  bool removed = false;
};

struct Function {
  std::string domain, name, overload;
  std::vector<std::string> attributes;        // names without default
  std::vector<Attribute> attribute_defaults;  // attribute_proto
  std::vector<OpsetImport> opset_imports;
  GraphId body;
  Bytes extra;  // doc, metadata, unknown fields
};

class Model {
 public:
  int64_t ir_version = 0;
  std::vector<OpsetImport> opset_imports;
  std::string producer_name, producer_version, domain;
  std::vector<Function> functions;
  Bytes
      extra;  // model_version, doc, metadata, training info, configurations, unknown fields (wire)

  Model() = default;
  Model(Model&&) = default;
  Model& operator=(Model&&) = default;
  Model clone() const;  // deep in structure; tensor bytes are shared

  GraphId main() const { return GraphId(0); }
  // Creates the main graph when called first.
  GraphId add_graph(GraphId parent = {}, NodeId owner = {}, int32_t function = -1);

  Value& value(ValueId id) { return values_[id.v]; }
  const Value& value(ValueId id) const { return values_[id.v]; }
  Node& node(NodeId id) { return nodes_[id.v]; }
  const Node& node(NodeId id) const { return nodes_[id.v]; }
  Graph& graph(GraphId id) { return graphs_[id.v]; }
  const Graph& graph(GraphId id) const { return graphs_[id.v]; }
  size_t num_values() const { return values_.size(); }  // with tombstones
  size_t num_nodes() const { return nodes_.size(); }
  size_t num_graphs() const { return graphs_.size(); }

  // Version of `domain` that graph g is written in; 0 = not imported.
  int64_t opset(GraphId g, Sym domain) const;
  const Function* find_function(Sym domain, Sym name, std::string_view overload) const;

  // ---- building
  ValueId add_input(GraphId g, std::string name, Type type);
  ValueId add_initializer(GraphId g, std::string name, Tensor tensor);
  ValueId add_undefined(GraphId g, std::string name);
  // A new node at position `at` of the graph's order (default: the end), with fresh output values
  // of the given names; an empty name leaves that output out.
  NodeId add_node(GraphId g, Sym op, std::vector<ValueId> inputs,
                  const std::vector<std::string>& output_names, std::vector<Attribute> attrs = {},
                  Sym domain = {}, size_t at = SIZE_MAX);
  void add_graph_output(GraphId g, ValueId v);

  // ---- changing (each clears the origin of the nodes it changes)
  void set_input(NodeId n, size_t i, ValueId v);  // grows the list with absent inputs if needed
  void set_inputs(NodeId n, std::span<const ValueId> inputs);
  void set_outputs(
      NodeId n,
      std::vector<ValueId> outputs);     // relinks producers; old ones become kNone if unused
  void set_attr(NodeId n, Attribute a);  // adds or replaces
  void remove_attr(NodeId n, std::string_view name);
  void touch(NodeId n);                      // forget the bytes as read
  void rename(ValueId v, std::string name);  // touches producer and users
  // All uses of `from` (nodes and graph outputs of any graph) become uses of `to`.
  void replace_uses(ValueId from, ValueId to);
  void set_constant(ValueId v, Tensor t);  // v must be an initializer
  // The node and its outputs (which must have no uses) become tombstones, subgraphs too. O(1)
  // amortized: the graph's node list is compacted by compact().
  void remove_node(NodeId n);
  void remove_value(ValueId v);  // an unused initializer
  void compact(GraphId g);       // drops tombstones from the lists of g

  // ---- links
  std::vector<Use> uses(ValueId v) const;  // in no particular order
  const Use* sole_use(ValueId v) const;    // the only use, if exactly one and no graph output
  template <typename F>
  void for_each_use(ValueId v, F f) const {  // f(Use); the list must not change meanwhile
    for (Use u = values_[v.v].first_use; u.node.valid(); u = nodes_[u.node.v].inputs_[u.index].next)
      f(u);
  }
  // v is visible in g: defined in g or in a graph around it.
  bool visible(ValueId v, GraphId g) const;
  bool is_inside(GraphId inner, GraphId outer) const;  // inner == outer counts
  // Dense constant known when the model is read: an initializer that no graph input can override.
  // Outputs of Constant nodes count too (their attribute, where it is a plain tensor or scalar).
  const Tensor* constant(ValueId v) const;

  // A name not yet used by any value of the model: hint, hint_1, ...
  std::string unique_name(std::string_view hint);
  bool name_used(std::string_view name) const;

  // Nodes of g in an order where producers come first (captures of inner graphs count as inputs);
  // error naming a node on a cycle.
  Result<std::vector<NodeId>> topological_order(GraphId g) const;
  // Outer values that the graphs held by node n use, each once.
  std::vector<ValueId> captures(NodeId n) const;

  // "node 'conv1' (Conv)" for messages, escaped.
  std::string describe(NodeId n) const;
  // "'x' float[1,3]".
  std::string describe(ValueId v) const;

 private:
  void link(NodeId n, uint32_t i, ValueId v);
  void unlink(NodeId n, uint32_t i);
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<Graph> graphs_;
  struct Names;
  std::shared_ptr<Names> names_;  // built when first asked for
};

}  // namespace onnxtool
