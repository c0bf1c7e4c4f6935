// SPDX-License-Identifier: Apache-2.0
#include "exec/cpu/forest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "libonnxtool/base/str.h"

namespace onnxtool::cpu {
namespace {

using Test = Forest::Test;
constexpr float kInf = std::numeric_limits<float>::infinity();

// The largest float t such that x <= t says the same as x <= s for every float x; `below`: x < s.
float threshold(double s, bool below) {
  float t = static_cast<float>(s);
  if (static_cast<double>(t) > s || (below && static_cast<double>(t) == s))
    t = std::nextafter(t, -kInf);
  return t;
}

// One tree as binary tests in plain form.
struct Plain {
  struct Node {
    float threshold = 0;
    bool nan_left = false, leaf = false, equal = false;
    uint32_t feature = 0;
    int32_t left = -1, right = -1;  // nodes of this list
    int32_t source = -1;            // a leaf's node in the forest
  };
  std::vector<Node> nodes;
  bool shared = false;  // some node has several parents
};

class Compiler {
 public:
  explicit Compiler(const Forest& f) : f_(f) {}

  Result<simd::Trees> run() {
    if (f_.aggregate == Forest::Aggregate::kMin || f_.aggregate == Forest::Aggregate::kMax)
      return unsupported("smallest and largest votes");
    if (f_.features > int64_t{1} << 30) return unsupported("too many features");
    // Shared subtrees, which the format allows, are written out; chains of tests are too.
    limit_ = 4 * f_.nodes.size() + 4 * f_.members.size() + 1024;
    for (int32_t root : f_.roots) {
      Plain plain;
      const size_t before = made_;
      share_ = false;
      tree_limit_ = made_ + 2 * kSmall;
      if (!flatten(root, plain).ok()) {  // not small, or some nodes are reached many times
        plain = Plain();
        made_ = before;
        share_ = true;
        tree_limit_ = limit_;
        TRY(flatten(root, plain));
      }
      TRY(add(plain));
    }
    out_.first_vote.push_back(static_cast<uint32_t>(out_.votes.size()));
    return std::move(out_);
  }

 private:
  int32_t push(Plain& p, Plain::Node n) {
    p.nodes.push_back(n);
    return static_cast<int32_t>(p.nodes.size()) - 1;
  }

  // Nodes of the forest still to be written, and where their number goes.
  struct Todo {
    int32_t node;
    int32_t parent;  // -1: the root
    bool left;
  };

  Status flatten(int32_t root, Plain& p) {
    std::vector<Todo> todo = {{root, -1, false}};
    std::unordered_map<int32_t, int32_t> written;
    const auto link = [&](const Todo& t, int32_t to) {
      if (t.parent < 0) return;
      Plain::Node& n = p.nodes[static_cast<size_t>(t.parent)];
      (t.left ? n.left : n.right) = to;
    };
    while (!todo.empty()) {
      const Todo t = todo.back();
      todo.pop_back();
      const Forest::Node& n = f_.nodes[static_cast<size_t>(t.node)];
      if (++made_ > tree_limit_) return unsupported("trees that share too many nodes");
      if (share_) {
        const auto [it, fresh] = written.try_emplace(t.node, static_cast<int32_t>(p.nodes.size()));
        if (!fresh) {
          link(t, it->second);
          p.shared = true;
          continue;
        }
      }
      Plain::Node to;
      to.feature = static_cast<uint32_t>(n.feature);
      switch (n.test) {
        case Test::kLeaf:
          to.leaf = true;
          to.source = t.node;
          link(t, push(p, to));
          break;
        case Test::kLeq:
        case Test::kLt:
        case Test::kGt:
        case Test::kGte: {
          const bool flipped = n.test == Test::kGt || n.test == Test::kGte;
          const bool below = n.test == Test::kLt || n.test == Test::kGte;
          if (std::isnan(n.split) || (below && n.split == -INFINITY))
            return unsupported("a test against NaN, or below all numbers");
          to.threshold = threshold(n.split, below);
          to.nan_left = n.missing_true != flipped;
          const int32_t at = push(p, to);
          link(t, at);
          todo.push_back({flipped ? n.yes : n.no, at, false});
          todo.push_back({flipped ? n.no : n.yes, at, true});
          break;
        }
        case Test::kEq:
        case Test::kNeq: {
          const bool eq = n.test == Test::kEq;
          const int32_t same = eq ? n.yes : n.no, other = eq ? n.no : n.yes;
          // NaN equals nothing, unless it counts as true.
          TRY(equal(p, t, link, n, {n.split}, same, other, eq ? n.missing_true : false, todo));
          break;
        }
        case Test::kMember: {
          std::vector<double> m(f_.members.begin() + n.first,
                                f_.members.begin() + n.first + n.count);
          TRY(equal(p, t, link, n, m, n.yes, n.no, n.missing_true, todo));
          break;
        }
      }
    }
    return ok();
  }

