// SPDX-License-Identifier: Apache-2.0
// The plan's attention step: softmax(scale q k^T + mask) v in one pass over keys and values; scores
// never reach memory. A block makes one query of one head, or on tensor cores 64 of them. Sources:
// Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); Dao,
// "FlashAttention-2" (2023).
#include "exec/cuda/mma.h"
#include "exec/cuda/warp.h"
#include "exec/plan/masks.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kKeys = 128;  // keys a round, one a thread
constexpr int kWarps = kKeys / kWarp;
constexpr int kMostDim = 1024;  // of a head
constexpr int kPerThread = kMostDim / kKeys;

struct Attention {
  AttentionSpec spec;
  DType type = DType::kFloat, mask_type = DType::kUndefined;  // kUndefined: no mask
  int64_t mask_strides[4] = {};                               // batch, head, query, key
  float no_key = 0;                                           // what a query gives that sees no key
  int parts = 1;  // that the keys of a query are divided into: few queries keep few blocks busy
  int64_t rows() const { return spec.batch * spec.heads * spec.q_len; }
};
// What a part leaves for combine(): its values, the highest score and the sum of weights.
constexpr int64_t kPartExtra = 2;

// A product of query and key as the softmax takes it; `at`: its entry of the mask.
__device__ float finished(const Attention& a, float score, const void* mask, int64_t at) {
  score *= a.spec.scale;
  if (a.spec.softcap > 0) score = a.spec.softcap * tanhf(score / a.spec.softcap);
  if (a.mask_type == DType::kUndefined) return score;
  const float m = load_as_float(mask, at, a.mask_type);
  return a.mask_type != DType::kBool ? score + m : m != 0 ? score : -INFINITY;
}
// How many keys query i sees.
__device__ int64_t seen_keys(const AttentionSpec& s, int64_t i) {
  const int64_t seen = i + 1 + s.kv_len - s.q_len;
  return !s.causal || seen > s.kv_len ? s.kv_len : seen < 0 ? 0 : seen;
}

__global__ void attend(Attention a, const void* q, const void* k, const void* v, const void* mask,
                       float* partial, void* out) {
  __shared__ float query[kMostDim], weight[kKeys], shared[kWarps];
  const AttentionSpec& s = a.spec;
  const int t = static_cast<int>(threadIdx.x);
  for (int64_t item = blockIdx.x; item < s.batch * s.heads * s.q_len * a.parts; item += gridDim.x) {
    const int64_t row = item / a.parts, part = item % a.parts;
    const int64_t i = row % s.q_len, h = row / s.q_len % s.heads, b = row / s.q_len / s.heads;
    const int64_t kv_head = h / (s.heads / s.kv_heads);
    const int64_t q_at = s.q.offset + b * s.q.batch + h * s.q.head + i * s.q.seq;
    const int64_t k_at = s.k.offset + b * s.k.batch + kv_head * s.k.head;
    const int64_t v_at = s.v.offset + b * s.v.batch + kv_head * s.v.head;
    const int64_t m_at = b * a.mask_strides[0] + h * a.mask_strides[1] + i * a.mask_strides[2];
    for (int64_t d = t; d < s.head_dim; d += kKeys) query[d] = load_as_float(q, q_at + d, a.type);
    __syncthreads();
    const int64_t seen = seen_keys(s, i), keys = seen * (part + 1) / a.parts;
    float top = -INFINITY, sum = 0, acc[kPerThread] = {};
    for (int64_t first = seen * part / a.parts; first < keys; first += kKeys) {
      float score = -INFINITY;
      const int64_t j = first + t;
      if (j < keys) {
        score = 0;
        for (int64_t d = 0; d < s.head_dim; ++d)
          score += query[d] * load_as_float(k, k_at + j * s.k.seq + d, a.type);
        score = finished(a, score, mask, m_at + j * a.mask_strides[3]);
      }
      const float round_top = max_nan(top, over_block<kWarps>(score, shared, Most()));
      // Until a key that is not masked comes there is nothing to scale.
      const float shift = round_top == -INFINITY ? 0 : round_top;
      const float rescale = expf(top - shift);
      weight[t] = j < keys ? expf(score - shift) : 0;
      sum = sum * rescale + over_block<kWarps>(weight[t], shared, Plus());
      top = round_top;
      const int64_t n = keys - first < kKeys ? keys - first : kKeys;
      for (int p = 0; p < kPerThread; ++p) {
        const int64_t d = int64_t{p} * kKeys + t;
        if (d >= s.v_dim) break;
        float x = acc[p] * rescale;
        for (int64_t c = 0; c < n; ++c)
          x += weight[c] * load_as_float(v, v_at + (first + c) * s.v.seq + d, a.type);
        acc[p] = x;
      }
      __syncthreads();
    }
    const int64_t o_at = s.out.offset + b * s.out.batch + h * s.out.head + i * s.out.seq;
    float* mine = partial + item * (s.v_dim + kPartExtra);
    for (int p = 0; p < kPerThread; ++p) {
      const int64_t d = int64_t{p} * kKeys + t;
      if (d >= s.v_dim) break;
      if (a.parts > 1)
        mine[kPartExtra + d] = acc[p];
      else
        store_float(out, o_at + d, a.type, sum == 0 ? a.no_key : acc[p] / sum);
    }
    if (a.parts > 1 && t == 0) {
      mine[0] = top;
      mine[1] = sum;
    }
    __syncthreads();
  }
}

