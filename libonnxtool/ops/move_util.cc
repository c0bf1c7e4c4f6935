// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/move_util.h"

#include <algorithm>
#include <cstring>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Wide {
  uint64_t a, b;
};

// The loops of one copy, outermost first: neighbours that both sides walk in one stride are joined.
struct Loops {
  std::vector<int64_t> dims, to, from;
  int64_t dst_offset, src_offset;
  bool empty = false;
};

Loops collapse(int64_t dst_offset, std::span<const int64_t> to, int64_t src_offset,
               std::span<const int64_t> from, std::span<const int64_t> dims) {
  Loops r;
  r.dst_offset = dst_offset;
  r.src_offset = src_offset;
  // Without elements the strides say nothing and may have overflowed.
  r.empty = std::find(dims.begin(), dims.end(), 0) != dims.end();
  for (size_t i = 0; i < dims.size() && !r.empty; ++i) {
    if (dims[i] == 1) continue;
    if (!r.dims.empty() && r.to.back() == to[i] * dims[i] && r.from.back() == from[i] * dims[i]) {
      r.dims.back() *= dims[i];
      r.to.back() = to[i];
      r.from.back() = from[i];
      continue;
    }
    r.dims.push_back(dims[i]);
    r.to.push_back(to[i]);
    r.from.push_back(from[i]);
  }
  if (r.dims.empty()) {
    r.dims = {1};
    r.to = r.from = {1};
  }
  return r;
}

// Calls f(dst position, src position) for all but the last `inner` loops.
template <typename F>
void walk(const Loops& l, size_t inner, F&& f) {
  const size_t n = l.dims.size() - inner;
  std::vector<int64_t> idx(n, 0);
  int64_t d = l.dst_offset, s = l.src_offset;
  for (;;) {
    f(d, s);
    size_t k = n;
    for (; k-- > 0;) {
      d += l.to[k];
      s += l.from[k];
      if (++idx[k] < l.dims[k]) break;
      d -= l.to[k] * l.dims[k];
      s -= l.from[k] * l.dims[k];
      idx[k] = 0;
    }
    if (k == SIZE_MAX) return;
  }
}

template <typename T>
void copy_typed(T* dst, const T* src, const Loops& l) {
  const size_t r = l.dims.size();
  const int64_t n = l.dims[r - 1], dt = l.to[r - 1], sf = l.from[r - 1];
  if (r >= 2 && sf != 1 && l.from[r - 2] == 1) {
    // A transposition of the two last loops: in tiles, so that cache lines of both sides are
    // reused.
    const int64_t m = l.dims[r - 2], mt = l.to[r - 2], tile = 16;
    walk(l, 2, [&](int64_t d, int64_t s) {
      for (int64_t i0 = 0; i0 < m; i0 += tile)
        for (int64_t j0 = 0; j0 < n; j0 += tile) {
          const int64_t i1 = std::min(m, i0 + tile), j1 = std::min(n, j0 + tile);
          for (int64_t i = i0; i < i1; ++i)
            for (int64_t j = j0; j < j1; ++j) dst[d + i * mt + j * dt] = src[s + i + j * sf];
        }
    });
    return;
  }
  walk(l, 1, [&](int64_t d, int64_t s) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      if (dt == 1 && sf == 1) {
        std::memcpy(dst + d, src + s, static_cast<size_t>(n) * sizeof(T));
        return;
      }
    }
    for (int64_t j = 0; j < n; ++j) dst[d + j * dt] = src[s + j * sf];
  });
}

}  // namespace

