// SPDX-License-Identifier: Apache-2.0
// WebP, lossy and lossless, through libwebp, where the build has it. Of an animation no picture is
// read.
#include "libonnxtool/base/image_codecs.h"

#ifdef ONNXTOOL_WEBP
#include <webp/decode.h>
#endif

namespace onnxtool {

#ifdef ONNXTOOL_WEBP
Result<Image> decode_webp(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, bytes.size(), &features) != VP8_STATUS_OK)
    return invalid("the WebP picture is damaged");
  if (features.has_animation != 0) return unsupported("WebP animations");
  TRY_ASSIGN(Image image, make_image(features.height, features.width, reserve));
  const int stride = features.width * 3;  // the format's sides have 14 bits
  if (WebPDecodeRGBInto(data, bytes.size(), image.rgb.get(), image.size(), stride) == nullptr)
    return invalid("the WebP picture is damaged");
  return image;
}
#else
Result<Image> decode_webp(std::span<const std::byte>, const ReserveBytes&) {
  return unsupported("WebP pictures: this build has no libwebp");
}
#endif

}  // namespace onnxtool
