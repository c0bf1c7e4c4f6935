// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/fft.h"

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

}  // namespace onnxtool
