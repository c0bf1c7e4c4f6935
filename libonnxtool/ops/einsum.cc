// SPDX-License-Identifier: Apache-2.0
// Einsum: sums of products over labelled axes, contracted pair by pair from the left.
#include <algorithm>
#include <map>
#include <type_traits>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

// Labels are letters; axes of the ellipsis are -1 (the last), -2...
using Labels = std::vector<int>;

struct Term {
  Labels before, after;  // around the ellipsis
  bool ellipsis = false;
  size_t count() const { return before.size() + after.size(); }
};

struct Equation {
  std::vector<Term> inputs;
  Term output;
  bool explicit_output = false;
};

Result<Term> parse_term(std::string_view s) {
  Term t;
  for (size_t i = 0; i < s.size(); ++i) {
    const char c = s[i];
    if (c == ' ') continue;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      (t.ellipsis ? t.after : t.before).push_back(c);
    } else if (!t.ellipsis && s.substr(i, 3) == "...") {
      t.ellipsis = true;
      i += 2;
    } else {
      return invalid(format("attribute 'equation' has {} in a term", quoted(s.substr(i, 1))));
    }
  }
  return t;
}

Result<Equation> parse(const Node& node) {
  const std::string_view all = node.attr_str("equation", "");
  Equation e;
  const size_t arrow = all.find("->");
  std::string_view left = all.substr(0, arrow);
  for (;;) {
    const size_t comma = left.find(',');
    TRY_ASSIGN(Term t, parse_term(left.substr(0, comma)));
    e.inputs.push_back(std::move(t));
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  if (e.inputs.size() != node.num_inputs())
    return invalid(format("attribute 'equation' {} has {} terms for {} inputs", quoted(all),
                          e.inputs.size(), node.num_inputs()));
  e.explicit_output = arrow != std::string_view::npos;
  if (e.explicit_output) {
    TRY_ASSIGN(e.output, parse_term(all.substr(arrow + 2)));
    return e;
  }
  // Labels that occur once, in alphabetical order, after the ellipsis.
  std::map<int, int> seen;
  for (const Term& t : e.inputs) {
    e.output.ellipsis |= t.ellipsis;
    for (const Labels* l : {&t.before, &t.after})
      for (int c : *l) ++seen[c];
  }
  for (const auto& [label, n] : seen)
    if (n == 1) e.output.after.push_back(label);
  return e;
}

Labels expand(const Term& t, size_t ellipsis) {
  Labels r = t.before;
  for (size_t i = ellipsis; t.ellipsis && i > 0; --i) r.push_back(-static_cast<int>(i));
  r.insert(r.end(), t.after.begin(), t.after.end());
  return r;
}

// Labels of each input and of the output for inputs of these ranks.
struct Plan {
  std::vector<Labels> inputs;
  Labels output;
};

Result<Plan> plan_of(const Node& node, std::span<const size_t> ranks) {
  TRY_ASSIGN(const Equation e, parse(node));
  Plan p;
  size_t most = 0;
  for (size_t i = 0; i < e.inputs.size(); ++i) {
    const size_t n = e.inputs[i].count();
    if (e.inputs[i].ellipsis ? ranks[i] < n : ranks[i] != n)
      return invalid(
          format("term {} of the equation has {} labels, input {} has rank {}", i, n, i, ranks[i]));
    p.inputs.push_back(expand(e.inputs[i], ranks[i] - n));
    most = std::max(most, ranks[i] - n);
  }
  if (most > 0 && !e.output.ellipsis)
    return invalid("the equation has an ellipsis in a term and none in the result");
  p.output = expand(e.output, most);
  for (size_t i = 0; i < p.output.size(); ++i) {
    const int label = p.output[i];
    const bool known = std::any_of(p.inputs.begin(), p.inputs.end(), [&](const Labels& l) {
      return std::find(l.begin(), l.end(), label) != l.end();
    });
    if (!known || std::count(p.output.begin(), p.output.end(), label) != 1)
      return invalid(format("label {} of the result occurs twice or in no term",
                            quoted(std::string(1, static_cast<char>(label < 0 ? '.' : label)))));
  }
  return p;
}

// Sizes of all labels: equal, or 1 where another is larger.
Result<std::map<int, Dim>> sizes_of(const Plan& p, std::span<const Shape> shapes) {
  std::map<int, Dim> r;
  for (size_t i = 0; i < p.inputs.size(); ++i)
    for (size_t k = 0; k < p.inputs[i].size(); ++k) {
      const Dim d = shapes[i][k];
      auto [it, fresh] = r.emplace(p.inputs[i][k], d);
      if (fresh || d.is_const(1)) continue;
      if (it->second.is_const(1)) {
        it->second = d;
        continue;
      }
      const auto both = unify(it->second, d);
      if (!both)
        return invalid(format("input {} has the shape {}, axis {} was {} before", i,
                              to_string(shapes[i]), k, it->second.text()));
      it->second = *both;
    }
  return r;
}

Result<std::optional<std::map<int, Dim>>> symbolic(const InferContext& ctx, Plan& plan) {
  std::vector<size_t> ranks;
  std::vector<Shape> shapes;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    if (ctx.shape(i) == nullptr) {
      TRY(parse(ctx.node()));
      return std::optional<std::map<int, Dim>>();
    }
    shapes.push_back(*ctx.shape(i));
    ranks.push_back(shapes.back().size());
  }
  TRY_ASSIGN(plan, plan_of(ctx.node(), ranks));
  TRY_ASSIGN(auto sizes, sizes_of(plan, shapes));
  return std::optional(std::move(sizes));
}

