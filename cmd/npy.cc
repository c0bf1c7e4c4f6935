// SPDX-License-Identifier: Apache-2.0
#include "cmd/npy.h"

#include <zip.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Header {
  std::string descr;
  bool fortran = false;
  Dims dims;
};

// The header is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
Result<Header> parse_header(std::string_view h) {
  Header out;
  const auto value_of = [&](std::string_view key) -> std::string_view {
    const size_t at = h.find(key);
    if (at == std::string_view::npos) return {};
    const size_t colon = h.find(':', at + key.size());
    if (colon == std::string_view::npos) return {};
    const size_t from = h.find_first_not_of(' ', colon + 1);
    return from == std::string_view::npos ? std::string_view() : h.substr(from);
  };
  const std::string_view descr = value_of("'descr'"), order = value_of("'fortran_order'"),
                         shape = value_of("'shape'");
  if (descr.empty() || order.empty() || shape.empty() || shape[0] != '(')
    return invalid("malformed npy header");
  if (descr[0] != '\'') return unsupported("npy arrays with fields are not supported");
  out.descr = descr.substr(1, descr.find('\'', 1) - 1);
  out.fortran = order.substr(0, 4) == "True";
  const char* p = shape.data() + 1;
  const char* const end = shape.data() + shape.size();
  while (p < end && *p != ')') {
    if (*p == ' ' || *p == ',') {
      ++p;
      continue;
    }
    int64_t v = 0;
    const auto r = std::from_chars(p, end, v);
    if (r.ec != std::errc() || v < 0) return invalid("malformed npy shape");
    out.dims.push_back(v);
    p = r.ptr;
  }
  if (p == end || out.dims.size() > 64) return invalid("malformed npy shape");
  return out;
}

void append_utf8(std::string& s, uint32_t c) {
  if (c < 0x80) {
    s += static_cast<char>(c);
  } else if (c < 0x800) {
    s += static_cast<char>(0xC0 | c >> 6);
    s += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    s += static_cast<char>(0xE0 | c >> 12);
    s += static_cast<char>(0x80 | (c >> 6 & 63));
    s += static_cast<char>(0x80 | (c & 63));
  } else {
    s += static_cast<char>(0xF0 | c >> 18);
    s += static_cast<char>(0x80 | (c >> 12 & 63));
    s += static_cast<char>(0x80 | (c >> 6 & 63));
    s += static_cast<char>(0x80 | (c & 63));
  }
}

std::vector<uint32_t> code_points(const std::string& s) {
  std::vector<uint32_t> out;
  for (size_t i = 0; i < s.size();) {
    const auto b = static_cast<uint8_t>(s[i]);
    const size_t n = b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    uint32_t c = n == 1 ? b : b & (0xFFu >> (n + 1));
    for (size_t k = 1; k < n && i + k < s.size(); ++k)
      c = c << 6 | (static_cast<uint8_t>(s[i + k]) & 63u);
    out.push_back(c);
    i += n;
  }
  return out;
}

std::optional<DType> number_type(std::string_view code) {
  static constexpr std::pair<const char*, DType> kTypes[] = {
      {"f4", DType::kFloat},     {"f8", DType::kDouble},      {"f2", DType::kFloat16},
      {"i1", DType::kInt8},      {"i2", DType::kInt16},       {"i4", DType::kInt32},
      {"i8", DType::kInt64},     {"u1", DType::kUint8},       {"u2", DType::kUint16},
      {"u4", DType::kUint32},    {"u8", DType::kUint64},      {"b1", DType::kBool},
      {"c8", DType::kComplex64}, {"c16", DType::kComplex128}, {"V1", DType::kUint8},
      {"V2", DType::kUint16}};
  for (const auto& [name, t] : kTypes)
    if (code == name) return t;
  return std::nullopt;
}

Tensor to_row_major(const Tensor& t, const Dims& dims) {
  // `t` holds the elements in column-major order of `dims`.
  auto r = Tensor::allocate(t.dtype(), dims);
  ONNXTOOL_CHECK(r.ok());
  Tensor out = std::move(r).value();
  std::vector<int64_t> idx(dims.size());
  std::vector<int64_t> strides(dims.size());
  int64_t step = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    strides[i] = step;
    step *= dims[i];
  }
  for (int64_t i = 0; i < out.size(); ++i) {
    int64_t from = 0;
    for (size_t k = 0; k < dims.size(); ++k) from += idx[k] * strides[k];
    copy_element(out, i, t, from);
    onnxtool::advance(idx, dims);
  }
  return out;
}

}  // namespace

