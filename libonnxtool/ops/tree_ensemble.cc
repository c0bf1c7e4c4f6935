// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/tree_ensemble.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"

namespace onnxtool {
namespace {

using Test = Forest::Test;

template <typename V>
Status same_size(const V& v, size_t n, std::string_view attr) {
  if (v.size() == n) return ok();
  return invalid(format("attribute '{}' has {} values, {} expected", attr, v.size(), n));
}

Result<std::vector<int64_t>> ints(const Node& node, std::string_view attr, size_t n) {
  const auto* v = node.attr_ints(attr);
  if (v == nullptr)
    return n == 0 ? Result<std::vector<int64_t>>(std::vector<int64_t>())
                  : invalid(format("attribute '{}' is missing", attr));
  TRY(same_size(*v, n, attr));
  return *v;
}

std::vector<int64_t> optional_ints(const Node& node, std::string_view attr, size_t n) {
  const auto* v = node.attr_ints(attr);
  return v != nullptr && v->size() == n ? *v : std::vector<int64_t>(n, 0);
}

Status set_feature(Forest& f, Forest::Node& n, int64_t feature) {
  if (feature < 0 || feature > INT32_MAX)
    return invalid(format("feature {} is out of range", feature));
  n.feature = static_cast<int32_t>(feature);
  f.features = std::max(f.features, feature + 1);
  return ok();
}

// Every path from a root ends: no node is its own descendant.
Status check_acyclic(const Forest& f) {
  std::vector<uint8_t> state(f.nodes.size(), 0);  // 1: on the path, 2: done
  std::vector<int32_t> stack;
  for (int32_t root : f.roots) {
    stack.push_back(root);
    while (!stack.empty()) {
      const int32_t at = stack.back();
      const Forest::Node& n = f.nodes[static_cast<size_t>(at)];
      uint8_t& s = state[static_cast<size_t>(at)];
      if (s != 0) {
        s = 2;
        stack.pop_back();
        continue;
      }
      s = n.test == Test::kLeaf ? 2 : 1;
      if (n.test == Test::kLeaf) continue;
      for (int32_t child : {n.yes, n.no}) {
        if (state[static_cast<size_t>(child)] == 1)
          return invalid(format("tree node {} is its own descendant", child));
        if (state[static_cast<size_t>(child)] == 0) stack.push_back(child);
      }
    }
  }
  return ok();
}

// ------------------------------------------------------------- versions 1 and 3: one row a node
struct Votes {
  std::vector<int64_t> trees, nodes, targets;
  std::vector<double> weights;
};

Result<Votes> votes_of(const Node& node, bool classifier) {
  const std::string p = classifier ? "class_" : "target_";
  Votes v;
  v.weights = numbers_of(node, p + "weights");
  const size_t n = v.weights.size();
  TRY_ASSIGN(v.trees, ints(node, p + "treeids", n));
  TRY_ASSIGN(v.nodes, ints(node, p + "nodeids", n));
  TRY_ASSIGN(v.targets, ints(node, p + "ids", n));
  return v;
}

Result<Test> test_of(std::string_view mode) {
  static constexpr std::string_view kNames[] = {
      "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "", "LEAF"};
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (kNames[i] == mode && !mode.empty()) return static_cast<Test>(i);
  return invalid(format("node mode {} is not known", quoted(mode)));
}

Status read_rows(const Node& node, bool classifier, Forest& f) {
  const auto* modes = node.attr_strings("nodes_modes");
  const size_t n = modes != nullptr ? modes->size() : 0;
  if (n > INT32_MAX) return unsupported("too many tree nodes");
  TRY_ASSIGN(const auto trees, ints(node, "nodes_treeids", n));
  TRY_ASSIGN(const auto ids, ints(node, "nodes_nodeids", n));
  TRY_ASSIGN(const auto features, ints(node, "nodes_featureids", n));
  TRY_ASSIGN(const auto yes, ints(node, "nodes_truenodeids", n));
  TRY_ASSIGN(const auto no, ints(node, "nodes_falsenodeids", n));
  const auto missing = optional_ints(node, "nodes_missing_value_tracks_true", n);
  const std::vector<double> values = numbers_of(node, "nodes_values");
  TRY(same_size(values, n, "nodes_values"));
  std::map<std::pair<int64_t, int64_t>, int32_t> index;
  for (size_t i = 0; i < n; ++i)
    if (!index.emplace(std::pair(trees[i], ids[i]), static_cast<int32_t>(i)).second)
      return invalid(format("node {} of tree {} is there twice", ids[i], trees[i]));
  std::vector<bool> child(n, false);
  f.nodes.resize(n);
  for (size_t i = 0; i < n; ++i) {
    Forest::Node& r = f.nodes[i];
    TRY_ASSIGN(r.test, test_of((*modes)[i]));
    if (r.test == Test::kLeaf) continue;
    TRY(set_feature(f, r, features[i]));
    r.split = values[i];
    r.missing_true = missing[i] != 0;
    for (bool branch : {true, false}) {
      const int64_t id = branch ? yes[i] : no[i];
      const auto it = index.find(std::pair(trees[i], id));
      if (it == index.end())
        return invalid(format("tree {} has no node {}, child of {}", trees[i], id, ids[i]));
      (branch ? r.yes : r.no) = it->second;
      child[static_cast<size_t>(it->second)] = true;
    }
  }
  for (size_t i = 0; i < n; ++i)
    if (!child[i]) f.roots.push_back(static_cast<int32_t>(i));
  if (n > 0 && f.roots.empty()) return invalid("the trees have no root");
  // Votes, grouped by their leaf in the order given.
  TRY_ASSIGN(const Votes v, votes_of(node, classifier));
  std::vector<std::pair<int32_t, size_t>> order;
  for (size_t k = 0; k < v.weights.size(); ++k) {
    const auto it = index.find(std::pair(v.trees[k], v.nodes[k]));
    if (it == index.end())
      return invalid(
          format("a vote is for node {} of tree {}, which is not there", v.nodes[k], v.trees[k]));
    if (v.targets[k] < 0 || v.targets[k] >= f.targets)
      return invalid(format("a vote is for target {} of {}", v.targets[k], f.targets));
    order.emplace_back(it->second, k);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [at, k] : order) {
    Forest::Node& r = f.nodes[static_cast<size_t>(at)];
    if (r.test != Test::kLeaf) continue;
    if (r.count == 0) r.first = static_cast<uint32_t>(f.votes.size());
    ++r.count;
    f.votes.push_back({v.targets[k], v.weights[k]});
  }
  return ok();
}

// ------------------------------------------------------- version 5: inner nodes and leaves apart
Result<std::vector<double>> tensor_numbers(const Node& node, std::string_view attr) {
  const Tensor* t = node.attr_tensor(attr);
  if (t == nullptr) return std::vector<double>();
  if (!is_float(t->dtype()) && !is_integer(t->dtype()))
    return invalid(format("attribute '{}' holds no numbers", attr));
  return t->to_aligned().to_f64();
}

Status read_split(const Node& node, Forest& f) {
  TRY_ASSIGN(const auto modes, tensor_numbers(node, "nodes_modes"));
  TRY_ASSIGN(const auto splits, tensor_numbers(node, "nodes_splits"));
  TRY_ASSIGN(const auto weights, tensor_numbers(node, "leaf_weights"));
  TRY_ASSIGN(const auto members, tensor_numbers(node, "membership_values"));
  const size_t n = modes.size(), leaves = weights.size();
  if (n > INT32_MAX / 2 || leaves > INT32_MAX / 2) return unsupported("too many tree nodes");
  TRY(same_size(splits, n, "nodes_splits"));
  TRY_ASSIGN(const auto features, ints(node, "nodes_featureids", n));
  TRY_ASSIGN(const auto yes, ints(node, "nodes_truenodeids", n));
  TRY_ASSIGN(const auto no, ints(node, "nodes_falsenodeids", n));
  TRY_ASSIGN(const auto yes_leaf, ints(node, "nodes_trueleafs", n));
  TRY_ASSIGN(const auto no_leaf, ints(node, "nodes_falseleafs", n));
  TRY_ASSIGN(const auto targets, ints(node, "leaf_targetids", leaves));
  const auto missing = optional_ints(node, "nodes_missing_value_tracks_true", n);
  f.nodes.resize(n + leaves);
  auto link = [&](int64_t id, bool leaf) -> Result<int32_t> {
    if (id < 0 || static_cast<size_t>(id) >= (leaf ? leaves : n))
      return invalid(format("tree {} {} is not there", leaf ? "leaf" : "node", id));
    return static_cast<int32_t>(id + (leaf ? static_cast<int64_t>(n) : 0));
  };
  size_t member = 0;
  for (size_t i = 0; i < n; ++i) {
    Forest::Node& r = f.nodes[i];
    if (!(modes[i] >= 0 && modes[i] <= 6))
      return invalid(format("node mode {} is not known", modes[i]));
    r.test = static_cast<Test>(static_cast<int>(modes[i]));
    TRY(set_feature(f, r, features[i]));
    r.split = splits[i];
    r.missing_true = missing[i] != 0;
    TRY_ASSIGN(r.yes, link(yes[i], yes_leaf[i] != 0));
    TRY_ASSIGN(r.no, link(no[i], no_leaf[i] != 0));
    if (r.test != Test::kMember) continue;
    // Its members are those up to the next NaN.
    r.first = static_cast<uint32_t>(f.members.size());
    while (member < members.size() && !std::isnan(members[member]))
      f.members.push_back(members[member++]);
    if (member == members.size()) return invalid("attribute 'membership_values' has too few sets");
    ++member;
    r.count = static_cast<uint32_t>(f.members.size()) - r.first;
  }
  for (size_t i = 0; i < leaves; ++i) {
    if (targets[i] < 0 || targets[i] >= f.targets)
      return invalid(format("leaf {} is for target {} of {}", i, targets[i], f.targets));
    Forest::Node& r = f.nodes[n + i];
    r.first = static_cast<uint32_t>(i);
    r.count = 1;
    f.votes.push_back({targets[i], weights[i]});
  }
  const auto* roots = node.attr_ints("tree_roots");
  if (roots == nullptr) return invalid("attribute 'tree_roots' is missing");
  for (int64_t root : *roots) {
    TRY_ASSIGN(const int32_t at, link(root, false));
    f.roots.push_back(at);
  }
  return ok();
}

bool passes(const Forest& f, const Forest::Node& n, double x) {
  if (std::isnan(x) && n.missing_true) return true;
  switch (n.test) {
    case Test::kLeq: return x <= n.split;
    case Test::kLt: return x < n.split;
    case Test::kGte: return x >= n.split;
    case Test::kGt: return x > n.split;
    case Test::kEq: return x == n.split;
    case Test::kNeq: return x != n.split;
    case Test::kMember: {
      const auto first = f.members.begin() + n.first;
      return std::find(first, first + n.count, x) != first + n.count;
    }
    case Test::kLeaf: break;
  }
  return false;
}

}  // namespace

Result<Forest> forest_of(const Node& node) {
  Forest f;
  const bool classifier = node.op.view() == "TreeEnsembleClassifier";
  if (classifier) {
    TRY_ASSIGN(const Labels labels, labels_of(node, "classlabels_int64s", "classlabels_strings"));
    f.targets = static_cast<int64_t>(labels.size());
  } else {
    f.targets = node.attr_int("n_targets", 1);
  }
  if (f.targets < 1 || f.targets > INT32_MAX)
    return invalid(format("there are {} targets", f.targets));
  if (node.op.view() == "TreeEnsemble") {
    const int64_t aggregate = node.attr_int("aggregate_function", 1),
                  transform = node.attr_int("post_transform", 0);
    if (aggregate < 0 || aggregate > 3)
      return invalid(format("attribute 'aggregate_function' is {}", aggregate));
    if (transform < 0 || transform > 4)
      return invalid(format("attribute 'post_transform' is {}", transform));
    f.aggregate = static_cast<Forest::Aggregate>(aggregate);
    f.transform = static_cast<PostTransform>(transform);
    TRY(read_split(node, f));
  } else {
    TRY_ASSIGN(f.transform, post_transform_of(node));
    if (!classifier) {
      TRY_ASSIGN(const size_t a,
                 choice(node, "aggregate_function", "SUM", {"AVERAGE", "SUM", "MIN", "MAX"}));
      f.aggregate = static_cast<Forest::Aggregate>(a);
    }
    f.base = numbers_of(node, "base_values");
    TRY(read_rows(node, classifier, f));
  }
  TRY(check_acyclic(f));
  return f;
}

void forest_scores(const Forest& f, std::span<const double> row, std::span<double> scores,
                   std::vector<bool>& seen) {
  std::fill(scores.begin(), scores.end(), 0.0);
  seen.assign(scores.size(), false);
  for (int32_t root : f.roots) {
    const Forest::Node* n = &f.nodes[static_cast<size_t>(root)];
    while (n->test != Test::kLeaf)
      n = &f.nodes[static_cast<size_t>(
          passes(f, *n, row[static_cast<size_t>(n->feature)]) ? n->yes : n->no)];
    for (uint32_t k = n->first; k < n->first + n->count; ++k) {
      const size_t t = static_cast<size_t>(f.votes[k].target);
      const double w = f.votes[k].weight;
      if (f.aggregate == Forest::Aggregate::kMin)
        scores[t] = seen[t] ? std::min(scores[t], w) : w;
      else if (f.aggregate == Forest::Aggregate::kMax)
        scores[t] = seen[t] ? std::max(scores[t], w) : w;
      else
        scores[t] += w;
      seen[t] = true;
    }
  }
  if (f.aggregate == Forest::Aggregate::kAverage && !f.roots.empty())
    for (double& s : scores) s /= static_cast<double>(f.roots.size());
}

}  // namespace onnxtool
