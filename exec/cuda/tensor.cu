// SPDX-License-Identifier: Apache-2.0
// Convolutions in half precision and in 8-bit integers, and products of 8-bit integers, on tensor
// cores (exec/cuda/mma.h): an implicit GEMM of pixels by output channels. Windows are gathered on
// the way into shared memory, in pieces of 16 bytes where channels lie together, else one by one;
// stages of both operands are copied while earlier ones are multiplied. Few tiles with deep windows
// are split along the depth: the parts lie in scratch memory until a second kernel adds them. Sums
// of integers are exact for all signs and zero points (plan/quantize.h).
#include "exec/cuda/gather_windows.h"
#include "exec/cuda/warp.h"
#include "exec/plan/quantize.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kColumns = 32;        // of a warp
constexpr int kWantedBlocks = 264;  // two for each multiprocessor of an H100

// coef, zero: of each channel, of integers (see prepare); runtime_zero: instead of Gemm::x_zero.
struct Operands {
  const void *x, *bias, *runtime_zero;
  const std::byte* weights;
  const float* scale;
  const int32_t *coef, *zero;
  PostPointers post;
  void *parts, *y;
};

template <typename Sum>
__device__ void finish(const Gemm& c, const Operands& o, int64_t p, int channel, Sum sum) {
  float v;
  if constexpr (std::is_same_v<Sum, float>) {
    v = sum;
  } else {
    int32_t zero = c.x_zero;
    if (o.runtime_zero)
      zero = c.type == DType::kInt8 ? static_cast<const int8_t*>(o.runtime_zero)[0]
                                    : static_cast<const uint8_t*>(o.runtime_zero)[0];
    const uint32_t whole = static_cast<uint32_t>(sum) +
                           static_cast<uint32_t>(zero) * static_cast<uint32_t>(o.coef[channel]);
    v = static_cast<float>(static_cast<int32_t>(whole)) * o.scale[channel];
  }
  if (o.bias) v += load_as_float(o.bias, channel, c.bias_type);
  const int64_t at = place_in(c.window.to, pixel_of(c.window, p), channel);
  store_float(o.y, at, c.out_type, apply_post(c.post, o.post, at, v));
}

// A block makes 2 kRows pixels by 2 kRows channels with two warps along the pixels, each of which
// makes kRows by kColumns.
template <typename T, int kRows>
struct Shape {
  static constexpr int kTile = 2 * kRows, kThreads = 2 * kWarp * kTile / kColumns,
                       kStages = kRows == 32 ? 4 : 2;
};

