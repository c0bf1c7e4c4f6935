// SPDX-License-Identifier: Apache-2.0
#include "cmd/feeds.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/data.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

bool ends_with(const std::string& s, std::string_view end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}

// splitmix64: small, seeded, the same everywhere.
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double normal() {
    const double u = std::max(unit(), 0x1p-53);
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * unit());
  }
};

// The smallest size of any axis-0 table that an index input may look up; for generated integers.
Result<Tensor> generate(const Value& v, const Dims& dims, const FeedOptions& o, Random& rng) {
  const DType t = v.type.dtype;
  const auto count = checked_product(dims);
  constexpr int64_t kMostElements = int64_t{1} << 29;
  if (!count || *count > kMostElements)
    return unsupported(format("input {} of shape {} is too large to generate",
                              onnxtool::quoted(v.name), to_string(dims)));
  if (t == DType::kString) {
    std::vector<std::string> s(static_cast<size_t>(*count));
    for (size_t i = 0; i < s.size(); ++i) s[i] = o.generate == "range" ? std::to_string(i) : "a";
    return Tensor::strings(dims, std::move(s));
  }
  std::vector<double> x(static_cast<size_t>(*count));
  for (size_t i = 0; i < x.size(); ++i) {
    if (o.generate == "zeros")
      x[i] = 0;
    else if (o.generate == "ones")
      x[i] = 1;
    else if (o.generate == "range")
      x[i] = static_cast<double>(i);
    else if (t == DType::kBool)
      x[i] = static_cast<double>(rng.next() & 1);
    // Integers are often indices, lengths or tokens: small ones are valid in most models.
    else if (is_integer(t))
      x[i] = dtype_bits(t) == 8 ? static_cast<double>(rng.next() % 128)
                                : static_cast<double>(rng.next() % 2);
    else
      x[i] = rng.normal();
  }
  return Tensor::from_f64(t, dims, x);
}

// Holds each double and each 64-bit integer.
using Number = long double;
static_assert(std::numeric_limits<Number>::digits >= 64);

// The number at `at`, which goes behind it; "NaN" and "Infinity" included. Where no integer is
// wanted it is the nearest double.
bool read_number(const char*& at, const char* end, DType want, Number& v) {
  double rounded = 0;
  const auto r = is_integer(want) ? std::from_chars(at, end, v) : std::from_chars(at, end, rounded);
  if (r.ec != std::errc()) return false;
  if (!is_integer(want)) v = rounded;
  at = r.ptr;
  return true;
}

Result<Tensor> numbers_to(const Type& want, Dims dims, const std::vector<Number>& x,
                          std::string_view name) {
  const DType t = want.dtype == DType::kUndefined ? DType::kFloat : want.dtype;
  const auto count = checked_product(dims);
  if (!count || static_cast<size_t>(*count) != x.size())
    return invalid(format("input {}: {} numbers for shape {}", onnxtool::quoted(name), x.size(),
                          to_string(dims)));
  if (!is_integer(t))
    return Tensor::from_f64(t, std::move(dims), std::vector<double>(x.begin(), x.end()));
  const int bits = dtype_bits(t);
  const Number low = is_signed_integer(t) ? -std::ldexp(Number(1), bits - 1) : 0,
               high = std::ldexp(Number(1), is_signed_integer(t) ? bits - 1 : bits) - 1;
  std::vector<int64_t> whole;
  whole.reserve(x.size());
  for (const Number v : x) {
    if (!(v >= low && v <= high) || v != std::trunc(v))
      return invalid(format("input {}: {} is no {}", onnxtool::quoted(name), static_cast<double>(v),
                            dtype_name(t)));
    whole.push_back(v > static_cast<Number>(INT64_MAX)
                        ? static_cast<int64_t>(static_cast<uint64_t>(v))
                        : static_cast<int64_t>(v));
  }
  return Tensor::from_i64(t, std::move(dims), whole);
}

