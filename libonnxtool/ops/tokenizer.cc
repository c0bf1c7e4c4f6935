// SPDX-License-Identifier: Apache-2.0
// Tokenizer of com.microsoft: strings cut into characters, by separators, or by an expression that
// matches the tokens.
#include <re2/re2.h>

#include <algorithm>
#include <memory>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

using Tokens = std::vector<std::string_view>;

struct Form {
  bool mark = false, characters = false;
  size_t min_characters = 1;
  std::string pad;
  std::vector<std::unique_ptr<RE2>> separators;
  std::unique_ptr<RE2> token;
};

Result<std::unique_ptr<RE2>> expression(const std::string& pattern) {
  auto re = std::make_unique<RE2>(pattern, RE2::Quiet);
  if (!re->ok())
    return invalid(format("expression {} is malformed: {}", quoted(pattern), re->error()));
  return re;
}

Result<Form> form_of(const Node& node) {
  Form f;
  f.mark = node.attr_int("mark", 0) != 0;
  f.pad = std::string(node.attr_str("pad_value", ""));
  const int64_t least = node.attr_int("mincharnum", 1);
  if (least < 1) return invalid(format("attribute 'mincharnum' is {}, at least 1 expected", least));
  f.min_characters = static_cast<size_t>(least);
  const auto* separators = node.attr_strings("separators");
  const std::string_view token = node.attr_str("tokenexp", "");
  if ((separators != nullptr && !separators->empty()) == !token.empty())
    return invalid("one of the attributes 'separators' and 'tokenexp' is expected");
  if (!token.empty()) {
    TRY_ASSIGN(f.token, expression(std::string(token)));
    return f;
  }
  f.characters = separators->size() == 1 && (*separators)[0].empty();
  for (const std::string& s : *separators) {
    if (f.characters) break;
    if (s.empty()) return invalid("an empty separator stands among others");
    TRY_ASSIGN(auto re, expression(s));
    f.separators.push_back(std::move(re));
  }
  return f;
}

size_t lead_bytes(char c) {
  const unsigned char u = static_cast<unsigned char>(c);
  return u < 0x80 ? 1 : u >= 0xF0 ? 4 : u >= 0xE0 ? 3 : u >= 0xC0 ? 2 : 1;
}

size_t characters_of(std::string_view s) {
  return static_cast<size_t>(
      std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Calls f(position, length) for each match from left to right; an empty match steps one character.
template <typename F>
void for_each_match(const RE2& re, std::string_view text, F&& f) {
  const re2::StringPiece all(text.data(), text.size());
  size_t at = 0;
  re2::StringPiece hit;
  while (at <= text.size() && re.Match(all, at, text.size(), RE2::UNANCHORED, &hit, 1)) {
    const size_t pos = static_cast<size_t>(hit.data() - text.data());
    f(at, pos, hit.size());
    at = pos + (hit.empty() ? (pos < text.size() ? lead_bytes(text[pos]) : 1) : hit.size());
  }
}

Tokens split(const Form& f, std::string_view text) {
  Tokens r;
  auto add = [&](Tokens& to, std::string_view token) {
    if (characters_of(token) >= f.min_characters) to.push_back(token);
  };
  if (f.characters) {
    for (size_t i = 0; i < text.size();) {
      const size_t n = std::min(lead_bytes(text[i]), text.size() - i);
      r.push_back(text.substr(i, n));
      i += n;
    }
    return r;
  }
  if (f.token) {
    for_each_match(*f.token, text,
                   [&](size_t, size_t pos, size_t n) { add(r, text.substr(pos, n)); });
    return r;
  }
  r = {text};
  for (const auto& separator : f.separators) {
    Tokens next;
    for (std::string_view part : r) {
      size_t rest = 0;
      for_each_match(*separator, part, [&](size_t at, size_t pos, size_t n) {
        add(next, part.substr(at, pos - at));
        rest = pos + (n > 0 ? n : (pos < part.size() ? lead_bytes(part[pos]) : 1));
      });
      if (rest < part.size()) add(next, part.substr(rest));
    }
    r = std::move(next);
  }
  return r;
}

Status infer(InferContext& ctx) {
  TRY(form_of(ctx.node()));
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, DType::kString, std::nullopt);
  if (s->size() != 1 && s->size() != 2)
    return ctx.error(format("input {} has not one or two axes", to_string(*s)));
  Shape out = *s;
  out.push_back(ctx.fresh(0, s->size()));
  return ctx.set(0, DType::kString, std::move(out));
}

Status eval(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Form f, form_of(ctx.node()));
  if (x.rank() != 1 && x.rank() != 2)
    return ctx.error(format("input {} has not one or two axes", to_string(x.dims())));
  std::vector<Tokens> rows;
  size_t most = 0;
  for (const std::string& s : x.string_data()) {
    if (!valid_utf8(s)) return ctx.error("a string is not valid UTF-8");
    rows.push_back(split(f, s));
    most = std::max(most, rows.back().size());
  }
  if (f.mark && most > 0) most += 2;
  Dims dims = x.dims();
  dims.push_back(static_cast<int64_t>(most));
  TRY_ASSIGN(Tensor out, ctx.allocate(DType::kString, std::move(dims)));
  std::vector<std::string>& to = out.mut_strings();
  for (size_t i = 0; i < rows.size() && most > 0; ++i) {
    size_t at = i * most;
    if (f.mark) to[at++] = "\x02";
    for (std::string_view t : rows[i]) to[at++] = std::string(t);
    if (f.mark) to[at++] = "\x03";
    std::fill(to.begin() + static_cast<ptrdiff_t>(at),
              to.begin() + static_cast<ptrdiff_t>((i + 1) * most), f.pad);
  }
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(tokenizer,
             {.name = "Tokenizer", .domain = "com.microsoft", .infer = infer, .eval = eval});
