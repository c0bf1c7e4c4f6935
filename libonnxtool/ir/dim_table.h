// SPDX-License-Identifier: Apache-2.0
// Internal to ir/dim*.cc: the process-wide table of Dim expressions. An expression is a symbol, an
// atom (floor division, min, max of other Dims) or a polynomial with integer coefficients over
// those, and is stored once. Entries never change and are never freed, so reads take no lock.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libonnxtool/ir/dim.h"

namespace onnxtool {

// Product of atoms (handles, in atom order, repeated for powers) times a coefficient.
struct DimTerm {
  int64_t coef = 0;
  std::vector<uint32_t> atoms;
};
// Sum of terms in descending monomial order (degree, then atoms), the constant term last; no zero
// coefficients. Empty is 0.
using DimPoly = std::vector<DimTerm>;

// Values from lo to hi; INT64_MIN and INT64_MAX stand for "no bound".
struct DimRange {
  int64_t lo = INT64_MIN, hi = INT64_MAX;
};

enum class DimKind : uint8_t { kSymbol, kFloorDiv, kMin, kMax, kPoly };

struct DimEntry {
  DimKind kind = DimKind::kSymbol;
  uint32_t depth = 0;     // nesting of atoms
  uint32_t weight = 1;    // symbols and operators in the written-out expression
  std::string name;       // kSymbol
  std::vector<Dim> args;  // kFloorDiv: dividend, divisor; kMin, kMax: in atom order
  DimPoly poly;           // kPoly
  DimRange range;
};

struct DimTable {
  static constexpr size_t kMaxTerms = 64;
  static constexpr size_t kMaxDegree = 24;
  static constexpr size_t kMaxArgs = 8;
  static constexpr uint32_t kMaxDepth = 24;
  static constexpr uint32_t kMaxWeight = 1024;
  static constexpr uint32_t kMaxEntries = 1u << 22;

  static Dim handle(uint32_t id);
  static uint32_t id(Dim d) { return d.expr_; }
  static const DimEntry& entry(uint32_t id);
  static const DimEntry& entry(Dim d) { return entry(d.expr_); }

  // The symbol of that name; `fresh`: a name not used before, made from it.
  static Dim symbol(std::string_view name, bool fresh);
  // The atom; unknown when it is over the size limits.
  static Dim atom(DimKind kind, std::vector<Dim> args);
  // The canonical Dim of a polynomial; unknown when there is none or it is over the size limits.
  static Dim of(std::optional<DimPoly> poly);
  static DimPoly poly(Dim known);
};

// Total orders that depend on the written form only, not on the order of creation.
int compare_atoms(uint32_t a, uint32_t b);
int compare_dims(Dim a, Dim b);
int compare_monomials(const DimTerm& a, const DimTerm& b);  // > 0: a comes first

// nullopt: overflow or too many terms.
std::optional<DimPoly> add(const DimPoly& a, const DimPoly& b, int64_t factor_of_b = 1);
std::optional<DimPoly> multiply(const DimPoly& a, const DimPoly& b);
std::optional<DimPoly> scale(const DimPoly& a, int64_t factor);
// a / b where it is a polynomial, else nullopt.
std::optional<DimPoly> divide_exactly(const DimPoly& a, const DimPoly& b);
// Quotient of two terms where the monomial of b divides that of a and so do the coefficients.
std::optional<DimTerm> divide_term(const DimTerm& a, const DimTerm& b);
// Constant term, and the polynomial without it.
int64_t constant_term(const DimPoly& p);

DimRange range_of(const DimPoly& p);
DimRange range_of(Dim d);

}  // namespace onnxtool
