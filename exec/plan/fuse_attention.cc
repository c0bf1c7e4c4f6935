// SPDX-License-Identifier: Apache-2.0
// softmax(scale q k^T + mask) v written as MatMul, Softmax, MatMul becomes one step that reads q, k
// and v where they lie, whatever Transposes, Reshapes and Splits stand before, and writes the
// result in the order that the Transpose after it asks for.
#include <algorithm>
#include <cmath>

#include "exec/plan/rewire.h"
#include "exec/plan/strided.h"

namespace onnxtool {
namespace {

class Attentions {
 public:
  explicit Attentions(Rewire& g) : g_(g) {}
  void run() {
    for (int s = 0; s < g_.steps(); ++s)
      if (g_.has_op(s, "Softmax")) match(s);
  }

 private:
  const Node& node(int s) { return g_.model.node(g_.step(s).node); }
  int rank(int v) { return static_cast<int>(g_.value(v).dims.size()); }
  bool is_float(int v) { return v >= 0 && g_.value(v).known && g_.value(v).dtype == DType::kFloat; }

  // The scores under the softmax: scale, mask and the product that makes them.
  struct Scores {
    int product = -1;  // step of q k^T
    double scale = 1;
    int mask = -1;  // value added after scaling, or a bool that keeps
  };
  std::optional<Scores> scores(int v, int user) {
    Scores r;
    for (int hop = 0; hop < 6; ++hop) {
      int p = g_.private_producer(v, user);
      if (p < 0 || !g_.step(p).post.empty() || g_.step(p).program || g_.step(p).dynamic)
        return std::nullopt;
      const PlanStep& step = g_.step(p);
      std::string_view op = step.op.view();
      if (op == "MatMul") {
        r.product = p;
        return r;
      }
      user = p;
      if (op == "Mul" || op == "Div") {
        size_t side = op == "Mul" && g_.scalar(step.in[0]) ? 0 : 1;
        auto c = g_.scalar(step.in[side]);
        if (!c || g_.value(step.in[1 - side]).dims != g_.value(v).dims) return std::nullopt;
        r.scale *= op == "Mul" ? *c : 1.0 / *c;
        v = step.in[1 - side];
        continue;
      }
      if (op == "Add" && r.mask < 0 && r.scale == 1) {
        // The side that is a product (scaled, maybe) goes on; the other one is the mask.
        int next = -1;
        for (int i = 0; i < 2 && next < 0; ++i)
          if (leads_to_product(step.in[static_cast<size_t>(i)], p)) next = i;
        if (next < 0) return std::nullopt;
        r.mask = step.in[static_cast<size_t>(1 - next)];
        if (!is_float(r.mask)) return std::nullopt;
        v = step.in[static_cast<size_t>(next)];
        continue;
      }
      if (op == "Where" && r.mask < 0 && r.scale == 1) {
        auto minus = g_.scalar(step.in[2]);
        int keep = step.in[0];
        if (!minus || !(*minus <= -1e9f) || !g_.value(keep).known ||
            g_.value(keep).dtype != DType::kBool)
          return std::nullopt;
        // A finite stand-in for -inf gives the mean of all values in rows without any key; only a
        // mask that leaves something in each row would be the same. -inf alone is sure.
        if (!std::isinf(*minus)) return std::nullopt;
        r.mask = keep;
        v = step.in[1];
        continue;
      }
      return std::nullopt;
    }
    return std::nullopt;
  }
  bool leads_to_product(int v, int user) {
    for (int hop = 0; hop < 3; ++hop) {
      int p = g_.private_producer(v, user);
      if (p < 0) return false;
      if (g_.has_op(p, "MatMul")) return true;
      if (!g_.has_op(p, "Mul") && !g_.has_op(p, "Div")) return false;
      user = p;
      v = g_.step(p).in[g_.scalar(g_.step(p).in[0]) ? 1 : 0];
    }
    return false;
  }

  // [batch..., len, dim] as batch, head, seq strides. Rank 3: the batch counts as heads.
  struct Heads {
    int64_t batch = 1, heads = 1, repeat = 1, len = 0, dim = 0;
    AttentionSpec::View view;
    bool ok = false;
  };
  Heads heads(const Strided& s, bool swapped) {
    Heads h;
    size_t n = s.dims.size();
    if (n != 3 && n != 4) return h;
    StridedDim len = s.dims[n - 2], dim = s.dims[n - 1];
    if (swapped) std::swap(len, dim);
    if (len.repeat != 1 || dim.repeat != 1 || (dim.stride != 1 && dim.size != 1)) return h;
    const StridedDim& head = s.dims[n - 3];
    h.view.offset = s.offset;
    h.view.seq = len.stride;
    h.view.head = head.stride;
    h.heads = head.size;
    h.repeat = head.repeat;
    if (n == 4) {
      if (s.dims[0].repeat != 1) return h;
      h.batch = s.dims[0].size;
      h.view.batch = s.dims[0].stride;
    }
    h.len = len.size;
    h.dim = dim.size;
    h.ok = true;
    return h;
  }

