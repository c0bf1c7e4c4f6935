// SPDX-License-Identifier: Apache-2.0
// Attention as one operator (ONNX Attention; com.microsoft Attention, MultiHeadAttention) becomes
// projections, the cache with the new rows behind it, a mask and an attention step.
#include <cmath>

#include "exec/plan/eltwise.h"
#include "exec/plan/expand.h"

namespace onnxtool {
namespace {

class Attentions final : public Expander {
 public:
  using Expander::Expander;

 private:
  bool expand(const PlanStep& s) override {
    if (at(s.out[0]).dtype != DType::kFloat || wants(s, 3)) return false;
    const std::string_view op = s.op.view();
    if (op == "Attention") return onnx(s);
    if (op == "com.microsoft.Attention") return !wants(s, 2) && packed(s);
    if (op == "com.microsoft.MultiHeadAttention") return separate(s);
    return false;
  }
  bool may_be_empty(const PlanStep&, size_t input) override { return input >= 4; }  // the past
  bool is_float(int v) { return v >= 0 && at(v).dtype == DType::kFloat; }

  // [batch, len, heads * size] as heads; rows of `width`.
  static AttentionSpec::View rows(int64_t len, int64_t width, int64_t size, int64_t offset = 0) {
    return {offset, len * width, size, width};
  }
  // [batch, heads, len, size]
  static AttentionSpec::View split(const Dims& d) {
    return {0, d[1] * d[2] * d[3], d[2] * d[3], d[3]};
  }

  // [batch, heads, len, size]: the past (-1: none) with the new rows behind it, which lie like that
  // or packed [batch, len, heads * size]; it is output `output` where that is wanted. -1: not so.
  int cached(const PlanStep& s, int past, int rows, int64_t heads, size_t output) {
    const bool kept = wants(s, output), grows = past >= 0 && at(past).size() > 0;
    if (past >= 0 && (!is_float(past) || at(past).dims.size() != 4)) return -1;
    const auto result = [&](const Dims& dims) {
      return kept ? s.out[output] : new_value(DType::kFloat, dims);
    };
    Dims d = at(rows).dims;
    if (d.size() == 3) {
      const Dims apart = {d[0], d[1], heads, d[2] / heads};
      const int from = view(s, rows, apart);
      d = {apart[0], apart[2], apart[1], apart[3]};
      rows = grows ? new_value(DType::kFloat, d) : result(d);
      push("Transpose", s, {from}, rows)
          .attrs.push_back(Attribute::of("perm", std::vector<int64_t>{0, 2, 1, 3}));
      if (!fits()) return -1;
    } else if (!grows && kept) {
      push(step_kind::kView, s, {rows}, s.out[output]);
    }
    if (!grows) return rows;
    d[2] += at(past).dims[2];
    const int all = result(d);
    push("Concat", s, {past, rows}, all).attrs.push_back(Attribute::of("axis", int64_t{2}));
    return fits() ? all : -1;
  }

  // Keys and values of `a` with their cache in front, where there is one.
  bool with_past(const PlanStep& s, AttentionSpec& a, std::vector<int>& inputs, int past_key,
                 int past_value) {
    if ((past_key < 0) != (past_value < 0)) return false;
    if (past_key < 0 && !wants(s, 1) && !wants(s, 2)) return true;
    inputs[1] = cached(s, past_key, inputs[1], a.kv_heads, 1);
    inputs[2] = cached(s, past_value, inputs[2], a.kv_heads, 2);
    if (inputs[1] < 0 || inputs[2] < 0) return false;
    a.k = split(at(inputs[1]).dims);
    a.v = split(at(inputs[2]).dims);
    a.kv_len = at(inputs[1]).dims[2];
    return at(inputs[2]).dims[2] == a.kv_len;
  }

  bool finish(const PlanStep& s, const AttentionSpec& spec, std::vector<int> inputs) {
    PlanStep& step = push(step_kind::kAttention, s, std::move(inputs), s.out[0]);
    step.node = s.node;
    step.attention = std::make_shared<AttentionSpec>(spec);
    return fits();
  }

