// SPDX-License-Identifier: Apache-2.0
// Maps of ai.onnx.ml: ZipMap, DictVectorizer, CastMap.
#include <algorithm>
#include <charconv>
#include <numeric>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/ml_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

Result<Labels> keys_of(const Node& node) {
  TRY_ASSIGN(Labels keys, labels_of(node, "classlabels_int64s", "classlabels_strings"));
  if (keys.size() == 0)
    return invalid("attributes 'classlabels_int64s' and 'classlabels_strings' are missing");
  return keys;
}

Status infer_zip_map(InferContext& ctx) {
  TRY_ASSIGN(const Labels keys, keys_of(ctx.node()));
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  if (Dim::differ(b.features, static_cast<int64_t>(keys.size())))
    return ctx.error(format("input has {} columns for {} keys", b.features.text(), keys.size()));
  return ctx.set(0, Type::sequence(Type::map(keys.dtype(), Type::tensor(DType::kFloat, Shape{}))));
}

Status eval_zip_map(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Labels keys, keys_of(ctx.node()));
  const int64_t n = static_cast<int64_t>(keys.size());
  if ((x.rank() != 1 && x.rank() != 2) || x.dims().back() != n)
    return ctx.error(
        format("input {} has not one column for each of {} keys", to_string(x.dims()), n));
  Sequence rows;
  for (int64_t i = 0; i < x.size() / n; ++i) {
    MapData m;
    if (keys.strings.empty())
      m.keys = keys.ints;
    else
      m.keys = keys.strings;
    TRY_ASSIGN(m.values, ctx.allocate(x.dtype(), {n}));
    copy_elements(m.values, 0, x, i * n, n);
    rows.push_back(Datum::of_map(std::move(m)));
  }
  ctx.set(0, Datum::sequence(std::move(rows), x.dtype()));
  return ok();
}

// ---------------------------------------------------------------------------- DictVectorizer
Status check_map(const InferContext& ctx) {
  const Type& t = ctx.input(0);
  if (t.known() && t.kind != TypeKind::kMap)
    return ctx.error(format("input {} is no map", t.text()));
  return ok();
}

DType map_value_type(const InferContext& ctx) {
  const Type& t = ctx.input(0);
  return t.kind == TypeKind::kMap && t.inner ? t.inner->dtype : DType::kUndefined;
}

Status infer_dict_vectorizer(InferContext& ctx) {
  TRY(check_map(ctx));
  TRY_ASSIGN(const Labels words, labels_of(ctx.node(), "int64_vocabulary", "string_vocabulary"));
  return ctx.set(0, map_value_type(ctx), Shape{1, static_cast<int64_t>(words.size())});
}

// Position of the key in the map, -1 when it is not there.
template <typename T>
int64_t position(const std::vector<T>& keys, const T& key) {
  const auto it = std::find(keys.begin(), keys.end(), key);
  return it == keys.end() ? -1 : it - keys.begin();
}

// One row, as the runtimes give it.
Status eval_dict_vectorizer(EvalContext& ctx) {
  if (!ctx.datum(0).map) return ctx.error("input is no map");
  const MapData& m = *ctx.datum(0).map;
  TRY_ASSIGN(const Labels words, labels_of(ctx.node(), "int64_vocabulary", "string_vocabulary"));
  TRY_ASSIGN(Tensor out, ctx.allocate(m.values.dtype(), {1, static_cast<int64_t>(words.size())}));
  for (size_t i = 0; i < words.size(); ++i) {
    int64_t at = -1;
    if (const auto* k = std::get_if<std::vector<std::string>>(&m.keys); k && !words.strings.empty())
      at = position(*k, words.strings[i]);
    if (const auto* k = std::get_if<std::vector<int64_t>>(&m.keys); k && words.strings.empty())
      at = position(*k, words.ints[i]);
    if (at >= 0) copy_element(out, static_cast<int64_t>(i), m.values, at);
  }
  ctx.set(0, std::move(out));
  return ok();
}

// ----------------------------------------------------------------------------------- CastMap
struct CastForm {
  DType to;
  bool sparse;
  int64_t width;
};

Result<CastForm> cast_form(const Node& node) {
  const std::string_view to = node.attr_str("cast_to", "TO_FLOAT"),
                         form = node.attr_str("map_form", "DENSE");
  CastForm f{DType::kFloat, form == "SPARSE", node.attr_int("max_map", 1)};
  if (to == "TO_INT64")
    f.to = DType::kInt64;
  else if (to == "TO_STRING")
    f.to = DType::kString;
  else if (to != "TO_FLOAT")
    return invalid(format("attribute 'cast_to' has the unknown value {}", quoted(to)));
  if (!f.sparse && form != "DENSE")
    return invalid(format("attribute 'map_form' has the unknown value {}", quoted(form)));
  if (f.sparse && f.width <= 0) return invalid(format("attribute 'max_map' is {}", f.width));
  return f;
}

Status infer_cast_map(InferContext& ctx) {
  TRY(check_map(ctx));
  TRY_ASSIGN(const CastForm f, cast_form(ctx.node()));
  return ctx.set(0, f.to, Shape{1, f.sparse ? Dim(f.width) : ctx.fresh(0, 1)});
}

Status cast_element(Tensor& out, int64_t to, const Tensor& in, int64_t from) {
  if (in.dtype() == out.dtype()) {
    copy_element(out, to, in, from);
    return ok();
  }
  if (out.is_string()) {
    out.mut_strings()[static_cast<size_t>(to)] = format("{}", static_cast<float>(in.f64_at(from)));
    return ok();
  }
  double d = 0;
  if (in.is_string()) {
    const std::string& s = in.string_data()[static_cast<size_t>(from)];
    const auto r = std::from_chars(s.data(), s.data() + s.size(), d);
    if (r.ec != std::errc() || r.ptr != s.data() + s.size())
      return invalid(format("the value {} is no number", quoted(s)));
  } else {
    d = in.f64_at(from);
  }
  store_f64(out, to, std::span(&d, 1));
  return ok();
}

Status eval_cast_map(EvalContext& ctx) {
  TRY_ASSIGN(const CastForm f, cast_form(ctx.node()));
  const auto* keys =
      ctx.datum(0).map ? std::get_if<std::vector<int64_t>>(&ctx.datum(0).map->keys) : nullptr;
  if (keys == nullptr) return ctx.error("input is no map with integer keys");
  const Tensor& values = ctx.datum(0).map->values;
  std::vector<size_t> order(keys->size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return (*keys)[a] < (*keys)[b]; });
  const int64_t width = f.sparse ? f.width : static_cast<int64_t>(keys->size());
  TRY_ASSIGN(Tensor out, ctx.allocate(f.to, {1, width}));
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t at = f.sparse ? (*keys)[order[i]] : static_cast<int64_t>(i);
    if (at < 0 || at >= width)
      return ctx.error(format("key {} is outside of the {} positions", at, width));
    TRY(cast_element(out, at, values, static_cast<int64_t>(order[i])));
  }
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    ml_map,
    {.name = "ZipMap", .domain = "ai.onnx.ml", .infer = infer_zip_map, .eval = eval_zip_map},
    {.name = "DictVectorizer",
     .domain = "ai.onnx.ml",
     .infer = infer_dict_vectorizer,
     .eval = eval_dict_vectorizer},
    {.name = "CastMap", .domain = "ai.onnx.ml", .infer = infer_cast_map, .eval = eval_cast_map});