template <typename T, int kRows>
__global__ void __launch_bounds__(Shape<T, kRows>::kThreads, 1) multiply(Gemm c, Operands o) {
  using S = Shape<T, kRows>;
  using Sum = typename SumOf<T>::Type;
  constexpr int kStages = S::kStages, kTile = S::kTile;
  static_assert(S::kThreads * kLoads == kTile * kPieces);
  __shared__ Piece a[kStages][kTile][kPieces + 1], b[kStages][kTile][kPieces + 1];
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp, warp = t / kWarp;
  const int tiles_n = (c.out_each + kTile - 1) / kTile;
  const int64_t tiles_m = (c.window.all_pixels() + kTile - 1) / kTile;
  int64_t tile = blockIdx.x;
  const int part = static_cast<int>(tile % c.parts);
  tile /= c.parts;
  const int n0 = static_cast<int>(tile % tiles_n) * kTile;
  tile /= tiles_n;
  const int64_t p0 = tile % tiles_m * kTile;
  const int group = static_cast<int>(tile / tiles_m);
  const int first = static_cast<int>(int64_t{c.steps} * part / c.parts);
  const int last = static_cast<int>(int64_t{c.steps} * (part + 1) / c.parts);

  const int piece = t % kPieces, row = t / kPieces;
  const T* x = static_cast<const T*>(o.x);
  const uint32_t fill = (static_cast<uint32_t>(c.x_zero) & 255) * 0x01010101u;
  Reader<T> reader;
  reader.start(c, first, piece);
  UNROLL for (int i = 0; i < kLoads; ++i)
      reader.set_row(c, i, p0 + row + i * (kTile / kLoads), group);
  const auto load = [&](int step) {
    const int stage = step % kStages;
    UNROLL for (int i = 0; i < kLoads; ++i) {
      const int r = row + i * (kTile / kLoads), n = n0 + r;
      reader.read(c, x, fill, i, &a[stage][r][piece]);
      if (n < c.out_each)
        copy_async(&b[stage][r][piece],
                   o.weights + ((int64_t{group} * c.out_each + n) * c.steps + step) * kStageBytes +
                       piece * int{sizeof(Piece)});
      else
        b[stage][r][piece] = {{0, 0, 0, 0}};
    }
    reader.advance(c);
  };

  constexpr int kTilesM = kRows / 16, kTilesN = kColumns / 8;
  TileC<Sum> sum[kTilesM][kTilesN], of_row[kTilesM];
  const int m_at = warp % 2 * kRows, n_at = warp / 2 * kColumns;
  for (int s = 0; s < kStages - 1; ++s) {
    if (first + s < last) load(first + s);
    commit_copies();
  }
  for (int s = first; s < last; ++s) {
    wait_copies<kStages - 2>();
    __syncthreads();
    if (s + kStages - 1 < last) load(s + kStages - 1);
    commit_copies();
    const int stage = s % kStages;
    const auto word = [&](const Piece(&from)[kTile][kPieces + 1], int r, int k) {
      return reinterpret_cast<const std::byte*>(from) + (r + lane / 4) * kRowBytes + k * 32 +
             lane % 4 * 4;
    };
    UNROLL for (int k = 0; k < kStageBytes / 32; ++k) {
      TileB columns[kTilesN];
      UNROLL for (int j = 0; j < kTilesN; ++j) columns[j] = load_b(word(b[stage], n_at + 8 * j, k));
      UNROLL for (int i = 0; i < kTilesM; ++i) {
        const TileA rows = load_a(word(a[stage], m_at + 16 * i, k), kRowBytes);
        UNROLL for (int j = 0; j < kTilesN; ++j) mma<T>(sum[i][j], rows, columns[j]);
        if constexpr (std::is_same_v<Sum, int32_t>)
          if (c.weight_zero) mma<T>(of_row[i], rows, TileB{{0x01010101u, 0x01010101u}});
      }
    }
  }
  wait_copies<0>();
  __syncthreads();
  // Sums go through shared memory, by rows of a warp: neighbouring threads write neighbours.
  constexpr int kOut = kColumns + 1;
  static_assert(S::kThreads / kWarp * 16 * kOut * sizeof(Sum) <= sizeof a);
  Sum* staged = reinterpret_cast<Sum*>(a) + warp * 16 * kOut;
  const int n = n0 + n_at + lane, channel = group * c.out_each + n;
  UNROLL for (int i = 0; i < kTilesM; ++i) {
    UNROLL for (int j = 0; j < kTilesN; ++j) UNROLL for (int e = 0; e < 4; ++e)
        staged[(lane / 4 + e / 2 * 8) * kOut + 8 * j + lane % 4 * 2 + e % 2] = sum[i][j].v[e];
    if constexpr (std::is_same_v<Sum, int32_t>)
      if (lane % 4 == 0)
        UNROLL for (int e = 0; e < 2; ++e) staged[(lane / 4 + e * 8) * kOut + kColumns] =
            of_row[i].v[e * 2];
    __syncwarp();
    const int64_t p = p0 + m_at + 16 * i;
    for (int r = 0; r < 16 && n < c.out_each && p + r < c.window.all_pixels(); ++r) {
      Sum v = staged[r * kOut + lane];
      if constexpr (std::is_same_v<Sum, int32_t>)
        if (c.weight_zero) v -= o.zero[channel] * staged[r * kOut + kColumns];
      if (c.parts > 1)
        static_cast<Sum*>(
            o.parts)[(part * c.window.all_pixels() + p + r) * c.groups * c.out_each + channel] = v;
      else
        finish(c, o, p + r, channel, v);
    }
    __syncwarp();
  }
}

template <typename Sum>
__global__ void add_parts(Gemm c, Operands o) {
  const int64_t channels = int64_t{c.groups} * c.out_each, n = c.window.all_pixels() * channels;
  GRID_LOOP(i, n) {
    Sum sum = 0;
    for (int p = 0; p < c.parts; ++p) sum += static_cast<const Sum*>(o.parts)[p * n + i];
    finish(c, o, i / channels, static_cast<int>(i % channels), sum);
  }
}

bool integer(DType t) { return t == DType::kUint8 || t == DType::kInt8; }

