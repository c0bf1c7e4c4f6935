// SPDX-License-Identifier: Apache-2.0
// Convolution as implicit GEMM: a block makes a tile of pixels x output channels of one group, the
// columns of the image are gathered on the way into shared memory. Images may lie in any layout.
// Groups of one channel are summed directly, of 8-bit integers too (plan/quantize.h). Products and
// sums are fp32 for every element type; exec/cuda/tensor.cu comes first where tensor cores do them.
#include "exec/cuda/apply.h"
#include "exec/cuda/window.h"
#include "exec/plan/quantize.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kEach = 4;  // a thread makes kEach x kEach of a tile

struct Conv {
  Window window;
  DType type = DType::kFloat, out_type = DType::kFloat, bias_type = DType::kFloat;
  bool bias = false, scale = false;
  int groups = 1, in_each = 1, out_each = 1,
      depth = 1;   // channels of a group; in_each times window
  float zero = 0;  // what means 0 in the input
  Post post;
};
struct Pointers {
  const void *x, *bias;
  const float* scale;
  PostPointers post;
  void* y;
};

// The element at place k of the window, channel `channel`; 0 in the padding.
__device__ float read_at(const Conv& c, const void* x, const Pixel& p, int k, int channel) {
  const int64_t at = source_of(c.window, p, k);
  if (at < 0) return 0;
  return load_as_float(x, at + channel * c.window.from.channel, c.type) - c.zero;
}
__device__ void write(const Conv& c, const Pointers& o, const Pixel& p, int channel, float v) {
  const int64_t at = place_in(c.window.to, p, channel);
  if (c.scale) v *= o.scale[channel];
  if (c.bias) v += load_as_float(o.bias, channel, c.bias_type);
  store_float(o.y, at, c.out_type, apply_post(c.post, o.post, at, v));
}

// w: [groups, depth, out_each], depth = window places, channels inside.
template <typename T>
__global__ void convolve(Conv c, Pointers o, const T* w) {
  __shared__ float a[kDepth][kTile], b[kDepth][kTile];
  const int64_t pixels = c.window.all_pixels(), tiles_p = (pixels + kTile - 1) / kTile;
  const int tiles_c = (c.out_each + kTile - 1) / kTile;
  const int t = static_cast<int>(threadIdx.x), row = t / (kTile / kEach) * kEach,
            col = t % (kTile / kEach) * kEach;
  // Channels lie together in channels-last images, pixels in plain ones: read along them.
  const bool deep = c.window.from.channel == 1;
  constexpr int kLoads = kDepth * kTile / kThreads;
  for (int64_t tile = blockIdx.x; tile < tiles_p * tiles_c * c.groups; tile += gridDim.x) {
    const int c0 = static_cast<int>(tile % tiles_c) * kTile;
    const int64_t p0 = tile / tiles_c % tiles_p * kTile;
    const int g = static_cast<int>(tile / tiles_c / tiles_p);
    Pixel pixel[kLoads];  // of what this thread reads
    UNROLL for (int e = 0; e < kLoads; ++e) {
      const int at = t + e * kThreads;
      const int64_t p = p0 + (deep ? at / kDepth : at % kTile);
      pixel[e] = pixel_of(c.window, p < pixels ? p : 0);
      if (p >= pixels) pixel[e].image = -1;
    }
    float sum[kEach][kEach] = {};
    for (int k0 = 0; k0 < c.depth; k0 += kDepth) {
      UNROLL for (int e = 0; e < kLoads; ++e) {
        const int at = t + e * kThreads;
        const int k = deep ? at % kDepth : at / kTile, i = deep ? at / kDepth : at % kTile;
        const int depth = k0 + k;
        a[k][i] =
            depth < c.depth && pixel[e].image >= 0
                ? read_at(c, o.x, pixel[e], depth / c.in_each, g * c.in_each + depth % c.in_each)
                : 0;
        const int channel = c0 + at % kTile, from = k0 + at / kTile;
        b[at / kTile][at % kTile] =
            from < c.depth && channel < c.out_each
                ? to_float(w[(int64_t{g} * c.depth + from) * c.out_each + channel])
                : 0;
      }
      __syncthreads();
      UNROLL for (int k = 0; k < kDepth; ++k) UNROLL for (int i = 0; i < kEach; ++i)
          UNROLL for (int j = 0; j < kEach; ++j) sum[i][j] += a[k][row + i] * b[k][col + j];
      __syncthreads();
    }
    // Through shared memory, so that the loop that writes need not be unrolled.
    __shared__ float staged[kTile][kTile + 1];
    UNROLL for (int i = 0; i < kEach; ++i) UNROLL for (int j = 0; j < kEach; ++j)
        staged[row + i][col + j] = sum[i][j];
    __syncthreads();
    for (int e = t; e < kTile * kTile; e += kThreads) {
      const bool by_channel = c.window.to.channel == 1;
      const int i = by_channel ? e / kTile : e % kTile, j = by_channel ? e % kTile : e / kTile;
      if (p0 + i < pixels && c0 + j < c.out_each)
        write(c, o, pixel_of(c.window, p0 + i), g * c.out_each + c0 + j, staged[i][j]);
    }
    __syncthreads();
  }
}