// The parts of each query together.
__global__ void combine(Attention a, const float* partial, void* out) {
  const AttentionSpec& s = a.spec;
  const int64_t each = s.v_dim + kPartExtra;
  GRID_LOOP(at, s.batch * s.heads * s.q_len * s.v_dim) {
    const int64_t d = at % s.v_dim, row = at / s.v_dim;
    const int64_t i = row % s.q_len, h = row / s.q_len % s.heads, b = row / s.q_len / s.heads;
    const float* parts = partial + row * a.parts * each;
    float top = -INFINITY, sum = 0, acc = 0;
    for (int p = 0; p < a.parts; ++p) top = max_nan(top, parts[p * each]);
    const float shift = top == -INFINITY ? 0 : top;
    for (int p = 0; p < a.parts; ++p) {
      const float scale = expf(parts[p * each] - shift);
      sum += scale * parts[p * each + 1];
      acc += scale * parts[p * each + kPartExtra + d];
    }
    store_float(out, s.out.offset + b * s.out.batch + h * s.out.head + i * s.out.seq + d, a.type,
                sum == 0 ? a.no_key : acc / sum);
  }
}

// ---- on tensor cores

constexpr int kTile = 64;  // queries and keys of a block; a warp has 16 of the queries
constexpr int kTileThreads = kTile / 16 * kWarp;
constexpr int kInPiece = 8;  // elements

template <typename T>
__device__ uint32_t pair_of(T low, T high) {
  return uint32_t{low.bits} | uint32_t{high.bits} << 16;
}

