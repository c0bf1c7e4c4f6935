// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/fft.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

namespace onnxtool {
namespace {

// exp(-pi i k / n)
std::complex<double> half_root(size_t k, size_t n) {
  return std::polar(1.0, -std::numbers::pi * static_cast<double>(k) / static_cast<double>(n));
}

}  // namespace

size_t Fft::work_size(size_t n) {
  return std::has_single_bit(n) || n == 0 ? n : 2 * n + 3 * std::bit_ceil(2 * n);
}

Fft::Fft(size_t n) : n_(n), padded_(n) {
  if (n < 2) return;
  const bool direct = std::has_single_bit(n);
  if (!direct) padded_ = std::bit_ceil(2 * n - 1);
  for (size_t k = 0; k < padded_ / 2; k++) roots_.push_back(half_root(2 * k, padded_));
  if (direct) return;
  // k^2 is taken modulo 2n, the period of the chirp, so that angles stay small and exact.
  size_t square = 0;
  for (size_t k = 0; k < n; k++) {
    chirp_.push_back(half_root(square, n));
    square = (square + 2 * k + 1) % (2 * n);
  }
  filter_.assign(padded_, 0);
  for (size_t k = 0; k < n; k++) filter_[k] = std::conj(chirp_[k]);
  for (size_t k = 1; k < n; k++) filter_[padded_ - k] = filter_[k];
  power_of_two(filter_, false);
}

void Fft::power_of_two(std::span<Complex> x, bool inverse) const {
  const size_t n = x.size();
  for (size_t i = 1, j = 0; i < n; i++) {  // bit reversal
    size_t bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(x[i], x[j]);
  }
  for (size_t half = 1; half < n; half *= 2)
    for (size_t at = 0; at < n; at += 2 * half)
      for (size_t k = 0; k < half; k++) {
        const Complex root = roots_[k * (n / (2 * half))];
        const Complex odd = x[at + k + half] * (inverse ? std::conj(root) : root);
        x[at + k + half] = x[at + k] - odd;
        x[at + k] += odd;
      }
}

void Fft::operator()(std::span<Complex> x, bool inverse) const {
  if (n_ < 2) return;
  if (chirp_.empty()) return power_of_two(x, inverse);
  // The inverse is the conjugate of the transform of the conjugate.
  std::vector<Complex> work(padded_, 0);
  for (size_t k = 0; k < n_; k++) work[k] = (inverse ? std::conj(x[k]) : x[k]) * chirp_[k];
  power_of_two(work, false);
  for (size_t k = 0; k < padded_; k++) work[k] *= filter_[k];
  power_of_two(work, true);
  for (size_t k = 0; k < n_; k++) {
    const Complex y = work[k] * chirp_[k] / static_cast<double>(padded_);
    x[k] = inverse ? std::conj(y) : y;
  }
}

namespace {

using ComplexF = std::complex<float>;

// Products are written out: the library's treat NaN on their own.
ComplexF turned(ComplexF v, ComplexF w, bool inverse) {
  if (inverse)
    return {v.real() * w.real() - v.imag() * w.imag(), v.real() * w.imag() + v.imag() * w.real()};
  return {v.real() * w.real() + v.imag() * w.imag(), v.imag() * w.real() - v.real() * w.imag()};
}

// i * (a t + b u)
ComplexF quarter_turn(float a, ComplexF t, float b, ComplexF u) {
  return {-(a * t.imag() + b * u.imag()), a * t.real() + b * u.real()};
}

// Transform of p points, in place: sums and differences of the points k and p - k.
void butterfly(ComplexF* c, size_t p, bool inverse) {
  if (p == 2) {
    const ComplexF t = c[0];
    c[0] = t + c[1];
    c[1] = t - c[1];
    return;
  }
  const ComplexF first = c[0], s1 = c[1] + c[p - 1], d1 = c[1] - c[p - 1];
  const double angle = 2 * std::numbers::pi / static_cast<double>(p), sign = inverse ? 1 : -1;
  if (p == 3) {
    const ComplexF even = first + s1 * -0.5f;
    const float a = static_cast<float>(sign * std::sin(angle));
    const ComplexF odd{-(a * d1.imag()), a * d1.real()};
    c[0] = first + s1;
    c[1] = even + odd;
    c[2] = even - odd;
    return;
  }
  const ComplexF s2 = c[2] + c[3], d2 = c[2] - c[3];
  const float c1 = static_cast<float>(std::cos(angle)),
              c2 = static_cast<float>(std::cos(2 * angle));
  const float a1 = static_cast<float>(sign * std::sin(angle)),
              a2 = static_cast<float>(sign * std::sin(2 * angle));
  const ComplexF e1 = first + c1 * s1 + c2 * s2, e2 = first + c2 * s1 + c1 * s2;
  const ComplexF o1 = quarter_turn(a1, d1, a2, d2), o2 = quarter_turn(a2, d1, -a1, d2);
  c[0] = first + s1 + s2;
  c[1] = e1 + o1;
  c[2] = e2 + o2;
  c[3] = e2 - o2;
  c[4] = e1 - o1;
}

}  // namespace

bool has_short_fft(int64_t n) {
  if (n < 1 || n > 32) return false;
  for (int64_t p : {2, 3, 5})
    while (n % p == 0) n /= p;
  return n == 1;
}

void short_fft(std::span<ComplexF> x, bool inverse) {
  const size_t n = x.size();
  std::vector<ComplexF> roots, other(n);
  for (size_t k = 0; k < n; k++) {
    const std::complex<double> r = std::conj(half_root(2 * k, n));
    roots.emplace_back(static_cast<float>(r.real()), static_cast<float>(r.imag()));
  }
  size_t done = 1;
  for (size_t p : {2, 3, 5})
    for (; n / done % p == 0; done *= p) {
      const size_t left = n / (done * p);
      for (size_t k = 0; k < done; k++)
        for (size_t i = 0; i < left; i++) {
          ComplexF c[5];
          for (size_t j = 0; j < p; j++) c[j] = x[i + left * (j + p * k)];
          butterfly(c, p, inverse);
          for (size_t j = 0; j < p; j++)
            other[i + left * (k + done * j)] =
                i * j == 0 ? c[j] : turned(c[j], roots[j * done * i], inverse);
        }
      std::copy(other.begin(), other.end(), x.begin());
    }
}

}  // namespace onnxtool