  // x equals one of `values`: right of the number below it and not right of itself.
  template <typename Link>
  Status equal(Plain& p, Todo t, const Link& link, const Forest::Node& n,
               const std::vector<double>& values, int32_t same, int32_t other, bool nan_same,
               std::vector<Todo>& todo) {
    std::vector<float> exact;
    for (double v : values)
      if (static_cast<double>(static_cast<float>(v)) == v) exact.push_back(static_cast<float>(v));
    std::sort(exact.begin(), exact.end());
    exact.erase(std::unique(exact.begin(), exact.end()), exact.end());
    if (exact.empty() && nan_same) return unsupported("a test that only NaN passes");
    made_ += 2 * exact.size();
    if (exact.empty() && share_) return unsupported("a test that nothing passes");
    if (made_ > tree_limit_) return unsupported("trees that share too many nodes");
    Todo at = t;
    if (share_) {  // only walked: one test each
      p.shared = true;
      for (size_t i = 0; i < exact.size(); ++i) {
        Plain::Node test;
        test.feature = static_cast<uint32_t>(n.feature);
        test.threshold = exact[i];
        test.equal = true;
        test.nan_left = nan_same;
        const int32_t a = push(p, test);
        link(at, a);
        todo.push_back({same, a, true});
        at = {other, a, false};
      }
      todo.push_back(at);
      return ok();
    }
    for (size_t i = exact.size(); i-- > 0;) {  // from the largest: right of it is another
      Plain::Node above, below;
      above.feature = below.feature = static_cast<uint32_t>(n.feature);
      above.threshold = exact[i];
      below.threshold = threshold(static_cast<double>(exact[i]), true);
      above.nan_left = nan_same;  // then right of the lower test
      const int32_t a = push(p, above);
      link(at, a);
      const int32_t b = push(p, below);
      p.nodes[static_cast<size_t>(a)].left = b;
      todo.push_back({other, a, false});
      todo.push_back({same, b, false});
      at = {other, b, true};
    }
    todo.push_back({other, at.parent, at.left});
    return ok();
  }

  // Nodes with several parents: only walked. A node is written once for each parent, its children
  // once for all.
  Status add_shared(const Plain& p) {
    simd::Trees::Tree tree{};
    tree.first_leaf = static_cast<uint32_t>(out_.first_vote.size());
    constexpr uint32_t kNone = UINT32_MAX, kOpen = UINT32_MAX - 1;
    std::vector<uint32_t> number(p.nodes.size(), 0), height(p.nodes.size(), kNone);
    uint32_t leaf = 0;
    for (size_t i = 0; i < p.nodes.size(); ++i)
      if (p.nodes[i].leaf) {
        add_leaf(f_.nodes[static_cast<size_t>(p.nodes[i].source)], leaf == 0, tree);
        number[i] = leaf++;
      }
    std::vector<int32_t> stack = {0};
    while (!stack.empty()) {
      const auto at = static_cast<size_t>(stack.back());
      const Plain::Node& n = p.nodes[at];
      if (n.leaf || (height[at] != kNone && height[at] != kOpen)) {
        if (n.leaf) height[at] = 0;
        stack.pop_back();
        continue;
      }
      const auto left = static_cast<size_t>(n.left), right = static_cast<size_t>(n.right);
      if (height[at] == kOpen) {
        height[at] = std::max(height[left], height[right]) + 1;
        stack.pop_back();
        continue;
      }
      height[at] = kOpen;
      for (size_t c : {left, right}) {
        if (height[c] == kOpen) return unsupported("a tree that leads back to itself");
        if (height[c] == kNone) stack.push_back(static_cast<int32_t>(c));
      }
    }
    tree.depth = height[0];
    tree.root = static_cast<uint32_t>(out_.steps.size());
    tree.begin = tree.nan_left = tree.end = static_cast<uint32_t>(out_.tests.size());
    if (out_.steps.size() + 2 * p.nodes.size() > UINT32_MAX / 4)
      return unsupported("too many nodes");
    std::vector<uint32_t> children(p.nodes.size(), kNone);
    std::vector<int32_t> order = {0};
    for (size_t i = 0; i < order.size(); ++i) {
      const auto at = static_cast<size_t>(order[i]);
      const Plain::Node& n = p.nodes[at];
      const uint32_t self = tree.root + static_cast<uint32_t>(i);
      if (n.leaf) {
        out_.steps.push_back({kInf, simd::Trees::kNanLeft, self, number[at]});
        continue;
      }
      if (children[at] == kNone) {
        children[at] = tree.root + static_cast<uint32_t>(order.size());
        order.push_back(n.left);
        order.push_back(n.right);
      }
      out_.steps.push_back({n.threshold,
                            n.feature | (n.nan_left ? simd::Trees::kNanLeft : 0) |
                                (n.equal ? simd::Trees::kEqual : 0),
                            children[at], 0});
    }
    out_.trees.push_back(tree);
    return ok();
  }