// kDim: of heads and values at most; what is missing counts as 0.
template <typename T, int kDim>
__global__ void __launch_bounds__(kTileThreads)
    attend_tiles(Attention a, const T* q, const T* k, const T* v, const void* mask, T* out) {
  // Keys as they lie; values with keys together, as the product wants them.
  __shared__ Piece keys[kTile][kDim / kInPiece + 1], values[kDim][kTile / kInPiece + 1];
  constexpr int kKeyRow = sizeof keys[0], kValueRow = sizeof values[0];
  const AttentionSpec& s = a.spec;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, g = lane / 4,
            t = lane % 4;
  const int64_t tiles = (s.q_len + kTile - 1) / kTile;
  for (int64_t item = blockIdx.x; item < s.batch * s.heads * tiles; item += gridDim.x) {
    const int64_t q0 = item % tiles * kTile, h = item / tiles % s.heads, b = item / tiles / s.heads,
                  kv_head = h / (s.heads / s.kv_heads);
    const T* q_at = q + s.q.offset + b * s.q.batch + h * s.q.head;
    const T* k_at = k + s.k.offset + b * s.k.batch + kv_head * s.k.head;
    const T* v_at = v + s.v.offset + b * s.v.batch + kv_head * s.v.head;
    const int64_t m_at = b * a.mask_strides[0] + h * a.mask_strides[1];
    const int64_t rows[2] = {q0 + thread / kWarp * 16 + g, q0 + thread / kWarp * 16 + g + 8};
    TileA query[kDim / 16];
    UNROLL for (int d = 0; d < kDim / 16; ++d) UNROLL for (int w = 0; w < 4; ++w) {
      const int64_t row = rows[w % 2], at = d * 16 + w / 2 * 8 + 2 * t;
      const bool inside = row < s.q_len && at < s.head_dim;
      query[d].w[w] =
          inside ? *reinterpret_cast<const uint32_t*>(q_at + row * s.q.seq + at) : uint32_t{0};
    }
    TileC<float> acc[kDim / 8];
    float top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    const int64_t last = q0 + kTile < s.q_len ? q0 + kTile - 1 : s.q_len - 1;
    const int64_t end = seen_keys(s, last);
    for (int64_t first = 0; first < end; first += kTile) {
      __syncthreads();
      for (int e = thread; e < kTile * (kDim / kInPiece); e += kTileThreads) {
        const int key = e % kTile, piece = e / kTile;
        const bool there = first + key < s.kv_len;
        Piece from = {{0, 0, 0, 0}};
        if (there && piece * kInPiece < s.head_dim)
          from = *reinterpret_cast<const Piece*>(k_at + (first + key) * s.k.seq + piece * kInPiece);
        keys[key][piece] = from;
        from = {{0, 0, 0, 0}};
        if (there && piece * kInPiece < s.v_dim)
          from = *reinterpret_cast<const Piece*>(v_at + (first + key) * s.v.seq + piece * kInPiece);
        UNROLL for (int c = 0; c < kInPiece;
                    ++c) reinterpret_cast<T*>(values[piece * kInPiece + c])[key]
            .bits = static_cast<uint16_t>(from.w[c / 2] >> (c % 2 * 16));
      }
      __syncthreads();
      TileC<float> score[kTile / 8];
      UNROLL for (int d = 0; d < kDim / 16; ++d) UNROLL for (int n = 0; n < kTile / 8; ++n)
          mma<T>(score[n], query[d],
                 load_b(reinterpret_cast<const std::byte*>(keys) + (8 * n + g) * kKeyRow + d * 32 +
                        t * 4));
      float highest[2] = {-INFINITY, -INFINITY};
      UNROLL for (int n = 0; n < kTile / 8; ++n) UNROLL for (int e = 0; e < 4; ++e) {
        const int64_t i = rows[e / 2], j = first + 8 * n + 2 * t + e % 2;
        float& x = score[n].v[e];
        x = i < s.q_len && j < seen_keys(s, i)
                ? finished(a, x, mask, m_at + i * a.mask_strides[2] + j * a.mask_strides[3])
                : -INFINITY;
        highest[e / 2] = max_nan(highest[e / 2], x);
      }
      float rescale[2], shift[2];
      UNROLL for (int r = 0; r < 2; ++r) {  // a row lies in four lanes
        for (int lanes = 1; lanes < 4; lanes *= 2)
          highest[r] = max_nan(highest[r], __shfl_xor_sync(~0u, highest[r], lanes));
        const float now = max_nan(top[r], highest[r]);
        // Until a key that is not masked comes there is nothing to scale.
        shift[r] = now == -INFINITY ? 0 : now;
        rescale[r] = expf(top[r] - shift[r]);
        top[r] = now;
        sum[r] *= rescale[r];
      }
      UNROLL for (int n = 0; n < kTile / 8; ++n) UNROLL for (int e = 0; e < 4; ++e) {
        score[n].v[e] = expf(score[n].v[e] - shift[e / 2]);
        sum[e / 2] += score[n].v[e];
      }
      UNROLL for (int n = 0; n < kDim / 8; ++n) UNROLL for (int e = 0; e < 4; ++e) acc[n].v[e] *=
          rescale[e / 2];
      UNROLL for (int j = 0; j < kTile / 16; ++j) {
        TileA weight;
        UNROLL for (int w = 0; w < 4; ++w) {
          const float* p = score[2 * j + w / 2].v + w % 2 * 2;
          weight.w[w] = pair_of(from_float<T>(p[0]), from_float<T>(p[1]));
        }
        UNROLL for (int n = 0; n < kDim / 8; ++n)
            mma<T>(acc[n], weight,
                   load_b(reinterpret_cast<const std::byte*>(values) + (8 * n + g) * kValueRow +
                          j * 32 + t * 4));
      }
    }
    UNROLL for (int r = 0; r < 2; ++r) for (int lanes = 1; lanes < 4; lanes *= 2) sum[r] +=
        __shfl_xor_sync(~0u, sum[r], lanes);
    T* o_at = out + s.out.offset + b * s.out.batch + h * s.out.head;
    UNROLL for (int n = 0; n < kDim / 8; ++n) UNROLL for (int e = 0; e < 4; ++e) {
      const int64_t i = rows[e / 2], d = 8 * n + 2 * t + e % 2;
      if (i < s.q_len && d < s.v_dim)
        o_at[i * s.out.seq + d] =
            from_float<T>(sum[e / 2] == 0 ? a.no_key : acc[n].v[e] / sum[e / 2]);
    }
  }
}

