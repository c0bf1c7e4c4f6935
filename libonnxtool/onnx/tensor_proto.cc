// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/tensor_proto.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

// TensorProto field numbers
enum : uint32_t {
  kDims = 1,
  kDataType = 2,
  kSegment = 3,
  kFloatData = 4,
  kInt32Data = 5,
  kStringData = 6,
  kInt64Data = 7,
  kName = 8,
  kRawData = 9,
  kDoubleData = 10,
  kUint64Data = 11,
  kDocString = 12,
  kExternalData = 13,
  kDataLocation = 14,
  kMetadata = 16
};

std::optional<uint64_t> parse_decimal(std::string_view s) {
  if (s.empty() || s.size() > 19) return std::nullopt;
  uint64_t v = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    v = v * 10 + static_cast<uint64_t>(c - '0');
  }
  return v;
}

Status read_entry(const WireField& f, const std::byte* base, std::string& key, std::string& value) {
  return for_each_field(f.data, f.size, base, [&](const WireField& e) -> Status {
    if (e.number == 1 && e.type == WireType::kBytes) key = e.str();
    if (e.number == 2 && e.type == WireType::kBytes) value = e.str();
    return ok();
  });
}

struct ExternalFields {
  ExternalRef ref;
  std::vector<std::string> keys;
  Status add(const std::string& key, const std::string& value) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end())
      return invalid(format("external data key {} stands twice", quoted(key)));
    keys.push_back(key);
    if (key == "location") ref.location = value;
    if (key == "checksum") ref.checksum = value;
    if (key == "offset" || key == "length") {
      const auto v = parse_decimal(value);
      if (!v)
        return invalid(format("external data {} {} is no decimal number", key, quoted(value)));
      (key == "offset" ? ref.offset : ref.length.emplace()) = *v;
    }
    return ok();
  }
};

// Which typed field holds data of type t; 0 = none.
uint32_t typed_field(DType t) {
  switch (t) {
    case DType::kFloat:
    case DType::kComplex64: return kFloatData;
    case DType::kDouble:
    case DType::kComplex128: return kDoubleData;
    case DType::kInt64: return kInt64Data;
    case DType::kUint32:
    case DType::kUint64: return kUint64Data;
    case DType::kString: return kStringData;
    default: return kInt32Data;
  }
}

// Numbers of a typed integer field into packed storage of type t.
Result<Tensor> from_integers(DType t, Dims dims, const std::vector<uint64_t>& v, int64_t count) {
  const int bits = dtype_bits(t);
  // Types below 8 bits hold a byte of packed elements in each entry; the 6-bit ones one element.
  const int64_t per = bits < 8 && bits != 6 ? 8 / bits : 1;
  const int64_t want = (count + per - 1) / per;
  if (static_cast<int64_t>(v.size()) != want)
    return invalid(format("{} numbers stored, {} expected for {}{}", v.size(), want, dtype_name(t),
                          to_string(dims)));
  TRY_ASSIGN(Tensor out, Tensor::allocate(t, std::move(dims)));
  std::byte* p = out.mutable_raw();
  if (bits == 6) {
    for (size_t i = 0; i < v.size(); ++i)
      for (size_t b = 0; b < 6; ++b)
        if (v[i] >> b & 1) p[(i * 6 + b) / 8] |= static_cast<std::byte>(1 << ((i * 6 + b) % 8));
    return out;
  }
  const size_t step = bits < 8 ? 1 : static_cast<size_t>(bits) / 8;
  for (size_t i = 0; i < v.size(); ++i) {
    const uint64_t x = t == DType::kBool ? (v[i] != 0) : v[i];
    std::memcpy(p + i * step, &x, step);
  }
  return out;
}

