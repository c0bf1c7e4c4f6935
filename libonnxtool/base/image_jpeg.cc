// SPDX-License-Identifier: Apache-2.0
// JPEG through libjpeg, where the build has it.
#include "libonnxtool/base/image_codecs.h"

#ifdef ONNXTOOL_JPEG
#include <jerror.h>
#include <jpeglib.h>
#include <csetjmp>
#include <cstdio>
#endif

namespace onnxtool {

#ifdef ONNXTOOL_JPEG
namespace {

struct Failure {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  bool cut = false;  // the bytes ended early
};

void fail(j_common_ptr info) { std::longjmp(reinterpret_cast<Failure*>(info->err)->jump, 1); }
void say_nothing(j_common_ptr) {}
void note(j_common_ptr info, int level) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) failure->cut = true;
}

// Nothing with a destructor may live in a function that the library jumps out of.
bool read_header(jpeg_decompress_struct& d, Failure& failure, std::span<const std::byte> bytes) {
  if (setjmp(failure.jump) != 0) return false;
  jpeg_create_decompress(&d);
  jpeg_mem_src(&d, reinterpret_cast<const unsigned char*>(bytes.data()),
               static_cast<unsigned long>(bytes.size()));
  if (jpeg_read_header(&d, TRUE) != JPEG_HEADER_OK) return false;
  d.out_color_space = JCS_RGB;
  return d.num_components == 1 || d.num_components == 3;
}

bool read_lines(jpeg_decompress_struct& d, Failure& failure, uint8_t* to, size_t line) {
  if (setjmp(failure.jump) != 0) return false;
  jpeg_start_decompress(&d);
  while (d.output_scanline < d.output_height) {
    JSAMPROW row = to + d.output_scanline * line;
    jpeg_read_scanlines(&d, &row, 1);
  }
  jpeg_finish_decompress(&d);
  return !failure.cut;
}

}  // namespace

Result<Image> decode_jpeg(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  jpeg_decompress_struct d{};
  Failure failure{};
  d.err = jpeg_std_error(&failure.manager);
  failure.manager.error_exit = fail;
  failure.manager.output_message = say_nothing;
  failure.manager.emit_message = note;
  Result<Image> image = invalid("the JPEG picture is damaged");
  if (read_header(d, failure, bytes)) {
    image = make_image(d.image_height, d.image_width, reserve);
    if (image.ok() && !read_lines(d, failure, image->rgb.get(), d.image_width * size_t{3}))
      image = invalid("the JPEG picture is damaged");
  } else if (d.num_components == 4) {
    image = unsupported("JPEG pictures of four colours");
  }
  jpeg_destroy_decompress(&d);
  return image;
}
#else
Result<Image> decode_jpeg(std::span<const std::byte>, const ReserveBytes&) {
  return unsupported("JPEG pictures: this build has no libjpeg");
}
#endif

}  // namespace onnxtool
