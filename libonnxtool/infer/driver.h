// SPDX-License-Identifier: Apache-2.0
// Internal to infer/: the walk behind Inference. A Frame holds the state of one scope: the main
// graph with its bodies, or one call of a local function with its bodies.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "libonnxtool/infer/infer.h"

namespace onnxtool::inference {

// What is known of a value beyond its type.
struct Known {
  std::shared_ptr<const PartialValue> partial;
  Tensor constant;                    // evaluated, or an aligned copy of an initializer
  bool evaluated = false;             // `constant` was given, not made from `partial`
  const std::byte* of = nullptr;      // initializers: the bytes that `partial` shows
  const std::byte* copied = nullptr;  // initializers: the bytes that `constant` is a copy of
};

struct ValueState {
  Type type;
  std::unique_ptr<Known> known;
};

struct GraphMemo {
  std::vector<Type> inputs, outputs;
  uint64_t stamp = 0;  // Frame::changes when done
  int runs = 0;
};

struct Frame {
  const Function* function = nullptr;
  std::string tag;                                  // of a call: makes names of its symbols its own
  const std::vector<Attribute>* attrs = nullptr;    // of the call
  std::vector<ValueState> dense;                    // main scope
  std::unordered_map<uint32_t, ValueState> sparse;  // calls
  std::unordered_map<uint32_t, std::unique_ptr<Node>> bound;  // nodes with attributes of the call
  std::unordered_map<uint32_t, GraphMemo> graphs;
  std::vector<Dim> fresh;  // symbols made in this call
  uint64_t changes = 0;    // how often a type or known content changed
};

// Result of a function for one list of argument types.
struct CallMemo {
  std::vector<Type> types;
  std::vector<std::shared_ptr<const PartialValue>> partials;
  std::vector<Tensor> constants;
  std::vector<Dim> fresh;
};

struct Driver {
  const Model& model;
  Model* writable;
  InferOptions options;
  Frame main;
  std::vector<Finding> findings;
  int64_t visits = 0;
  int64_t evaluated = 0;  // elements read and written by evaluate()
  int depth = 0;

  Driver(const Model& m, Model* w, InferOptions o) : model(m), writable(w), options(std::move(o)) {}

  Status run();
  Status update(NodeId n);

  // ---- graphs and nodes (driver.cc)
  Result<std::vector<Type>> infer_graph(Frame& f, GraphId g, std::span<const Type> inputs);
  Status visit_nodes(Frame& f, GraphId g);
  Status visit(Frame& f, NodeId n);
  // Takes the outputs of a rule; `partials[i]` may be null.
  Status commit(Frame& f, NodeId n, std::vector<Type> types,
                std::vector<std::shared_ptr<const PartialValue>> partials,
                std::vector<Tensor> constants);
  // True when p can be the content of a value of type t; its length may complete t.
  static bool fits(const PartialValue& p, Type& t);
  // Strict runs look at bodies too that the rule left out (a branch that is never taken).
  Status visit_dead_bodies(Frame& f, NodeId id, const Node& node);
  // The branch of an If whose condition is known; invalid: not known.
  GraphId taken_branch(Frame& f, const Node& node);
  // It is in a branch that is not taken.
  bool never_runs(Frame& f, GraphId g);
  // Known contents of the outputs of an If whose condition is known.
  void take_branch(Frame& f, const Node& node,
                   std::vector<std::shared_ptr<const PartialValue>>& partials,
                   std::vector<Tensor>& constants);
  Status note(const char* code, std::string message, std::string where, NodeId n, ValueId v);
  std::string where(const Frame& f, NodeId n) const;
  Error with_place(Error e, const Frame& f, NodeId n) const;

  // ---- declared and given types (declared.cc)
  Status bind_inputs();
  // Adds to the inferred type what the declaration knows; a contradiction is noted.
  Status merge_declared(Frame& f, NodeId n, ValueId v, Type& inferred);
  Status merge_with(Frame& f, NodeId n, ValueId v, Type& inferred, const Type& want);
  Status check_outputs();
  const Type& declared(ValueId v, Type& scratch) const;  // with bound symbols
  const Type& bind(const Type& t, Type& scratch) const;