  Status add(const Plain& p) {
    if (p.shared) return add_shared(p);
    simd::Trees::Tree tree{};
    const auto leaves = static_cast<size_t>(
        std::count_if(p.nodes.begin(), p.nodes.end(), [](const auto& n) { return n.leaf; }));
    tree.first_leaf = static_cast<uint32_t>(out_.first_vote.size());
    if (out_.steps.size() + p.nodes.size() > UINT32_MAX / 4) return unsupported("too many nodes");
    // Depth first, left first: leaves in order, and each node's first and last leaf.
    std::vector<uint32_t> first(p.nodes.size()), last(p.nodes.size()), number(p.nodes.size());
    struct Visit {
      int32_t node;
      uint32_t depth;
      bool after;
    };
    std::vector<Visit> stack = {{0, 0, false}};
    uint32_t leaf = 0;
    while (!stack.empty()) {
      const Visit v = stack.back();
      stack.pop_back();
      const auto at = static_cast<size_t>(v.node);
      const Plain::Node& n = p.nodes[at];
      if (v.after) {
        last[at] = leaf;
        continue;
      }
      first[at] = leaf;
      tree.depth = std::max(tree.depth, v.depth);
      if (n.leaf) {
        add_leaf(f_.nodes[static_cast<size_t>(n.source)], leaf == 0, tree);
        number[at] = leaf++;
        last[at] = leaf;
        continue;
      }
      stack.push_back({v.node, v.depth, true});
      stack.push_back({n.right, v.depth + 1, false});
      stack.push_back({n.left, v.depth + 1, false});
    }
    add_walk(p, number, tree);
    tree.begin = tree.nan_left = tree.end = static_cast<uint32_t>(out_.tests.size());
    if (leaves <= 64 && leaves > 1) {
      for (bool nan_left : {false, true}) {
        if (nan_left) tree.nan_left = static_cast<uint32_t>(out_.tests.size());
        for (const Plain::Node& n : p.nodes) {
          if (n.leaf || n.nan_left != nan_left) continue;
          const auto l = static_cast<size_t>(n.left);
          uint64_t keep = ~uint64_t{0};
          for (uint32_t b = first[l]; b < last[l]; ++b) keep &= ~(uint64_t{1} << b);
          out_.tests.push_back({n.threshold,
                                n.feature,
                                {static_cast<uint32_t>(keep), static_cast<uint32_t>(keep >> 32)}});
        }
      }
      tree.end = static_cast<uint32_t>(out_.tests.size());
    }
    out_.trees.push_back(tree);
    return ok();
  }

  void add_leaf(const Forest::Node& n, bool is_first, simd::Trees::Tree& tree) {
    out_.first_vote.push_back(static_cast<uint32_t>(out_.votes.size()));
    for (uint32_t k = n.first; k < n.first + n.count; ++k)
      out_.votes.push_back({f_.votes[k].weight, static_cast<uint32_t>(f_.votes[k].target)});
    const int32_t target = n.count == 1 ? static_cast<int32_t>(f_.votes[n.first].target) : -1;
    out_.weights.push_back(n.count == 1 ? f_.votes[n.first].weight : 0);
    tree.target = is_first ? target : tree.target == target ? target : -1;
  }

