// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/base/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <new>

#include "libonnxtool/base/image_codecs.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr int64_t kMaxSide = 1 << 20, kMaxPixels = 1 << 29;

// Reads within the bytes; past the end it gives zeros and `good` turns false.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, bool big) : b_(bytes), big_(big) {}
  bool good = true;
  uint32_t get(size_t at, int n) {
    if (at > b_.size() || b_.size() - at < static_cast<size_t>(n)) {
      good = false;
      return 0;
    }
    uint32_t v = 0;
    for (int i = 0; i < n; ++i) {
      const int k = big_ ? i : n - 1 - i;
      v = v << 8 | std::to_integer<uint32_t>(b_[at + static_cast<size_t>(k)]);
    }
    return v;
  }

 private:
  std::span<const std::byte> b_;
  bool big_;
};

bool starts_with(std::span<const std::byte> b, std::string_view s, size_t at = 0) {
  if (b.size() < at + s.size()) return false;
  return std::equal(
      s.begin(), s.end(), b.begin() + static_cast<ptrdiff_t>(at),
      [](char c, std::byte x) { return static_cast<uint8_t>(c) == std::to_integer<uint8_t>(x); });
}

Error damaged(std::string_view what) { return invalid(format("the {} picture is damaged", what)); }

uint8_t at(std::span<const std::byte> b, size_t i) { return std::to_integer<uint8_t>(b[i]); }

}  // namespace

uint8_t luma(uint8_t r, uint8_t g, uint8_t b) {
  return static_cast<uint8_t>((r * 19595u + g * 38470u + b * 7471u + 0x8000u) >> 16);
}

Result<Image> make_image(int64_t height, int64_t width, const ReserveBytes& reserve) {
  if (height <= 0 || width <= 0) return invalid("the picture has no pixel");
  if (height > kMaxSide || width > kMaxSide || height * width > kMaxPixels)
    return unsupported(format("a picture of {} x {} pixels", height, width));
  Image image{height, width, {}};
  TRY(reserve(static_cast<int64_t>(image.size())));
  image.rgb.reset(new (std::nothrow) uint8_t[image.size()]());
  if (!image.rgb)
    return unsupported(format("no memory for a picture of {} x {} pixels", height, width));
  return image;
}

ImageFormat image_format(std::span<const std::byte> b) {
  using namespace std::string_view_literals;
  if (starts_with(b, "BM")) return ImageFormat::kBmp;
  if (starts_with(b, "\xFF\xD8\xFF")) return ImageFormat::kJpeg;
  if (starts_with(b, "\x89PNG\r\n\x1A\n")) return ImageFormat::kPng;
  if (starts_with(b, "\0\0\0\x0CjP  "sv) || starts_with(b, "\xFF\x4F\xFF\x51"))
    return ImageFormat::kJpeg2000;
  if (starts_with(b, "II*\0"sv) || starts_with(b, "MM\0*"sv)) return ImageFormat::kTiff;
  if (starts_with(b, "RIFF") && starts_with(b, "WEBP", 8)) return ImageFormat::kWebp;
  if (b.size() > 2 && at(b, 0) == 'P' && at(b, 1) >= '1' && at(b, 1) <= '6')
    return ImageFormat::kPnm;
  return ImageFormat::kUnknown;
}

std::string_view image_format_name(ImageFormat f) {
  static constexpr std::string_view kNames[] = {"unknown", "BMP", "JPEG", "JPEG 2000",
                                                "PNG",     "PNM", "TIFF", "WebP"};
  return kNames[static_cast<size_t>(f)];
}

Result<Image> decode_image(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  const ImageFormat f = image_format(bytes);
  switch (f) {
    case ImageFormat::kBmp: return decode_bmp(bytes, reserve);
    case ImageFormat::kJpeg: return decode_jpeg(bytes, reserve);
    case ImageFormat::kPng: return decode_png(bytes, reserve);
    case ImageFormat::kPnm: return decode_pnm(bytes, reserve);
    case ImageFormat::kTiff: return decode_tiff(bytes, reserve);
    case ImageFormat::kWebp: return decode_webp(bytes, reserve);
    case ImageFormat::kJpeg2000: return decode_jpeg2000(bytes, reserve);
    default: return invalid("the bytes are no picture of a known format");
  }
}

