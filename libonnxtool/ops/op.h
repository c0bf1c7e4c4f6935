// SPDX-License-Identifier: Apache-2.0
// The contract of an operator: one OpDef holds all that onnxtool knows of it beyond its schema
// tables (ops/schema.h): version steps, shape rule, reference evaluation, flags.
//
// A file in ops/ defines a family and ends with
//     ONNXTOOL_OPS(file_stem, {.name = "Relu", .infer = ..., .eval = ...}, ...);
// Nothing else has to be edited: the build collects the tables.
//
// Versions. A node is held at the newest version its form can be lifted to. A version of the
// schema that only widened types, or added attributes and inputs whose absence keeps the old
// meaning, needs no step. Where the form or meaning changed, a VersionStep says how to go up and
// down; a step without `up` is a wall: nodes below it keep their version, and shape rule and
// evaluation look at ctx.version().
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

// ------------------------------------------------------------------------------- shape rules
// Known integer content of a tensor of rank 0 or 1 (its elements in order), each a Dim.
using PartialValue = std::vector<Dim>;

class InferContext {
 public:
  virtual ~InferContext() = default;
  const Model& model() const { return *model_; }
  const Node& node() const { return *node_; }
  int version() const { return node_->version; }
  size_t num_inputs() const { return node_->num_inputs(); }
  size_t num_outputs() const { return node_->num_outputs(); }
  bool has_input(size_t i) const { return node_->has_input(i); }
  bool has_output(size_t i) const { return node_->has_output(i); }

  // Type of input i; a Type of kind kUnknown when it is absent or nothing is known.
  virtual const Type& input(size_t i) const = 0;
  DType dtype(size_t i) const { return input(i).dtype; }
  // Shape of input i, nullptr when its rank is not known (or it is absent).
  const Shape* shape(size_t i) const;
  // Its concrete contents where it is a constant (initializer, Constant node, folded), else null.
  virtual const Tensor* constant(size_t i) const = 0;
  // Its integer contents as Dims where known at least in part (constants of up to 1024 elements of
  // an integer type give theirs), else nullptr.
  virtual const PartialValue* partial(size_t i) const = 0;
  // All of partial(i) as integers; nullopt unless each element is a constant.
  std::optional<std::vector<int64_t>> ints(size_t i) const;

  // Sets the type of output i (ignored if the output is absent). Fails when it contradicts what is
  // already known of it. Later calls refine.
  virtual Status set(size_t i, Type type) = 0;
  Status set(size_t i, DType t, Shape s) { return set(i, Type::tensor(t, std::move(s))); }
  Status set(size_t i, DType t, std::optional<Shape> s) {
    return set(i, Type::tensor(t, std::move(s)));
  }
  virtual void set_partial(size_t i, PartialValue v) = 0;

  // Infers the graph (a body attribute) with the given types of its inputs; gives the types of
  // its outputs. `values` may give partial values of inputs.
  virtual Result<std::vector<Type>> infer_graph(GraphId g, std::span<const Type> inputs) = 0;

  // A new symbol for a dim of output i that depends on data; stable across repeated runs.
  virtual Dim fresh(size_t output, size_t axis) = 0;
  // An axis attribute checked against the rank and made non-negative.
  Result<int64_t> axis(std::string_view attr, int64_t def, int64_t rank) const;
  // Error of code kInvalid for this node; the driver adds node and tensor context.
  Error error(std::string message) const { return invalid(std::move(message)); }

 protected:
  const Model* model_ = nullptr;
  const Node* node_ = nullptr;
};

// ---------------------------------------------------------------------- reference evaluation
// What an evaluation may ask of who runs it.
class EvalHost {
 public:
  virtual ~EvalHost() = default;
  // Runs body g of the node; `inputs` in order of its inputs; captured values are found by the
  // host.
  virtual Result<std::vector<Datum>> run_graph(GraphId g, std::vector<Datum> inputs) = 0;
  // Called before allocating `bytes` for results; fails (kUnsupported) when over the budget.
  virtual Status reserve(int64_t bytes) = 0;
  // Loop trips and the like; fails when the budget of steps is used up.
  virtual Status step() = 0;
  virtual uint64_t random_seed() = 0;  // for random operators without a seed attribute
};

