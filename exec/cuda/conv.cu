// SPDX-License-Identifier: Apache-2.0
// Convolution as implicit GEMM: a block makes a tile of pixels x output channels of one group, the
// columns of the image are gathered on the way into shared memory. Images may lie in any layout.
// Groups of one channel are summed directly. Products and sums are fp32 for every element type.
#include "exec/cuda/apply.h"
#include "exec/plan/geometry.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kEach = 4;  // a thread makes kEach x kEach of a tile
constexpr int kSpatial = 3;

struct Image {  // strides in elements
  int64_t batch = 0, channel = 0, at[kSpatial] = {};
};

struct Conv {
  DType type = DType::kFloat, bias_type = DType::kFloat;
  bool bias = false;
  int64_t pixels = 0;                             // of the output, times batch
  int64_t groups = 1, in_each = 1, out_each = 1;  // channels of a group
  int64_t window = 1, depth = 1;                  // places of the kernel; times in_each
  int64_t in[kSpatial] = {1, 1, 1}, out[kSpatial] = {1, 1, 1}, kernel[kSpatial] = {1, 1, 1};
  int64_t stride[kSpatial] = {1, 1, 1}, dilation[kSpatial] = {1, 1, 1}, pad[kSpatial] = {};
  Image from, to;
  Post post;
};

// What a pixel of the output reads: its image, and where its window begins.
struct Pixel {
  int64_t n, place[kSpatial];
};
__device__ Pixel pixel_of(const Conv& c, int64_t p) {
  Pixel r;
  for (int d = kSpatial; d-- > 0; p /= c.out[d]) r.place[d] = p % c.out[d];
  r.n = p;
  return r;
}
// The input element at place k of the window, channel `channel`; 0 in the padding.
__device__ float read_at(const Conv& c, const void* x, const Pixel& p, int64_t k, int64_t channel) {
  int64_t at = p.n * c.from.batch + channel * c.from.channel;
  for (int d = kSpatial; d-- > 0; k /= c.kernel[d]) {
    const int64_t i = p.place[d] * c.stride[d] - c.pad[d] + k % c.kernel[d] * c.dilation[d];
    if (i < 0 || i >= c.in[d]) return 0;
    at += i * c.from.at[d];
  }
  return load_as_float(x, at, c.type);
}
__device__ void write(const Conv& c, void* y, const void* bias, const PostPointers& post,
                      const Pixel& p, int64_t channel, float v) {
  int64_t at = p.n * c.to.batch + channel * c.to.channel;
  for (int d = 0; d < kSpatial; ++d) at += p.place[d] * c.to.at[d];
  if (c.bias) v += load_as_float(bias, channel, c.bias_type);
  store_float(y, at, c.type, apply_post(c.post, post, at, v));
}