Result<Tensor> read_npy(const Bytes& bytes) {
  const std::string_view v = bytes.view();
  if (v.size() < 10 || v.substr(0, 6) != "\x93NUMPY") return invalid("not an npy file");
  const bool wide = v[6] >= 2;
  if (wide && v.size() < 12) return invalid("truncated npy header");
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(v[i])); };
  const size_t length =
      wide ? byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24 : byte(8) | byte(9) << 8;
  const size_t start = (wide ? 12 : 10);
  if (length > v.size() - start) return invalid("truncated npy header");
  TRY_ASSIGN(Header h, parse_header(v.substr(start, length)));
  const auto count = checked_product(h.dims);
  if (!count) return invalid("npy shape overflows");
  const std::byte* data = bytes.data + start + length;
  const size_t left = v.size() - start - length;
  if (h.descr.size() < 2) return invalid("malformed npy element type");
  const char order = h.descr[0];
  const std::string_view code = std::string_view(h.descr).substr(1);
  if (code[0] == 'O')
    return unsupported(
        "npy arrays of Python objects are not supported: save text as a unicode array");
  const bool big = order == '>';
  if (code[0] == 'U' || code[0] == 'S') {
    int64_t n = 0;
    std::from_chars(code.data() + 1, code.data() + code.size(), n);
    const auto bytes_each = checked_mul(n, code[0] == 'U' ? 4 : 1);
    const auto total = bytes_each ? checked_mul(*bytes_each, *count) : std::nullopt;
    if (!total || *count > (int64_t{1} << 32) || static_cast<uint64_t>(*total) > left || n < 0)
      return invalid("truncated npy data");
    std::vector<std::string> out(static_cast<size_t>(*count));
    for (size_t i = 0; i < out.size(); ++i) {
      const auto* p = reinterpret_cast<const uint8_t*>(data) + i * static_cast<size_t>(*bytes_each);
      if (code[0] == 'S') {
        out[i].assign(reinterpret_cast<const char*>(p), static_cast<size_t>(n));
        out[i].erase(out[i].find_last_not_of('\0') + 1);
        continue;
      }
      std::vector<uint32_t> cps(static_cast<size_t>(n));
      for (size_t k = 0; k < cps.size(); ++k)
        cps[k] = big ? uint32_t{p[4 * k]} << 24 | uint32_t{p[4 * k + 1]} << 16 |
                           uint32_t{p[4 * k + 2]} << 8 | p[4 * k + 3]
                     : uint32_t{p[4 * k + 3]} << 24 | uint32_t{p[4 * k + 2]} << 16 |
                           uint32_t{p[4 * k + 1]} << 8 | p[4 * k];
      while (!cps.empty() && cps.back() == 0) cps.pop_back();
      for (uint32_t c : cps) append_utf8(out[i], c);
    }
    Tensor t = Tensor::strings(h.dims, std::move(out));
    return h.fortran && h.dims.size() > 1 ? to_row_major(t, h.dims) : t;
  }
  const auto type = number_type(code);
  if (!type) return unsupported(format("npy element type {} is not supported", quoted(h.descr)));
  const auto size = raw_bytes(*type, *count);
  if (!size || static_cast<uint64_t>(*size) > left)
    return invalid(format("npy data is truncated: {} bytes for {}{}", left, dtype_name(*type),
                          to_string(h.dims)));
  Tensor t = Tensor::view(*type, h.dims, data, static_cast<size_t>(*size), bytes.owner);
  const int width = is_complex(*type) ? dtype_bits(*type) / 16 : dtype_bits(*type) / 8;
  if (big && width > 1) {
    TRY_ASSIGN(Tensor swapped, Tensor::allocate(*type, h.dims));
    std::byte* p = swapped.mutable_raw();
    if (swapped.bytes()) std::memcpy(p, data, swapped.bytes());
    for (size_t i = 0; i + static_cast<size_t>(width) <= swapped.bytes();
         i += static_cast<size_t>(width))
      std::reverse(p + i, p + i + width);
    t = std::move(swapped);
  }
  if (h.fortran && h.dims.size() > 1) return to_row_major(t, h.dims);
  return t.to_aligned();
}