// Windows bitmap: 8 bit palette, 24 and 32 bit, uncompressed.
Result<Image> decode_bmp(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  Reader r(bytes, false);
  const uint32_t pixels = r.get(10, 4), header = r.get(14, 4);
  const auto width = static_cast<int32_t>(r.get(18, 4)),
             raw_height = static_cast<int32_t>(r.get(22, 4));
  const uint32_t bits = r.get(28, 2), compression = r.get(30, 4);
  if (!r.good || header < 40 || raw_height == INT32_MIN) return damaged("BMP");
  if (compression != 0 || (bits != 8 && bits != 24 && bits != 32))
    return unsupported(format("BMP pictures of {} bits with compression {}", bits, compression));
  const int64_t height = std::abs(raw_height);
  TRY_ASSIGN(Image image, make_image(height, width, reserve));
  const size_t stride = (static_cast<size_t>(width) * bits + 31) / 32 * 4,
               palette = 14 + size_t{header};
  if (pixels > bytes.size() || (bytes.size() - pixels) / static_cast<size_t>(height) < stride)
    return damaged("BMP");
  for (int64_t y = 0; y < height; ++y) {
    const size_t line = pixels + static_cast<size_t>(raw_height > 0 ? height - 1 - y : y) * stride;
    for (int64_t x = 0; x < width; ++x) {
      size_t from = line + static_cast<size_t>(x) * (bits / 8);
      if (bits == 8) from = palette + at(bytes, from) * size_t{4};
      if (from + 3 > bytes.size()) return damaged("BMP");
      uint8_t* to = &image.rgb[static_cast<size_t>(y * width + x) * 3];
      for (size_t c = 0; c < 3; ++c) to[c] = at(bytes, from + 2 - c);
    }
  }
  return image;
}

// Portable bitmaps, greymaps and pixmaps, as text (P1 to P3) and raw (P4 to P6).
Result<Image> decode_pnm(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  const int kind = at(bytes, 1) - '0';
  size_t pos = 2;
  auto number = [&]() -> int64_t {  // -1 at the end or where there is none
    while (pos < bytes.size() && (std::isspace(at(bytes, pos)) != 0 || at(bytes, pos) == '#')) {
      if (at(bytes, pos++) == '#')
        while (pos < bytes.size() && at(bytes, pos) != '\n') ++pos;
    }
    int64_t v = -1;
    while (pos < bytes.size() && std::isdigit(at(bytes, pos)) != 0 && v < kMaxSide)
      v = std::max<int64_t>(v, 0) * 10 + (at(bytes, pos++) - '0');
    return v;
  };
  const bool bitmap = kind == 1 || kind == 4, color = kind == 3 || kind == 6, raw = kind >= 4;
  const int64_t width = number(), height = number(), most = bitmap ? 1 : number();
  if (width <= 0 || height <= 0 || most <= 0 || most > 65535) return damaged("PNM");
  TRY_ASSIGN(Image image, make_image(height, width, reserve));
  ++pos;  // one space ends the header
  const size_t sample = most > 255 ? 2 : 1, channels = color ? 3 : 1;
  const size_t line = bitmap ? (static_cast<size_t>(width) + 7) / 8
                             : static_cast<size_t>(width) * channels * sample;
  if (raw && (pos > bytes.size() || (bytes.size() - pos) / static_cast<size_t>(height) < line))
    return damaged("PNM");
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      uint8_t* to = &image.rgb[static_cast<size_t>(y * width + x) * 3];
      for (size_t c = 0; c < channels; ++c) {
        const size_t start = pos + static_cast<size_t>(y) * line,
                     i = static_cast<size_t>(x) * channels + c;
        int64_t v;
        if (!raw && bitmap) {
          while (pos < bytes.size() && std::isspace(at(bytes, pos)) != 0) ++pos;
          v = pos < bytes.size() ? at(bytes, pos++) - '0' : -1;
        } else if (!raw) {
          v = number();
        } else if (bitmap) {
          v = at(bytes, start + static_cast<size_t>(x) / 8) >> (7 - x % 8) & 1;
        } else {
          v = sample == 1 ? at(bytes, start + i)
                          : at(bytes, start + 2 * i) << 8 | at(bytes, start + 2 * i + 1);
        }
        if (v < 0 || v > most) return damaged("PNM");
        if (bitmap) v = 1 - v;  // 1 is black
        to[c] = static_cast<uint8_t>((v * 255 + most / 2) / most);
      }
      if (!color) to[1] = to[2] = to[0];
    }
  return image;
}