// What both forms share, once the window and the channels are known. `zeros`: input with the zero
// points of the weights.
const char* complete(const StepInfo& s, size_t zeros, Gemm* c) {
  c->type = s.in[0].dtype;
  c->out_type = s.out[0].dtype;
  const int size = element_size(c->type);
  const int64_t outputs = int64_t{c->groups} * c->out_each;
  if (!s.in[1].constant) return "weights are not constant";
  if (integer(c->type)) {
    if (!integer(s.in[1].dtype)) return "the weights' type";
    if (c->depth > 32768) return "sums beyond 32 bits";
    if (!s.in[3].constant || s.in[3].dtype != DType::kFloat || s.in[3].size() != outputs)
      return "the scales";
    c->x_zero = static_cast<int32_t>(s.attr_int("x_zero", 0));
    c->weight_zero = s.has(zeros) || s.in[1].dtype == DType::kUint8;
    if (s.has(zeros) && (!s.in[zeros].constant || s.in[zeros].dtype != DType::kInt32 ||
                         s.in[zeros].size() != outputs))
      return "zero points";
  } else if (s.in[1].dtype != c->type) {
    return "the weights' type";
  }
  if (!edge_type(c->out_type)) return "the output's type";
  if (s.has(2)) {
    if (s.in[2].size() != outputs || !is_float_type(s.in[2].dtype)) return "the bias";
    c->bias_type = s.in[2].dtype;
  }
  c->steps = (c->depth * size + kStageBytes - 1) / kStageBytes;
  const auto whole = [size](int64_t n) { return n * size % int64_t{sizeof(Piece)} == 0; };
  const Image& from = c->window.from;
  c->pieces = from.channel == 1 && whole(c->in_each) && whole(from.batch) && whole(from.at[0]) &&
              whole(from.at[1]) && whole(from.at[2]);
  return plan_post(s, &c->post);
}

constexpr int64_t kMost = INT32_MAX / 4;

const char* build_conv(const StepInfo& s, Gemm* c) {
  const bool q = s.op.view() == step_kind::kQConv;
  const DType t = s.in[0].dtype;
  if (q ? !integer(t) || s.main_inputs < 4
        : (t != DType::kFloat16 && t != DType::kBfloat16) || s.out[0].dtype != t)
    return "the element type";
  const auto g = conv_geometry(s);
  if (!g || !plan_window(s, *g, &c->window)) return "shapes or attributes";
  c->groups = static_cast<int>(g->group);
  c->in_each = static_cast<int>(s.in[1].dims[1]);
  c->out_each = static_cast<int>(s.out[0].dims[1] / g->group);
  if (c->groups > 1 && (c->in_each < 8 || c->out_each < 8)) return "thin groups";
  if (s.in[1].size() > kMost || s.out[0].dims[1] > kMost) return "sizes";
  c->depth = c->window.size * c->in_each;
  return complete(s, 4, c);
}

const char* build_matmul(const StepInfo& s, Gemm* c) {
  if (!integer(s.in[0].dtype) || s.main_inputs < 4) return "the element type";
  if (!all_plain(s)) return "layouts";
  if (s.in[0].rank() < 1 || s.in[1].rank() != 2) return "the rank";
  const int64_t k = s.in[1].dims[0], n = s.in[1].dims[1], m = s.in[0].size() / k;
  if (s.in[0].dims.back() != k || s.out[0].dims.back() != n) return "shapes";
  if (s.in[1].size() > kMost || m > kMost) return "sizes";
  if (s.has(4) && (s.in[4].size() != 1 || s.in[4].dtype != s.in[0].dtype)) return "the zero point";
  Window& w = c->window;
  w.in[2] = w.out[2] = w.pixels = static_cast<int>(m);
  w.from.channel = w.to.channel = 1;
  w.from.at[2] = k;
  w.to.at[2] = n;
  w.images = 1;
  c->in_each = c->depth = static_cast<int>(k);
  c->out_each = static_cast<int>(n);
  return complete(s, 5, c);
}

// Weights as [channel, depth] with channels of the window inside, rows of whole stages; then coef
// and zero. With weights w and their zero points z, both moved to be signed, a sum of
// (x - x_zero) (w - z) over the depth is that of x w, less z times that of x, plus x_zero coef.
template <typename T>
void pack(const StepInfo& s, const Gemm& c, bool matmul, size_t zeros, std::byte* to) {
  const int outputs = c.groups * c.out_each, row = c.steps * kStageBytes;
  const Tensor aligned = s.in[1].constant->to_aligned();
  const T* from = reinterpret_cast<const T*>(aligned.raw());
  memset(to, 0, static_cast<size_t>(outputs) * static_cast<size_t>(row));
  auto* coef = reinterpret_cast<int32_t*>(to + int64_t{outputs} * row);
  const bool flip = s.in[1].dtype == DType::kUint8;
  for (int n = 0; n < outputs; ++n) {
    T* line = reinterpret_cast<T*>(to + int64_t{n} * row);
    int64_t sum = 0;
    for (int k = 0; k < c.depth; ++k) {
      const int channel = k % c.in_each, place = k / c.in_each;
      line[k] = matmul ? from[int64_t{k} * c.out_each + n]
                       : from[(int64_t{n} * c.in_each + channel) * c.window.size + place];
      if constexpr (sizeof(T) == 1) {
        if (flip) line[k] = static_cast<T>(line[k] ^ 0x80);
        sum += static_cast<int8_t>(line[k]);
      }
    }
    if constexpr (sizeof(T) == 1) {
      const int64_t z = (s.has(zeros) ? s.in[zeros].constant->i64_at(n) : 0) - (flip ? 128 : 0);
      coef[n] = static_cast<int32_t>(c.depth * z - sum);
      coef[outputs + n] = static_cast<int32_t>(z);
    }
  }
}