  void match(int s) {
    const PlanStep& softmax = g_.step(s);
    int x = softmax.in[0], y = softmax.out[0];
    if (!is_float(x)) return;
    int64_t axis = node(s).attr_int("axis", node(s).version < 13 ? 1 : -1);
    if (axis != -1 && axis != rank(x) - 1) return;
    auto sc = scores(x, s);
    if (!sc) return;
    int product = g_.sole_user(y);
    // exporters guard rows without any key: where(isnan(p), 0, p). The kernel gives zeros there.
    int guard = -1;
    if (product < 0) guard = nan_guard(y, &product);
    int weights = guard >= 0 ? g_.step(guard).out[0] : y;
    if (!g_.has_op(product, "MatMul") || g_.step(product).in[0] != weights) return;
    const PlanStep& qk = g_.step(sc->product);
    const PlanStep& pv = g_.step(product);
    int q = qk.in[0], k = qk.in[1], v = pv.in[1];
    if (!is_float(q) || !is_float(k) || !is_float(v) || rank(q) != rank(x) || rank(k) != rank(x) ||
        rank(v) != rank(x))
      return;
    Strided ts[3] = {trace_strided(g_, q), trace_strided(g_, k), trace_strided(g_, v)};
    for (const Strided& t : ts)
      if (g_.value(t.source).is_constant()) return;
    Heads hq = heads(ts[0], false), hk = heads(ts[1], true), hv = heads(ts[2], false);
    // A Transpose that leaves the last axis apart cannot be read in place: take the value as it is.
    auto retry = [&](Heads& h, Strided& t, int value, bool swapped) {
      if (h.ok) return;
      t = Strided();
      t.source = value;
      std::vector<int64_t> st = memory_strides(g_.value(value).dims, Layout::kPlain);
      for (size_t i = 0; i < st.size(); ++i) t.dims.push_back({g_.value(value).dims[i], 1, st[i]});
      h = heads(t, swapped);
    };
    retry(hq, ts[0], q, false);
    retry(hv, ts[2], v, false);
    if (!hq.ok || !hk.ok || !hv.ok || hq.repeat != 1) return;
    if (hk.heads != hv.heads || hk.repeat != hv.repeat || hk.heads * hk.repeat != hq.heads) return;
    if (hq.batch != hk.batch || hq.batch != hv.batch || hk.len != hv.len || hq.dim != hk.dim)
      return;

    auto spec = std::make_shared<AttentionSpec>();
    spec->batch = hq.batch;
    spec->heads = hq.heads;
    spec->kv_heads = hk.heads;
    spec->q_len = hq.len;
    spec->kv_len = hk.len;
    spec->head_dim = hq.dim;
    spec->v_dim = hv.dim;
    spec->q = hq.view;
    spec->k = hk.view;
    spec->v = hv.view;
    spec->scale = static_cast<float>(sc->scale * ts[0].scale * ts[1].scale);
    if (ts[2].scale != 1) return;
    PlanStep fused;
    fused.op = step_kind::kAttention;
    fused.node = pv.node;
    fused.in = {ts[0].source, ts[1].source, ts[2].source};
    if (sc->mask >= 0) {
      if (!mask_fits(sc->mask, x)) return;
      spec->mask = 3;
      fused.in.push_back(sc->mask);
    }
    fused.main_inputs = fused.in.size();
    // The result as the product gives it, or moved by the Transpose behind.
    int out = pv.out[0], at = product, after = g_.sole_user(out);
    std::vector<int64_t> st = memory_strides(g_.value(out).dims, Layout::kPlain);
    size_t n = st.size();
    spec->out = {0, n == 4 ? st[0] : 0, st[n - 3], st[n - 2]};
    if (g_.has_op(after, "Transpose") && n == 4) {
      auto* perm = node(after).attr_ints("perm");
      if (perm && *perm == std::vector<int64_t>{0, 2, 1, 3}) {
        out = g_.step(after).out[0];
        st = memory_strides(g_.value(out).dims, Layout::kPlain);
        spec->out = {0, st[0], st[2], st[1]};
        at = after;
      }
    }
    fused.out = {out};
    fused.attention = spec;
    // Softmax of a row without any key is no number, where Attention has zeros.
    if (guard < 0) fused.attrs.push_back(Attribute::of("no_key_is_nan", int64_t{1}));
    for (int i : {sc->product, s, product})
      fused.nodes.insert(fused.nodes.end(), g_.step(i).nodes.begin(), g_.step(i).nodes.end());
    if (at != product)
      fused.nodes.insert(fused.nodes.end(), g_.step(at).nodes.begin(), g_.step(at).nodes.end());
    if (!g_.fits(fused)) return;
    std::vector<int> in = fused.in;
    fused.in = g_.step(at).in;
    g_.step(at) = std::move(fused);
    g_.set_inputs(at, std::move(in));
    g_.set_output(at, 0, out);
  }

  // v -> where(isnan(v), 0, v) -> product. Returns the Where's step.
  int nan_guard(int v, int* product) {
    if (g_.kept(v)) return -1;
    int isnan = -1, where = -1;
    for (int u : g_.users(v)) {
      if (g_.has_op(u, "IsNaN"))
        isnan = u;
      else if (g_.has_op(u, "Where"))
        where = u;
      else
        return -1;
    }
    if (isnan < 0 || where < 0) return -1;
    const PlanStep& w = g_.step(where);
    auto zero = g_.scalar(w.in[1]);
    if (w.in[0] != g_.step(isnan).out[0] || w.in[2] != v || !zero || *zero != 0) return -1;
    if (g_.sole_user(w.in[0]) != where) return -1;
    *product = g_.sole_user(w.out[0]);
    return *product < 0 ? -1 : where;
  }

  // Broadcasts to [batch, heads, q, k] with a dense or single last axis.
  bool mask_fits(int mask, int scores) {
    const Dims& m = g_.value(mask).dims;
    const Dims& d = g_.value(scores).dims;
    if (!g_.value(mask).known || m.size() > d.size()) return false;
    for (size_t i = 0; i < m.size(); ++i) {
      int64_t want = d[d.size() - m.size() + i];
      if (m[i] != want && m[i] != 1) return false;
    }
    return true;
  }

  Rewire& g_;
};

}  // namespace

void fuse_attention(Rewire& g) { Attentions(g).run(); }

}  // namespace onnxtool