// TIFF 6.0 baseline without compression: grey and RGB of 8 bits in strips.
Result<Image> decode_tiff(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  Reader r(bytes, at(bytes, 0) == 'M');
  const size_t directory = r.get(4, 4);
  const uint32_t count = r.get(directory, 2);
  std::array<uint32_t, 512> first{}, entries{};  // by tag 0..511: first value, number of values
  std::array<size_t, 512> where{};               // where the values lie
  std::array<int, 512> size{};
  for (uint32_t i = 0; i < count && r.good; ++i) {
    const size_t entry = directory + 2 + size_t{i} * 12;
    const uint32_t tag = r.get(entry, 2), type = r.get(entry + 2, 2), n = r.get(entry + 4, 4);
    if (tag >= first.size() || (type != 1 && type != 3 && type != 4)) continue;
    size[tag] = type == 1 ? 1 : type == 3 ? 2 : 4;
    entries[tag] = n;
    where[tag] =
        uint64_t{n} * static_cast<uint64_t>(size[tag]) <= 4 ? entry + 8 : r.get(entry + 8, 4);
    first[tag] = n > 0 ? r.get(where[tag], size[tag]) : 0;
  }
  const uint32_t photometric = first[262], planar = entries[284] > 0 ? first[284] : 1;
  const uint32_t compression = entries[259] > 0 ? first[259] : 1,
                 samples = entries[277] > 0 ? first[277] : 1;
  if (!r.good || entries[256] == 0 || entries[257] == 0 || entries[273] == 0)
    return damaged("TIFF");
  const bool grey = photometric <= 1 && samples >= 1, rgb = photometric == 2 && samples >= 3;
  if (compression != 1 || planar != 1 || first[258] != 8 || !(grey || rgb) || samples > 16)
    return unsupported(
        format("TIFF pictures with compression {}, {} samples of {} bits, colours {}", compression,
               samples, first[258], photometric));
  const int64_t height = first[257], width = first[256];
  TRY_ASSIGN(Image image, make_image(height, width, reserve));
  const int64_t rows = entries[278] > 0 ? std::max<int64_t>(1, first[278]) : height;
  for (int64_t y = 0; y < height; ++y) {
    const size_t strip = static_cast<size_t>(y / rows);
    if (strip >= entries[273]) return damaged("TIFF");
    const size_t start = r.get(where[273] + strip * static_cast<size_t>(size[273]), size[273]) +
                         static_cast<size_t>(y % rows * width) * samples;
    if (!r.good || start > bytes.size() ||
        bytes.size() - start < static_cast<size_t>(width) * samples)
      return damaged("TIFF");
    for (int64_t x = 0; x < width; ++x)
      for (size_t c = 0; c < 3; ++c) {
        const uint8_t v = at(bytes, start + static_cast<size_t>(x) * samples + (rgb ? c : 0));
        image.rgb[static_cast<size_t>(y * width + x) * 3 + c] =
            photometric == 0 ? static_cast<uint8_t>(255 - v) : v;
      }
  }
  return image;
}

}  // namespace onnxtool
