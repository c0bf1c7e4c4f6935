// SPDX-License-Identifier: Apache-2.0
// Dim arithmetic (dim.h): canonical forms of sums, products, divisions, minima and maxima.
#include "libonnxtool/ir/dim.h"

#include <algorithm>
#include <numeric>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/ir/dim_table.h"

namespace onnxtool {
namespace {

bool is_floor_by_const(const DimTerm& t) {
  if (t.atoms.size() != 1) return false;
  const DimEntry& e = DimTable::entry(t.atoms[0]);
  return e.kind == DimKind::kFloorDiv && e.args[1].is_const();
}

uint64_t magnitude(int64_t v) {
  return v < 0 ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
}

// Moves out of p what c divides: p = c * whole + p, constant of p then in [0, c).
bool split_multiples(DimPoly& p, int64_t c, DimPoly& whole) {
  DimPoly out, rest;
  for (const DimTerm& t : p) {
    bool constant = t.atoms.empty();
    int64_t q = constant ? floor_div(t.coef, c) : t.coef / c;
    int64_t r = constant ? floor_mod(t.coef, c) : t.coef % c;
    if (q != 0) out.push_back({q, t.atoms});
    if (r != 0) rest.push_back({r, t.atoms});
  }
  auto w = add(whole, out);
  if (!w) return false;
  whole = std::move(*w);
  p = std::move(rest);
  return true;
}

// floor((A + d * rest) / (d * c)) for floor((±floor(A'/d) + rest) / c), where just one such term
// with factor 1 or -1 is there. True when p and c were changed.
bool flatten_floor(DimPoly& p, int64_t& c) {
  size_t at = p.size();
  for (size_t i = 0; i < p.size(); ++i) {
    if (!is_floor_by_const(p[i]) || magnitude(p[i].coef) != 1) continue;
    if (at != p.size()) return false;
    at = i;
  }
  if (at == p.size()) return false;
  const DimEntry& f = DimTable::entry(p[at].atoms[0]);
  int64_t d = f.args[1].value();
  auto cd = checked_mul(c, d);
  if (!cd) return false;
  DimPoly inner = DimTable::poly(f.args[0]);
  if (p[at].coef < 0) {  // -floor(A/d) = floor((-A + d - 1) / d)
    auto n = add(d == 1 ? DimPoly{} : DimPoly{{d - 1, {}}}, inner, -1);
    if (!n) return false;
    inner = std::move(*n);
  }
  DimPoly rest = p;
  rest.erase(rest.begin() + static_cast<ptrdiff_t>(at));
  auto flat = add(inner, rest, d);
  if (!flat) return false;
  p = std::move(*flat);
  c = *cd;
  return true;
}

Dim floor_by_const(DimPoly p, int64_t c) {
  if (c < 0) {
    auto n = scale(p, -1);
    if (!n || c == INT64_MIN) return {};
    p = std::move(*n);
    c = -c;
  }
  DimPoly whole;
  for (;;) {
    if (!split_multiples(p, c, whole)) return {};
    DimRange r = range_of(p);
    if (r.lo != INT64_MIN && r.hi != INT64_MAX && floor_div(r.lo, c) == floor_div(r.hi, c)) {
      int64_t q = floor_div(r.lo, c);
      return DimTable::of(q == 0 ? whole : add(whole, {{q, {}}}));
    }
    uint64_t g = static_cast<uint64_t>(c);
    for (const DimTerm& t : p)
      if (!t.atoms.empty()) g = std::gcd(g, magnitude(t.coef));
    if (g > 1) {
      int64_t divisor = static_cast<int64_t>(g);
      for (DimTerm& t : p) t.coef = floor_div(t.coef, divisor);
      if (p.back().coef == 0) p.pop_back();
      c /= divisor;
      continue;
    }
    if (flatten_floor(p, c)) continue;
    if (p.front().coef > 0) break;
    // floor(-x / c) = -floor((x + c - 1) / c): the leading coefficient is always positive.
    auto negated = add(DimPoly{{c - 1, {}}}, p, -1);
    if (!negated) return {};
    return DimTable::of(whole) - floor_by_const(std::move(*negated), c);
  }
  Dim a = DimTable::of(std::move(p));
  if (a.is_unknown()) return {};
  Dim f = DimTable::atom(DimKind::kFloorDiv, {a, Dim(c)});
  return whole.empty() ? f : DimTable::of(whole) + f;
}

// Divides all terms of p and q by their common coefficient and monomial (divisors are not 0).
void cancel_common(DimPoly& p, DimPoly& q) {
  uint64_t g = 0;
  DimTerm common{1, q.front().atoms};
  auto reduce = [&](const DimPoly& terms) {
    for (const DimTerm& t : terms) {
      g = std::gcd(g, magnitude(t.coef));
      std::vector<uint32_t> both;
      size_t j = 0;
      for (uint32_t a : common.atoms) {
        while (j < t.atoms.size() && compare_atoms(t.atoms[j], a) < 0) ++j;
        if (j < t.atoms.size() && t.atoms[j] == a) both.push_back(a), ++j;
      }
      common.atoms = std::move(both);
    }
  };
  reduce(q);
  reduce(p);
  if (g > 1 && g <= static_cast<uint64_t>(INT64_MAX)) common.coef = static_cast<int64_t>(g);
  if (common.coef == 1 && common.atoms.empty()) return;
  for (DimPoly* terms : {&p, &q})
    for (DimTerm& t : *terms) t = *divide_term(t, common);
}

Dim floor_by_poly(DimPoly p, DimPoly q) {
  if (auto exact = divide_exactly(p, q)) return DimTable::of(std::move(exact));
  DimPoly whole;
  if (q.size() == 1) {
    DimPoly rest;
    for (const DimTerm& t : p) {
      if (auto d = divide_term(t, q.front()))
        whole.push_back(std::move(*d));
      else
        rest.push_back(t);
    }
    p = std::move(rest);
  }
  cancel_common(p, q);
  Dim base = DimTable::of(whole);
  if (q.size() == 1 && q.front().atoms.empty())
    return base + floor_by_const(std::move(p), q.front().coef);
  if (q.front().coef < 0) {
    auto np = scale(p, -1), nq = scale(q, -1);
    if (!np || !nq) return {};
    p = std::move(*np);
    q = std::move(*nq);
  }
  Dim a = DimTable::of(p), b = DimTable::of(q);
  if (a.is_unknown() || b.is_unknown()) return {};
  // 0 <= a < b
  if (auto gap = add(q, p, -1); gap && range_of(p).lo >= 0 && range_of(*gap).lo >= 1) return base;
  return base + DimTable::atom(DimKind::kFloorDiv, {a, b});
}

// True when a - b has a bound that makes a always at least b.
bool at_least(Dim a, Dim b) {
  auto d = add(DimTable::poly(a), DimTable::poly(b), -1);
  return d && range_of(*d).lo >= 0;
}

Dim extremum(DimKind kind, Dim a, Dim b) {
  if (a.is_unknown() || b.is_unknown()) return {};
  bool smallest = kind == DimKind::kMin;
  if (a.is_const() && b.is_const())
    return smallest ? std::min(a.value(), b.value()) : std::max(a.value(), b.value());
  std::vector<Dim> all, kept;
  for (Dim d : {a, b}) {
    if (!d.is_const() && DimTable::entry(d).kind == kind) {
      const std::vector<Dim>& args = DimTable::entry(d).args;
      all.insert(all.end(), args.begin(), args.end());
    } else {
      all.push_back(d);
    }
  }
  for (size_t i = 0; i < all.size(); ++i) {
    bool needed = true;
    for (size_t j = 0; j < all.size() && needed; ++j) {
      if (i == j) continue;
      bool loses = smallest ? at_least(all[i], all[j]) : at_least(all[j], all[i]);
      bool draw = smallest ? at_least(all[j], all[i]) : at_least(all[i], all[j]);
      if (loses && (!draw || j < i)) needed = false;
    }
    if (needed) kept.push_back(all[i]);
  }
  if (kept.size() == 1) return kept[0];
  if (kept.size() > DimTable::kMaxArgs) return {};
  std::sort(kept.begin(), kept.end(), [](Dim x, Dim y) { return compare_dims(x, y) < 0; });
  return DimTable::atom(kind, std::move(kept));
}

}  // namespace

Dim Dim::symbol(std::string_view name) { return DimTable::symbol(name, false); }
Dim Dim::fresh(std::string_view hint) { return DimTable::symbol(hint, true); }
bool Dim::is_symbol() const {
  return expr_ != 0 && DimTable::entry(expr_).kind == DimKind::kSymbol;
}

Dim operator+(Dim a, Dim b) {
  if (a.known_ && b.known_) {
    auto v = checked_add(a.v_, b.v_);
    return v ? Dim(*v) : Dim();
  }
  if (a.is_unknown() || b.is_unknown()) return {};
  return DimTable::of(add(DimTable::poly(a), DimTable::poly(b)));
}

Dim operator-(Dim a, Dim b) {
  if (a.known_ && b.known_) {
    auto v = checked_sub(a.v_, b.v_);
    return v ? Dim(*v) : Dim();
  }
  if (a.is_unknown() || b.is_unknown()) return {};
  return DimTable::of(add(DimTable::poly(a), DimTable::poly(b), -1));
}

Dim operator*(Dim a, Dim b) {
  if (a.is_const(0) || b.is_const(0)) return 0;
  if (a.known_ && b.known_) {
    auto v = checked_mul(a.v_, b.v_);
    return v ? Dim(*v) : Dim();
  }
  if (a.is_unknown() || b.is_unknown()) return {};
  return DimTable::of(multiply(DimTable::poly(a), DimTable::poly(b)));
}

Dim floor_div(Dim a, Dim b) {
  if (a.is_unknown() || b.is_unknown() || b.is_const(0)) return {};
  if (b.is_const(1)) return a;
  if (a.is_const() && b.is_const()) {
    if (a.value() == INT64_MIN && b.value() == -1) return {};
    return floor_div(a.value(), b.value());
  }
  if (a.is_const(0)) return 0;
  if (b.is_const()) return floor_by_const(DimTable::poly(a), b.value());
  return floor_by_poly(DimTable::poly(a), DimTable::poly(b));
}

Dim ceil_div(Dim a, Dim b) {
  if (a.is_unknown() || b.is_unknown() || b.is_const(0)) return {};
  return Dim(0) - floor_div(Dim(0) - a, b);
}

Dim floor_mod(Dim a, Dim b) { return a - b * floor_div(a, b); }

Dim min(Dim a, Dim b) { return extremum(DimKind::kMin, a, b); }
Dim max(Dim a, Dim b) { return extremum(DimKind::kMax, a, b); }

Dim product(std::span<const Dim> dims) {
  Dim r = 1;
  for (Dim d : dims)
    if (d.is_const(0)) return 0;
  for (Dim d : dims) r = r * d;
  return r;
}

Dim sum(std::span<const Dim> dims) {
  Dim r = 0;
  for (Dim d : dims) r = r + d;
  return r;
}

std::optional<int64_t> Dim::lower_bound() const {
  int64_t v = range_of(*this).lo;
  if (v == INT64_MIN && !known_) return std::nullopt;
  return v;
}

std::optional<int64_t> Dim::upper_bound() const {
  int64_t v = range_of(*this).hi;
  if (v == INT64_MAX && !known_) return std::nullopt;
  return v;
}

bool Dim::differ(Dim a, Dim b) {
  if (a.is_unknown() || b.is_unknown()) return false;
  if (a.is_const() && b.is_const()) return a.value() != b.value();
  auto d = add(DimTable::poly(a), DimTable::poly(b), -1);
  if (!d) return false;
  DimRange r = range_of(*d);
  return r.lo > 0 || r.hi < 0;
}

size_t Dim::hash() const {
  return known_ ? std::hash<int64_t>()(v_) * 31 + 7 : (expr_ + 1) * 0x9E3779B97F4A7C15ull;
}

}  // namespace onnxtool