Result<Tensor> open_external(ReadContext& ctx, DType t, Dims dims, int64_t bytes,
                             const ExternalRef& ref) {
  TRY(check_location(ref.location));
  const auto want = static_cast<uint64_t>(bytes);
  if (ref.length && *ref.length != want)
    return invalid(format("external data of {} bytes, {} expected for {}{}", *ref.length, want,
                          dtype_name(t), to_string(dims)));
  if (ctx.external == nullptr) return invalid("external data is not allowed here");
  TRY_ASSIGN(auto file, ctx.external->open(ref.location));
  if (want > file->size() || ref.offset > file->size() - want)
    return invalid(format("external data at {} of {} bytes ends past {} ({} bytes)", ref.offset,
                          want, quoted(ref.location), file->size()));
  const std::byte* p = file->data() + ref.offset;
  if (!ref.checksum.empty()) {
    std::string given = ref.checksum;
    std::transform(given.begin(), given.end(), given.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    const std::string found = sha1_hex({p, static_cast<size_t>(want)});
    const std::string whole = given == found ? found : sha1_hex({file->data(), file->size()});
    if (given != found && given != whole)
      return invalid(
          format("checksum of {} is {}, expected {}", quoted(ref.location), found, quoted(given)));
  }
  ctx.external_bytes += want;
  return Tensor::view(t, std::move(dims), p, static_cast<size_t>(want), file);
}

}  // namespace

void MergedBytes::add(const WireField& f, const ReadContext& ctx) {
  seen = true;
  if (bytes.empty()) {
    bytes = {f.data, f.size, ctx.owner};
    return;
  }
  if (merged_ == nullptr) merged_ = &ctx.owner->merged.emplace_back(bytes.view());
  merged_->append(f.view());
  bytes.data = reinterpret_cast<const std::byte*>(merged_->data());
  bytes.size = merged_->size();
}