// w: [groups, depth, out_each], depth = window places, channels inside.
template <typename T>
__global__ void convolve(Conv c, const void* x, const T* w, const void* bias, PostPointers post,
                         void* y) {
  __shared__ float a[kDepth][kTile], b[kDepth][kTile];
  const int64_t tiles_p = (c.pixels + kTile - 1) / kTile;
  const int64_t tiles_c = (c.out_each + kTile - 1) / kTile;
  const int t = static_cast<int>(threadIdx.x), row = t / (kTile / kEach) * kEach,
            col = t % (kTile / kEach) * kEach;
  for (int64_t tile = blockIdx.x; tile < tiles_p * tiles_c * c.groups; tile += gridDim.x) {
    const int64_t g = tile / (tiles_p * tiles_c), p0 = tile % tiles_p * kTile,
                  c0 = tile / tiles_p % tiles_c * kTile;
    float sum[kEach][kEach] = {};
    for (int64_t k0 = 0; k0 < c.depth; k0 += kDepth) {
      for (int e = t; e < kDepth * kTile; e += kThreads) {
        // Channels lie together in channels-last images, pixels in plain ones: read along them.
        const bool deep = c.from.channel == 1;
        const int k = deep ? e % kDepth : e / kTile, i = deep ? e / kDepth : e % kTile;
        const int64_t depth = k0 + k, p = p0 + i;
        a[k][i] = depth < c.depth && p < c.pixels ? read_at(c, x, pixel_of(c, p), depth / c.in_each,
                                                            g * c.in_each + depth % c.in_each)
                                                  : 0;
        const int64_t channel = c0 + e % kTile, from = k0 + e / kTile;
        b[e / kTile][e % kTile] = from < c.depth && channel < c.out_each
                                      ? to_float(w[(g * c.depth + from) * c.out_each + channel])
                                      : 0;
      }
      __syncthreads();
      for (int k = 0; k < kDepth; ++k)
        for (int i = 0; i < kEach; ++i)
          for (int j = 0; j < kEach; ++j) sum[i][j] += a[k][row + i] * b[k][col + j];
      __syncthreads();
    }
    for (int i = 0; i < kEach; ++i) {
      if (p0 + row + i >= c.pixels) break;
      const Pixel p = pixel_of(c, p0 + row + i);
      for (int j = 0; j < kEach && c0 + col + j < c.out_each; ++j)
        write(c, y, bias, post, p, g * c.out_each + c0 + col + j, sum[i][j]);
    }
  }
}

// One channel a group. w: [groups, window].
template <typename T>
__global__ void depthwise(Conv c, const void* x, const T* w, const void* bias, PostPointers post,
                          void* y) {
  GRID_LOOP(i, c.pixels * c.groups) {
    const bool deep = c.to.channel == 1;
    const int64_t channel = deep ? i % c.groups : i / c.pixels;
    const Pixel p = pixel_of(c, deep ? i / c.groups : i % c.pixels);
    float sum = 0;
    for (int64_t k = 0; k < c.window; ++k)
      sum += read_at(c, x, p, k, channel) * to_float(w[channel * c.window + k]);
    write(c, y, bias, post, p, channel, sum);
  }
}

// Transposed: every element of the output sums what reaches it. w: [groups, depth, out_each].
template <typename T>
__global__ void transposed(Conv c, const void* x, const T* w, const void* bias, PostPointers post,
                           void* y) {
  const int64_t channels = c.groups * c.out_each;
  GRID_LOOP(i, c.pixels * channels) {
    const bool deep = c.to.channel == 1;
    const int64_t channel = deep ? i % channels : i / c.pixels, g = channel / c.out_each;
    const Pixel p = pixel_of(c, deep ? i / channels : i % c.pixels);
    float sum = 0;
    for (int64_t k = 0; k < c.window; ++k) {
      int64_t at = p.n * c.from.batch, rest = k;
      bool inside = true;
      for (int d = kSpatial; d-- > 0; rest /= c.kernel[d]) {
        const int64_t from = p.place[d] + c.pad[d] - rest % c.kernel[d] * c.dilation[d];
        inside = inside && from >= 0 && from % c.stride[d] == 0 && from / c.stride[d] < c.in[d];
        at += from / c.stride[d] * c.from.at[d];
      }
      for (int64_t j = 0; inside && j < c.in_each; ++j)
        sum += load_as_float(x, at + (g * c.in_each + j) * c.from.channel, c.type) *
               to_float(w[(g * c.depth + k * c.in_each + j) * c.out_each + channel % c.out_each]);
    }
    write(c, y, bias, post, p, channel, sum);
  }
}

Image image(const Operand& o) {
  const std::vector<int64_t> s = memory_strides(o.dims, o.layout);
  Image r;
  r.batch = s[0];
  r.channel = s[1];
  for (size_t i = 2; i < s.size(); ++i) r.at[kSpatial - s.size() + i] = s[i];
  return r;
}