  // ---- what is known of values (known.cc)
  bool in_main(ValueId v);  // has a state in `main`, which is made big enough
  ValueState& state(Frame& f, ValueId v);
  const ValueState* find(const Frame& f, ValueId v) const;
  const Type& type(const Frame& f, ValueId v) const;
  const PartialValue* partial(Frame& f, ValueId v);
  const Tensor* constant(Frame& f, ValueId v);
  bool set_known(Frame& f, ValueId v, std::shared_ptr<const PartialValue> p, Tensor c);
  // Evaluates the node if it is small and all its inputs are known.
  void evaluate(Frame& f, const Node& node, const OpDef& def, std::vector<Type>& types,
                std::vector<std::shared_ptr<const PartialValue>>& partials,
                std::vector<Tensor>& constants);

  // ---- symbols (known.cc)
  Dim fresh(Frame& f, ValueId v, size_t axis, Dim declared);
  Dim named(Frame& f, const std::string& key, const std::string& hint);
  void name_unknown_dims(Frame& f, ValueId v, Type& t);
  const std::unordered_set<std::string>& declared_symbols();
  const std::unordered_set<std::string>& input_symbols();

  // ---- functions (calls.cc)
  const Function* function_of(const Node& n);
  const Node& bound(Frame& f, NodeId n);
  Status call(Frame& f, NodeId n, const Node& node, const Function& fn);
  std::string call_key(Frame& f, const Node& node, const Function& fn);
  Result<CallMemo> run_call(Frame& f, const Node& node, const Function& fn);
  void tell_body(const Frame& inner);

 private:
  struct FunctionId {
    Sym domain, name;
    std::string overload;
    friend bool operator==(const FunctionId&, const FunctionId&) = default;
  };
  struct FunctionIdHash {
    size_t operator()(const FunctionId& k) const {
      return k.domain.hash() * 31 + k.name.hash() + std::hash<std::string>()(k.overload);
    }
  };
  std::unordered_map<FunctionId, const Function*, FunctionIdHash> functions_;
  bool functions_ready_ = false;
  std::unordered_map<std::string, CallMemo> calls_;
  std::vector<const Function*> active_;
  std::unordered_map<std::string, uint32_t> calls_of_;   // numbering of calls, for names
  std::map<std::string, int64_t, std::less<>> symbols_;  // bound by options
  std::unordered_map<std::string, Dim> fresh_;           // by frame tag, value and axis
  std::unordered_set<std::string> taken_, declared_, inputs_;
  bool declared_ready_ = false, inputs_ready_ = false;
  std::unordered_set<uint32_t> told_;  // values of function bodies with a type in main.dense
  std::unordered_set<std::string> noted_;
  std::vector<ValueId> changed_;  // by commit, for update()
  bool track_ = false;
  std::unordered_map<uint32_t, const Type*> output_types_;  // of graph outputs without value_info
};

std::shared_ptr<const PartialValue> partial_of_tensor(const Tensor& t);

// The context of one application of a shape rule.
class NodeContext final : public InferContext {
 public:
  NodeContext(Driver& d, Frame& f, NodeId id, const Node& n);
  const Type& input(size_t i) const override;
  const Tensor* constant(size_t i) const override;
  const PartialValue* partial(size_t i) const override;
  Status set(size_t i, Type type) override;
  void set_partial(size_t i, PartialValue v) override;
  Result<std::vector<Type>> infer_graph(GraphId g, std::span<const Type> inputs) override;
  Dim fresh(size_t output, size_t axis) override;

  std::vector<Type> types;
  std::vector<std::shared_ptr<const PartialValue>> partials;

 private:
  Driver& d_;
  Frame& f_;
  NodeId id_;
};

}  // namespace onnxtool::inference
