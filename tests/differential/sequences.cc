// SPDX-License-Identifier: Apache-2.0
// Recurrent networks, attention, tree ensembles.
#include <algorithm>

#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

Case rnn(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t gates = c.op == "LSTM" ? 4 : c.op == "GRU" ? 3 : 1;
  const int64_t length = g.between(1, 7), batch = g.between(1, 4), size = g.extent(9),
                hidden = g.between(1, 18);
  const char* direction = g.pick({"forward", "forward", "reverse", "bidirectional"});
  const int64_t ways = *direction == 'b' ? 2 : 1;
  const bool constant = g.chance(0.8), by_batch = g.chance(0.15);
  c.outputs = c.op == "LSTM" ? 3 : 2;
  c.add(g.floats(by_batch ? Dims{batch, length, size} : Dims{length, batch, size}, -1, 1));
  c.add(g.floats({ways, gates * hidden, size}, -1, 1), constant);
  c.add(g.floats({ways, gates * hidden, hidden}, -1, 1), constant);
  if (g.chance(0.7))
    c.add(g.floats({ways, 2 * gates * hidden}, -1, 1), constant);
  else
    c.skip();
  if (g.chance(0.3))
    c.add(g.ints({batch}, 1, length, DType::kInt32));
  else
    c.skip();
  const Dims state = by_batch ? Dims{batch, ways, hidden} : Dims{ways, batch, hidden};
  if (g.chance(0.5))
    c.add(g.floats(state, -1, 1));
  else
    c.skip();
  if (c.op == "LSTM" && g.chance(0.5))
    c.add(g.floats(state, -1, 1));
  else
    c.skip();
  if (c.op == "LSTM" && g.chance(0.2)) c.add(g.floats({ways, 3 * hidden}, -1, 1), constant);
  while (!c.in.empty() && !c.in.back().tensor) c.in.pop_back();
  c.attr("hidden_size", hidden);
  c.attr("direction", direction);
  if (by_batch) c.attr("layout", int64_t{1});
  if (c.op == "GRU" && g.chance(0.5)) c.attr("linear_before_reset", int64_t{1});
  if (g.chance(0.15)) c.attr("clip", 0.8f);
  c.relative = 1e-4;
  c.of_scale = 1e-5;
  return c;
}

// com.microsoft.DynamicQuantizeLSTM: weights of 8 bits, operands rounded while running.
Case dynamic_lstm(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t length = g.between(1, 5), batch = g.between(1, 3), size = g.extent(9),
                hidden = g.between(1, 18), ways = g.between(1, 2);
  const DType t = g.pick({DType::kInt8, DType::kUint8});
  c.outputs = 3;
  c.add(g.floats({length, batch, size}, -1, 1));
  for (int64_t k : {size, hidden})
    c.add(g.ints({ways, k, 4 * hidden}, t == DType::kInt8 ? -90 : 30, t == DType::kInt8 ? 90 : 220,
                 t),
          true);
  if (g.chance(0.7))
    c.add(g.floats({ways, 8 * hidden}, -1, 1), true);
  else
    c.skip();
  c.skip();
  for (int i = 0; i < 2; ++i) {
    if (g.chance(0.5))
      c.add(g.floats({ways, batch, hidden}, -1, 1));
    else
      c.skip();
  }
  c.skip();
  for (int i = 0; i < 2; ++i) {
    const Dims p = g.chance(0.5) ? Dims{ways} : Dims{ways, 4 * hidden};
    c.add(g.floats(p, 0.002, 0.01), true);
    c.add(t == DType::kInt8 ? g.ints(p, -5, 5, t) : g.ints(p, 120, 136, t), true);
  }
  c.attr("hidden_size", hidden);
  c.attr("direction", ways == 2 ? "bidirectional" : "forward");
  c.of_scale = 2e-2;  // where an operand lies between two codes it may take the other one
  return c;
}

