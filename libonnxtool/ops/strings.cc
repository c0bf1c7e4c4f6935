// SPDX-License-Identifier: Apache-2.0
// Operators on strings: StringConcat, StringSplit, StringNormalizer, RegexFullMatch.
#include <re2/re2.h>
#include <clocale>

#include <algorithm>
#include <cwctype>
#include <unordered_set>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

Status check_string(const EvalContext& ctx, size_t i) {
  if (ctx.in(i).is_string()) return ok();
  return invalid(format("input {} is {}, must be string", i, dtype_name(ctx.in(i).dtype())));
}

// ---------------------------------------------------------------------------------- StringConcat
Status eval_concat(EvalContext& ctx) {
  TRY(check_string(ctx, 0));
  TRY(check_string(ctx, 1));
  const Tensor &a = ctx.in(0), &b = ctx.in(1);
  TRY_ASSIGN(Dims dims, broadcast_all({a.dims(), b.dims()}));
  TRY_ASSIGN(Tensor r, ctx.allocate(DType::kString, dims));
  BroadcastWalk walk(dims, {a.dims(), b.dims()});
  for (std::string& s : r.mut_strings()) {
    const std::string& left = a.string_data()[static_cast<size_t>(walk.offset(0))];
    const std::string& right = b.string_data()[static_cast<size_t>(walk.offset(1))];
    TRY(ctx.host().reserve(static_cast<int64_t>(left.size() + right.size())));
    s = left + right;
    walk.next();
  }
  ctx.set(0, std::move(r));
  return ok();
}

// ----------------------------------------------------------------------------------- StringSplit
constexpr std::string_view kBlanks = " \t\n\v\f\r";

// Parts of `s`; runs of blanks separate where the delimiter is empty. At most `limit` splits.
std::vector<std::string_view> split(std::string_view s, std::string_view delimiter, int64_t limit) {
  std::vector<std::string_view> parts;
  if (delimiter.empty()) {
    size_t at = s.find_first_not_of(kBlanks);
    while (at != s.npos) {
      size_t end = s.find_first_of(kBlanks, at);
      if (static_cast<int64_t>(parts.size()) == limit) end = s.npos;
      parts.push_back(s.substr(at, end == s.npos ? s.npos : end - at));
      at = end == s.npos ? s.npos : s.find_first_not_of(kBlanks, end);
    }
    return parts;
  }
  size_t at = 0;
  while (static_cast<int64_t>(parts.size()) != limit) {
    const size_t end = s.find(delimiter, at);
    if (end == s.npos) break;
    parts.push_back(s.substr(at, end - at));
    at = end + delimiter.size();
  }
  parts.push_back(s.substr(at));
  return parts;
}

Status eval_split(EvalContext& ctx) {
  TRY(check_string(ctx, 0));
  const Tensor& x = ctx.in(0);
  const std::string delimiter(ctx.node().attr_str("delimiter", ""));
  const int64_t limit = std::max<int64_t>(-1, ctx.node().attr_int("maxsplit", -1));
  TRY_ASSIGN(Tensor counts, ctx.allocate(DType::kInt64, x.dims()));
  int64_t most = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto n = static_cast<int64_t>(
        split(x.string_data()[static_cast<size_t>(i)], delimiter, limit).size());
    counts.mut<int64_t>()[static_cast<size_t>(i)] = n;
    most = std::max(most, n);
  }
  Dims dims = x.dims();
  dims.push_back(most);
  TRY_ASSIGN(Tensor r, ctx.allocate(DType::kString, dims));
  auto& out = r.mut_strings();
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t k = i * most;
    for (std::string_view part : split(x.string_data()[static_cast<size_t>(i)], delimiter, limit))
      out[static_cast<size_t>(k++)] = std::string(part);
  }
  ctx.set(0, std::move(r));
  ctx.set(1, std::move(counts));
  return ok();
}

Status infer_split(InferContext& ctx) {
  std::optional<Shape> out = ctx.input(0).shape;
  if (out) out->push_back(ctx.fresh(0, out->size()));
  TRY(ctx.set(0, DType::kString, std::move(out)));
  return ctx.set(1, DType::kInt64, ctx.input(0).shape);
}

// ------------------------------------------------------------------------------ StringNormalizer
enum class Case { kNone, kLower, kUpper };

struct Normalizer {
  Case change = Case::kNone;
  bool sensitive = false;
};

Result<Normalizer> normalizer_of(const Node& node) {
  const std::string_view action = node.attr_str("case_change_action", "NONE");
  if (action != "NONE" && action != "LOWER" && action != "UPPER")
    return invalid(
        format("attribute 'case_change_action' is {}, must be 'NONE', 'LOWER' or 'UPPER'",
               quoted(action)));
  return Normalizer{action == "NONE"    ? Case::kNone
                    : action == "LOWER" ? Case::kLower
                                        : Case::kUpper,
                    node.attr_int("is_case_sensitive", 0) != 0};
}