template <typename T, int kRows>
Status enqueue(const Gemm& c, const Operands& o, const RunArgs& a) {
  using S = Shape<T, kRows>;
  TRY(launch(multiply<T, kRows>, c.tiles(S::kTile, S::kTile) * c.parts, S::kThreads, a, c, o));
  if (c.parts == 1) return ok();
  const int64_t n = c.window.all_pixels() * c.groups * c.out_each;
  return launch(add_parts<typename SumOf<T>::Type>, blocks_for(n), kThreads, a, c, o);
}

template <bool kMatMul>
const char* build(const StepInfo& s, Gemm* c) {
  return kMatMul ? build_matmul(s, c) : build_conv(s, c);
}
template <bool kMatMul>
const char* accept(const StepInfo& s) {
  Gemm c;
  return build<kMatMul>(s, &c);
}

template <bool kMatMul>
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  auto c = std::make_shared<Gemm>();
  if (auto* why = build<kMatMul>(s, c.get())) return unsupported(why);
  const size_t zeros = kMatMul ? 5 : 4;
  const int64_t outputs = int64_t{c->groups} * c->out_each,
                weight_bytes = outputs * c->steps * kStageBytes;
  const bool integers = integer(c->type);
  TRY_ASSIGN(
      auto packed,
      ctx.packs.get(*s.in[1].constant, format("mma:{}:{}:{}", c->groups, c->depth, s.has(zeros)),
                    weight_bytes + (integers ? outputs * 8 : 0), [&](std::byte* to) -> Status {
                      if (integers)
                        pack<uint8_t>(s, *c, kMatMul, zeros, to);
                      else
                        pack<uint16_t>(s, *c, kMatMul, zeros, to);
                      return ok();
                    }));
  constexpr int kSmall = 32, kLarge = 64;  // pixels of a warp
  const bool large = c->tiles(2 * kLarge, 2 * kLarge) >= kWantedBlocks / 2;
  if (!large) {
    const int64_t tiles = c->tiles(2 * kSmall, 2 * kSmall);
    c->parts = static_cast<int>(std::clamp<int64_t>(kWantedBlocks / tiles, 1, 16));
    c->parts = std::max(1, std::min(c->parts, c->steps / 4));
  }
  const bool bias = s.has(2), runtime = kMatMul && s.has(4);
  auto r = prepared([=](const RunArgs& a) -> Status {
    Operands o{};
    o.x = a.in[0];
    o.bias = bias ? a.in[2] : nullptr;
    o.runtime_zero = runtime ? a.in[4] : nullptr;
    o.weights = packed.get();
    if (integers) {
      o.scale = in<float>(a, 3);
      o.coef = reinterpret_cast<const int32_t*>(packed.get() + weight_bytes);
      o.zero = o.coef + outputs;
    }
    o.post = bind_post(c->post, a);
    o.parts = a.scratch;
    o.y = a.out[0];
    Status status;
    const auto run = [&](auto t) {
      using T = decltype(t);
      status = large ? enqueue<T, kLarge>(*c, o, a) : enqueue<T, kSmall>(*c, o, a);
    };
    switch (c->type) {
      case DType::kInt8: run(int8_t{}); break;
      case DType::kUint8: run(uint8_t{}); break;
      case DType::kFloat16: run(half_t{}); break;
      default: run(bfloat_t{});
    }
    return status;
  });
  if (c->parts > 1) r->scratch_bytes = c->parts * c->window.all_pixels() * outputs * 4;
  r->unread_inputs = uint64_t{2} | (s.has(zeros) ? uint64_t{1} << zeros : 0);
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(tensor,
                      {.name = "tensor_conv",
                       .ops = "Conv plan.QConv",
                       .rank = 25,
                       .accept = cuda::accept<false>,
                       .prepare = cuda::prepare<false>,
                       .device = true},
                      {.name = "tensor_product",
                       .ops = step_kind::kQMatMul,
                       .rank = 25,
                       .accept = cuda::accept<true>,
                       .prepare = cuda::prepare<true>,
                       .device = true})