Case attention(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t batch = g.between(1, 3), kv = g.between(1, 3), heads = kv * g.between(1, 3),
                q = g.chance(0.2) ? g.between(16, 80) : g.between(1, 9),
                k = g.chance(0.2) ? g.between(100, 600) : g.between(1, 20),
                size = g.pick<int64_t>({4, 8, 16, 17, 72}), v = g.chance(0.7) ? size : 5;
  const bool packed = g.chance(0.4);
  const DType t = g.pick({DType::kFloat, DType::kFloat, DType::kFloat16, DType::kBfloat16});
  const auto operand = [&](int64_t n, int64_t length, int64_t width) {
    c.add(g.floats(packed ? Dims{batch, length, n * width} : Dims{batch, n, length, width}, -1, 1,
                   t));
  };
  const bool cached = g.chance(0.4);
  const int64_t past = cached && g.chance(0.8) ? g.between(1, 9) : 0,
                rows = cached && g.chance(0.7) ? q : k, total = past + rows;
  operand(heads, q, size);
  operand(kv, rows, size);
  operand(kv, rows, v);
  if (packed) {
    c.attr("q_num_heads", heads);
    c.attr("kv_num_heads", kv);
  }
  if (g.chance(0.5)) {
    const Dims mask = g.broadcastable({batch, heads, q, total});
    if (mask.empty() || mask.back() != total)
      c.add(g.floats({q, total}, -2, 2, t));
    else if (g.chance(0.5))
      c.add(g.floats(mask, -2, 2, t));
    else
      c.add(g.ints(mask, 0, 1, DType::kBool));
  } else if (cached) {
    c.skip();
  }
  if (cached) {
    c.add(g.floats({batch, kv, past, size}, -1, 1, t));
    c.add(g.floats({batch, kv, past, v}, -1, 1, t));
    c.outputs = 3;
  }
  if (g.chance(0.4)) c.attr("is_causal", int64_t{1});
  if (g.chance(0.3)) c.attr("scale", 0.3f);
  if (g.chance(0.2)) c.attr("softcap", 2.0f);
  c.opset = g.pick<int64_t>({23, 24, 0});
  c.relative = 2e-5;
  c.of_scale = t == DType::kFloat ? 1e-5 : t == DType::kFloat16 ? 4e-3 : 3e-2;
  return c;
}

// com.microsoft Attention and MultiHeadAttention.
Case ms_attention(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool packed = c.op == "Attention";
  const int64_t batch = g.between(1, 3), heads = g.between(1, 3), q = g.between(1, 12),
                k = packed || g.chance(0.5) ? q : g.between(1, 12),
                size = g.pick<int64_t>({4, 8, 17}), hidden = heads * size, input = g.between(1, 20);
  if (packed) {
    c.add(g.floats({batch, q, input}, -1, 1));
    c.add(g.floats({input, 3 * hidden}, -1, 1), g.chance(0.8));
    c.add(g.floats({3 * hidden}, -1, 1), g.chance(0.8));
  } else {
    c.add(g.floats({batch, q, hidden}, -1, 1));
    c.add(g.floats({batch, k, hidden}, -1, 1));
    c.add(g.floats({batch, k, hidden}, -1, 1));
    if (g.chance(0.5))
      c.add(g.floats({3 * hidden}, -1, 1), g.chance(0.8));
    else
      c.skip();
  }
  const int64_t mask = g.below(4);
  if (mask == 0) {
    // One key at least for each query: -10000 on all of them leaves few digits of the scores.
    Tensor t = g.ints({batch, k}, 0, 1, DType::kInt32);
    for (int64_t b = 0; b < batch; ++b) t.mut<int32_t>()[static_cast<size_t>(b * k)] = 1;
    c.add(std::move(t));
  }
  if (mask == 1) c.add(g.ints({batch}, 1, k, DType::kInt32));
  if (mask == 2) {
    c.skip();
    if (packed) c.skip();  // the past
    c.add(g.floats({batch, heads, q, k}, -2, 2));
  }
  if (mask > 2 && g.chance(0.5)) {
    const int64_t past = g.chance(0.8) ? g.between(1, 9) : 0;
    c.skip();
    if (!packed) c.skip();
    if (packed) c.add(g.floats({2, batch, heads, past, size}, -1, 1));
    for (int i = 0; i < 2 && !packed; ++i) c.add(g.floats({batch, heads, past, size}, -1, 1));
    c.outputs = packed ? 2 : 3;
  }
  c.attr("num_heads", heads);
  if (k == q && g.chance(0.3)) c.attr("unidirectional", int64_t{1});
  if (g.chance(0.3)) c.attr("scale", 0.3f);
  c.relative = 2e-5;
  c.of_scale = 1e-5;
  return c;
}

