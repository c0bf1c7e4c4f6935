// SPDX-License-Identifier: Apache-2.0
// Type and shape inference: one forward pass over a model by the operators' shape rules
// (ops/op.h), with partial values, through bodies of control flow and local functions.
// A rule that finds a contradiction is an error; a declared type that differs from the inferred
// one is a warning, and the inferred type holds.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libonnxtool/infer/finding.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {

struct InferOptions {
  // Values of named symbols ("batch" = 8), taken in every declared type.
  std::map<std::string, int64_t, std::less<>> symbols;
  // Types of the main graph's inputs in its order; unknown or missing: as declared. A constant
  // dim here for a declared symbol binds that symbol everywhere.
  std::vector<Type> inputs;
  // Contents of main graph inputs that are known, in the same order; undefined: not known.
  std::vector<Tensor> input_values;
  // Main graph inputs with a default are taken to have it, as runtimes do up to IR version 3 where
  // every initializer is an input too. Not for rewrites: a caller may still give another value.
  bool defaults_hold = false;
  bool strict = false;   // a wrong declaration is an error
  bool collect = false;  // note errors of rules as findings and go on, instead of ending
  bool evaluate = true;  // small nodes with constant inputs are evaluated
  size_t max_findings = 100;
  int max_depth = 100;              // nesting of graphs and calls
  int64_t max_visits = 20'000'000;  // applications of shape rules, all in all
};

// The state of inference over one model: types and known contents of its values. It refers to the
// model, which must stay where it is. Function bodies are inferred per call; what is told of
// their values holds for all calls.
class Inference {
 public:
  // Results are also written to Value::type.
  explicit Inference(Model& model, InferOptions options = {});
  // Leaves the model as it is: for many runs with different input shapes.
  explicit Inference(const Model& model, InferOptions options = {});
  Inference(Inference&&) noexcept;
  Inference& operator=(Inference&&) noexcept;
  ~Inference();

  Status run();
  // Infers a node of the main graph or a body again after it or an input was changed, and then
  // those behind it as far as types or known contents change. Nodes in functions: run() again.
  Status update(NodeId node);

  const Type& type(ValueId v) const;
  // Known integer contents; nullptr: none, or v is inside of a function.
  const PartialValue* partial(ValueId v) const;
  // Contents where they are known: initializers, Constant nodes, and small results of these.
  const Tensor* constant(ValueId v) const;
  const std::vector<Finding>& findings() const;
  // A context for rules that only read (OpDef::macs): inputs of the node as inferred. Valid until
  // the next call of a member function that is not const.
  std::unique_ptr<const InferContext> context(NodeId node) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct InferReport {
  std::vector<Finding> findings;
  std::shared_ptr<Inference> state;
  const PartialValue* partial(ValueId v) const { return state->partial(v); }
  const Tensor* constant(ValueId v) const { return state->constant(v); }
};

Result<InferReport> infer(Model& model, const InferOptions& options = {});

}  // namespace onnxtool