// An output element a thread, of neighbours that lie together. f(pixel, channel) gives the sum.
template <typename F>
__device__ void each_output(const Conv& c, const Pointers& o, F&& f) {
  const int64_t channels = int64_t{c.groups} * c.out_each, pixels = c.window.all_pixels();
  const bool deep = c.window.to.channel == 1;
  GRID_LOOP(i, pixels * channels) {
    const auto channel = static_cast<int>(deep ? i % channels : i / pixels);
    const Pixel p = pixel_of(c.window, deep ? i / channels : i % pixels);
    write(c, o, p, channel, f(p, channel));
  }
}

// One channel a group. w: [groups, window].
template <typename T>
__global__ void depthwise(Conv c, Pointers o, const T* w) {
  each_output(c, o, [&](const Pixel& p, int channel) {
    float sum = 0;
    for (int k = 0; k < c.window.size; ++k)
      sum += read_at(c, o.x, p, k, channel) * to_float(w[int64_t{channel} * c.window.size + k]);
    return sum;
  });
}

// Transposed: every element of the output sums what reaches it. w: [groups, depth, out_each].
template <typename T>
__global__ void transposed(Conv c, Pointers o, const T* w) {
  const Window& win = c.window;
  each_output(c, o, [&](const Pixel& p, int channel) {
    const int g = channel / c.out_each;
    float sum = 0;
    for (int k = 0; k < win.size; ++k) {
      int64_t at = p.image * win.from.batch + int64_t{g} * c.in_each * win.from.channel;
      int rest = k;
      bool inside = true;
      for (int d = kSpatial; d-- > 0; rest /= win.kernel[d]) {
        const int from = p.place[d] + win.begin[d] - rest % win.kernel[d] * win.dilation[d];
        inside =
            inside && from >= 0 && from % win.stride[d] == 0 && from / win.stride[d] < win.in[d];
        at += from / win.stride[d] * win.from.at[d];
      }
      for (int j = 0; inside && j < c.in_each; ++j)
        sum +=
            load_as_float(o.x, at + j * win.from.channel, c.type) *
            to_float(
                w[(int64_t{g} * c.depth + k * c.in_each + j) * c.out_each + channel % c.out_each]);
    }
    return sum;
  });
}

enum class Kind { kConv, kDepthwise, kTransposed };

constexpr int64_t kMost = INT32_MAX / 4;

const char* build(const StepInfo& s, bool transpose, Conv* c) {
  auto g = transpose ? transposed_geometry(s) : conv_geometry(s);
  if (!g || !plan_window(s, *g, &c->window)) return "shapes or attributes";
  c->type = s.in[0].dtype;
  c->out_type = s.out[0].dtype;
  if (!s.in[1].constant) return "weights are not constant";
  if (s.in[1].size() > kMost || s.out[0].dims[1] > kMost) return "sizes";
  c->groups = static_cast<int>(g->group);
  c->in_each = static_cast<int>(s.in[0].dims[1] / g->group);
  c->out_each = static_cast<int>(s.out[0].dims[1] / g->group);
  c->depth = c->window.size * c->in_each;
  if (s.op.view() == step_kind::kQConv) {
    // Sums of so few products of 8-bit integers are exact in float.
    if (c->depth > 256) return "sums beyond 24 bits";
    if (c->in_each != 1 || c->out_each != 1) return "not depthwise";
    if (s.main_inputs < 4 || !s.in[3].constant || s.in[3].dtype != DType::kFloat ||
        s.in[3].size() != s.out[0].dims[1])
      return "the scales";
    if (s.has(4) &&
        (!s.in[4].constant || s.in[4].dtype != DType::kInt32 || s.in[4].size() != s.out[0].dims[1]))
      return "zero points";
    if (!edge_type(c->type) || !edge_type(c->out_type)) return "the element types";
    c->zero = static_cast<float>(s.attr_int("x_zero", 0));
    c->scale = true;
  } else if (!is_float_type(c->type) || s.in[1].dtype != c->type || c->out_type != c->type) {
    return "the element types";
  }
  if (s.has(2)) {
    if (s.in[2].rank() != 1 || !is_float_type(s.in[2].dtype)) return "the bias";
    c->bias = true;
    c->bias_type = s.in[2].dtype;
  }
  return plan_post(s, &c->post);
}

using Packed = Result<std::shared_ptr<const std::byte>>;