// Prompts of different lengths, and tokens behind caches that are full to different degrees.
Case group_query(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool prompt = g.chance(0.4), packed = g.chance(0.3), rotary = g.chance(0.6);
  const int64_t batch = g.between(1, 3), kv = g.between(1, 2), heads = kv * g.between(1, 3),
                size = g.pick<int64_t>({8, 16, 24}), len = g.chance(0.5) ? 1 : g.between(2, 9),
                total = prompt ? len : len + g.between(1, 12),
                spare = g.chance(0.4) ? g.between(1, 5) : 0,
                past = !prompt ? total - len + (spare > 0 ? len + spare : 0) : spare;
  const auto add = [&](const Dims& d) { c.add(g.floats(d, -1, 1)); };
  add({batch, len, (packed ? heads + 2 * kv : heads) * size});
  for (int i = 0; i < 2; ++i) packed ? c.skip() : add({batch, len, kv * size});
  const bool none = prompt && g.chance(0.5);
  for (int i = 0; i < 2; ++i) none ? c.skip() : add({batch, kv, past, size});
  Tensor seen = g.ints({batch}, prompt ? 0 : len - 1, total - 1, DType::kInt32);
  seen.mut<int32_t>()[0] = static_cast<int32_t>(total - 1);
  c.add(std::move(seen));
  c.add(g.ints({1}, total, total, DType::kInt32), g.chance(0.7));
  for (int i = 0; i < 2; ++i) rotary ? add({total + 2, size / 2}) : c.skip();
  if (rotary && g.chance(0.3))
    c.add(g.ints({batch, len}, 0, total));
  else
    c.skip();
  if (g.chance(0.3))
    add({g.chance(0.5) ? batch : 1, g.chance(0.5) ? heads : 1, len,
         std::max(none ? 0 : past, total)});
  else
    c.skip();
  g.chance(0.2) ? add({heads}) : c.skip();
  if (g.chance(0.2)) {
    c.skip();
    c.skip();
    add({size});
    add({size});
  }
  c.attr("num_heads", heads);
  c.attr("kv_num_heads", kv);
  if (rotary) c.attr("do_rotary", int64_t{1});
  if (g.chance(0.3)) c.attr("rotary_interleaved", int64_t{1});
  if (g.chance(0.3)) c.attr("local_window_size", g.between(1, 6));
  if (g.chance(0.2)) c.attr("softcap", 2.0f);
  if (g.chance(0.2)) c.attr("smooth_softmax", int64_t{1});
  if (g.chance(0.3)) c.attr("scale", 0.3f);
  c.outputs = 3;
  c.relative = 2e-5;
  c.of_scale = 1e-5;
  return c;
}

Case rotary(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool standard = c.domain.empty(), packed = g.chance(0.5), ids = !standard || g.chance(0.6);
  const int64_t batch = g.between(1, 3), heads = g.between(1, 4), len = g.between(1, 7),
                head = 2 * g.between(1, 9),
                part = standard && g.chance(0.3) ? g.between(1, head / 2) : 0,
                half = part > 0 ? part : head / 2, rows = g.between(len, 12);
  Tensor x =
      g.floats(packed ? Dims{batch, len, heads * head} : Dims{batch, heads, len, head}, -2, 2);
  const Dims table = ids ? Dims{rows, half} : Dims{batch, len, half};
  Tensor cos = g.floats(table, -1, 1), sin = g.floats(table, -1, 1);
  Tensor at =
      standard || g.chance(0.6) ? g.ints({batch, len}, 0, rows - 1) : g.ints({1}, 0, rows - len);
  c.add(std::move(x));
  if (!standard) c.add(at);
  const bool constant = g.chance(0.5);
  c.add(std::move(cos), constant);
  c.add(std::move(sin), constant);
  if (standard && ids) c.add(at);
  if (part > 0) c.attr("rotary_embedding_dim", 2 * part);
  if (packed || g.chance(0.3)) c.attr("num_heads", heads);
  if (g.chance(0.4)) c.attr("interleaved", int64_t{1});
  c.of_scale = 1e-6;
  return c;
}