// Nested JSON arrays of numbers (or of strings), a scanner that keeps only shape and values.
Result<Tensor> parse_json_array(std::string_view s, size_t& i, const Type& want,
                                std::string_view name) {
  std::vector<Number> x;
  std::vector<std::string> text;
  Dims dims;
  std::vector<int64_t> counts;
  const auto fail = [&](const char* what) {
    return invalid(format("input {}: {} at character {}", onnxtool::quoted(name), what, i));
  };
  size_t depth = 0;
  bool any = false;
  const auto item = [&]() -> Status {
    for (size_t d = counts.size(); d-- > 0;) {
      if (d + 1 == depth) ++counts[d];
    }
    any = true;
    return ok();
  };
  do {
    while (i < s.size() &&
           (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r' || s[i] == ','))
      ++i;
    if (i >= s.size()) return fail("the array does not end");
    if (s[i] == '[') {
      if (++depth > 32) return fail("arrays nested too deep");
      if (counts.size() < depth) counts.push_back(0);
      counts[depth - 1] = 0;
      ++i;
    } else if (s[i] == ']') {
      if (depth == 0) return fail("unexpected ']'");
      if (dims.size() < counts.size()) dims.resize(counts.size(), -1);
      if (dims[depth - 1] < 0)
        dims[depth - 1] = counts[depth - 1];
      else if (dims[depth - 1] != counts[depth - 1])
        return fail("rows of different length");
      --depth;
      if (depth > 0) ++counts[depth - 1];
      ++i;
    } else if (s[i] == '"') {
      const size_t start = i;
      for (++i; i < s.size() && s[i] != '"'; ++i)
        if (s[i] == '\\') ++i;
      if (i >= s.size()) return fail("text does not end");
      ++i;
      const auto token = nlohmann::json::parse(s.substr(start, i - start), nullptr, false);
      if (!token.is_string()) return fail("malformed text");
      auto v = token.get<std::string>();
      Number number = 0;  // "NaN", "Infinity" and long integers, as JSON writes them
      const char* from = v.data();
      const char* const to = from + v.size();
      const bool numeric =
          want.is_tensor() && want.dtype != DType::kString && want.dtype != DType::kUndefined;
      if (numeric && read_number(from, to, want.dtype, number) && from == to)
        x.push_back(number);
      else
        text.push_back(std::move(v));
      TRY(item());
    } else if (s.substr(i, 4) == "true" || s.substr(i, 5) == "false") {
      x.push_back(s[i] == 't');
      i += s[i] == 't' ? 4 : 5;
      TRY(item());
    } else {
      Number v = 0;
      const char* at = s.data() + i;
      if (!read_number(at, s.data() + s.size(), want.dtype, v))
        return fail("a number was expected");
      i = static_cast<size_t>(at - s.data());
      x.push_back(v);
      TRY(item());
    }
  } while (depth > 0);
  if (!text.empty()) {
    if (!x.empty()) return fail("numbers and text are mixed");
    if (checked_product(dims) != static_cast<int64_t>(text.size()))
      return fail("rows of different length");
    return Tensor::strings(std::move(dims), std::move(text));
  }
  return numbers_to(want, std::move(dims), x, name);
}

Result<Tensor> parse_csv(std::string_view s, const Type& want, std::string_view name) {
  std::vector<Number> x;
  int64_t rows = 0, columns = -1;
  for (size_t i = 0; i < s.size();) {
    size_t e = s.find('\n', i);
    if (e == std::string_view::npos) e = s.size();
    std::string_view line = s.substr(i, e - i);
    i = e + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    int64_t n = 0;
    bool number = true;
    const size_t before = x.size();
    for (size_t k = 0; k <= line.size(); ++n) {
      size_t c = line.find_first_of(",;\t", k);
      if (c == std::string_view::npos) c = line.size();
      std::string_view cell = line.substr(k, c - k);
      while (!cell.empty() && cell.front() == ' ') cell.remove_prefix(1);
      while (!cell.empty() && cell.back() == ' ') cell.remove_suffix(1);
      Number v = std::nan("");
      const char* at = cell.data();
      const char* const end = at + cell.size();
      if (!cell.empty()) number &= read_number(at, end, want.dtype, v) && at == end;
      x.push_back(v);
      k = c + 1;
    }
    if (!number && rows == 0) {  // a head line
      x.resize(before);
      continue;
    }
    if (!number)
      return invalid(format("input {}: CSV line {} holds text", onnxtool::quoted(name), rows + 1));
    if (columns >= 0 && n != columns)
      return invalid(format("input {}: CSV line {} has {} cells, others {}", onnxtool::quoted(name),
                            rows + 1, n, columns));
    columns = n;
    ++rows;
  }
  return numbers_to(want, {rows, std::max<int64_t>(columns, 0)}, x, name);
}

Result<Tensor> parse_raw(const Bytes& bytes, const Type& want, const Dims* dims,
                         std::string_view name) {
  if (!dims)
    return invalid(format("input {}: raw bytes need a static shape (--set SYMBOL=VALUE)",
                          onnxtool::quoted(name)));
  const auto n = checked_product(*dims);
  const auto size = n ? raw_bytes(want.dtype, *n) : std::nullopt;
  if (!size || static_cast<uint64_t>(*size) != bytes.size)
    return invalid(format("input {}: {} raw bytes, {} expected for {}{}", onnxtool::quoted(name),
                          bytes.size, size.value_or(-1), dtype_name(want.dtype), to_string(*dims)));
  return Tensor::view(want.dtype, *dims, bytes.data, bytes.size, bytes.owner).to_aligned();
}

}  // namespace

void add_feed_options(CLI::App& app, FeedOptions& o) {
  app.add_option("-i,--inputs", o.files,
                 "input data: an .npz by tensor names, or [NAME=]FILE with .npy, .pb, .json, .csv "
                 "or raw bytes")
      ->type_name("[NAME=]FILE")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--generate", o.generate,
                 "inputs without a file: random, zeros, ones or range (default: random where no "
                 "--inputs is given)")
      ->check(CLI::IsMember({"random", "zeros", "ones", "range"}))
      ->type_name("HOW");
  app.add_option("--seed", o.seed, "seed of generated inputs")
      ->type_name("N")
      ->capture_default_str();
  add_size_options(app, o.sizes);
}

