// SPDX-License-Identifier: Apache-2.0
// Polynomials over atoms: sums, products, exact division, and the range of values (dim_table.h).
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/ir/dim_table.h"

namespace onnxtool {
namespace {

constexpr int64_t kLow = INT64_MIN, kHigh = INT64_MAX;

int64_t clamp128(__int128 v) {
  return v <= kLow ? kLow : v >= kHigh ? kHigh : static_cast<int64_t>(v);
}
// A bound that left int64 is no bound any more.
int64_t add_bound(int64_t a, int64_t b, int64_t none) {
  if (a == none || b == none) return none;
  return checked_add(a, b).value_or(none);
}
DimRange add(DimRange a, DimRange b) {
  return {add_bound(a.lo, b.lo, kLow), add_bound(a.hi, b.hi, kHigh)};
}
__int128 times(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  bool inf_a = a == kLow || a == kHigh, inf_b = b == kLow || b == kHigh;
  if (inf_a || inf_b) return ((a < 0) != (b < 0)) ? static_cast<__int128>(kLow) : kHigh;
  return static_cast<__int128>(a) * b;
}
DimRange multiply(DimRange a, DimRange b) {
  __int128 c[4] = {times(a.lo, b.lo), times(a.lo, b.hi), times(a.hi, b.lo), times(a.hi, b.hi)};
  auto [lo, hi] = std::minmax_element(c, c + 4);
  return {clamp128(*lo), clamp128(*hi)};
}
DimRange intersect(DimRange a, DimRange b) { return {std::max(a.lo, b.lo), std::min(a.hi, b.hi)}; }

DimRange simple_range(const DimPoly& p) {
  DimRange r{0, 0};
  for (const DimTerm& t : p) {
    DimRange m{t.coef, t.coef};
    for (uint32_t a : t.atoms) m = multiply(m, DimTable::entry(a).range);
    r = add(r, m);
  }
  return r;
}

// p with the term at `at` taken out, scaled by `factor`, plus `k` times `d`.
std::optional<DimPoly> exchange(const DimPoly& p, size_t at, int64_t factor, const DimPoly& d,
                                int64_t k) {
  DimPoly rest = p;
  rest.erase(rest.begin() + static_cast<ptrdiff_t>(at));
  auto scaled = scale(rest, factor);
  return scaled ? add(*scaled, d, k) : std::nullopt;
}

DimRange tight_range(const DimPoly& p, int budget);

// c = constant divisor: c*p has the term k*c*floor(a/c) = k*(a - r) with r in [0, c-1].
DimRange range_without_floor(const DimPoly& p, size_t at, const DimEntry& f, int budget) {
  int64_t c = f.args[1].value(), k = p[at].coef;
  auto q = exchange(p, at, c, DimTable::poly(f.args[0]), k);
  auto nk = checked_sub(0, k);
  if (!q || !nk) return {};
  DimRange r = add(tight_range(*q, budget - 1), multiply({0, c - 1}, {*nk, *nk}));
  return {r.lo == kLow ? kLow : ceil_div(r.lo, c), r.hi == kHigh ? kHigh : floor_div(r.hi, c)};
}

// min or max equals one of its arguments, and bounds each of them.
DimRange range_by_cases(const DimPoly& p, size_t at, const DimEntry& f, int budget) {
  int64_t k = p[at].coef;
  bool above = (f.kind == DimKind::kMax) == (k > 0);  // the term is at least that of each argument
  DimRange r;
  for (size_t i = 0; i < f.args.size(); ++i) {
    auto q = exchange(p, at, 1, DimTable::poly(f.args[i]), k);
    if (!q) return {};
    DimRange c = tight_range(*q, budget - 1);
    if (i == 0)
      r = c;
    else
      r = above ? DimRange{std::max(r.lo, c.lo), std::max(r.hi, c.hi)}
                : DimRange{std::min(r.lo, c.lo), std::min(r.hi, c.hi)};
  }
  return r;
}

// The range by intervals, made tighter by putting what floor, min and max stand for in the place
// of those that occur alone in a term.
DimRange tight_range(const DimPoly& p, int budget) {
  DimRange r = simple_range(p);
  if (budget <= 0 || p.size() > 12 || (r.lo != kLow && r.hi != kHigh && p.size() == 1)) return r;
  size_t at = p.size();
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i].atoms.size() != 1) continue;
    const DimEntry& e = DimTable::entry(p[i].atoms[0]);
    bool usable = e.kind == DimKind::kMin || e.kind == DimKind::kMax ||
                  (e.kind == DimKind::kFloorDiv && e.args[1].is_const());
    if (usable && (at == p.size() || e.depth > DimTable::entry(p[at].atoms[0]).depth)) at = i;
  }
  if (at == p.size()) return r;
  const DimEntry& e = DimTable::entry(p[at].atoms[0]);
  if (e.kind == DimKind::kFloorDiv) return intersect(r, range_without_floor(p, at, e, budget));
  if (e.args.size() > 4) return r;
  return intersect(r, range_by_cases(p, at, e, budget - 1));
}

