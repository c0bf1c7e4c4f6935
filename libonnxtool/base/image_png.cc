// SPDX-License-Identifier: Apache-2.0
// PNG through libpng, where the build has it.
#include "libonnxtool/base/image_codecs.h"

#ifdef ONNXTOOL_PNG
#include <png.h>
#include <csetjmp>
#include <cstring>

#include <vector>
#endif

namespace onnxtool {

#ifdef ONNXTOOL_PNG
namespace {

struct Source {
  std::span<const std::byte> bytes;
  size_t at = 0;
};

void fail(png_structp png, png_const_charp) { png_longjmp(png, 1); }
void say_nothing(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, size_t n) {
  auto* s = static_cast<Source*>(png_get_io_ptr(png));
  if (s->bytes.size() - s->at < n) png_error(png, "the end");
  std::memcpy(to, s->bytes.data() + s->at, n);
  s->at += n;
}

// Nothing with a destructor may live in a function that the library jumps out of.
bool read_header(png_structp png, png_infop info, Source* source) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_read_fn(png, source, read_bytes);
  png_set_user_limits(png, 1 << 20, 1 << 20);
  png_read_info(png, info);
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_strip_alpha(png);
  png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  return png_get_channels(png, info) == 3 && png_get_bit_depth(png, info) == 8;
}

bool read_lines(png_structp png, png_bytepp rows) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_read_image(png, rows);
  return true;
}

}  // namespace

Result<Image> decode_png(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, say_nothing);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    return unsupported("no memory for a PNG decoder");
  }
  Source source{bytes};
  Result<Image> image = invalid("the PNG picture is damaged");
  if (read_header(png, info, &source)) {
    image = make_image(png_get_image_height(png, info), png_get_image_width(png, info), reserve);
    if (image.ok()) {
      std::vector<png_bytep> rows;
      for (int64_t y = 0; y < image->height; ++y)
        rows.push_back(image->rgb.get() + y * image->width * 3);
      if (!read_lines(png, rows.data())) image = invalid("the PNG picture is damaged");
    }
  }
  png_destroy_read_struct(&png, &info, nullptr);
  return image;
}
#else
Result<Image> decode_png(std::span<const std::byte>, const ReserveBytes&) {
  return unsupported("PNG pictures: this build has no libpng");
}
#endif

}  // namespace onnxtool