Result<TensorConst> read_tensor(ReadContext& ctx, const std::byte* data, size_t size) {
  TensorConst out;
  out.origin = {data, size, ctx.owner};
  Dims dims;
  int64_t type = 0;
  Bytes raw;
  bool has_raw = false, external = false, segment = false;
  uint32_t typed = 0;  // bit set of typed fields seen
  std::vector<uint64_t> ints;
  std::vector<std::string> strings;
  Bytes fixed;  // float_data or double_data in one range
  std::string fixed_copy;
  ExternalFields ext;
  Status s = for_each_field(data, size, ctx.base, [&](const WireField& f) -> Status {
    const FieldDesc* d = kTensorProto.find(f.number);
    if (d == nullptr || !wire_type_fits(*d, f.type)) return ok();
    switch (f.number) {
      case kDims:
        return packed_varints(f, ctx.base,
                              [&](uint64_t v) { dims.push_back(static_cast<int64_t>(v)); });
      case kDataType: type = f.i32(); return ok();
      case kSegment: segment = true; return ok();
      case kName: out.name = f.str(); return ok();
      case kRawData:
        raw = {f.data, f.size, ctx.owner};
        has_raw = true;
        return ok();
      case kDataLocation: external = f.bits == 1; return ok();
      case kExternalData: {
        std::string key, value;
        TRY(read_entry(f, ctx.base, key, value));
        return ext.add(key, value);
      }
      case kStringData:
        typed |= 1u << f.number;
        strings.push_back(f.str());
        return ok();
      case kFloatData:
      case kDoubleData: {
        typed |= 1u << f.number;
        const size_t width = f.number == kFloatData ? 4 : 8;
        if (f.size % width)
          return invalid(format("{}: {} bytes are no whole numbers", d->name, f.size));
        if (fixed.empty()) {
          fixed = {f.data, f.size, ctx.owner};
        } else {
          if (fixed_copy.empty()) fixed_copy = fixed.str_copy();
          fixed_copy += f.view();
        }
        return ok();
      }
      case kInt32Data:
      case kInt64Data:
      case kUint64Data:
        typed |= 1u << f.number;
        if (f.type == WireType::kBytes) ints.reserve(ints.size() + f.size / 2);
        return packed_varints(f, ctx.base, [&](uint64_t v) { ints.push_back(v); });
      case kMetadata: return check_message(kStringStringEntryProto, f.data, f.size, ctx.base);
      default: return ok();
    }
  });
  const auto fail = [&](Error e) -> Error {
    e.context.push_back("tensor " + quoted(out.name));
    return e;
  };
  if (!s.ok()) return fail(std::move(s).error());
  if (segment) return fail(unsupported("tensor segments are not supported"));
  if (type == 0) return fail(invalid("no element type"));
  if (type < 0 || type > INT32_MAX || !dtype_known(static_cast<int32_t>(type)))
    return fail(invalid(format("unknown element type {}", type)));
  const auto t = static_cast<DType>(type);
  const auto count = checked_product(dims);
  if (!count) return fail(invalid(format("bad shape {}", to_string(dims))));
  if (t == DType::kString) {
    if (has_raw || external) return fail(invalid("strings cannot be in raw or external data"));
    if (typed & ~(1u << kStringData)) return fail(invalid("strings stored in a numeric field"));
    if (static_cast<int64_t>(strings.size()) != *count)
      return fail(invalid(format("{} strings stored, {} expected for shape {}", strings.size(),
                                 *count, to_string(dims))));
    out.tensor = Tensor::strings(std::move(dims), std::move(strings));
    return out;
  }
  const auto bytes = raw_bytes(t, *count);
  if (!bytes) return fail(invalid(format("shape {} overflows", to_string(dims))));
  if (external) {
    if (has_raw || typed) return fail(invalid("data both in the model and in an external file"));
    auto r = open_external(ctx, t, std::move(dims), *bytes, ext.ref);
    if (!r.ok()) return fail(std::move(r).error());
    out.tensor = std::move(r).value();
    out.external = true;
    return out;
  }
  if (has_raw && typed) return fail(invalid("data both in raw_data and in a typed field"));
  if (has_raw || (typed == 0 && *count == 0)) {
    if (static_cast<int64_t>(raw.size) != *bytes)
      return fail(invalid(format("{} bytes of data, {} expected for {}{}", raw.size, *bytes,
                                 dtype_name(t), to_string(dims))));
    out.tensor = Tensor::view(t, std::move(dims), raw.data, raw.size, ctx.owner);
    return out;
  }
  if (typed == 0)
    return fail(invalid(
        format("no data, {} bytes expected for {}{}", *bytes, dtype_name(t), to_string(dims))));
  const uint32_t field = typed_field(t);
  if (typed != 1u << field)
    return fail(invalid(format(
        "{} data stored in field {}", dtype_name(t),
        kTensorProto.find(static_cast<uint32_t>(__builtin_ctz(typed & ~(1u << field))))->name)));
  if (field == kFloatData || field == kDoubleData) {
    if (!fixed_copy.empty()) fixed = Bytes::copy(std::move(fixed_copy));
    if (static_cast<int64_t>(fixed.size) != *bytes)
      return fail(invalid(format("{} bytes of data, {} expected for {}{}", fixed.size, *bytes,
                                 dtype_name(t), to_string(dims))));
    out.tensor = Tensor::view(t, std::move(dims), fixed.data, fixed.size, fixed.owner);
    return out;
  }
  auto r = from_integers(t, std::move(dims), ints, *count);
  if (!r.ok()) return fail(std::move(r).error());
  out.tensor = std::move(r).value();
  return out;
}

Result<SparseTensor> read_sparse_tensor(ReadContext& ctx, const std::byte* data, size_t size) {
  SparseTensor out;
  out.origin = {data, size, ctx.owner};
  MergedBytes values, indices;
  TRY(for_each_field(data, size, ctx.base, [&](const WireField& f) -> Status {
    if (f.number == 1 && f.type == WireType::kBytes) values.add(f, ctx);
    if (f.number == 2 && f.type == WireType::kBytes) indices.add(f, ctx);
    if (f.number == 3 && f.type != WireType::kGroup)
      return packed_varints(f, ctx.base,
                            [&](uint64_t v) { out.dims.push_back(static_cast<int64_t>(v)); });
    return ok();
  }));
  if (!values.seen) return invalid("sparse tensor without values");
  TRY_ASSIGN(out.values, read_tensor(ctx, values.bytes.data, values.bytes.size).context("values"));
  if (indices.seen) {
    TRY_ASSIGN(out.indices,
               read_tensor(ctx, indices.bytes.data, indices.bytes.size).context("indices"));
  } else {
    out.indices.tensor = Tensor::ints({});
  }
  return out;
}