  bool onnx(const PlanStep& s) {
    const Node& n = node(s);
    if (in(s, 6) >= 0 || n.attr_int("left_window_size", -1) >= 0 ||
        n.attr_int("right_window_size", -1) >= 0)
      return false;
    AttentionSpec a;
    std::vector<int> inputs;
    AttentionSpec::View* views[] = {&a.q, &a.k, &a.v};
    int64_t heads[3], len[3], size[3];
    for (size_t i = 0; i < 3; ++i) {
      const int v = in(s, i);
      if (!is_float(v)) return false;
      const Dims& d = at(v).dims;
      if (d.size() == 4) {
        heads[i] = d[1], len[i] = d[2], size[i] = d[3];
        *views[i] = split(d);
      } else {
        heads[i] = n.attr_int(i == 0 ? "q_num_heads" : "kv_num_heads", 0);
        if (d.size() != 3 || heads[i] < 1 || d[2] % heads[i] != 0) return false;
        len[i] = d[1], size[i] = d[2] / heads[i];
        *views[i] = rows(d[1], d[2], size[i]);
      }
      inputs.push_back(v);
    }
    a.batch = at(s.in[0]).dims[0];
    a.heads = heads[0], a.kv_heads = heads[1];
    a.q_len = len[0], a.kv_len = len[1];
    a.head_dim = size[0], a.v_dim = size[2];
    a.causal = n.attr_int("is_causal", 0) != 0;
    if (a.causal && a.q_len != a.kv_len) return false;
    if (!with_past(s, a, inputs, in(s, 4), in(s, 5))) return false;
    a.scale = n.attr("scale") ? n.attr_float("scale", 0)
                              : static_cast<float>(1 / std::sqrt(static_cast<double>(size[0])));
    a.softcap = n.attr_float("softcap", 0);
    if (const int mask = in(s, 3); mask >= 0) {
      const Dims& d = at(mask).dims;
      if ((!is_float(mask) && at(mask).dtype != DType::kBool) || d.empty() || d.size() > 4 ||
          d.back() != a.kv_len)
        return false;
      a.mask = 3;
      inputs.push_back(mask);
    }
    const Dims& out = at(s.out[0]).dims;
    a.out = out.size() == 4 ? split(out) : rows(out[1], out[2], a.v_dim);
    return finish(s, a, std::move(inputs));
  }

  // The mask of com.microsoft operators as numbers to add, or -1; false: a form not known here.
  bool mask(const PlanStep& s, int keys, int bias, int64_t batch, int64_t len, int* result) {
    *result = -1;
    if (bias >= 0) {
      if (keys >= 0 || !is_float(bias) || at(bias).dims.size() != 4) return false;
      *result = bias;
      return true;
    }
    if (keys < 0) return true;
    const DType t = at(keys).dtype;
    if (t != DType::kInt32 && t != DType::kInt64) return false;
    const float filter = node(s).attr_float("mask_filter_value", -10000.0f);
    const Dims& d = at(keys).dims;
    EltProgram p;
    std::vector<int> inputs;
    if (d == Dims{batch, len} && batch != len) {
      inputs = {view(s, keys, {batch, 1, 1, len})};
      p.ops.push_back({Elt::kEq, {EltRef::input(0), EltRef::immediate(0)}});
    } else if (d == Dims{batch}) {  // the number of keys
      std::vector<float> at_key(static_cast<size_t>(len));
      for (size_t i = 0; i < at_key.size(); ++i) at_key[i] = static_cast<float>(i);
      const int position = add_plan_constant(
          plan_, Tensor::of<float>({1, 1, 1, len}, std::span<const float>(at_key)));
      inputs = {position, view(s, keys, {batch, 1, 1, 1})};
      p.ops.push_back({Elt::kGe, {EltRef::input(0), EltRef::input(1)}});
    } else {
      return false;
    }
    p.ops.push_back({Elt::kMul, {EltRef::op(0), EltRef::immediate(filter)}});
    p.results = {1};
    *result = new_value(DType::kFloat, {batch, 1, 1, len});
    program(std::move(p), s, std::move(inputs), *result);
    return fits();
  }
  int view(const PlanStep& s, int v, const Dims& dims) {
    const int r = new_value(at(v).dtype, dims);
    push(step_kind::kView, s, {v}, r);
    return r;
  }
  static float scale_of(const Node& n, int64_t size) {
    const float scale = n.attr_float("scale", 0);
    return scale != 0 ? scale : static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
  }

  int added(const PlanStep& s, int x, int bias) {
    const int r = new_value(DType::kFloat, at(x).dims);
    EltProgram p;
    p.ops.push_back({Elt::kAdd, {EltRef::input(0), EltRef::input(1)}});
    p.results = {0};
    program(std::move(p), s, {x, bias}, r);
    return r;
  }

  bool packed(const PlanStep& s) {
    const Node& n = node(s);
    if (in(s, 6) >= 0 || !is_float(s.in[0]) || !is_float(in(s, 1))) return false;
    const Dims x = at(s.in[0]).dims;
    const int64_t width = at(s.in[1]).dims[1], v_width = at(s.out[0]).dims[2],
                  hidden = (width - v_width) / 2, heads = n.attr_int("num_heads", 0);
    if (x.size() != 3 || heads < 1 || hidden % heads != 0 || v_width % heads != 0) return false;
    int qkv = new_value(DType::kFloat, {x[0], x[1], width});
    if (!main_step("MatMul", s, {s.in[0], s.in[1]}, qkv)) return false;
    if (in(s, 2) >= 0) {
      if (!is_float(in(s, 2))) return false;
      qkv = added(s, qkv, in(s, 2));
    }
    AttentionSpec a;
    a.batch = x[0], a.heads = a.kv_heads = heads, a.q_len = a.kv_len = x[1];
    a.head_dim = hidden / heads, a.v_dim = v_width / heads;
    a.q = rows(x[1], width, a.head_dim);
    a.k = rows(x[1], width, a.head_dim, hidden);
    a.v = rows(x[1], width, a.v_dim, 2 * hidden);
    a.out = rows(x[1], v_width, a.v_dim);
    a.scale = scale_of(n, a.head_dim);
    a.causal = n.attr_int("unidirectional", 0) != 0;
    if (in(s, 4) < 0 && !wants(s, 1)) return masked(s, a, {qkv, qkv, qkv}, in(s, 3), in(s, 5));
    const int present = hidden == v_width ? packed_cache(s, qkv, a) : -1;
    return present >= 0 && masked(s, a, {qkv, present, present}, in(s, 3), in(s, 5));
  }

