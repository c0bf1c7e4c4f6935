// SPDX-License-Identifier: Apache-2.0
// Encoded pictures to pixels: BMP, PNM and uncompressed TIFF; JPEG, PNG, WebP and JPEG 2000 where
// the build has libjpeg, libpng, libwebp and OpenJPEG. 8 bits a channel, alpha is dropped, palettes
// and grey become RGB.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "libonnxtool/base/error.h"

namespace onnxtool {

struct Image {
  int64_t height = 0, width = 0;
  std::unique_ptr<uint8_t[]> rgb;  // [height, width, 3]
  size_t size() const { return static_cast<size_t>(height * width * 3); }
};

enum class ImageFormat : uint8_t { kUnknown, kBmp, kJpeg, kJpeg2000, kPng, kPnm, kTiff, kWebp };
ImageFormat image_format(std::span<const std::byte> bytes);
std::string_view image_format_name(ImageFormat f);

// kInvalid: damaged or no picture; kUnsupported: a format or variant that this build cannot read.
// `reserve` is asked before memory is taken for the pixels.
using ReserveBytes = std::function<Status(int64_t)>;
Result<Image> decode_image(std::span<const std::byte> bytes, const ReserveBytes& reserve);

// Luma of a pixel as ITU-R 601-2 weighs it, rounded.
uint8_t luma(uint8_t r, uint8_t g, uint8_t b);

}  // namespace onnxtool