// --------------------------------------------------------------------------------------- types

namespace {

// Names that exporters give to every size they do not know: no two of them need be equal.
bool stands_for_unknown(std::string_view dim_param) {
  return dim_param.empty() || dim_param == "?" || dim_param == "-1" || dim_param == "None";
}

Result<Shape> read_shape(const std::byte* data, size_t size, const std::byte* base) {
  Shape shape;
  TRY(for_each_field(data, size, base, [&](const WireField& f) -> Status {
    if (f.number != 1 || f.type != WireType::kBytes) return ok();
    Dim dim;
    TRY(for_each_field(f.data, f.size, base, [&](const WireField& d) -> Status {
      if (d.number == 1 && d.type == WireType::kVarint) dim = d.i64() >= 0 ? Dim(d.i64()) : Dim();
      if (d.number == 2 && d.type == WireType::kBytes)
        dim = stands_for_unknown(d.view()) ? Dim() : Dim::symbol(d.view());
      return ok();
    }));
    shape.push_back(dim);
    return ok();
  }));
  return shape;
}

Result<DType> element_type(int64_t number, bool required) {
  if (number == 0 && !required) return DType::kUndefined;
  if (number < 1 || number > INT32_MAX || !dtype_known(static_cast<int32_t>(number)))
    return invalid(format("unknown element type {}", number));
  return static_cast<DType>(number);
}

}  // namespace

Result<Type> read_type(ReadContext& ctx, const std::byte* data, size_t size, int depth) {
  if (depth > 32) return unsupported("types nested more than 32 deep");
  // The last of the alternatives counts; repeats of the same one merge.
  uint32_t which = 0;
  MergedBytes body;
  TRY(for_each_field(data, size, ctx.base, [&](const WireField& f) -> Status {
    const bool alternative = f.number == 1 || f.number == 4 || f.number == 5 || f.number == 7 ||
                             f.number == 8 || f.number == 9;
    if (!alternative || f.type != WireType::kBytes) return ok();
    if (f.number != which) body = {};
    which = f.number;
    body.add(f, ctx);
    return ok();
  }));
  Type type;
  if (which == 0) return type;
  int64_t number = 0;
  MergedBytes inner;
  TRY(for_each_field(body.bytes.data, body.bytes.size, ctx.base, [&](const WireField& f) -> Status {
    if (f.number == 1 && f.type == WireType::kVarint) number = f.i32();
    const bool message = f.type == WireType::kBytes;
    if (message && (f.number == 2 || (f.number == 1 && (which == 4 || which == 9))))
      inner.add(f, ctx);
    return ok();
  }));
  switch (which) {
    case 1:
    case 8: {
      type.kind = which == 1 ? TypeKind::kTensor : TypeKind::kSparseTensor;
      TRY_ASSIGN(type.dtype, element_type(number, false));
      if (inner.seen) {
        TRY_ASSIGN(type.shape, read_shape(inner.bytes.data, inner.bytes.size, ctx.base));
      }
      return type;
    }
    case 5: {
      type.kind = TypeKind::kMap;
      TRY_ASSIGN(type.dtype, element_type(number, false));
      break;
    }
    case 7: type.kind = TypeKind::kOpaque; return type;
    default: type.kind = which == 4 ? TypeKind::kSequence : TypeKind::kOptional; break;
  }
  Type element;
  if (inner.seen) {
    TRY_ASSIGN(element, read_type(ctx, inner.bytes.data, inner.bytes.size, depth + 1));
  }
  type.inner = std::make_shared<const Type>(std::move(element));
  return type;
}