  // [2, batch, heads, len, size]: keys and values of the past, with those of qkv behind them.
  int packed_cache(const PlanStep& s, int qkv, AttentionSpec& a) {
    const int past = in(s, 4);
    if (past >= 0 && (!is_float(past) || at(past).dims.size() != 5)) return -1;
    const Dims apart = {a.batch, a.q_len, 3, a.heads, a.head_dim};
    Dims d = {a.batch, a.q_len, 2, a.heads, a.head_dim};
    const int pair = new_value(DType::kFloat, d);
    PlanStep& slice = push("Slice", s, {view(s, qkv, apart)}, pair);
    slice.attrs.push_back(Attribute::of("starts", std::vector<int64_t>{1}));
    slice.attrs.push_back(Attribute::of("ends", std::vector<int64_t>{3}));
    slice.attrs.push_back(Attribute::of("axes", std::vector<int64_t>{2}));
    if (!fits()) return -1;
    d = {2, a.batch, a.heads, a.q_len, a.head_dim};
    const bool grows = past >= 0 && at(past).size() > 0;
    const auto result = [&](const Dims& dims) {
      return wants(s, 1) ? s.out[1] : new_value(DType::kFloat, dims);
    };
    int rows = grows ? new_value(DType::kFloat, d) : result(d);
    push("Transpose", s, {pair}, rows)
        .attrs.push_back(Attribute::of("perm", std::vector<int64_t>{2, 0, 3, 1, 4}));
    if (!fits()) return -1;
    if (grows) {
      d[3] += at(past).dims[3];
      const int all = result(d);
      push("Concat", s, {past, rows}, all).attrs.push_back(Attribute::of("axis", int64_t{3}));
      if (!fits()) return -1;
      rows = all;
    }
    a.kv_len = d[3];
    a.k = a.v = split({a.batch, a.heads, d[3], a.head_dim});
    a.v.offset = a.batch * a.k.batch;
    return rows;
  }

  bool masked(const PlanStep& s, AttentionSpec a, std::vector<int> inputs, int keys, int bias) {
    int m = -1;
    if (!mask(s, keys, bias, a.batch, a.kv_len, &m)) return false;
    if (m >= 0) {
      a.mask = static_cast<int>(inputs.size());
      inputs.push_back(m);
    }
    return finish(s, a, std::move(inputs));
  }

  bool separate(const PlanStep& s) {
    const Node& n = node(s);
    const int64_t heads = n.attr_int("num_heads", 0);
    if (in(s, 8) >= 0 || in(s, 9) >= 0) return false;
    if (!is_float(s.in[0]) || !is_float(in(s, 1)) || !is_float(in(s, 2)) || heads < 1) return false;
    std::vector<int> inputs = {s.in[0], s.in[1], s.in[2]};
    Dims d[3];
    int64_t first = 0;
    for (size_t i = 0; i < 3; ++i) {
      d[i] = at(inputs[i]).dims;
      if (d[i].size() != 3 || d[i][2] % heads != 0) return false;
      if (in(s, 3) < 0) continue;
      const Tensor* bias = constant(in(s, 3));
      if (!bias || bias->dtype() != DType::kFloat || bias->size() < first + d[i][2]) return false;
      const Tensor all = bias->to_aligned();
      const auto part =
          all.as<float>().subspan(static_cast<size_t>(first), static_cast<size_t>(d[i][2]));
      inputs[i] = added(s, inputs[i], add_plan_constant(plan_, Tensor::of<float>({d[i][2]}, part)));
      first += d[i][2];
    }
    AttentionSpec a;
    a.batch = d[0][0], a.heads = a.kv_heads = heads, a.q_len = d[0][1], a.kv_len = d[1][1];
    a.head_dim = d[0][2] / heads, a.v_dim = d[2][2] / heads;
    a.q = rows(d[0][1], d[0][2], a.head_dim);
    a.k = rows(d[1][1], d[1][2], a.head_dim);
    a.v = rows(d[2][1], d[2][2], a.v_dim);
    a.out = rows(d[0][1], d[2][2], a.v_dim);
    a.scale = scale_of(n, a.head_dim);
    a.causal = n.attr_int("unidirectional", 0) != 0;
    if (!with_past(s, a, inputs, in(s, 6), in(s, 7))) return false;
    if (a.causal && a.kv_len < a.q_len) return false;
    return masked(s, a, std::move(inputs), in(s, 4), in(s, 5));
  }
};

}  // namespace

void expand_attention(Plan& plan, const Model& model, const KernelIndex& kernels) {
  Attentions(plan, model, kernels).run();
}

}  // namespace onnxtool