Status infer_einsum(InferContext& ctx) {
  Plan plan;
  TRY_ASSIGN(const auto sizes, symbolic(ctx, plan));
  if (!sizes) return ctx.set(0, ctx.dtype(0), std::nullopt);
  Shape out;
  for (int label : plan.output) out.push_back(sizes->at(label));
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Result<int64_t> macs_einsum(const InferContext& ctx) {
  Plan plan;
  TRY_ASSIGN(const auto sizes, symbolic(ctx, plan));
  if (!sizes || plan.inputs.size() < 2) return int64_t{0};
  Dim n = 1;
  for (const auto& [label, d] : *sizes) n = n * d;
  n = n * Dim(static_cast<int64_t>(plan.inputs.size()) - 1);
  return n.is_const() ? n.value() : int64_t{0};
}

// ------------------------------------------------------------------------------------- eval
template <typename T>
struct Operand {
  Labels labels;
  Dims dims;
  std::vector<T> data;
};

// Strides of an operand along `labels`: a label that occurs twice walks the diagonal, one that is
// not there or has size 1 stands still.
template <typename T>
std::vector<int64_t> strides_along(const Operand<T>& x, const Labels& labels) {
  const auto own = row_major_strides(x.dims);
  std::vector<int64_t> r(labels.size(), 0);
  for (size_t i = 0; i < labels.size(); ++i)
    for (size_t k = 0; k < x.labels.size(); ++k)
      if (x.labels[k] == labels[i] && x.dims[k] != 1) r[i] += own[k];
  return r;
}

// sum over labels not in `keep` of a * b (or of a alone).
template <typename T>
Result<Operand<T>> contract(EvalContext& ctx, const Operand<T>& a, const Operand<T>* b,
                            const Labels& keep, const std::map<int, int64_t>& sizes) {
  Operand<T> r;
  Labels sums;
  for (int label : keep) {
    const auto in = [&](const Operand<T>& x) {
      return std::find(x.labels.begin(), x.labels.end(), label) != x.labels.end();
    };
    if (in(a) || (b != nullptr && in(*b))) r.labels.push_back(label);
  }
  for (const Operand<T>* x : {&a, b}) {
    if (x == nullptr) continue;
    for (int label : x->labels)
      if (std::find(keep.begin(), keep.end(), label) == keep.end() &&
          std::find(sums.begin(), sums.end(), label) == sums.end())
        sums.push_back(label);
  }
  // A label has size 1 here where both operands have 1, whatever others have.
  auto size_here = [&](int label) {
    int64_t n = 1;
    for (const Operand<T>* x : {&a, b}) {
      if (x == nullptr) continue;
      for (size_t k = 0; k < x->labels.size(); ++k)
        if (x->labels[k] == label && x->dims[k] != 1) n = sizes.at(label);
    }
    return n;
  };
  Dims sum_dims;
  for (int label : r.labels) r.dims.push_back(size_here(label));
  for (int label : sums) sum_dims.push_back(size_here(label));
  const auto count = checked_product(r.dims);
  const auto bytes = count ? checked_mul(*count, int64_t{sizeof(T)}) : std::nullopt;
  if (!bytes) return ctx.error("an intermediate result is too large");
  TRY(ctx.host().reserve(*bytes));
  r.data.assign(static_cast<size_t>(*count), T{});
  const std::vector<int64_t> none_out(r.labels.size(), 0), none_sum(sums.size(), 0);
  const auto ao = strides_along(a, r.labels), as = strides_along(a, sums);
  const auto bo = b != nullptr ? strides_along(*b, r.labels) : none_out;
  const auto bs = b != nullptr ? strides_along(*b, sums) : none_sum;
  if (span_size(sum_dims, 0, sum_dims.size()) == 0 || *count == 0) return r;
  std::vector<int64_t> at(r.dims.size(), 0);
  size_t to = 0;
  do {
    int64_t pa = 0, pb = 0;
    for (size_t i = 0; i < at.size(); ++i) {
      pa += at[i] * ao[i];
      pb += at[i] * bo[i];
    }
    // The last summed label is the inner loop.
    T sum{};
    const size_t outer = sum_dims.empty() ? 0 : sum_dims.size() - 1;
    const int64_t n = sum_dims.empty() ? 1 : sum_dims.back();
    const int64_t sa = sum_dims.empty() ? 0 : as.back(), sb = sum_dims.empty() ? 0 : bs.back();
    std::vector<int64_t> k(outer, 0);
    do {
      int64_t qa = pa, qb = pb;
      for (size_t i = 0; i < outer; ++i) {
        qa += k[i] * as[i];
        qb += k[i] * bs[i];
      }
      const T* x = a.data.data() + qa;
      const T* y = b != nullptr ? b->data.data() + qb : nullptr;
      for (int64_t j = 0; j < n; ++j) sum += y != nullptr ? x[j * sa] * y[j * sb] : x[j * sa];
    } while (onnxtool::advance(k, std::span<const int64_t>(sum_dims).first(outer)));
    r.data[to++] = sum;
  } while (onnxtool::advance(at, r.dims));
  return r;
}

template <typename T>
Result<Operand<T>> run(EvalContext& ctx, const Plan& p, const std::map<int, int64_t>& sizes) {
  auto operand = [&](size_t i) {
    Operand<T> x{p.inputs[i], ctx.in(i).dims(), {}};
    if constexpr (std::is_same_v<T, double>) {
      x.data = ctx.in(i).to_f64();
    } else {
      for (int64_t v : ctx.in(i).to_i64()) x.data.push_back(static_cast<T>(v));
    }
    return x;
  };
  // Labels that the output or an input from `from` on still needs; the output's come first.
  auto needed = [&](size_t from) {
    Labels keep = p.output;
    for (size_t i = from; i < p.inputs.size(); ++i)
      for (int label : p.inputs[i])
        if (std::find(keep.begin(), keep.end(), label) == keep.end()) keep.push_back(label);
    return keep;
  };
  Operand<T> cur = operand(0);
  if (p.inputs.size() == 1) return contract<T>(ctx, cur, nullptr, p.output, sizes);
  for (size_t i = 1; i < p.inputs.size(); ++i) {
    const Operand<T> next = operand(i);
    TRY_ASSIGN(cur, contract<T>(ctx, cur, &next, needed(i + 1), sizes));
  }
  return cur;
}

Status eval_einsum(EvalContext& ctx) {
  std::vector<size_t> ranks;
  std::vector<Shape> shapes;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.has(i)) return ctx.error(format("input {} is left out", i));
    ranks.push_back(ctx.in(i).dims().size());
    shapes.push_back(to_shape(ctx.in(i).dims()));
  }
  TRY_ASSIGN(const Plan p, plan_of(ctx.node(), ranks));
  TRY_ASSIGN(const auto dims, sizes_of(p, shapes));
  std::map<int, int64_t> sizes;
  for (const auto& [label, d] : dims) sizes[label] = d.value();
  Dims out;
  for (int label : p.output) out.push_back(sizes.at(label));
  const DType type = ctx.in(0).dtype();
  if (is_float(type)) {
    TRY_ASSIGN(const Operand<double> r, run<double>(ctx, p, sizes));
    return ctx.set_f64(0, type, std::move(out), r.data);
  }
  TRY_ASSIGN(const Operand<uint64_t> r, run<uint64_t>(ctx, p, sizes));
  const std::vector<int64_t> v(r.data.begin(), r.data.end());
  return ctx.set_i64(0, type, std::move(out), v);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(einsum,
             {.name = "Einsum", .infer = infer_einsum, .eval = eval_einsum, .macs = macs_einsum});
