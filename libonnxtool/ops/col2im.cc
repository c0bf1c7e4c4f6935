// SPDX-License-Identifier: Apache-2.0
// Col2Im: columns of blocks summed back into an image.
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/complex_parts.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

struct Blocks {
  std::vector<int64_t> strides, dilations, pads;  // pads: begins, then ends
};

Result<Blocks> blocks_of(const Node& node, size_t axes) {
  auto read = [&](const char* attr, size_t n, int64_t def,
                  int64_t least) -> Result<std::vector<int64_t>> {
    const auto* v = node.attr_ints(attr);
    if (v == nullptr) return std::vector<int64_t>(n, def);
    if (v->size() != n)
      return invalid(format("attribute '{}' has {} values, {} expected", attr, v->size(), n));
    for (int64_t x : *v)
      if (x < least || x > INT32_MAX)
        return invalid(format("attribute '{}' has the value {}", attr, x));
    return *v;
  };
  Blocks b;
  TRY_ASSIGN(b.strides, read("strides", axes, 1, 1));
  TRY_ASSIGN(b.dilations, read("dilations", axes, 1, 1));
  TRY_ASSIGN(b.pads, read("pads", 2 * axes, 0, 0));
  return b;
}

// Number of blocks along an axis; nullopt when none fits or sizes are absurd.
std::optional<int64_t> block_count(const Blocks& b, size_t i, size_t axes, int64_t image,
                                   int64_t block) {
  if (image < 0 || block <= 0 || image > INT32_MAX || block > INT32_MAX) return std::nullopt;
  const auto reach = checked_mul(b.dilations[i], block - 1);
  if (!reach) return std::nullopt;
  const int64_t room = image + b.pads[i] + b.pads[i + axes] - *reach - 1;
  if (room < 0) return std::nullopt;
  return room / b.strides[i] + 1;
}

Status infer_col2im(InferContext& ctx) {
  TRY(expect_rank(ctx, 0, "input", 3));
  TRY(expect_rank(ctx, 1, "image_shape", 1));
  TRY(expect_rank(ctx, 2, "block_shape", 1));
  const Shape* s = ctx.shape(0);
  const auto axes = known_length(ctx, 1), block_axes = known_length(ctx, 2);
  if (axes && block_axes && *axes != *block_axes)
    return ctx.error(format("image_shape has {} values, block_shape {}", *axes, *block_axes));
  const auto n = axes ? axes : block_axes;
  if (!n || *n < 0 || *n > 64) return ctx.set(0, ctx.dtype(0), std::nullopt);
  const size_t count = static_cast<size_t>(*n);
  TRY_ASSIGN(const Blocks b, blocks_of(ctx.node(), count));
  Shape out{s ? (*s)[0] : Dim(), Dim()};
  PartialValue image(count);
  if (const PartialValue* p = ctx.partial(1)) image = *p;
  const auto block = ctx.ints(2), image_ints = ctx.ints(1);
  if (block && image_ints) {
    int64_t blocks = 1, area = 1;
    for (size_t i = 0; i < count; ++i) {
      const auto k = block_count(b, i, count, (*image_ints)[i], (*block)[i]);
      const auto product = k ? checked_mul(blocks, *k) : std::nullopt;
      const auto size = checked_mul(area, (*block)[i]);
      if (!product || !size)
        return ctx.error(
            format("blocks {} do not fit the image {}", to_string(*block), to_string(*image_ints)));
      blocks = *product;
      area = *size;
    }
    if (s != nullptr) {
      if (Dim::differ((*s)[2], blocks))
        return ctx.error(format("input {} has not the {} blocks of the image {}", to_string(*s),
                                blocks, to_string(*image_ints)));
      if ((*s)[1].is_const() && (*s)[1].value() % area != 0)
        return ctx.error(
            format("axis 1 of the input {} does not divide by {}", to_string(*s), area));
      out[1] = floor_div((*s)[1], area);
    }
  }
  for (size_t i = 0; i < count; ++i) out.push_back(image[i]);
  for (size_t i = 0; i < out.size(); ++i) out[i] = or_fresh(ctx, out[i], 0, i);
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Status eval_col2im(EvalContext& ctx, bool) {
  const Tensor& x = ctx.in(0);
  const std::vector<int64_t> image = ctx.in(1).to_i64(), block = ctx.in(2).to_i64();
  const bool floats = is_float(x.dtype());
  if (is_complex(x.dtype())) return eval_by_parts(ctx, eval_col2im);
  if (x.is_string()) return ctx.error("strings cannot be added");
  if (x.rank() != 3 || image.size() != block.size())
    return ctx.error("input, image and block differ in rank");
  TRY_ASSIGN(const Blocks b, blocks_of(ctx.node(), image.size()));
  Dims grid;
  int64_t blocks = 1, area = 1;
  for (size_t i = 0; i < image.size(); ++i) {
    const auto k = block_count(b, i, image.size(), image[i], block[i]);
    const auto product = k ? checked_mul(blocks, *k) : std::nullopt;
    const auto size = checked_mul(area, block[i]);
    if (!product || !size)
      return ctx.error(
          format("blocks {} do not fit the image {}", to_string(block), to_string(image)));
    grid.push_back(*k);
    blocks = *product;
    area = *size;
  }
  if (x.dims()[2] != blocks || x.dims()[1] % area != 0)
    return ctx.error(
        format("input {} has not the {} blocks of {} elements", to_string(x.dims()), blocks, area));
  Dims dims{x.dims()[0], x.dims()[1] / area};
  dims.insert(dims.end(), image.begin(), image.end());
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), dims));
  const int64_t pixels = span_size(image, 0, image.size());
  const auto strides = row_major_strides(image);
  const std::vector<double> f = floats ? x.to_f64() : std::vector<double>();
  const std::vector<int64_t> v = floats ? std::vector<int64_t>() : x.to_i64();
  std::vector<double> fsum(floats ? static_cast<size_t>(out.size()) : 0);
  std::vector<int64_t> isum(floats ? 0 : static_cast<size_t>(out.size()));
  size_t from = 0;
  for (int64_t plane = 0; x.size() > 0 && plane < dims[0] * dims[1]; ++plane) {
    std::vector<int64_t> offset(block.size(), 0);
    do {
      std::vector<int64_t> at(grid.size(), 0);
      do {
        int64_t to = plane * pixels;
        bool inside = true;
        for (size_t i = 0; i < grid.size(); ++i) {
          const int64_t p = at[i] * b.strides[i] - b.pads[i] + offset[i] * b.dilations[i];
          inside &= p >= 0 && p < image[i];
          to += inside ? p * strides[i] : 0;
        }
        if (inside && floats) fsum[static_cast<size_t>(to)] += f[from];
        if (inside && !floats)
          isum[static_cast<size_t>(to)] =
              static_cast<int64_t>(static_cast<uint64_t>(isum[static_cast<size_t>(to)]) +
                                   static_cast<uint64_t>(v[from]));
        ++from;
      } while (onnxtool::advance(at, grid));
    } while (onnxtool::advance(offset, block));
  }
  if (floats)
    store_f64(out, 0, fsum);
  else
    store_i64(out, 0, isum);
  ctx.set(0, std::move(out));
  return ok();
}

Status eval_col2im_of(EvalContext& ctx) { return eval_col2im(ctx, false); }

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(col2im, {.name = "Col2Im", .infer = infer_col2im, .eval = eval_col2im_of});