// Random trees in the form of the versions 1 and 3.
Case trees(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool classifier = c.op == "TreeEnsembleClassifier";
  const int64_t features = g.between(1, 5), targets = g.between(1, 3), count = g.between(1, 12);
  std::vector<int64_t> tree, id, feature, yes, no, missing, vote_tree, vote_node, vote_target;
  std::vector<float> value, weight;
  std::vector<std::string> mode;
  const int64_t most = g.pick<int64_t>({0, 3, 20, 40, 90});
  const bool every = g.chance(0.5), single = g.chance(0.3);
  for (int64_t t = 0; t < count; ++t) {
    int64_t next = 1;
    std::vector<int64_t> todo = {0};
    int64_t inner = 0;
    while (!todo.empty()) {
      const auto at = todo.begin() + g.below(static_cast<int64_t>(todo.size()));
      const int64_t node = *at;
      todo.erase(at);
      const bool leaf = inner >= most;
      tree.push_back(t);
      id.push_back(node);
      feature.push_back(g.below(features));
      value.push_back(g.chance(0.5) ? static_cast<float>(g.between(-3, 3))
                                    : static_cast<float>(g.uniform(-3, 3)));
      missing.push_back(g.below(2));
      mode.push_back(leaf ? "LEAF"
                          : g.pick({"BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LT",
                                    "BRANCH_GT", "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ"}));
      yes.push_back(leaf ? 0 : next);
      no.push_back(leaf ? 0 : next + 1);
      if (!leaf) {
        todo.push_back(next);
        todo.push_back(next + 1);
        next += 2;
        ++inner;
        continue;
      }
      for (int64_t k = 0; k < targets; ++k) {
        if (single ? k != targets - 1 : !every && g.chance(0.4)) continue;
        vote_tree.push_back(t);
        vote_node.push_back(node);
        vote_target.push_back(k);
        weight.push_back(static_cast<float>(g.uniform(g.chance(0.5) ? 0 : -1, 1)));
      }
    }
  }
  if (weight.empty()) {
    vote_tree.push_back(tree.back());
    vote_node.push_back(id.back());
    vote_target.push_back(0);
    weight.push_back(0.5f);
  }
  c.attr("nodes_treeids", tree);
  c.attr("nodes_nodeids", id);
  c.attr("nodes_featureids", feature);
  c.attr("nodes_values", value);
  c.attr("nodes_modes", mode);
  c.attr("nodes_truenodeids", yes);
  c.attr("nodes_falsenodeids", no);
  if (g.chance(0.6)) c.attr("nodes_missing_value_tracks_true", missing);
  const std::string p = classifier ? "class_" : "target_";
  c.attr((p + "treeids").c_str(), vote_tree);
  c.attr((p + "nodeids").c_str(), vote_node);
  c.attr((p + "ids").c_str(), vote_target);
  c.attr((p + "weights").c_str(), weight);
  c.attr("post_transform", g.pick({"NONE", "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"}));
  if (g.chance(0.4)) c.attr("base_values", std::vector<float>(static_cast<size_t>(targets), 0.25f));
  if (classifier) {
    std::vector<int64_t> labels;
    std::vector<std::string> names;
    for (int64_t k = 0; k < targets; ++k) {
      labels.push_back(10 * k);
      names.push_back("class " + std::to_string(k));
    }
    if (g.chance(0.3))
      c.attr("classlabels_strings", names);
    else
      c.attr("classlabels_int64s", labels);
    c.outputs = 2;
  } else {
    c.attr("n_targets", targets);
    if (g.chance(0.3)) c.attr("aggregate_function", g.pick({"AVERAGE", "MIN", "MAX", "SUM"}));
  }
  const DType type = g.chance(0.6) ? DType::kFloat : DType::kDouble;
  Tensor x = g.tensor(type, {g.pick<int64_t>({0, 1, 2, 3, 5, 31, 32, 33, 70}), features});
  if (g.chance(0.5)) x = g.ints(x.dims(), -3, 3, type);
  c.add(std::move(x));
  return c;
}

