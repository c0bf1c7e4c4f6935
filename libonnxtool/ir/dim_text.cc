// SPDX-License-Identifier: Apache-2.0
// Dim: the written form, evaluation and substitution (dim.h). Recursion is bounded by the table's
// limit on depth, the work by its limit on weight.
#include <algorithm>
#include <set>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/ir/dim_table.h"

namespace onnxtool {
namespace {

std::string text_of_poly(const DimPoly& p);

std::string text_of_atom(uint32_t id) {
  const DimEntry& e = DimTable::entry(id);
  if (e.kind == DimKind::kSymbol) return e.name;
  if (e.kind == DimKind::kFloorDiv) {
    DimPoly a = DimTable::poly(e.args[0]);
    const char* name = "floor(";
    if (e.args[1].is_const() && e.args[1].value() > 1 &&
        constant_term(a) == e.args[1].value() - 1) {  // floor((x + c - 1) / c)
      a.pop_back();
      name = "ceil(";
    }
    auto part = [](const DimPoly& p, bool product) {
      std::string s = text_of_poly(p);
      return p.size() > 1 ||
                     (product && (p[0].atoms.size() > 1 || p[0].coef != 1) && !p[0].atoms.empty())
                 ? "(" + s + ")"
                 : s;
    };
    return name + part(a, false) + "/" + part(DimTable::poly(e.args[1]), true) + ")";
  }
  std::string s = e.kind == DimKind::kMin ? "min(" : "max(";
  for (size_t i = 0; i < e.args.size(); ++i) s += (i ? ", " : "") + e.args[i].text();
  return s + ")";
}

std::string text_of_poly(const DimPoly& p) {
  std::string s;
  for (const DimTerm& t : p) {
    if (t.coef < 0)
      s += "-";
    else if (!s.empty())
      s += "+";
    std::string digits = std::to_string(t.coef);
    if (t.coef < 0) digits.erase(0, 1);
    if (t.atoms.empty() || digits != "1") s += digits;
    for (size_t i = 0; i < t.atoms.size(); ++i)
      s += (i > 0 || digits != "1" ? "*" : "") + text_of_atom(t.atoms[i]);
  }
  return s.empty() ? "0" : s;
}

using Lookup = std::function<std::optional<int64_t>(std::string_view)>;
std::optional<int64_t> eval_dim(Dim d, const Lookup& value_of);

std::optional<int64_t> eval_atom(uint32_t id, const Lookup& value_of) {
  const DimEntry& e = DimTable::entry(id);
  if (e.kind == DimKind::kSymbol) return value_of(e.name);
  auto a = eval_dim(e.args[0], value_of);
  for (size_t i = 1; a && i < e.args.size(); ++i) {
    auto b = eval_dim(e.args[i], value_of);
    if (!b) return std::nullopt;
    if (e.kind == DimKind::kMin)
      a = std::min(*a, *b);
    else if (e.kind == DimKind::kMax)
      a = std::max(*a, *b);
    else if (*b == 0 || (*a == INT64_MIN && *b == -1))
      return std::nullopt;
    else
      a = floor_div(*a, *b);
  }
  return a;
}

std::optional<int64_t> eval_dim(Dim d, const Lookup& value_of) {
  if (d.is_const()) return d.value();
  if (d.is_unknown()) return std::nullopt;
  const DimEntry& e = DimTable::entry(d);
  if (e.kind != DimKind::kPoly) return eval_atom(DimTable::id(d), value_of);
  int64_t total = 0;
  for (const DimTerm& t : e.poly) {
    int64_t v = t.coef;
    for (uint32_t a : t.atoms) {
      auto x = eval_atom(a, value_of);
      auto y = x ? checked_mul(v, *x) : std::nullopt;
      if (!y) return std::nullopt;
      v = *y;
    }
    auto s = checked_add(total, v);
    if (!s) return std::nullopt;
    total = *s;
  }
  return total;
}

using Replace = std::function<std::optional<Dim>(std::string_view)>;

Dim replace_atom(uint32_t id, const Replace& dim_of) {
  const DimEntry& e = DimTable::entry(id);
  if (e.kind == DimKind::kSymbol) return dim_of(e.name).value_or(DimTable::handle(id));
  Dim a = e.args[0].substitute(dim_of);
  for (size_t i = 1; i < e.args.size(); ++i) {
    Dim b = e.args[i].substitute(dim_of);
    a = e.kind == DimKind::kMin ? min(a, b) : e.kind == DimKind::kMax ? max(a, b) : floor_div(a, b);
  }
  return a;
}

void collect(Dim d, std::set<std::string>& names) {
  if (d.is_const() || d.is_unknown()) return;
  const DimEntry& e = DimTable::entry(d);
  if (e.kind == DimKind::kSymbol) names.insert(e.name);
  for (Dim a : e.args) collect(a, names);
  for (const DimTerm& t : e.poly)
    for (uint32_t a : t.atoms) collect(DimTable::handle(a), names);
}

}  // namespace

std::string Dim::text() const {
  if (is_unknown()) return "?";
  return known_ ? std::to_string(v_) : text_of_poly(DimTable::poly(*this));
}

std::optional<int64_t> Dim::evaluate(const Lookup& value_of) const {
  return eval_dim(*this, value_of);
}

Dim Dim::substitute(const Replace& dim_of) const {
  if (known_ || is_unknown()) return *this;
  const DimEntry& e = DimTable::entry(*this);
  if (e.kind != DimKind::kPoly) return replace_atom(expr_, dim_of);
  Dim total = 0;
  for (const DimTerm& t : e.poly) {
    Dim v = t.coef;
    for (uint32_t a : t.atoms) v = v * replace_atom(a, dim_of);
    total = total + v;
  }
  return total;
}

std::vector<std::string> Dim::symbols() const {
  std::set<std::string> names;
  collect(*this, names);
  return {names.begin(), names.end()};
}

}  // namespace onnxtool