Result<Bytes> read_file(const std::string& path) {
  auto f = path == "-" ? MappedFile::read_stdin(uint64_t{16} << 30) : MappedFile::open(path);
  if (!f.ok()) return std::move(f).error();
  return Bytes{(*f)->data(), (*f)->size(), *f};
}

Result<Tensor> fit_type(Tensor t, const Type& want, std::string_view name) {
  const DType w = want.dtype;
  if (!want.is_tensor() || w == DType::kUndefined || t.dtype() == w) return t;
  const DType have = t.dtype();
  const bool raw = have == DType::kUint8 || have == DType::kUint16;
  if (raw && is_float(w) && dtype_bits(w) == dtype_bits(have)) return t.retyped(w);
  if (is_sub_byte(w) && is_integer(w) && (have == DType::kInt8 || have == DType::kUint8))
    return Tensor::from_i64(w, t.dims(), t.to_i64());
  if (is_sub_byte(w) && is_float(w) && have == DType::kFloat)
    return Tensor::from_f64(w, t.dims(), t.to_f64());
  if (w == DType::kBool && have == DType::kUint8) return Tensor::from_i64(w, t.dims(), t.to_i64());
  return invalid(format("input {} is {}, the model wants {}", onnxtool::quoted(name),
                        dtype_name(have), dtype_name(w)));
}