// Version 5 from one tree with sets of members.
Case tree_ensemble(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t inner = g.between(1, 40), features = g.between(1, 4), targets = g.between(1, 3);
  std::vector<int64_t> feature, yes, no, yes_leaf, no_leaf, target;
  std::vector<float> split, weight, members;
  std::vector<int64_t> mode;
  for (int64_t i = 0; i < inner; ++i) {  // node i has node 2i+1 and 2i+2 where they exist
    feature.push_back(g.below(features));
    mode.push_back(g.chance(0.2) ? 6 : g.below(6));
    split.push_back(static_cast<float>(g.between(-3, 3)));
    if (mode.back() == 6) {
      for (int64_t k = g.between(1, 4); k > 0; --k)
        members.push_back(static_cast<float>(g.between(-3, 3)));
      members.push_back(std::numeric_limits<float>::quiet_NaN());
    }
    for (int64_t child : {2 * i + 1, 2 * i + 2}) {
      const bool leaf = child >= inner;
      (child % 2 ? yes_leaf : no_leaf).push_back(leaf);
      (child % 2 ? yes : no).push_back(leaf ? static_cast<int64_t>(weight.size()) : child);
      if (!leaf) continue;
      weight.push_back(static_cast<float>(g.uniform(-1, 1)));
      target.push_back(g.below(targets));
    }
  }
  const DType type = g.chance(0.6) ? DType::kFloat : DType::kDouble;
  const auto floats = [type](const std::vector<float>& v) {
    return *Tensor::from_f64(type, {static_cast<int64_t>(v.size())},
                             std::vector<double>(v.begin(), v.end()));
  };
  c.attr("nodes_featureids", feature);
  c.attr("nodes_modes", *Tensor::from_i64(DType::kUint8, {inner}, mode));
  c.attr("nodes_splits", floats(split));
  c.attr("leaf_weights", floats(weight));
  c.attr("membership_values", floats(members));
  c.attr("nodes_truenodeids", yes);
  c.attr("nodes_falsenodeids", no);
  c.attr("nodes_trueleafs", yes_leaf);
  c.attr("nodes_falseleafs", no_leaf);
  c.attr("leaf_targetids", target);
  c.attr("tree_roots", std::vector<int64_t>{0});
  c.attr("n_targets", targets);
  c.attr("aggregate_function", g.below(4));
  c.add(g.ints({g.pick<int64_t>({1, 4, 32, 50}), features}, -3, 3, type));
  return c;
}

}  // namespace

void add_sequences(std::vector<Recipe>& to) {
  for (const char* op : {"LSTM", "GRU", "RNN"}) to.push_back({op, rnn});
  to.push_back({"com.microsoft.DynamicQuantizeLSTM", dynamic_lstm});
  for (const char* op : {"RotaryEmbedding", "com.microsoft.RotaryEmbedding"})
    to.push_back({op, rotary});
  to.push_back({"Attention", attention});
  to.push_back({"com.microsoft.GroupQueryAttention", group_query});
  for (const char* op : {"com.microsoft.Attention", "com.microsoft.MultiHeadAttention"})
    to.push_back({op, ms_attention});
  for (const char* op : {"ai.onnx.ml.TreeEnsembleRegressor", "ai.onnx.ml.TreeEnsembleClassifier"})
    to.push_back({op, trees});
  to.push_back({"ai.onnx.ml.TreeEnsemble", tree_ensemble});
}

}  // namespace onnxtool::differential