void copy_strided(Tensor& dst, int64_t dst_offset, std::span<const int64_t> dst_strides,
                  const Tensor& src, int64_t src_offset, std::span<const int64_t> src_strides,
                  std::span<const int64_t> dims) {
  ONNXTOOL_CHECK(dst.dtype() == src.dtype());
  ONNXTOOL_CHECK(dst_strides.size() == dims.size() && src_strides.size() == dims.size());
  const Loops l = collapse(dst_offset, dst_strides, src_offset, src_strides, dims);
  if (l.empty) return;
  if (src.is_string()) {
    copy_typed(dst.mut_strings().data(), src.string_data().data(), l);
    return;
  }
  auto run = [&](auto tag) {
    using T = decltype(tag);
    copy_typed(reinterpret_cast<T*>(dst.mutable_raw()), reinterpret_cast<const T*>(src.raw()), l);
  };
  switch (dtype_bits(src.dtype())) {
    case 8: return run(uint8_t{});
    case 16: return run(uint16_t{});
    case 32: return run(uint32_t{});
    case 64: return run(uint64_t{});
    case 128: return run(Wide{});
    default: break;
  }
  walk(l, 0, [&](int64_t d, int64_t s) { copy_element(dst, d, src, s); });
}

void fill_with(Tensor& dst, const Tensor& src, int64_t from) {
  const int64_t dims[] = {dst.size()}, one[] = {1}, zero[] = {0};
  copy_strided(dst, 0, one, src, from, zero, dims);
}

Result<Tensor> transposed(const EvalContext& ctx, const Tensor& src,
                          std::span<const int64_t> perm) {
  ONNXTOOL_CHECK(perm.size() == src.dims().size());
  const auto strides = row_major_strides(src.dims());
  Dims dims;
  std::vector<int64_t> from;
  for (int64_t p : perm) {
    dims.push_back(src.dims()[static_cast<size_t>(p)]);
    from.push_back(strides[static_cast<size_t>(p)]);
  }
  TRY_ASSIGN(Tensor r, ctx.allocate(src.dtype(), dims));
  copy_strided(r, 0, row_major_strides(dims), src, 0, from, dims);
  return r;
}

Result<Tensor> concatenated(const EvalContext& ctx, std::span<const Tensor> parts, int64_t axis) {
  ONNXTOOL_CHECK(!parts.empty());
  Dims dims = parts[0].dims();
  const size_t a = static_cast<size_t>(axis);
  ONNXTOOL_CHECK(a < dims.size());
  int64_t length = 0;
  for (const Tensor& p : parts) {
    Dims other = p.dims();
    if (p.dtype() != parts[0].dtype())
      return ctx.error(format("inputs have the element types {} and {}",
                              dtype_name(parts[0].dtype()), dtype_name(p.dtype())));
    if (other.size() == dims.size()) other[a] = dims[a];
    if (other != dims)
      return ctx.error(format("shapes {} and {} differ outside of axis {}",
                              to_string(parts[0].dims()), to_string(p.dims()), axis));
    auto sum = checked_add(length, p.dims()[a]);
    if (!sum) return ctx.error("the joined axis is too long");
    length = *sum;
  }
  dims[a] = length;
  TRY_ASSIGN(Tensor r, ctx.allocate(parts[0].dtype(), dims));
  const auto strides = row_major_strides(dims);
  int64_t at = 0;
  for (const Tensor& p : parts) {
    if (p.size() > 0)
      copy_strided(r, at * strides[a], strides, p, 0, row_major_strides(p.dims()), p.dims());
    at += p.dims()[a];
  }
  return r;
}

Result<Tensor> sliced(const EvalContext& ctx, const Tensor& src, int64_t axis, int64_t start,
                      int64_t count, int64_t step) {
  Dims dims = src.dims();
  dims[static_cast<size_t>(axis)] = count;
  TRY_ASSIGN(Tensor r, ctx.allocate(src.dtype(), dims));
  if (r.size() == 0) return r;
  auto from = row_major_strides(src.dims());
  const int64_t offset = start * from[static_cast<size_t>(axis)];
  if (count > 1) from[static_cast<size_t>(axis)] *= step;
  copy_strided(r, 0, row_major_strides(dims), src, offset, from, dims);
  return r;
}