Result<std::vector<Datum>> make_feeds(const Model& model, const FeedOptions& o,
                                      std::string* assumed) {
  TRY_ASSIGN(Sizes sizes, Sizes::of(model, o.sizes));
  const auto& ids = model.graph(model.main()).inputs;
  std::vector<Datum> feeds(ids.size());
  const auto index_of = [&](std::string_view name) {
    for (size_t i = 0; i < ids.size(); ++i)
      if (model.value(ids[i]).name == name) return static_cast<std::ptrdiff_t>(i);
    return std::ptrdiff_t{-1};
  };
  const auto no_input = [&](const std::string& path, const std::string& key) {
    std::string names;
    for (size_t i = 0; i < ids.size() && i < 8; ++i)
      names += (i ? ", " : "") + onnxtool::quoted(model.value(ids[i]).name);
    return invalid(format("{} holds {}, which is no input of the model; inputs are {}{}",
                          escape(path, 200), onnxtool::quoted(key), names,
                          ids.size() > 8 ? format(" and {} more", ids.size() - 8) : ""));
  };
  for (const std::string& arg : o.files) {
    std::string path = arg, name;
    if (const size_t eq = arg.find('=');
        eq != std::string::npos && index_of(std::string_view(arg).substr(0, eq)) >= 0) {
      name = arg.substr(0, eq);
      path = arg.substr(eq + 1);
    }
    TRY_ASSIGN(Bytes bytes, read_file(path));
    if (name.empty() && (ends_with(path, ".npz") || bytes.view().substr(0, 4) == "PK\x03\x04")) {
      auto npz = read_npz(bytes);
      if (!npz.ok()) return std::move(npz).context(escape(path, 200)).error();
      for (auto& [key, t] : *npz) {
        std::ptrdiff_t i = index_of(key);
        if (i < 0 && key.rfind("in:", 0) == 0) i = index_of(std::string_view(key).substr(3));
        if (i < 0) {
          if (key.rfind("out:", 0) == 0) continue;  // recorded outputs beside the inputs
          return no_input(path, key);
        }
        const Value& v = model.value(ids[static_cast<size_t>(i)]);
        TRY_ASSIGN(feeds[static_cast<size_t>(i)], fit_type(std::move(t), v.declared, v.name));
      }
      continue;
    }
    std::ptrdiff_t i = name.empty() ? 0 : index_of(name);
    if (name.empty())
      while (static_cast<size_t>(i) < ids.size() && feeds[static_cast<size_t>(i)].has_value()) ++i;
    if (static_cast<size_t>(i) >= ids.size())
      return usage_error(format("{}: the model has no more inputs", onnxtool::quoted(path)));
    const Value& v = model.value(ids[static_cast<size_t>(i)]);
    Datum& feed = feeds[static_cast<size_t>(i)];
    if (ends_with(path, ".npy") || bytes.view().substr(0, 6) == "\x93NUMPY") {
      TRY_ASSIGN(Tensor t, read_npy(bytes).context(escape(path, 200)));
      TRY_ASSIGN(feed, fit_type(std::move(t), v.declared, v.name));
    } else if (ends_with(path, ".pb")) {
      TRY_ASSIGN(feed, read_datum(bytes, v.declared).context(escape(path, 200)));
    } else if (ends_with(path, ".csv")) {
      TRY_ASSIGN(feed, parse_csv(bytes.view(), v.declared, v.name));
    } else if (ends_with(path, ".json")) {
      const std::string_view s = bytes.view();
      size_t at = s.find_first_not_of(" \t\r\n");
      if (at != std::string_view::npos && s[at] == '{') {  // {"name": [...], ...}
        ++at;
        for (;;) {
          at = s.find_first_of("\"}", at);
          if (at == std::string_view::npos || s[at] == '}') break;
          const size_t close = s.find('"', at + 1);
          if (close == std::string_view::npos)
            return invalid(format("{}: malformed JSON", escape(path, 200)));
          const std::string key(s.substr(at + 1, close - at - 1));
          const std::ptrdiff_t k = index_of(key);
          if (k < 0) return no_input(path, key);
          at = s.find(':', close);
          if (at == std::string_view::npos)
            return invalid(format("{}: malformed JSON", escape(path, 200)));
          ++at;
          const Value& kv = model.value(ids[static_cast<size_t>(k)]);
          TRY_ASSIGN(feeds[static_cast<size_t>(k)], parse_json_array(s, at, kv.declared, kv.name));
        }
      } else {
        size_t from = at == std::string_view::npos ? 0 : at;
        TRY_ASSIGN(feed, parse_json_array(s, from, v.declared, v.name));
      }
    } else {
      const auto dims = sizes.dims(v);
      TRY_ASSIGN(feed, parse_raw(bytes, v.declared, dims ? &*dims : nullptr, v.name));
    }
  }
  Random rng{o.seed * 0x9E3779B97F4A7C15ull + 1};
  for (size_t i = 0; i < ids.size(); ++i) {
    const Value& v = model.value(ids[i]);
    if (feeds[i].has_value() || v.constant) continue;
    if (o.generate.empty() && (!o.fill || !o.files.empty()))
      return invalid(format("no data for input {} (--generate HOW fills what is missing)",
                            model.describe(ids[i])));
    const auto dims = sizes.dims(v);
    if (!dims)
      return invalid(format(
          "no data for input {}, and it cannot be generated (--shape NAME=N,N,... if it is a "
          "tensor)",
          model.describe(ids[i])));
    TRY_ASSIGN(feeds[i], generate(v, *dims, o, rng));
  }
  if (assumed) *assumed = sizes.assumed();
  return feeds;
}

