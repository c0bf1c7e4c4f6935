// SPDX-License-Identifier: Apache-2.0
// Runs a model by the reference evaluations, node by node: the oracle of passes, kernels and
// tests. Slow and exact. Values are released after their last use.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "libonnxtool/infer/evaluate.h"

namespace onnxtool {

// A node that was just run: also nodes of bodies (each time) and of functions.
struct NodeRun {
  NodeId node;
  const Function* function = nullptr;  // the function whose body holds it
  std::span<const Datum> inputs, outputs;
};

struct InterpreterOptions {
  int64_t memory_limit = 0;                       // bytes of values alive at once; 0: no limit
  int64_t max_steps = 0;                          // nodes and loop trips; 0: no limit
  int max_depth = 100;                            // nesting of bodies and calls
  uint64_t seed = 0;                              // for random operators without a seed
  std::function<Status(const NodeRun&)> observe;  // an error ends the run
};

// Refers to the model, which must neither move nor change. Nodes that no graph output depends on
// are not run.
class Interpreter {
 public:
  explicit Interpreter(const Model& model, InterpreterOptions options = {});
  Interpreter(Interpreter&&) noexcept;
  Interpreter& operator=(Interpreter&&) noexcept;
  ~Interpreter();

  // `inputs` in the order of the main graph's inputs; a Datum without value, or a list cut short,
  // stands for the input's default. Results are in the order of the graph's outputs.
  Result<std::vector<Datum>> run(std::span<const Datum> inputs);
  // One node with these inputs; `outer` gives what its bodies capture.
  Result<std::vector<Datum>> run_node(const Node& node, std::span<const Datum> inputs,
                                      const OuterValues& outer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onnxtool
