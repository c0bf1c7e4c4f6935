// SPDX-License-Identifier: Apache-2.0
// Internal to infer/verify*.cc: one run of the verifier.
#pragma once
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "libonnxtool/infer/verify.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool::verifying {

struct Verifier {
  const Model& model;
  VerifyOptions options;
  std::vector<Finding> findings;

  Verifier(const Model& m, const VerifyOptions& o) : model(m), options(o) {}
  void run();
  bool full() const { return findings.size() >= options.max_findings; }
  void add(const char* code, std::string message, std::string where = {}, GraphId g = {},
           NodeId n = {}, ValueId v = {});
  void add(const char* code, NodeId n, std::string message, ValueId v = {});
  std::string place(GraphId g) const;  // "graph 'main'", "function 'f'"

  void check_header();  // verify.cc: IR version, operator sets
  void check_imports(const std::vector<OpsetImport>& imports, const std::string& where);
  void check_main_types();  // declared types of the main graph

  void check_graph(GraphId g, int depth);  // verify_graph.cc
  void define(GraphId g, ValueId v, std::unordered_map<std::string_view, ValueId>& names);
  void check_use(GraphId g, NodeId n, ValueId v, const std::string& as);
  void check_order(GraphId g);

  void check_node(NodeId n);  // verify_nodes.cc
  void check_attributes(NodeId n, const Schema* schema);
  void check_signature(NodeId n);  // bodies of If, Loop, Scan
  void check_types(NodeId n);
  bool known_domain(std::string_view domain);

  void check_initializer(GraphId g, ValueId v);  // verify_tensors.cc
  void check_tensor(const Tensor& t, const std::string& where, GraphId g, NodeId n, ValueId v);
  void check_sparse(const SparseTensor& s, const std::string& where, GraphId g, NodeId n,
                    ValueId v);

  void check_functions();  // verify_functions.cc
  void check_function(size_t index);
  void check_recursion();
  const Function* function_of(const Node& n);

 private:
  std::vector<bool> defined_;                        // by value: exists where the walk is
  std::unordered_map<std::string_view, int> scope_;  // names around the graph that is walked
  std::unordered_set<uint32_t> unordered_;           // graphs with a use before the definition
  std::unordered_map<std::string, const Function*> functions_;
  bool functions_ready_ = false;
  std::unordered_map<std::string, bool> domains_;
};

}  // namespace onnxtool::verifying