Rope write_type(const Type& t) {
  Rope r, body;
  switch (t.kind) {
    case TypeKind::kTensor:
    case TypeKind::kSparseTensor: {
      body.varint(1, static_cast<uint64_t>(t.dtype));
      if (t.shape) {
        Rope shape;
        for (const Dim& d : *t.shape) {
          Rope dim;
          if (d.is_const())
            dim.varint(1, static_cast<uint64_t>(d.value()));
          else if (!d.is_unknown())
            dim.bytes(2, d.text());
          shape.message(1, std::move(dim));
        }
        body.message(2, std::move(shape));
      }
      r.message(t.kind == TypeKind::kTensor ? 1 : 8, std::move(body));
      break;
    }
    case TypeKind::kSequence:
    case TypeKind::kOptional:
      body.message(1, write_type(t.inner ? *t.inner : Type()));
      r.message(t.kind == TypeKind::kSequence ? 4 : 9, std::move(body));
      break;
    case TypeKind::kMap:
      body.varint(1, static_cast<uint64_t>(t.dtype));
      body.message(2, write_type(t.inner ? *t.inner : Type()));
      r.message(5, std::move(body));
      break;
    case TypeKind::kOpaque: r.message(7, Rope()); break;
    case TypeKind::kUnknown: break;
  }
  return r;
}

// --------------------------------------------------------------------------------------- write

namespace {

// Fields of an existing TensorProto that are neither data nor name: docs, metadata, unknown ones.
void copy_other_fields(Rope& r, const Bytes& origin) {
  (void)for_each_field(origin.data, origin.size, origin.data, [&](const WireField& f) -> Status {
    if (f.number == kDocString || f.number > kDataLocation)
      r.raw(std::string_view(reinterpret_cast<const char*>(f.start),
                             static_cast<size_t>(f.end - f.start)));
    return ok();
  });
}

void entry(Rope& r, uint32_t field, std::string_view key, const std::string& value) {
  Rope e;
  e.bytes(1, key);
  e.bytes(2, value);
  r.message(field, std::move(e));
}

}  // namespace

Rope write_tensor(const TensorConst& t, std::string_view name, const ExternalRef* external) {
  Rope r;
  if (!t.origin.empty() && external == nullptr && !t.external && t.name == name) {
    r.raw(t.origin);
    return r;
  }
  if (!t.tensor.dims().empty())
    r.packed(kDims, t.tensor.dims(), [](int64_t d) { return static_cast<uint64_t>(d); });
  r.varint(kDataType, static_cast<uint64_t>(t.tensor.dtype()));
  if (!name.empty()) r.bytes(kName, name);
  if (external != nullptr) {
    entry(r, kExternalData, "location", external->location);
    entry(r, kExternalData, "offset", std::to_string(external->offset));
    entry(r, kExternalData, "length", std::to_string(t.tensor.bytes()));
    r.varint(kDataLocation, 1);
  } else if (t.tensor.is_string()) {
    for (const std::string& s : t.tensor.string_data()) r.bytes(kStringData, s);
  } else {
    r.borrowed(kRawData, {t.tensor.raw(), t.tensor.bytes(), t.tensor.owner()});
  }
  if (!t.origin.empty()) copy_other_fields(r, t.origin);
  return r;
}

Rope write_sparse_tensor(const SparseTensor& t, std::string_view name) {
  Rope r;
  if (!t.origin.empty() && !t.values.external && !t.indices.external && t.values.name == name) {
    r.raw(t.origin);
    return r;
  }
  r.message(1, write_tensor(t.values, name));
  r.message(2, write_tensor(t.indices, t.indices.name));
  for (int64_t d : t.dims) r.varint(3, static_cast<uint64_t>(d));
  return r;
}

}  // namespace onnxtool