class EvalContext {
 public:
  EvalContext(const Model& model, const Node& node, std::span<const Datum> inputs,
              std::span<Datum> outputs, EvalHost& host)
      : model_(model), node_(node), inputs_(inputs), outputs_(outputs), host_(host) {}
  const Model& model() const { return model_; }
  const Node& node() const { return node_; }
  int version() const { return node_.version; }
  EvalHost& host() const { return host_; }

  size_t num_inputs() const { return inputs_.size(); }
  bool has(size_t i) const { return i < inputs_.size() && inputs_[i].has_value(); }
  const Datum& datum(size_t i) const { return inputs_[i]; }
  // Tensor input i. Present and a tensor: guaranteed by the caller for inputs the schema requires;
  // use has() for optional ones. Types agree with the schema; shapes are NOT checked: check them.
  const Tensor& in(size_t i) const { return inputs_[i].tensor; }
  size_t num_outputs() const { return outputs_.size(); }
  bool wants(size_t i) const { return i < outputs_.size() && node_.has_output(i); }
  void set(size_t i, Datum d) {
    if (i < outputs_.size()) outputs_[i] = std::move(d);
  }
  // Zeroed result tensor, budget-checked.
  Result<Tensor> allocate(DType t, Dims dims) const;
  // from_f64 / from_i64 into output i.
  Status set_f64(size_t i, DType t, Dims dims, std::span<const double> values);
  Status set_i64(size_t i, DType t, Dims dims, std::span<const int64_t> values);
  // Integers of input i (any integer type), or of attribute `attr` if the input is absent; nullopt:
  // neither.
  std::optional<std::vector<int64_t>> ints(size_t i, std::string_view attr = {}) const;
  Result<int64_t> axis(std::string_view attr, int64_t def, int64_t rank) const;
  Error error(std::string message) const { return invalid(std::move(message)); }

 private:
  const Model& model_;
  const Node& node_;
  std::span<const Datum> inputs_;
  std::span<Datum> outputs_;
  EvalHost& host_;
};

// -------------------------------------------------------------------------------- versions
// How the form of a node changes between version `to` and the one before it. Both functions work
// on the node in place (inputs, attributes, new constants by Model::add_initializer with a name
// made by Model::unique_name). `up` returns false, having changed nothing, when this node has no
// equal newer form (it then keeps its version). `down` fails (kUnsupported) when there is no
// equal older form, with the reason.
struct VersionStep {
  int to = 0;
  Result<bool> (*up)(Model&, NodeId) = nullptr;
  Status (*down)(Model&, NodeId) = nullptr;
};

enum OpFlag : uint32_t {
  kElementwise = 1,    // output element depends on the broadcast input elements only
  kCommutative = 2,    // first two inputs may be swapped
  kRandom = 4,         // two equal nodes may give different results
  kControlFlow = 8,    // holds graphs
  kView = 16,          // output 0 has the bytes of input 0 (Reshape, Squeeze, Identity...)
  kDataMovement = 32,  // output elements are copies of input elements (Transpose, Slice, Gather...)
  kManyReads = 64,     // each result may read all of the input: evaluation costs their product
};

struct OpDef {
  const char* name;
  const char* domain = "";                   // "" = ai.onnx
  Status (*infer)(InferContext&) = nullptr;  // null: types and shapes stay unknown
  Status (*eval)(EvalContext&) = nullptr;    // null: cannot be run or folded
  std::span<const VersionStep> steps = {};   // ascending; point to a static constexpr array
  uint32_t flags = 0;
  // Multiply-accumulates of the node, for inspect; null: 0 (its elements count as memory traffic).
  Result<int64_t> (*macs)(const InferContext&) = nullptr;
};

struct OpTable {
  const OpDef* ops;
  size_t count;
};

std::span<const OpTable* const> all_op_tables();  // generated
const OpDef* find_op(Sym domain, Sym op);
inline const OpDef* find_op(const Node& n) { return find_op(n.domain, n.op); }

}  // namespace onnxtool

#define ONNXTOOL_OPS(stem, ...)                                     \
  namespace onnxtool {                                              \
  namespace {                                                       \
  const OpDef kOps_##stem[] = {__VA_ARGS__};                        \
  }                                                                 \
  extern const OpTable ops_##stem;                                  \
  const OpTable ops_##stem = {kOps_##stem, std::size(kOps_##stem)}; \
  }
