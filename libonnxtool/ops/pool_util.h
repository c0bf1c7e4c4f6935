// SPDX-License-Identifier: Apache-2.0
// Shape rule and window walk that the pooling operators share (specs of AveragePool, MaxPool).
#pragma once
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {

struct PoolShape {
  Shape out;
  Window window;
};
// nullopt: the rank of input `x` is not known.
Result<std::optional<PoolShape>> pool_rule(const InShapes& in, size_t x = 0);
Status infer_pool(InferContext& ctx);

// Concrete sizes of a pooling; planes = batch * channels.
struct PoolGeometry {
  Window window;
  Dims dims;     // of the result
  Dims in, out;  // spatial
  int64_t planes = 0, in_size = 1, out_size = 1;
};
Result<PoolGeometry> pool_geometry(const InShapes& in, size_t x = 0);

// The windows of consecutive output positions: the flat input positions that each covers.
class PoolWindows {
 public:
  explicit PoolWindows(const PoolGeometry& g) : g_(g), pos_(g.out.size(), 0) {}
  bool next();                              // the next few positions; false at the end
  int64_t first() const { return first_; }  // output position of window 0
  size_t count() const { return padded_.size(); }
  std::span<const int64_t> taps(size_t i) const {
    return std::span(taps_).subspan(begin_[i], begin_[i + 1] - begin_[i]);
  }
  int64_t padded(size_t i) const { return padded_[i]; }  // positions with those in the padding

 private:
  void add();
  const PoolGeometry& g_;
  Dims pos_;
  int64_t first_ = 0;
  std::vector<int64_t> taps_, padded_;
  std::vector<size_t> begin_;
};

// Mean of the taps of a window, by attribute count_include_pad.
double pool_mean(std::span<const double> plane, std::span<const int64_t> taps, int64_t padded,
                 bool include_pad);

}  // namespace onnxtool
