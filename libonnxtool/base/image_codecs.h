// SPDX-License-Identifier: Apache-2.0
// The decoders behind image.h, one for each format.
#pragma once
#include "libonnxtool/base/image.h"

namespace onnxtool {

// An image of checked size with its memory reserved; kUnsupported when it is absurdly large.
Result<Image> make_image(int64_t height, int64_t width, const ReserveBytes& reserve);

Result<Image> decode_jpeg(std::span<const std::byte> bytes, const ReserveBytes& reserve);
Result<Image> decode_png(std::span<const std::byte> bytes, const ReserveBytes& reserve);
Result<Image> decode_webp(std::span<const std::byte> bytes, const ReserveBytes& reserve);
Result<Image> decode_jpeg2000(std::span<const std::byte> bytes, const ReserveBytes& reserve);
Result<Image> decode_bmp(std::span<const std::byte> bytes, const ReserveBytes& reserve);
Result<Image> decode_pnm(std::span<const std::byte> bytes, const ReserveBytes& reserve);
Result<Image> decode_tiff(std::span<const std::byte> bytes, const ReserveBytes& reserve);

}  // namespace onnxtool