Result<Tensor> picked_rows(const EvalContext& ctx, const Tensor& src, size_t axis,
                           std::span<const int64_t> order) {
  Dims dims = src.dims();
  dims[axis] = static_cast<int64_t>(order.size());
  TRY_ASSIGN(Tensor r, ctx.allocate(src.dtype(), dims));
  if (r.size() == 0) return r;
  const int64_t outer = span_size(dims, 0, axis), block = span_size(dims, axis + 1, dims.size());
  int64_t to = 0;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i : order) {
      copy_elements(r, to, src, (o * src.dims()[axis] + i) * block, block);
      to += block;
    }
  return r;
}

Result<Tensor> copied(const EvalContext& ctx, const Tensor& src) {
  TRY_ASSIGN(Tensor r, ctx.allocate(src.dtype(), src.dims()));
  copy_elements(r, 0, src, 0, src.size());
  return r;
}

int64_t span_size(std::span<const int64_t> dims, size_t first, size_t last) {
  int64_t r = 1;
  for (size_t i = first; i < last; ++i) r = checked_mul(r, dims[i]).value_or(INT64_MAX);
  return r;
}

std::optional<std::vector<int64_t>> known_ints(const InferContext& ctx, size_t i,
                                               std::string_view attr) {
  if (ctx.has_input(i)) return ctx.ints(i);
  if (const auto* v = ctx.node().attr_ints(attr)) return *v;
  return std::nullopt;
}

bool given(const InferContext& ctx, size_t i, std::string_view attr) {
  return ctx.has_input(i) || ctx.node().attr_ints(attr) != nullptr;
}

Result<std::vector<int64_t>> axis_positions(std::span<const int64_t> axes, int64_t rank) {
  std::vector<int64_t> r;
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (int64_t axis : axes) {
    auto a = normalize_axis(axis, rank);
    if (!a) return invalid(format("axis {} is out of range for rank {}", axis, rank));
    if (seen[static_cast<size_t>(*a)]) return invalid(format("axis {} occurs twice", axis));
    seen[static_cast<size_t>(*a)] = true;
    r.push_back(*a);
  }
  return r;
}

std::optional<Dim> unify(Dim a, Dim b) {
  if (a.is_unknown()) return b;
  if (b.is_unknown() || a == b) return a;
  if (Dim::differ(a, b)) return std::nullopt;
  if (a.is_const()) return a;
  if (b.is_const()) return b;
  return a.is_symbol() || !b.is_symbol() ? a : b;
}

Shape fresh_shape(InferContext& ctx, size_t output, size_t n) {
  Shape s;
  for (size_t i = 0; i < n; ++i) s.push_back(ctx.fresh(output, i));
  return s;
}

Dim or_fresh(InferContext& ctx, Dim d, size_t output, size_t axis) {
  return d.is_unknown() ? ctx.fresh(output, axis) : d;
}

std::optional<int64_t> known_length(const InferContext& ctx, size_t i) {
  if (!ctx.has_input(i)) return std::nullopt;
  if (const PartialValue* p = ctx.partial(i)) return static_cast<int64_t>(p->size());
  const Shape* s = ctx.shape(i);
  if (s == nullptr || s->size() > 1) return std::nullopt;
  if (s->empty()) return 1;
  if (!(*s)[0].is_const()) return std::nullopt;
  return (*s)[0].value();
}

Status expect_rank(const InferContext& ctx, size_t i, const char* name, int64_t rank) {
  const Shape* s = ctx.has_input(i) ? ctx.shape(i) : nullptr;
  if (s != nullptr && static_cast<int64_t>(s->size()) != rank)
    return ctx.error(format("{} has the shape {}, rank {} expected", name, to_string(*s), rank));
  return ok();
}

Result<size_t> choice(const Node& node, std::string_view attr, std::string_view def,
                      std::span<const std::string_view> values) {
  const std::string_view v = node.attr_str(attr, def);
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] == v) return i;
  return invalid(format("attribute '{}' has the unknown value {}", attr, quoted(v)));
}

}  // namespace onnxtool