const char* build(const StepInfo& s, Attention* a) {
  if (!s.attention || !s.post.empty()) return "not an attention step";
  if (!all_plain(s)) return "layouts";
  a->spec = *s.attention;
  a->no_key = no_key_value(s);
  a->type = s.out[0].dtype;
  if (!is_float_type(a->type)) return "the element type";
  for (size_t i = 0; i < 3; ++i)
    if (s.in[i].dtype != a->type) return "the element types";
  if (a->spec.head_dim > kMostDim || a->spec.v_dim > kMostDim) return "the size of a head";
  if (a->spec.mask < 0) return nullptr;
  const Operand& m = s.in[static_cast<size_t>(a->spec.mask)];
  if (!is_float_type(m.dtype) && m.dtype != DType::kBool) return "the mask's type";
  const auto strides = mask_strides(m);
  if (!strides) return "the mask's rank";
  a->mask_type = m.dtype;
  std::copy(strides->begin(), strides->end(), a->mask_strides);
  return nullptr;
}

const char* accept(const StepInfo& s) {
  Attention a;
  return build(s, &a);
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Attention a;
  if (auto* why = build(s, &a)) return unsupported(why);
  constexpr int64_t kBlocks = 264, kFewKeys = 2 * kKeys;  // two blocks for each SM of an H100
  a.parts = static_cast<int>(
      std::clamp<int64_t>(std::min(kBlocks / a.rows(), a.spec.kv_len / kFewKeys), 1, 64));
  auto r = prepared([a](const RunArgs& args) -> Status {
    auto* partial = reinterpret_cast<float*>(args.scratch);
    TRY(launch(attend, std::min<int64_t>(a.rows() * a.parts, 1 << 20), kKeys, args, a, args.in[0],
               args.in[1], args.in[2], a.spec.mask < 0 ? nullptr : args.in[a.spec.mask], partial,
               args.out[0]));
    if (a.parts == 1) return ok();
    return launch(combine, blocks_for(a.rows() * a.spec.v_dim), kThreads, args, a, partial,
                  args.out[0]);
  });
  if (a.parts > 1)
    r->scratch_bytes = a.rows() * a.parts * (a.spec.v_dim + kPartExtra) * int64_t{sizeof(float)};
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

// Heads of whole pieces that lie at whole pieces.
const char* build_tiles(const StepInfo& s, Attention* a) {
  if (auto* why = build(s, a)) return why;
  if (a->type == DType::kFloat) return "not half precision";
  const AttentionSpec& p = a->spec;
  if (p.q_len < 16) return "few queries";
  if (p.head_dim > 128 || p.v_dim > 128) return "the size of a head";
  for (int64_t n : {p.head_dim, p.v_dim, p.q.offset, p.q.batch, p.q.head, p.q.seq, p.k.offset,
                    p.k.batch, p.k.head, p.k.seq, p.v.offset, p.v.batch, p.v.head, p.v.seq})
    if (n % kInPiece) return "strides";
  return nullptr;
}
const char* accept_tiles(const StepInfo& s) {
  Attention a;
  return build_tiles(s, &a);
}
Result<std::unique_ptr<Prepared>> prepare_tiles(const StepInfo& s, PrepareContext&) {
  Attention a;
  if (auto* why = build_tiles(s, &a)) return unsupported(why);
  return prepared([a](const RunArgs& args) {
    const AttentionSpec& p = a.spec;
    const int64_t tiles = p.batch * p.heads * ((p.q_len + kTile - 1) / kTile);
    const auto run = [&](auto t) {
      using T = decltype(t);
      auto* kernel =
          std::max(p.head_dim, p.v_dim) <= 64 ? attend_tiles<T, 64> : attend_tiles<T, 128>;
      return launch(kernel, std::min<int64_t>(tiles, 1 << 20), kTileThreads, args, a,
                    in<T>(args, 0), in<T>(args, 1), in<T>(args, 2),
                    p.mask < 0 ? nullptr : args.in[p.mask], out<T>(args));
    };
    return a.type == DType::kFloat16 ? run(half_t{}) : run(bfloat_t{});
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(attention,
                      {.name = "tensor_attention",
                       .ops = step_kind::kAttention,
                       .rank = 15,
                       .accept = cuda::accept_tiles,
                       .prepare = cuda::prepare_tiles,
                       .device = true},
                      {.name = "attention",
                       .ops = step_kind::kAttention,
                       .rank = 20,
                       .accept = cuda::accept,
                       .prepare = cuda::prepare,
                       .device = true})