// Weights [groups * out_each, in_each, window] (Conv) or [groups * in_each, out_each, window]
// (ConvTranspose) as [groups, window, in_each, out_each].
template <typename T>
Packed pack(const StepInfo& s, const Conv& c, bool transpose, PrepareContext& ctx) {
  const Tensor& source = *s.in[1].constant;
  auto fill = [&](std::byte* bytes) -> Status {
    T* to = reinterpret_cast<T*>(bytes);
    const Tensor aligned = source.to_aligned();
    const T* from = reinterpret_cast<const T*>(aligned.raw());
    for (int64_t g = 0; g < c.groups; ++g)
      for (int64_t k = 0; k < c.window.size; ++k)
        for (int64_t i = 0; i < c.in_each; ++i)
          for (int64_t o = 0; o < c.out_each; ++o)
            *to++ = from[(transpose ? (g * c.in_each + i) * c.out_each + o
                                    : (g * c.out_each + o) * c.in_each + i) *
                             c.window.size +
                         k];
    return ok();
  };
  return ctx.packs.get(source, format("conv:{}:{}", c.groups, transpose),
                       static_cast<int64_t>(source.bytes()), fill);
}

// Of depthwise 8-bit integers: less their zero points, as float.
Packed pack_integers(const StepInfo& s, const Conv& c, PrepareContext& ctx) {
  const Tensor& source = *s.in[1].constant;
  auto fill = [&](std::byte* bytes) -> Status {
    auto* to = reinterpret_cast<float*>(bytes);
    const std::vector<int64_t> w = source.to_i64();
    const std::vector<int64_t> zero =
        s.has(4) ? s.in[4].constant->to_i64() : std::vector<int64_t>(w.size(), 0);
    for (size_t i = 0; i < w.size(); ++i)
      to[i] = static_cast<float>(w[i] - zero[i / static_cast<size_t>(c.window.size)]);
    return ok();
  };
  return ctx.packs.get(source, format("depthwise:{}", s.has(4)), source.size() * 4, fill);
}

const char* accept_conv(const StepInfo& s) {
  Conv c;
  return build(s, false, &c);
}
const char* accept_transposed(const StepInfo& s) {
  Conv c;
  return build(s, true, &c);
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, bool transpose, PrepareContext& ctx) {
  auto c = std::make_shared<Conv>();
  if (auto* why = build(s, transpose, c.get())) return unsupported(why);
  const Kind kind = transpose                             ? Kind::kTransposed
                    : c->in_each == 1 && c->out_each == 1 ? Kind::kDepthwise
                                                          : Kind::kConv;
  const DType weights_type = c->scale ? DType::kFloat : c->type;
  std::shared_ptr<const std::byte> weights;
  Status packed;
  const auto keep = [&](Packed w) {
    if (w.ok())
      weights = std::move(*w);
    else
      packed = std::move(w).error();
  };
  if (c->scale)
    keep(pack_integers(s, *c, ctx));
  else
    with_float_type(c->type, [&](auto t) { keep(pack<decltype(t)>(s, *c, transpose, ctx)); });
  TRY(std::move(packed));
  auto r = prepared([c, weights, kind, weights_type](const RunArgs& a) {
    const Pointers o = {a.in[0], c->bias ? a.in[2] : nullptr, c->scale ? in<float>(a, 3) : nullptr,
                        bind_post(c->post, a), a.out[0]};
    const int64_t pixels = c->window.all_pixels(), outputs = pixels * c->groups * c->out_each,
                  tiles = (pixels + kTile - 1) / kTile * ((c->out_each + kTile - 1) / kTile) *
                          c->groups;
    Status status;
    with_float_type(weights_type, [&](auto t) {
      using T = decltype(t);
      auto* kernel = kind == Kind::kTransposed  ? transposed<T>
                     : kind == Kind::kDepthwise ? depthwise<T>
                                                : convolve<T>;
      const int64_t blocks =
          kind == Kind::kConv ? std::min<int64_t>(tiles, 1 << 20) : blocks_for(outputs);
      status =
          launch(kernel, blocks, kThreads, a, *c, o, reinterpret_cast<const T*>(weights.get()));
    });
    return status;
  });
  r->unread_inputs = c->scale ? 0b10010 : 2;
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}
Result<std::unique_ptr<Prepared>> prepare_conv(const StepInfo& s, PrepareContext& ctx) {
  return prepare(s, false, ctx);
}
Result<std::unique_ptr<Prepared>> prepare_transposed(const StepInfo& s, PrepareContext& ctx) {
  return prepare(s, true, ctx);
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(conv,
                      {.name = "implicit_gemm",
                       .ops = "Conv plan.QConv",
                       .rank = 30,
                       .accept = cuda::accept_conv,
                       .prepare = cuda::prepare_conv,
                       .device = true},
                      {.name = "transposed",
                       .ops = "ConvTranspose",
                       .rank = 30,
                       .accept = cuda::accept_transposed,
                       .prepare = cuda::prepare_transposed,
                       .device = true})