const char* build(const StepInfo& s, bool transpose, Conv* c) {
  auto g = transpose ? transposed_geometry(s) : conv_geometry(s);
  if (!g) return "shapes or attributes";
  if (g->rank() > kSpatial) return "more than three spatial dims";
  if (!is_float_type(s.in[0].dtype) || s.in[1].dtype != s.in[0].dtype ||
      s.out[0].dtype != s.in[0].dtype)
    return "the element types";
  if (!s.in[1].constant) return "weights are not constant";
  c->type = s.in[0].dtype;
  if (s.has(2)) {
    if (s.in[2].rank() != 1 || !is_float_type(s.in[2].dtype)) return "the bias";
    c->bias = true;
    c->bias_type = s.in[2].dtype;
  }
  c->groups = g->group;
  c->in_each = s.in[0].dims[1] / g->group;
  c->out_each = s.out[0].dims[1] / g->group;
  c->pixels = s.out[0].dims[0];
  for (size_t i = 0; i < g->rank(); ++i) {
    const size_t d = kSpatial - g->rank() + i;
    c->in[d] = g->in[i];
    c->out[d] = g->out[i];
    c->kernel[d] = g->kernel[i];
    c->stride[d] = g->strides[i];
    c->dilation[d] = g->dilations[i];
    c->pad[d] = g->begin[i];
    c->pixels *= g->out[i];
    c->window *= g->kernel[i];
  }
  c->depth = c->window * c->in_each;
  c->from = image(s.in[0]);
  c->to = image(s.out[0]);
  return plan_post(s, &c->post);
}

// Weights [groups * out_each, in_each, window] (Conv) or [groups * in_each, out_each, window]
// (ConvTranspose) as [groups, window, in_each, out_each].
template <typename T>
Result<std::shared_ptr<const std::byte>> pack(const StepInfo& s, const Conv& c, bool transpose,
                                              PrepareContext& ctx) {
  const Tensor& source = *s.in[1].constant;
  auto fill = [&](std::byte* bytes) -> Status {
    T* to = reinterpret_cast<T*>(bytes);
    const Tensor aligned = source.to_aligned();
    const T* from = reinterpret_cast<const T*>(aligned.raw());
    for (int64_t g = 0; g < c.groups; ++g)
      for (int64_t k = 0; k < c.window; ++k)
        for (int64_t i = 0; i < c.in_each; ++i)
          for (int64_t o = 0; o < c.out_each; ++o)
            *to++ = from[(transpose ? (g * c.in_each + i) * c.out_each + o
                                    : (g * c.out_each + o) * c.in_each + i) *
                             c.window +
                         k];
    return ok();
  };
  return ctx.packs.get(source, format("conv:{}:{}", c.groups, transpose),
                       static_cast<int64_t>(source.bytes()), fill);
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
  std::shared_ptr<const std::byte> weights;
  Status packed;
  with_float_type(c->type, [&](auto t) {
    auto w = pack<decltype(t)>(s, *c, transpose, ctx);
    if (w.ok())
      weights = std::move(*w);
    else
      packed = std::move(w).error();
  });
  TRY(std::move(packed));
  auto r = prepared([c, weights, transpose](const RunArgs& a) {
    const int64_t outputs = c->pixels * c->groups * c->out_each;
    const int64_t tiles =
        (c->pixels + kTile - 1) / kTile * ((c->out_each + kTile - 1) / kTile) * c->groups;
    const bool direct = transpose || (c->in_each == 1 && c->out_each == 1);
    Status status;
    with_float_type(c->type, [&](auto t) {
      using T = decltype(t);
      auto* kernel = transpose ? transposed<T> : direct ? depthwise<T> : convolve<T>;
      const int64_t blocks = direct ? blocks_for(outputs) : std::min<int64_t>(tiles, 1 << 20);
      status = launch(kernel, blocks, kThreads, a, *c, a.in[0],
                      reinterpret_cast<const T*>(weights.get()), c->bias ? a.in[2] : nullptr,
                      bind_post(c->post, a), a.out[0]);
    });
    return status;
  });
  r->unread_inputs = 2;
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
                       .ops = "Conv",
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