Result<Tensor> as_array(const Datum& d) {
  if (d.is_tensor()) return d.tensor;
  if (d.kind == TypeKind::kOptional) {
    if (d.opt) return as_array(*d.opt);
    return Tensor::allocate(d.elem == DType::kUndefined ? DType::kFloat : d.elem, {0});
  }
  if (d.kind == TypeKind::kMap) return d.map->values;
  if (d.kind != TypeKind::kSequence)
    return unsupported("this kind of value has no form as one array");
  const Sequence& s = *d.seq;
  if (s.empty()) return Tensor::allocate(d.elem == DType::kUndefined ? DType::kFloat : d.elem, {0});
  std::vector<Tensor> parts;
  for (const Datum& e : s) {
    if (e.kind == TypeKind::kMap) {
      std::vector<size_t> order(static_cast<size_t>(e.map->values.size()));
      for (size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::visit(
          [&](const auto& keys) {
            std::sort(order.begin(), order.end(),
                      [&](size_t a, size_t b) { return keys[a] < keys[b]; });
          },
          e.map->keys);
      TRY_ASSIGN(Tensor row,
                 Tensor::allocate(e.map->values.dtype(), {static_cast<int64_t>(order.size())}));
      for (size_t i = 0; i < order.size(); ++i)
        copy_element(row, static_cast<int64_t>(i), e.map->values, static_cast<int64_t>(order[i]));
      parts.push_back(std::move(row));
    } else {
      TRY_ASSIGN(parts.emplace_back(), as_array(e));
    }
    if (parts.back().dims() != parts.front().dims() ||
        parts.back().dtype() != parts.front().dtype())
      return unsupported("a sequence of tensors of different shapes has no form as one array");
  }
  Dims dims = parts[0].dims();
  dims.insert(dims.begin(), static_cast<int64_t>(parts.size()));
  TRY_ASSIGN(Tensor out, Tensor::allocate(parts[0].dtype(), dims));
  for (size_t i = 0; i < parts.size(); ++i)
    copy_elements(out, static_cast<int64_t>(i) * parts[i].size(), parts[i], 0, parts[i].size());
  return out;
}

namespace {

std::string json_of(const Tensor& t) {
  std::string s;
  std::vector<int64_t> idx(t.dims().size());
  const auto number = [&](int64_t i) -> std::string {
    if (t.is_string()) {
      std::string q = "\"";
      for (char c : t.string_data()[static_cast<size_t>(i)]) {
        if (c == '"' || c == '\\') q += '\\';
        if (static_cast<unsigned char>(c) < 0x20)
          q += format("\\u{:04x}", static_cast<int>(c));
        else
          q += c;
      }
      return q + "\"";
    }
    if (t.dtype() == DType::kBool) return t.i64_at(i) ? "true" : "false";
    if (is_integer(t.dtype()))
      return t.dtype() == DType::kUint64 ? std::to_string(static_cast<uint64_t>(t.i64_at(i)))
                                         : std::to_string(t.i64_at(i));
    const double v = t.f64_at(i);
    if (!std::isfinite(v))
      return std::isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    return t.dtype() == DType::kDouble ? format("{}", v) : format("{}", static_cast<float>(v));
  };
  if (t.dims().empty()) return number(0);
  // Recursion over the rank, at most 64.
  const std::function<void(size_t, int64_t&)> walk = [&](size_t d, int64_t& i) {
    s += '[';
    for (int64_t k = 0; k < t.dims()[d]; ++k) {
      if (k) s += ',';
      if (d + 1 < t.dims().size())
        walk(d + 1, i);
      else
        s += number(i++);
    }
    s += ']';
  };
  int64_t i = 0;
  walk(0, i);
  return s;
}

}  // namespace

Status write_outputs(const std::string& path, const std::vector<std::string>& names,
                     const std::vector<Datum>& outputs) {
  const auto put = [&](const std::string& file, const std::string& data) -> Status {
    if (file == "-") return write_stdout(data.data(), data.size());
    TRY_ASSIGN(OutputFile f, OutputFile::create(file));
    TRY(f.write(data.data(), data.size()));
    return f.commit();
  };
  if (ends_with(path, "/")) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      TRY_ASSIGN(std::string data, write_datum(outputs[i], names[i]));
      TRY(put(path + "output_" + std::to_string(i) + ".pb", data));
    }
    return ok();
  }
  if (ends_with(path, ".pb") || ends_with(path, ".npy")) {
    if (outputs.size() != 1)
      return usage_error(format("{} holds one value, the model has {} outputs: use .npz",
                                onnxtool::quoted(path), outputs.size()));
    if (ends_with(path, ".pb")) {
      TRY_ASSIGN(std::string data, write_datum(outputs[0], names[0]));
      return put(path, data);
    }
    TRY_ASSIGN(Tensor t, as_array(outputs[0]));
    return put(path, write_npy(t));
  }
  NamedTensors arrays;
  for (size_t i = 0; i < outputs.size(); ++i) {
    auto t = as_array(outputs[i]);
    if (t.ok()) {
      arrays.emplace_back(names[i], std::move(t).value());
      continue;
    }
    if (outputs[i].kind != TypeKind::kSequence)
      return std::move(t).context("output " + onnxtool::quoted(names[i])).error();
    for (size_t k = 0; k < outputs[i].seq->size(); ++k) {
      TRY_ASSIGN(Tensor e, as_array((*outputs[i].seq)[k]));
      arrays.emplace_back(names[i] + "." + std::to_string(k), std::move(e));
    }
  }
  if (ends_with(path, ".json") || path == "-") {
    std::string s = "{";
    for (size_t i = 0; i < arrays.size(); ++i) {
      s += i ? ",\n " : "";
      s += json_of(Tensor::strings({}, {arrays[i].first})) + ": " + json_of(arrays[i].second);
    }
    return put(path, s + "}\n");
  }
  if (!ends_with(path, ".npz"))
    return usage_error(format("{}: .npz, .npy, .pb, .json or a folder ending in / expected",
                              onnxtool::quoted(path)));
  TRY_ASSIGN(std::string data, write_npz(arrays));
  return put(path, data);
}