std::string write_npy(const Tensor& t) {
  std::string descr, data;
  switch (t.dtype()) {
    case DType::kString: {
      std::vector<std::vector<uint32_t>> all;
      size_t width = 1;
      for (const std::string& s : t.string_data()) {
        all.push_back(code_points(s));
        width = std::max(width, all.back().size());
      }
      descr = format("<U{}", width);
      for (auto& cps : all) {
        cps.resize(width);
        data.append(reinterpret_cast<const char*>(cps.data()), cps.size() * 4);
      }
      break;
    }
    case DType::kFloat: descr = "<f4"; break;
    case DType::kDouble: descr = "<f8"; break;
    case DType::kFloat16: descr = "<f2"; break;
    case DType::kBool: descr = "|b1"; break;
    case DType::kComplex64: descr = "<c8"; break;
    case DType::kComplex128: descr = "<c16"; break;
    case DType::kBfloat16: descr = "<u2"; break;
    default:
      if (is_integer(t.dtype()) && dtype_bits(t.dtype()) >= 8)
        descr = format("{}{}{}", dtype_bits(t.dtype()) == 8 ? '|' : '<',
                       is_signed_integer(t.dtype()) ? 'i' : 'u', dtype_bits(t.dtype()) / 8);
      else
        descr = is_signed_integer(t.dtype()) ? "|i1" : "|u1";
  }
  if (is_sub_byte(t.dtype()) && is_integer(t.dtype())) {
    for (int64_t v : t.to_i64()) data += static_cast<char>(v);
  } else if (is_sub_byte(t.dtype())) {  // float4, float6: their values
    descr = "<f4";
    for (double v : t.to_f64()) {
      const auto f = static_cast<float>(v);
      data.append(reinterpret_cast<const char*>(&f), 4);
    }
  } else if (!t.is_string()) {
    data.assign(reinterpret_cast<const char*>(t.raw()), t.bytes());
  }
  std::string shape = "(";
  for (int64_t d : t.dims()) shape += std::to_string(d) + ", ";
  if (t.dims().size() > 1)
    shape.resize(shape.size() - 2);
  else if (t.dims().size() == 1)
    shape.resize(shape.size() - 1);
  shape += ")";
  std::string header =
      "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
  const size_t prefix = 10;
  header.append((64 - (prefix + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(header.size() & 0xFF);
  out += static_cast<char>(header.size() >> 8);
  return out + header + data;
}

Result<NamedTensors> read_npz(const Bytes& bytes) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(bytes.data, bytes.size, 0, &error);
  zip_t* archive = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr;
  if (archive == nullptr) {
    const std::string why = zip_error_strerror(&error);
    if (source) zip_source_free(source);
    return invalid("not an npz archive: " + why);
  }
  struct Closer {
    zip_t* a;
    ~Closer() { zip_discard(a); }
  } closer{archive};
  NamedTensors out;
  const zip_int64_t n = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < n; ++i) {
    zip_stat_t st;
    if (zip_stat_index(archive, static_cast<zip_uint64_t>(i), 0, &st) != 0)
      return invalid("damaged npz archive");
    std::string name = st.name;
    if (name.size() < 4 || name.substr(name.size() - 4) != ".npy") continue;
    if (st.size > (uint64_t{1} << 36))
      return unsupported(format("npz entry {} is too large", quoted(name)));
    name.resize(name.size() - 4);
    zip_file_t* f = zip_fopen_index(archive, static_cast<zip_uint64_t>(i), 0);
    if (f == nullptr)
      return invalid(
          format("npz entry {} cannot be read: {}", quoted(name), zip_strerror(archive)));
    std::string data;
    // Sizes in the directory are not trusted: memory grows with what is really there.
    std::string chunk(1 << 20, '\0');
    zip_int64_t got = 0;
    while (data.size() < st.size && (got = zip_fread(f, chunk.data(), chunk.size())) > 0)
      data.append(chunk.data(), static_cast<size_t>(got));
    zip_fclose(f);
    if (got < 0 || data.size() != st.size)
      return invalid(format("npz entry {} is damaged", quoted(name)));
    auto t = read_npy(Bytes::copy(std::move(data)));
    if (!t.ok()) {
      if (t.error().code == Code::kUnsupported) continue;  // an entry nobody may ask for
      return std::move(t).context("npz entry " + quoted(name)).error();
    }
    out.emplace_back(std::move(name), std::move(t).value());
  }
  return out;
}

Result<std::string> write_npz(const NamedTensors& tensors) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* sink = zip_source_buffer_create(nullptr, 0, 0, &error);
  if (sink == nullptr) return output_error("cannot make an npz archive");
  zip_source_keep(sink);
  zip_t* archive = zip_open_from_source(sink, ZIP_TRUNCATE, &error);
  if (archive == nullptr) return output_error("cannot make an npz archive");
  std::vector<std::string> data;
  data.reserve(tensors.size());
  for (const auto& [name, t] : tensors) {
    data.push_back(write_npy(t));
    zip_source_t* s = zip_source_buffer(archive, data.back().data(), data.back().size(), 0);
    const zip_int64_t i =
        s ? zip_file_add(archive, (name + ".npy").c_str(), s, ZIP_FL_OVERWRITE | ZIP_FL_ENC_UTF_8)
          : -1;
    if (i < 0) {
      const std::string why = zip_strerror(archive);
      zip_discard(archive);
      zip_source_free(sink);
      return output_error("cannot make an npz archive: " + why);
    }
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(i), ZIP_CM_STORE, 0);
    zip_file_set_mtime(archive, static_cast<zip_uint64_t>(i), 315532800,
                       0);  // 1980: the same bytes each time
  }
  if (zip_close(archive) != 0) {
    const std::string why = zip_strerror(archive);
    zip_discard(archive);
    zip_source_free(sink);
    return output_error("cannot make an npz archive: " + why);
  }
  std::string out;
  zip_stat_t st;
  if (zip_source_open(sink) == 0 && zip_source_stat(sink, &st) == 0) {
    out.resize(st.size);
    const zip_int64_t got = zip_source_read(sink, out.data(), out.size());
    if (got < 0 || static_cast<uint64_t>(got) != st.size) out.clear();
    zip_source_close(sink);
  }
  zip_source_free(sink);
  return out;
}

}  // namespace onnxtool