// Simple case mapping of each character of a UTF-8 string by the system's Unicode tables.
Result<std::string> change_case(std::string_view s, Case to) {
  static const locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::string r;
  for (size_t i = 0; i < s.size();) {
    const auto lead = static_cast<unsigned char>(s[i]);
    const size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (n > s.size() - i || !valid_utf8(s.substr(i, n))) return invalid("a string is no UTF-8");
    uint32_t c = n == 1 ? lead : lead & (0xFFU >> (n + 1));
    for (size_t k = 1; k < n; ++k) c = c << 6 | (static_cast<unsigned char>(s[i + k]) & 0x3FU);
    i += n;
    if (c >= 0x80 && unicode == nullptr)
      return unsupported("the case of non-ASCII text needs the locale C.UTF-8");
    if (c < 0x80) {
      const char a = to == Case::kLower ? 'A' : 'a';
      if (static_cast<char>(c) >= a && static_cast<char>(c) <= a + 25) c ^= 0x20;
    } else {
      c = static_cast<uint32_t>(to == Case::kLower ? towlower_l(static_cast<wint_t>(c), unicode)
                                                   : towupper_l(static_cast<wint_t>(c), unicode));
    }
    if (c < 0x80) {
      r += static_cast<char>(c);
    } else if (c < 0x800) {
      r += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    } else if (c < 0x10000) {
      r += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
            static_cast<char>(0x80 | (c & 0x3F))};
    } else {
      r += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
            static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
    }
  }
  return r;
}

Status eval_normalizer(EvalContext& ctx) {
  TRY(check_string(ctx, 0));
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Normalizer mode, normalizer_of(ctx.node()));
  const bool row = x.rank() == 2 && x.dims()[0] == 1;
  if (x.rank() != 1 && !row)
    return ctx.error(format("input has shape {}, must be [C] or [1,C]", to_string(x.dims())));
  std::unordered_set<std::string> stop;
  if (const auto* words = ctx.node().attr_strings("stopwords"))
    for (const std::string& w : *words) {
      if (mode.sensitive)
        stop.insert(w);
      else {
        TRY_ASSIGN(std::string lower, change_case(w, Case::kLower));
        stop.insert(std::move(lower));
      }
    }
  std::vector<std::string> out;
  for (const std::string& s : x.string_data()) {
    std::string key = s;
    if (!mode.sensitive && !stop.empty()) {
      TRY_ASSIGN(key, change_case(s, Case::kLower));
    }
    if (stop.count(key) != 0) continue;
    if (mode.change == Case::kNone)
      out.push_back(s);
    else {
      TRY_ASSIGN(std::string changed, change_case(s, mode.change));
      out.push_back(std::move(changed));
    }
  }
  if (out.empty()) out.emplace_back();
  Dims dims = {static_cast<int64_t>(out.size())};
  if (row) dims.insert(dims.begin(), 1);
  ctx.set(0, Tensor::strings(std::move(dims), std::move(out)));
  return ok();
}

Status infer_normalizer(InferContext& ctx) {
  TRY(normalizer_of(ctx.node()));
  const Shape* s = ctx.shape(0);
  if (!s) return ctx.set(0, DType::kString, std::optional<Shape>());
  if (s->size() != 1 && !(s->size() == 2 && !Dim::differ((*s)[0], Dim(1))))
    return ctx.error(format("input has shape {}, must be [C] or [1,C]", to_string(*s)));
  Shape out = *s;
  const auto* stop = ctx.node().attr_strings("stopwords");
  if (s->size() == 2) out[0] = 1;
  if ((stop && !stop->empty()) || !out.back().is_const() || out.back().value() == 0)
    out.back() = ctx.fresh(0, out.size() - 1);
  return ctx.set(0, DType::kString, std::move(out));
}

// -------------------------------------------------------------------------------- RegexFullMatch
Result<std::unique_ptr<RE2>> regex_of(const Node& node) {
  RE2::Options options;
  options.set_log_errors(false);
  auto re = std::make_unique<RE2>(std::string(node.attr_str("pattern", "")), options);
  if (!re->ok()) return invalid(format("attribute 'pattern': {}", escape(re->error(), 200)));
  return re;
}

Status eval_match(EvalContext& ctx) {
  TRY(check_string(ctx, 0));
  TRY_ASSIGN(const std::unique_ptr<RE2> re, regex_of(ctx.node()));
  TRY_ASSIGN(Tensor r, ctx.allocate(DType::kBool, ctx.in(0).dims()));
  for (int64_t i = 0; i < r.size(); ++i)
    r.mut<uint8_t>()[static_cast<size_t>(i)] =
        RE2::FullMatch(ctx.in(0).string_data()[static_cast<size_t>(i)], *re);
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_match(InferContext& ctx) {
  TRY(regex_of(ctx.node()));
  return ctx.set(0, DType::kBool, ctx.input(0).shape);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    strings,
    {.name = "StringConcat", .infer = infer_broadcast, .eval = eval_concat, .flags = kElementwise},
    {.name = "StringSplit", .infer = infer_split, .eval = eval_split},
    {.name = "StringNormalizer", .infer = infer_normalizer, .eval = eval_normalizer},
    {.name = "RegexFullMatch", .infer = infer_match, .eval = eval_match, .flags = kElementwise}, )