  // Level by level, children next to each other.
  void add_walk(const Plain& p, const std::vector<uint32_t>& number, simd::Trees::Tree& tree) {
    tree.root = static_cast<uint32_t>(out_.steps.size());
    std::vector<int32_t> order = {0};
    for (size_t i = 0; i < order.size(); ++i) {
      const Plain::Node& n = p.nodes[static_cast<size_t>(order[i])];
      const uint32_t self = tree.root + static_cast<uint32_t>(i);
      if (n.leaf) {
        out_.steps.push_back(
            {kInf, simd::Trees::kNanLeft, self, number[static_cast<size_t>(order[i])]});
        continue;
      }
      out_.steps.push_back({n.threshold, n.feature | (n.nan_left ? simd::Trees::kNanLeft : 0),
                            tree.root + static_cast<uint32_t>(order.size()), 0});
      order.push_back(n.left);
      order.push_back(n.right);
    }
  }

  static constexpr size_t kSmall = 128;  // nodes of a tree that the fastest form takes
  const Forest& f_;
  simd::Trees out_;
  size_t made_ = 0, limit_ = 0, tree_limit_ = 0;
  bool share_ = false;
};

}  // namespace

float Ranks::of(size_t feature, double x) const {
  if (std::isnan(x)) return std::numeric_limits<float>::quiet_NaN();
  const double* from = values.data() + first[feature];
  const double* at = from;
  size_t n = first[feature + 1] - first[feature];
  if (n == 0) return 0;
  while (n > 1) {  // the answer lies in at .. at + n
    const size_t half = n / 2;
    at += at[half - 1] < x ? half : 0;
    n -= half;
  }
  at += *at < x ? 1 : 0;
  const bool equal = at != values.data() + first[feature + 1] && *at == x;
  return static_cast<float>(2 * (at - from) + (equal ? 1 : 0));
}

Ranks rank_tests(Forest& f) {
  std::vector<std::vector<double>> by_feature(static_cast<size_t>(f.features));
  const auto each = [&](auto visit) {
    for (Forest::Node& n : f.nodes) {
      if (n.test == Test::kLeaf) continue;
      const auto feature = static_cast<size_t>(n.feature);
      if (n.test != Test::kMember) visit(feature, n.split);
      for (uint32_t k = 0; n.test == Test::kMember && k < n.count; ++k)
        visit(feature, f.members[n.first + k]);
    }
  };
  each([&](size_t feature, double x) {
    if (!std::isnan(x)) by_feature[feature].push_back(x);
  });
  Ranks r;
  for (std::vector<double>& v : by_feature) {
    std::sort(v.begin(), v.end());
    r.first.push_back(r.values.size());
    r.values.insert(r.values.end(), v.begin(), std::unique(v.begin(), v.end()));
  }
  r.first.push_back(r.values.size());
  each([&](size_t feature, double& x) { x = static_cast<double>(r.of(feature, x)); });
  return r;
}

Result<simd::Trees> compile_forest(const Forest& f) { return Compiler(f).run(); }

ForestVotes votes_of(const Forest& f) {
  ForestVotes r;
  r.single = f.targets == 2 && !f.votes.empty();
  if (r.single) r.target = f.votes[0].target;
  for (const Forest::Vote& v : f.votes) {
    r.single &= v.target == f.votes[0].target;
    r.all_positive &= v.weight >= 0;
  }
  // Some tree all of whose leaves vote for the target.
  std::vector<uint8_t> sure(static_cast<size_t>(f.targets), 0);
  if (f.targets <= 4096) {
    std::vector<int64_t> count(sure.size()), latest(sure.size(), 0);
    int64_t leaf = 0;  // of all trees
    for (int32_t root : f.roots) {
      std::fill(count.begin(), count.end(), 0);
      int64_t leaves = 0;
      std::vector<int32_t> stack = {root};
      size_t steps = 0;
      while (!stack.empty() && ++steps <= f.nodes.size()) {
        const Forest::Node& n = f.nodes[static_cast<size_t>(stack.back())];
        stack.pop_back();
        if (n.test != Test::kLeaf) {
          stack.push_back(n.yes);
          stack.push_back(n.no);
          continue;
        }
        ++leaves;
        ++leaf;
        for (uint32_t k = n.first; k < n.first + n.count; ++k) {
          const auto t = static_cast<size_t>(f.votes[k].target);
          if (latest[t] != leaf) ++count[t];
          latest[t] = leaf;
        }
      }
      if (!stack.empty()) continue;
      for (size_t t = 0; t < sure.size(); ++t) sure[t] |= count[t] == leaves;
    }
  }
  r.all_seen = r.single || std::all_of(sure.begin(), sure.end(), [](uint8_t s) { return s != 0; });
  return r;
}

}  // namespace onnxtool::cpu