Difference compare(const Tensor& got, const Tensor& want, double rtol, double atol) {
  Difference d;
  if (got.dims() != want.dims()) {
    d.mismatch = format("shape {}, expected {}", to_string(got.dims()), to_string(want.dims()));
    return d;
  }
  if (got.is_string() != want.is_string()) {
    d.mismatch = format("type {}, expected {}", dtype_name(got.dtype()), dtype_name(want.dtype()));
    return d;
  }
  d.count = got.size();
  if (got.is_string()) {
    for (size_t i = 0; i < got.string_data().size(); ++i)
      d.over += got.string_data()[i] != want.string_data()[i];
    d.max_abs = d.max_rel_scale = d.over ? 1 : 0;
    return d;
  }
  double scale = 0, ab = 0, aa = 0, bb = 0;
  const auto one = [&](double a, double b) {
    if (std::isnan(a) || std::isnan(b)) {
      if (std::isnan(a) != std::isnan(b)) {
        ++d.over;
        d.max_abs = d.max_rel_scale = INFINITY;
      }
      return;
    }
    if (a == b) {
      if (std::isfinite(b)) {
        scale = std::max(scale, std::fabs(b));
        ab += a * b, aa += a * a, bb += b * b;
      }
      return;
    }
    if (!std::isfinite(a) || !std::isfinite(b)) {
      ++d.over;
      d.max_abs = INFINITY;
      return;
    }
    const double e = std::fabs(a - b);
    d.max_abs = std::max(d.max_abs, e);
    scale = std::max(scale, std::fabs(b));
    if (e > atol + rtol * std::fabs(b)) ++d.over;
    ab += a * b, aa += a * a, bb += b * b;
  };
  const bool both_int64 = got.dtype() == want.dtype() &&
                          (got.dtype() == DType::kInt64 || got.dtype() == DType::kUint64);
  if (both_int64 && got.same_bytes(want)) return d;
  if (is_complex(got.dtype()) && got.dtype() == want.dtype()) {
    Dims flat{got.size() * 2};
    const DType part = got.dtype() == DType::kComplex64 ? DType::kFloat : DType::kDouble;
    return compare(Tensor::view(part, flat, got.raw(), got.bytes(), got.owner()).to_aligned(),
                   Tensor::view(part, flat, want.raw(), want.bytes(), want.owner()).to_aligned(),
                   rtol, atol);
  }
  const std::vector<double> a = got.to_f64(), b = want.to_f64();
  for (size_t i = 0; i < a.size(); ++i) one(a[i], b[i]);
  if (d.max_rel_scale == 0) d.max_rel_scale = d.max_abs == 0 ? 0 : d.max_abs / (scale + 1e-30);
  d.cosine = aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : (aa == bb ? 1 : 0);
  return d;
}

}  // namespace onnxtool
