// SPDX-License-Identifier: Apache-2.0
// ImageDecoder: an encoded picture as [height, width, channels]. A damaged one is empty, as the
// documents have it; a format that this build cannot read is an error.
#include "libonnxtool/base/image.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

enum class Pixels : uint8_t { kRgb, kBgr, kGrayscale };

Result<Pixels> pixels_of(const Node& node) {
  TRY_ASSIGN(const size_t i, choice(node, "pixel_format", "RGB", {"RGB", "BGR", "Grayscale"}));
  return static_cast<Pixels>(i);
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const Pixels p, pixels_of(ctx.node()));
  TRY(expect_rank(ctx, 0, "encoded_stream", 1));
  return ctx.set(0, DType::kUint8,
                 Shape{ctx.fresh(0, 0), ctx.fresh(0, 1), p == Pixels::kGrayscale ? 1 : 3});
}

Status eval(EvalContext& ctx) {
  TRY_ASSIGN(const Pixels p, pixels_of(ctx.node()));
  const Tensor& x = ctx.in(0);
  auto image = decode_image({x.raw(), x.bytes()}, [&](int64_t n) { return ctx.host().reserve(n); });
  if (!image.ok() && image.error().code != Code::kInvalid) return std::move(image).error();
  const Image pixels = image.ok() ? std::move(image).value() : Image();
  TRY_ASSIGN(Tensor out, ctx.allocate(DType::kUint8, {pixels.height, pixels.width,
                                                      p == Pixels::kGrayscale ? 1 : 3}));
  const std::span<uint8_t> to = out.mut<uint8_t>();
  for (size_t i = 0; i * 3 < pixels.size(); ++i) {
    const uint8_t* from = &pixels.rgb[i * 3];
    if (p == Pixels::kGrayscale)
      to[i] = luma(from[0], from[1], from[2]);
    else
      for (size_t c = 0; c < 3; ++c) to[i * 3 + c] = from[p == Pixels::kBgr ? 2 - c : c];
  }
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(image_decoder, {.name = "ImageDecoder", .infer = infer, .eval = eval});
