// SPDX-License-Identifier: Apache-2.0
// Pad and Resize: along each axis an element of the output is a weighted sum of a few of the input.
// Which ones and with which weights are tables, made when the step is prepared: for Pad one element
// of weight 1, or none.
#include "exec/cuda/gpu.h"
#include "exec/cuda/nd.h"
#include "exec/cuda/types.h"
#include "exec/plan/copies.h"
#include "libonnxtool/ops/resize_util.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kRank = kNdRank;

struct Sampling {
  DType type = DType::kFloat;
  int rank = 0, combinations = 1;  // of the axes' elements
  int64_t size = 0;
  int dims[kRank] = {}, taps[kRank] = {}, first[kRank] = {};  // of the output; into the tables
  int64_t stride[kRank] = {};                                 // of the input
};
struct Tables {
  std::vector<int32_t> index;  // below 0: none
  std::vector<float> weight;
};

// f(axis, place of the axis' elements in the tables) from the slowest axis' point of view.
template <typename F>
__device__ void each_axis(const Sampling& s, int64_t i, F&& f) {
  for (int d = s.rank; d-- > 0; i /= s.dims[d])
    f(d, s.first[d] + static_cast<int>(i % s.dims[d]) * s.taps[d]);
}

template <typename T>
__global__ void pick(Sampling s, const int32_t* index, const T* x, const T* fill, T* y) {
  GRID_LOOP(i, s.size) {
    int64_t at = 0;
    each_axis(s, i, [&](int d, int place) {
      at = at < 0 || index[place] < 0 ? -1 : at + index[place] * s.stride[d];
    });
    if (at >= 0)
      y[i] = x[at];
    else if (fill)
      y[i] = *fill;
    else
      y[i] = T{};
  }
}

__global__ void sample(Sampling s, const int32_t* index, const float* weight, const void* x,
                       void* y) {
  GRID_LOOP(i, s.size) {
    float sum = 0;
    for (int c = 0; c < s.combinations; ++c) {
      int64_t at = 0;
      float w = 1;
      int rest = c;
      each_axis(s, i, [&](int d, int place) {
        const int tap = place + rest % s.taps[d];
        rest /= s.taps[d];
        at += index[tap] * s.stride[d];
        w *= weight[tap];
      });
      // A weight of 0 must not make NaN of an infinity.
      if (w != 0) sum += w * load_as_float(x, at, s.type);
    }
    store_float(y, i, s.type, sum);
  }
}

// Axes in the order in which the output lies in memory. add(axis) puts the axis' elements into the
// tables and says how many there are each.
template <typename F>
bool plan_axes(const StepInfo& s, Sampling* p, F&& add) {
  const size_t rank = s.out[0].dims.size();
  if (rank > kRank || s.in[0].dims.size() != rank || s.in[0].size() > INT32_MAX) return false;
  p->type = s.in[0].dtype;
  p->rank = static_cast<int>(rank);
  p->size = s.out[0].size();
  const std::vector<int64_t> from = memory_strides(s.in[0].dims, s.in[0].layout);
  for (size_t k = 0; k < rank; ++k) {
    const bool last = s.out[0].layout == Layout::kChannelsLast && rank > 2;
    const size_t axis = !last || k == 0 ? k : k + 1 == rank ? 1 : k + 1;
    if (s.out[0].dims[axis] > INT32_MAX) return false;
    p->dims[k] = static_cast<int>(s.out[0].dims[axis]);
    p->stride[k] = from[axis];
    const int taps = add(axis, &p->first[k]);
    if (taps < 1) return false;
    p->taps[k] = taps;
    p->combinations *= taps;
  }
  return true;
}

const char* build_pad(const StepInfo& s, Sampling* p, Tables* t) {
  if (!s.post.empty() || s.in[0].dtype != s.out[0].dtype ||
      !with_bytes(element_size(s.in[0].dtype), [](auto) {}))
    return "the element type";
  if (s.version() < 11 && s.attr_float("value", 0) != 0) return "an old form";
  const auto pads = step_padding(s);
  if (!pads) return "pads";
  const bool repeats = pads->mode != Padding::Mode::kConstant;
  for (size_t i = 0; repeats && i < pads->before.size(); ++i)
    if (pads->before[i] < 0 || pads->after[i] < 0) return "elements cut off";
  const auto add = [&](size_t axis, int* first) {
    *first = static_cast<int>(t->index.size());
    const int64_t n = s.in[0].dims[axis];
    for (int64_t o = 0; o < s.out[0].dims[axis]; ++o) {
      int64_t i = o - pads->before[axis];
      const auto modulo = [&i](int64_t m) { return (i % m + m) % m; };
      switch (pads->mode) {
        case Padding::Mode::kConstant: i = i < 0 || i >= n ? -1 : i; break;
        case Padding::Mode::kEdge: i = std::clamp<int64_t>(i, 0, n - 1); break;
        case Padding::Mode::kWrap: i = modulo(n); break;
        case Padding::Mode::kReflect:
          i = n == 1 ? 0 : modulo(2 * (n - 1));
          if (i >= n) i = 2 * (n - 1) - i;
      }
      t->index.push_back(static_cast<int32_t>(i));
    }
    return 1;
  };
  return plan_axes(s, p, add) ? nullptr : "the rank";
}

