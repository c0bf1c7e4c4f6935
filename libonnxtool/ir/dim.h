// SPDX-License-Identifier: Apache-2.0
// Dim: one symbolic dimension or one symbolic integer: a constant, or an expression over named
// symbols (sums, products, floor division, ceiling division, modulo, min, max). Expressions are
// hash-consed and kept in a canonical polynomial form, so equal forms compare equal by handle.
// Symbols stand for non-negative integers. Arithmetic that overflows int64 gives an unknown Dim.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace onnxtool {

class Dim {
 public:
  Dim() = default;  // unknown: nothing is known, equals no other Dim
  Dim(int64_t value)
      : known_(true), v_(value) {}           // NOLINT: a constant (may be negative as a value)
  static Dim symbol(std::string_view name);  // the symbol of that name
  static Dim fresh(std::string_view hint);   // a new symbol, named hint, hint_1...

  bool is_unknown() const { return !known_ && expr_ == 0; }
  bool is_const() const { return known_; }
  bool is_const(int64_t v) const { return known_ && v_ == v; }
  int64_t value() const { return v_; }  // only when is_const()
  bool is_symbol() const;               // a plain named symbol
  std::string text() const;             // "3", "N", "2*N+1", "floor(N/2)", "?"

  // Proven equal (same canonical form, both known).
  friend bool operator==(Dim a, Dim b) {
    return a.known_ ? (b.known_ && a.v_ == b.v_)
                    : (!b.known_ && a.expr_ == b.expr_ && a.expr_ != 0);
  }
  friend Dim operator+(Dim a, Dim b);
  friend Dim operator-(Dim a, Dim b);
  friend Dim operator*(Dim a, Dim b);

  // Bounds that hold for all symbols >= 0 (symbols may be told a larger minimum: see below).
  std::optional<int64_t> lower_bound() const;
  std::optional<int64_t> upper_bound() const;
  // Proven different: their difference has a bound that excludes 0.
  static bool differ(Dim a, Dim b);

  // The value with symbols replaced; nullopt if a symbol is missing or arithmetic overflows.
  std::optional<int64_t> evaluate(
      const std::function<std::optional<int64_t>(std::string_view)>& value_of) const;
  // The expression with symbols replaced by other Dims (unknown stays).
  Dim substitute(const std::function<std::optional<Dim>(std::string_view)>& dim_of) const;
  std::vector<std::string> symbols() const;
  size_t hash() const;

 private:
  friend struct DimTable;
  bool known_ = false;
  uint32_t expr_ = 0;  // handle in the table; 0 = none
  int64_t v_ = 0;
};

Dim floor_div(Dim a, Dim b);
Dim ceil_div(Dim a, Dim b);
Dim floor_mod(Dim a, Dim b);
Dim min(Dim a, Dim b);
Dim max(Dim a, Dim b);
Dim product(std::span<const Dim> dims);  // empty: 1
Dim sum(std::span<const Dim> dims);

}  // namespace onnxtool
