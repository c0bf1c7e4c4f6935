// SPDX-License-Identifier: Apache-2.0
// Discrete Fourier transforms of any length in double: radix 2, and Bluestein's algorithm
// (Bluestein 1970, "A linear filtering approach to the computation of discrete Fourier transform").
#pragma once
#include <complex>
#include <span>
#include <vector>

namespace onnxtool {

class Fft {
 public:
  explicit Fft(size_t n);
  // In place, without the factor 1/n of the inverse. x.size() == n.
  void operator()(std::span<std::complex<double>> x, bool inverse) const;
  // Elements of work space for length n, for budgets.
  static size_t work_size(size_t n);

 private:
  using Complex = std::complex<double>;
  void power_of_two(std::span<Complex> x, bool inverse) const;
  size_t n_, padded_;                    // padded_: the power of two that the work is done in
  std::vector<Complex> roots_;           // exp(-2 pi i k / padded_)
  std::vector<Complex> chirp_, filter_;  // Bluestein: exp(-pi i k^2 / n), and its transform
};

// Complex transforms of float with a length up to 32 that has no prime factor above 5, in float:
// decimation in frequency with the factors 2, 3 and 5, in the order of operations that recorded
// values of the standard have. Where terms cancel, only the same roundings give the same value.
bool has_short_fft(int64_t n);
void short_fft(std::span<std::complex<float>> x, bool inverse);

}  // namespace onnxtool
