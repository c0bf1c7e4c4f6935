// SPDX-License-Identifier: Apache-2.0
// Data movement that amounts to strided copies. Transposes of matrices go through a tile in shared
// memory, so that both sides are read and written in runs.
#include "exec/cuda/gpu.h"
#include "exec/cuda/nd.h"
#include "exec/cuda/types.h"
#include "exec/plan/copies.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;

struct Copy {
  Nd nd;  // operand 0: source, 1: destination
  int64_t src_offset = 0, dst_offset = 0;
  size_t in = 0, out = 0;
  // A batch of matrices, dense in rows on one side and in columns on the other.
  bool transpose = false;
  int64_t batch = 1, rows = 1, cols = 1, src_row = 0, dst_col = 0, src_batch = 0, dst_batch = 0;
};

template <typename T>
__global__ void copy(Nd nd, const T* from, T* to) {
  GRID_LOOP(i, nd.size) {
    int64_t at[2] = {};
    nd.locate(i, at, 2);
    to[at[1]] = from[at[0]];
  }
}

// to[c * dst_col + r] = from[r * src_row + c], a block a tile.
template <typename T>
__global__ void transpose(Copy c, const T* from, T* to) {
  __shared__ T tile[kTile][kTile + 1];
  const int64_t tiles_c = (c.cols + kTile - 1) / kTile, tiles_r = (c.rows + kTile - 1) / kTile;
  const int x = static_cast<int>(threadIdx.x) % kTile, y0 = static_cast<int>(threadIdx.x) / kTile;
  for (int64_t t = blockIdx.x; t < tiles_c * tiles_r * c.batch; t += gridDim.x) {
    const int64_t b = t / (tiles_c * tiles_r), r0 = t / tiles_c % tiles_r * kTile,
                  c0 = t % tiles_c * kTile;
    for (int y = y0; y < kTile; y += kTileRows)
      if (r0 + y < c.rows && c0 + x < c.cols)
        tile[y][x] = from[b * c.src_batch + (r0 + y) * c.src_row + c0 + x];
    __syncthreads();
    for (int y = y0; y < kTile; y += kTileRows)
      if (c0 + y < c.cols && r0 + x < c.rows)
        to[b * c.dst_batch + (c0 + y) * c.dst_col + r0 + x] = tile[x][y];
    __syncthreads();
  }
}

void find_transpose(Copy& c) {
  const Nd& n = c.nd;
  if (n.rank < 2 || n.rank > 3) return;
  const int a = n.rank - 2, b = n.rank - 1;
  const bool rows_first = n.strides[0][b] == 1 && n.strides[1][a] == 1;
  const bool cols_first = n.strides[0][a] == 1 && n.strides[1][b] == 1;
  if (!rows_first && !cols_first) return;
  const int r = rows_first ? a : b, col = rows_first ? b : a;
  if (n.dims[r] < kTile / 2 || n.dims[col] < kTile / 2) return;
  c.transpose = true;
  c.rows = n.dims[r];
  c.cols = n.dims[col];
  c.src_row = n.strides[0][r];
  c.dst_col = n.strides[1][col];
  if (n.rank == 3) {
    c.batch = n.dims[0];
    c.src_batch = n.strides[0][0];
    c.dst_batch = n.strides[1][0];
  }
}

std::optional<std::vector<Copy>> plan(const StepInfo& s) {
  auto planned = step_copies(s);
  if (!planned) return std::nullopt;
  std::vector<Copy> copies;
  for (const StridedCopy& p : *planned) {
    Copy c;
    const std::vector<int64_t> strides[] = {p.src, p.dst};
    if (!plan_nd(p.dims, strides, &c.nd)) return std::nullopt;
    c.src_offset = p.src_offset;
    c.dst_offset = p.dst_offset;
    c.in = p.in;
    c.out = p.out;
    find_transpose(c);
    copies.push_back(c);
  }
  return copies;
}

const char* accept(const StepInfo& s) {
  if (s.in.empty() || !with_bytes(element_size(s.in[0].dtype), [](auto) {}))
    return "the element type";
  return plan(s) ? nullptr : "shapes, types or a parameter known only while running";
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  auto copies = plan(s);
  if (!copies) return unsupported("the copy cannot be planned");
  const int size = element_size(s.in[0].dtype);
  auto r = prepared([copies = std::move(*copies), size](const RunArgs& a) {
    Status status;
    for (const Copy& c : copies)
      with_bytes(size, [&](auto type) {
        using T = decltype(type);
        const T* from = in<T>(a, c.in) + c.src_offset;
        T* to = out<T>(a, c.out) + c.dst_offset;
        if (!status.ok()) return;
        const int64_t tiles =
            c.batch * ((c.rows + kTile - 1) / kTile) * ((c.cols + kTile - 1) / kTile);
        status = c.transpose ? launch(transpose<T>, std::min<int64_t>(tiles, 1 << 20),
                                      kTile * kTileRows, a, c, from, to)
                             : launch(copy<T>, blocks_for(c.nd.size), kThreads, a, c.nd, from, to);
      });
    return status;
  });
  if (s.op.view() != "Concat") r->unread_inputs = ~uint64_t{1};  // axes, sizes: taken when planned
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(movement, {.name = "copy",
                                 .ops = kCopyOps,
                                 .rank = 20,
                                 .accept = cuda::accept,
                                 .prepare = cuda::prepare,
                                 .device = true})