const char* build_resize(const StepInfo& s, Sampling* p, Tables* t) {
  if (!s.post.empty() || s.in[0].dtype != s.out[0].dtype || !s.node) return "the element type";
  if (s.in[0].size() == 0 || s.out[0].size() == 0) return "no elements";
  auto form = resize_form(*s.node);
  if (!form.ok() || form->coord == ResizeForm::Coord::kTfCropAndResize) return "the mode";
  const bool nearest = form->mode == ResizeForm::Mode::kNearest;
  if (nearest ? !with_bytes(element_size(s.in[0].dtype), [](auto) {})
              : !is_float_type(s.in[0].dtype))
    return "the element type";
  const auto rank = s.in[0].rank();
  bool known = true;
  const auto given = [&](size_t i) -> const Tensor* {
    if (i == 0 || !s.has(i)) return nullptr;
    const Tensor* v = s.known(i);
    known &= v != nullptr;
    return v != nullptr && v->size() > 0 ? v : nullptr;
  };
  const Tensor *scales = given(form->scales_input), *sizes = given(form->sizes_input);
  if (!known) return "sizes known only while running";
  auto axes = resize_axes(*s.node, rank);
  auto resized = resized_axes(*s.node, *form, s.in[0].dims, nullptr, scales, sizes);
  if (!axes.ok() || !resized.ok()) return "the axes";
  const auto add = [&](size_t axis, int* first) {
    *first = static_cast<int>(t->index.size());
    const auto it = std::find(axes->begin(), axes->end(), static_cast<int64_t>(axis));
    const ResizeAxis* r =
        it == axes->end() ? nullptr : &(*resized)[static_cast<size_t>(it - axes->begin())];
    if (!r || r->identity()) {
      for (int64_t i = 0; i < s.out[0].dims[axis]; ++i) {
        t->index.push_back(static_cast<int32_t>(i));
        t->weight.push_back(1);
      }
      return s.in[0].dims[axis] == s.out[0].dims[axis] ? 1 : 0;
    }
    const ResizeTaps taps = resize_taps(*form, *r);
    t->index.insert(t->index.end(), taps.index.begin(), taps.index.end());
    if (nearest)
      t->weight.resize(t->index.size(), 1);
    else
      t->weight.insert(t->weight.end(), taps.weight.begin(), taps.weight.end());
    const bool fits = r->out == s.out[0].dims[axis] &&
                      taps.index.size() == static_cast<size_t>(r->out) * taps.taps;
    return fits && taps.taps <= 64 ? static_cast<int>(taps.taps) : 0;
  };
  if (!plan_axes(s, p, add)) return "sizes";
  return nearest && p->combinations != 1 ? "the mode" : nullptr;
}

template <const char* (*build)(const StepInfo&, Sampling*, Tables*)>
const char* accept(const StepInfo& s) {
  Sampling p;
  Tables t;
  return build(s, &p, &t);
}

template <const char* (*build)(const StepInfo&, Sampling*, Tables*)>
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  Sampling p;
  Tables t;
  if (auto* why = build(s, &p, &t)) return unsupported(why);
  const auto bytes = static_cast<int64_t>(t.index.size() * sizeof(int32_t));
  TRY_ASSIGN(std::shared_ptr<std::byte> index, ctx.device->upload(t.index.data(), bytes));
  std::shared_ptr<std::byte> weight;
  const bool weighted = p.combinations > 1;
  if (weighted) {
    TRY_ASSIGN(weight, ctx.device->upload(t.weight.data(), bytes));
  }
  const int size = element_size(s.in[0].dtype);
  const bool fill = s.op.view() == "Pad" && s.has(2);
  auto r = prepared([=](const RunArgs& a) {
    const auto* at = reinterpret_cast<const int32_t*>(index.get());
    if (weighted)
      return launch(sample, blocks_for(p.size), kThreads, a, p, at,
                    reinterpret_cast<const float*>(weight.get()), a.in[0], a.out[0]);
    Status status;
    with_bytes(size, [&](auto type) {
      using T = decltype(type);
      status = launch(pick<T>, blocks_for(p.size), kThreads, a, p, at, in<T>(a, 0),
                      fill ? in<T>(a, 2) : nullptr, out<T>(a));
    });
    return status;
  });
  r->unread_inputs = fill ? ~uint64_t{5} : ~uint64_t{1};
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(sampled,
                      {.name = "pad",
                       .ops = "Pad",
                       .rank = 20,
                       .accept = cuda::accept<cuda::build_pad>,
                       .prepare = cuda::prepare<cuda::build_pad>,
                       .device = true},
                      {.name = "resize",
                       .ops = "Resize Upsample",
                       .rank = 20,
                       .accept = cuda::accept<cuda::build_resize>,
                       .prepare = cuda::prepare<cuda::build_resize>,
                       .empty = true,  // a roi, which only one mode reads
                       .device = true})