void normalize(DimPoly& p, bool& overflow) {
  std::sort(p.begin(), p.end(),
            [](const DimTerm& a, const DimTerm& b) { return compare_monomials(a, b) > 0; });
  size_t n = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (n > 0 && p[n - 1].atoms == p[i].atoms) {
      auto c = checked_add(p[n - 1].coef, p[i].coef);
      if (!c) {
        overflow = true;
        return;
      }
      p[n - 1].coef = *c;
      if (*c == 0) --n;
    } else {
      if (n != i) p[n] = std::move(p[i]);
      ++n;
    }
  }
  p.resize(n);
}

}  // namespace

std::optional<DimPoly> add(const DimPoly& a, const DimPoly& b, int64_t factor) {
  DimPoly r;
  r.reserve(a.size() + b.size());
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    int c = i == a.size() ? -1 : j == b.size() ? 1 : compare_monomials(a[i], b[j]);
    if (c > 0) {
      r.push_back(a[i++]);
      continue;
    }
    auto v = checked_mul(b[j].coef, factor);
    if (v && c == 0) v = checked_add(*v, a[i++].coef);
    if (!v) return std::nullopt;
    if (*v != 0) r.push_back({*v, b[j].atoms});
    ++j;
  }
  if (r.size() > 2 * DimTable::kMaxTerms) return std::nullopt;
  return r;
}

std::optional<DimPoly> scale(const DimPoly& a, int64_t factor) {
  DimPoly r;
  if (factor == 0) return r;
  r = a;
  for (DimTerm& t : r) {
    auto v = checked_mul(t.coef, factor);
    if (!v) return std::nullopt;
    t.coef = *v;
  }
  return r;
}

std::optional<DimPoly> multiply(const DimPoly& a, const DimPoly& b) {
  if (a.size() * b.size() > 1024) return std::nullopt;
  DimPoly r;
  r.reserve(a.size() * b.size());
  for (const DimTerm& x : a)
    for (const DimTerm& y : b) {
      DimTerm t;
      auto c = checked_mul(x.coef, y.coef);
      if (!c || x.atoms.size() + y.atoms.size() > DimTable::kMaxDegree) return std::nullopt;
      t.coef = *c;
      t.atoms.resize(x.atoms.size() + y.atoms.size());
      std::merge(x.atoms.begin(), x.atoms.end(), y.atoms.begin(), y.atoms.end(), t.atoms.begin(),
                 [](uint32_t p, uint32_t q) { return compare_atoms(p, q) < 0; });
      r.push_back(std::move(t));
    }
  bool overflow = false;
  if (a.size() > 1 && b.size() > 1) normalize(r, overflow);
  if (overflow) return std::nullopt;
  return r;
}

std::optional<DimTerm> divide_term(const DimTerm& a, const DimTerm& b) {
  if (b.atoms.size() > a.atoms.size() || b.coef == 0) return std::nullopt;
  if (b.coef == -1 ? a.coef == INT64_MIN : a.coef % b.coef != 0) return std::nullopt;
  DimTerm q;
  q.coef = a.coef / b.coef;
  size_t j = 0;
  for (uint32_t atom : a.atoms) {
    if (j < b.atoms.size() && b.atoms[j] == atom)
      ++j;
    else
      q.atoms.push_back(atom);
  }
  if (j != b.atoms.size()) return std::nullopt;
  return q;
}

std::optional<DimPoly> divide_exactly(const DimPoly& a, const DimPoly& b) {
  DimPoly rest = a, quotient;
  for (int steps = 0; !rest.empty(); ++steps) {
    if (steps > 200) return std::nullopt;
    auto q = divide_term(rest.front(), b.front());
    if (!q) return std::nullopt;
    auto product = multiply(b, {*q});
    auto next = product ? add(rest, *product, -1) : std::nullopt;
    if (!next) return std::nullopt;
    rest = std::move(*next);
    quotient.push_back(std::move(*q));
  }
  return quotient;
}

int64_t constant_term(const DimPoly& p) {
  return !p.empty() && p.back().atoms.empty() ? p.back().coef : 0;
}

DimRange range_of(const DimPoly& p) { return tight_range(p, 6); }

DimRange range_of(Dim d) {
  if (d.is_const()) return {d.value(), d.value()};
  if (d.is_unknown()) return {};
  return DimTable::entry(d).range;
}

}  // namespace onnxtool
