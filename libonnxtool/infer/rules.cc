// SPDX-License-Identifier: Apache-2.0
// The table of rules (finding.h). Codes are stable: a rule that goes leaves a gap.
#include <algorithm>
#include <cstring>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/finding.h"

namespace onnxtool {
namespace {

constexpr Severity E = Severity::kError;
constexpr Severity W = Severity::kWarning;

constexpr Rule kRules[] = {
    {"E101", "ir-version", E,
     "ir_version must be given and between 1 and 14 (onnx.proto, Version)."},
    {"E102", "opset-version", E,
     "From IR version 3 on every model imports at least one operator set, each in a version that "
     "exists (IR.md, Operator Sets)."},
    {"E103", "defined-twice", E,
     "A name is given to one value only in a graph: inputs, initializers and node outputs are in "
     "single static assignment form (IR.md, Graphs)."},
    {"E104", "undefined-value", E,
     "Each node input and graph output names a value that is defined in its graph or one around it "
     "(IR.md, Names Within a Graph)."},
    {"E105", "cycle", E, "Nodes must not depend on their own results (IR.md, Graphs)."},
    {"E106", "node-order", E,
     "Nodes are listed after those whose results they use, also through their bodies (IR.md, "
     "Graphs). Commands that transform or run a model sort the nodes."},
    {"E107", "graph-name", E, "Each graph has a name (IR.md, Graphs)."},
    {"E108", "shadowed-value", E,
     "A node output in a body must not have the name of a value that is visible around it (IR.md, "
     "Names Within a Graph)."},
    {"E109", "untyped-input", E,
     "Inputs of the main graph declare a type with a valid element type and a shape (IR.md, "
     "Graphs). Commands that transform or run a model take any shape where there is none."},
    {"E110", "untyped-output", E,
     "Outputs of the main graph declare a type with a valid element type and a shape (IR.md, "
     "Graphs). Commands that transform or run a model infer them."},
    {"E111", "node-without-outputs", E, "A node has at least one output (IR.md, Nodes)."},
    {"E112", "initializer-not-input", E,
     "Up to IR version 3 each initializer is a graph input too (IR.md, Graphs)."},
    {"E113", "body-input-with-default", E,
     "From IR version 4 on a body's input must not be an initializer as well (IR.md, Graphs)."},
    {"W114", "shadowed-by-input", W,
     "A body's input or initializer has the name of a value around it: allowed by checkers, "
     "against "
     "IR.md. The inner one is meant inside."},
    {"W115", "node-name-twice", W, "Two nodes of a graph have the same name (IR.md, Names)."},
    {"W116", "output-listed-twice", W, "A graph lists the same value as an output more than once."},
    {"W117", "no-outputs", W, "A graph without outputs computes nothing."},
    {"W118", "negative-dimension", W, "A declared size is negative; it is taken as not known."},
    {"E201", "unknown-operator", E,
     "An operator of a domain whose operator sets are known is not in any version of them."},
    {"E202", "operator-not-in-opset", E,
     "The operator came with a newer version of the operator set than the model imports."},
    {"E203", "deprecated-operator", E, "The operator is deprecated in the imported operator set."},
    {"E204", "domain-not-imported", E,
     "The node's domain is not among the operator sets that the model, or the function, imports."},
    {"E205", "operand-count", E, "The node has too few or too many inputs or outputs."},
    {"E206", "operand-missing", E, "An input is left out that the operator requires."},
    {"E207", "operand-type", E,
     "The type of an input or output is not among those the operator takes."},
    {"E208", "operand-types-differ", E,
     "Inputs or outputs that share a type variable of the operator have different types."},
    {"E209", "attribute-unknown", E, "The operator has no attribute of that name in this version."},
    {"E210", "attribute-missing", E, "A required attribute is not given."},
    {"E211", "attribute-type", E, "The attribute has another type than the operator wants."},
    {"E212", "attribute-twice", E,
     "Attribute names are unique within a node (onnx.proto, NodeProto)."},
    {"E213", "attribute-reference", E,
     "Only nodes in functions may refer to attributes of a function (onnx.proto, ref_attr_name)."},
    {"E214", "attribute-value", E,
     "The value of an attribute is outside of what the operator defines."},
    {"E215", "body-signature", E,
     "Inputs and outputs of a body do not fit the operator that holds it (If, Loop, Scan)."},
    {"W216", "custom-operator", W,
     "An operator of an unknown domain: its types are not known and it cannot be run."},
    {"W217", "attribute-choice", W,
     "A string attribute is none of the values that the operator's text lists."},
    {"E301", "tensor-shape", E, "Sizes of a tensor are not negative and agree with its data."},
    {"E302", "tensor-type", E, "A tensor has a valid element type."},
    {"E303", "sparse-format", E,
     "A sparse tensor has values of rank 1, int64 indices of rank 1 or 2 with one row a value, and "
     "positive sizes (onnx.proto, SparseTensorProto)."},
    {"E304", "sparse-index", E, "Indices of a sparse tensor are in range, ascending and unique."},
    {"E305", "default-type", E, "The default of a graph input contradicts its declared type."},
    {"W306", "quantization-scale", W,
     "A constant scale is zero, negative, infinite or not a number."},
    {"W307", "bool-value", W,
     "A byte of a bool tensor is neither 0 nor 1; any other counts as true."},
    {"E401", "function-twice", E, "Functions have unique (domain, name, overload) (onnx.proto)."},
    {"E402", "function-recursion", E,
     "Functions must not call themselves, not even in turns (onnx.proto)."},
    {"E403", "function-id", E, "A function has a name and a domain."},
    {"E404", "call-arity", E, "A call gives or takes more values than the function has."},
    {"E405", "function-parameter-twice", E,
     "Inputs, outputs and attributes of a function have unique names (IR.md, Functions)."},
    {"E406", "function-opset", E,
     "The operator sets that a function imports agree with the model's for the operators it uses."},
    {"E407", "reference-type", E,
     "An attribute that refers to the function's has another type than it."},
    {"W408", "reference-unknown", W,
     "A node refers to an attribute that its function does not declare."},
    {"W409", "function-shadows-operator", W,
     "A function has the identity of a standard operator: calls mean the function."},
    {"W410", "function-before-ir8", W, "Functions came with IR version 8."},
    {"E501", "shape-rule", E,
     "Types, shapes or known values of a node's inputs contradict its operator."},
    {"E502", "declared-type", E, "A value is declared with another type than its node gives it."},
    {"E503", "declared-shape", E, "A value is declared with another shape than its node gives it."},
    {"W504", "declared-shape-unsure", W,
     "A value is declared with another shape than its node gives it; the inferred one is used."},
    {"W505", "symbol-clash", W, "Inputs that share a named size are given with different ones."},
};

}  // namespace

const char* severity_name(Severity s) {
  return s == Severity::kError ? "error" : s == Severity::kWarning ? "warning" : "note";
}

std::span<const Rule> all_rules() { return kRules; }

const Rule* find_rule(std::string_view s) {
  auto it = std::find_if(std::begin(kRules), std::end(kRules),
                         [&](const Rule& r) { return s == r.code || s == r.name; });
  return it == std::end(kRules) ? nullptr : &*it;
}

std::string Finding::text() const {
  return format("{}: {}{}{}", rule ? rule->code : "", where, where.empty() ? "" : ": ", message);
}

Error to_error(const Finding& f) {
  Error e = invalid(f.message);
  if (!f.where.empty()) e.context.push_back(f.where);
  return e;
}

}  // namespace onnxtool
