// SPDX-License-Identifier: Apache-2.0
// JPEG 2000, as a JP2 file or a bare codestream, through OpenJPEG, where the build has it: grey and
// RGB of 8 bits and more without subsampling.
#include "libonnxtool/base/image_codecs.h"

#ifdef ONNXTOOL_JPEG2000
#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#endif

namespace onnxtool {

#ifdef ONNXTOOL_JPEG2000
namespace {

struct Source {
  std::span<const std::byte> bytes;
  size_t at = 0;
};

constexpr OPJ_SIZE_T kEnd = static_cast<OPJ_SIZE_T>(-1);

OPJ_SIZE_T read_some(void* to, OPJ_SIZE_T n, void* user) {
  auto* s = static_cast<Source*>(user);
  n = std::min<OPJ_SIZE_T>(n, s->bytes.size() - s->at);
  if (n == 0) return kEnd;
  std::memcpy(to, s->bytes.data() + s->at, n);
  s->at += n;
  return n;
}
OPJ_OFF_T skip(OPJ_OFF_T n, void* user) {
  auto* s = static_cast<Source*>(user);
  if (n < 0) return -1;
  n = std::min<OPJ_OFF_T>(n, static_cast<OPJ_OFF_T>(s->bytes.size() - s->at));
  s->at += static_cast<size_t>(n);
  return n;
}
OPJ_BOOL seek(OPJ_OFF_T to, void* user) {
  auto* s = static_cast<Source*>(user);
  if (to < 0 || static_cast<size_t>(to) > s->bytes.size()) return OPJ_FALSE;
  s->at = static_cast<size_t>(to);
  return OPJ_TRUE;
}

struct Decoder {
  explicit Decoder(std::span<const std::byte> bytes) : source{bytes} {
    const bool bare = bytes.size() > 1 && bytes[0] == std::byte{0xFF};
    codec = opj_create_decompress(bare ? OPJ_CODEC_J2K : OPJ_CODEC_JP2);
    stream = opj_stream_default_create(OPJ_TRUE);
    if (stream == nullptr) return;
    opj_stream_set_read_function(stream, read_some);
    opj_stream_set_skip_function(stream, skip);
    opj_stream_set_seek_function(stream, seek);
    opj_stream_set_user_data(stream, &source, nullptr);
    opj_stream_set_user_data_length(stream, bytes.size());
  }
  Decoder(const Decoder&) = delete;
  ~Decoder() {
    if (image != nullptr) opj_image_destroy(image);
    if (stream != nullptr) opj_stream_destroy(stream);
    if (codec != nullptr) opj_destroy_codec(codec);
  }
  Source source;
  opj_codec_t* codec = nullptr;
  opj_stream_t* stream = nullptr;
  opj_image_t* image = nullptr;
};

// A sample of any precision and sign as 8 bits.
uint8_t to_byte(OPJ_INT32 v, const opj_image_comp_t& c) {
  int64_t x = v;
  if (c.sgnd != 0) x += int64_t{1} << (c.prec - 1);
  x = c.prec > 8 ? x >> (c.prec - 8) : x * 255 / ((int64_t{1} << c.prec) - 1);
  return static_cast<uint8_t>(std::clamp<int64_t>(x, 0, 255));
}

}  // namespace

Result<Image> decode_jpeg2000(std::span<const std::byte> bytes, const ReserveBytes& reserve) {
  Decoder d(bytes);
  if (d.codec == nullptr || d.stream == nullptr)
    return unsupported("no memory for a JPEG 2000 decoder");
  const Error damaged = invalid("the JPEG 2000 picture is damaged");
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  if (opj_setup_decoder(d.codec, &parameters) == OPJ_FALSE ||
      opj_read_header(d.stream, d.codec, &d.image) == OPJ_FALSE || d.image == nullptr)
    return damaged;
  const int64_t width = int64_t{d.image->x1} - d.image->x0,
                height = int64_t{d.image->y1} - d.image->y0;
  TRY_ASSIGN(Image image, make_image(height, width, reserve));
  TRY(reserve(height * width * 4 * std::max<int64_t>(1, d.image->numcomps)));
  if (opj_decode(d.codec, d.stream, d.image) == OPJ_FALSE ||
      opj_end_decompress(d.codec, d.stream) == OPJ_FALSE)
    return damaged;
  const OPJ_UINT32 n = d.image->numcomps;
  if (n == 0 || (n > 1 && d.image->color_space != OPJ_CLRSPC_SRGB &&
                 d.image->color_space != OPJ_CLRSPC_UNSPECIFIED))
    return unsupported("JPEG 2000 pictures that are neither grey nor RGB");
  const opj_image_comp_t* channel[3];
  for (OPJ_UINT32 c = 0; c < 3; ++c) {
    channel[c] = &d.image->comps[n >= 3 ? c : 0];
    if (channel[c]->data == nullptr) return damaged;
    if (channel[c]->w != width || channel[c]->h != height)
      return unsupported("JPEG 2000 pictures with subsampled channels");
    if (channel[c]->prec < 1 || channel[c]->prec > 31) return damaged;
  }
  for (int64_t i = 0; i < height * width; ++i)
    for (int64_t c = 0; c < 3; ++c)
      image.rgb[static_cast<size_t>(i * 3 + c)] = to_byte(channel[c]->data[i], *channel[c]);
  return image;
}
#else
Result<Image> decode_jpeg2000(std::span<const std::byte>, const ReserveBytes&) {
  return unsupported("JPEG 2000 pictures: this build has no OpenJPEG");
}
#endif

}  // namespace onnxtool
