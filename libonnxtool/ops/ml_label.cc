// SPDX-License-Identifier: Apache-2.0
// Value mappings of ai.onnx.ml: LabelEncoder, CategoryMapper, OneHotEncoder.
#include <bit>
#include <cmath>
#include <unordered_map>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/ml_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

Tensor list_of(const std::vector<std::string>& v) {
  return Tensor::strings({static_cast<int64_t>(v.size())}, v);
}
Tensor list_of(const std::vector<int64_t>& v) { return Tensor::ints(v); }
Tensor list_of(const std::vector<float>& v) {
  return Tensor::of<float>({static_cast<int64_t>(v.size())}, std::span<const float>(v));
}

// From keys to their positions, for any element type: floats match exactly, NaN any NaN.
class KeyIndex {
 public:
  explicit KeyIndex(const Tensor& keys) {
    for (int64_t i = 0; i < keys.size(); ++i) {
      if (keys.is_string())
        strings_[keys.string_data()[static_cast<size_t>(i)]] = i;
      else
        numbers_[code(keys, i)] = i;
    }
  }
  // Position of element i of t (of the type of the keys), -1 when it is no key.
  int64_t find(const Tensor& t, int64_t i) const {
    if (t.is_string()) {
      const auto it = strings_.find(t.string_data()[static_cast<size_t>(i)]);
      return it == strings_.end() ? -1 : it->second;
    }
    const auto it = numbers_.find(code(t, i));
    return it == numbers_.end() ? -1 : it->second;
  }

 private:
  static int64_t code(const Tensor& t, int64_t i) {
    if (!is_float(t.dtype())) return t.i64_at(i);
    const double d = t.f64_at(i);
    return std::isnan(d) ? INT64_MAX : std::bit_cast<int64_t>(d == 0 ? 0.0 : d);
  }
  std::unordered_map<std::string, int64_t> strings_;
  std::unordered_map<int64_t, int64_t> numbers_;
};

struct Mapping {
  Tensor keys, values, other;  // `other`: one element, for what is no key
};

Result<Tensor> list_attribute(const Node& node, const std::string& what) {
  Tensor r;
  int count = 0;
  if (const auto* v = node.attr_strings(what + "_strings")) r = list_of(*v), ++count;
  if (const auto* v = node.attr_ints(what + "_int64s")) r = list_of(*v), ++count;
  if (const auto* v = node.attr_floats(what + "_floats")) r = list_of(*v), ++count;
  if (const Tensor* v = node.attr_tensor(what + "_tensor")) r = v->to_aligned(), ++count;
  if (count != 1)
    return invalid(format("{} attributes '{}_*' are there, one expected", count, what));
  if (is_complex(r.dtype()) || !r.defined())
    return invalid(format("'{}_tensor' has an unusable type", what));
  return r.rank() == 1 ? r : r.reshaped({r.size()});
}

Result<Tensor> default_of(const Node& node, DType type) {
  if (const Tensor* t = node.attr_tensor("default_tensor")) {
    if (t->dtype() != type || t->size() != 1)
      return invalid("attribute 'default_tensor' is not one element of the type of the values");
    return t->to_aligned();
  }
  if (type == DType::kString)
    return Tensor::strings({1}, {std::string(node.attr_str("default_string", "_Unused"))});
  const double d = is_float(type) ? static_cast<double>(node.attr_float("default_float", -0.0f))
                                  : static_cast<double>(node.attr_int("default_int64", -1));
  if (is_float(type)) return Tensor::from_f64(type, {1}, std::span(&d, 1));
  const int64_t i = node.attr_int("default_int64", -1);
  return Tensor::from_i64(type, {1}, std::span(&i, 1));
}

// Strings to integers or back, whichever the input is not: versions 1 of both operators.
Result<Mapping> mapping_between(const Node& node, DType in, const std::vector<std::string>& strings,
                                const std::vector<int64_t>& ints) {
  if (strings.size() != ints.size())
    return invalid(
        format("{} strings and {} integers do not pair up", strings.size(), ints.size()));
  Mapping m;
  const bool from_strings = in == DType::kString;
  m.keys = from_strings ? list_of(strings) : list_of(ints);
  m.values = from_strings ? list_of(ints) : list_of(strings);
  TRY_ASSIGN(m.other, default_of(node, m.values.dtype()));
  return m;
}

Result<Mapping> mapping_of(const Node& node, DType in) {
  if (node.op.view() == "CategoryMapper" || node.version < 2) {
    const bool mapper = node.op.view() == "CategoryMapper";
    const auto* strings = node.attr_strings(mapper ? "cats_strings" : "classes_strings");
    const auto* ints = node.attr_ints("cats_int64s");
    if (strings == nullptr || (mapper && ints == nullptr))
      return invalid("the list of labels is missing");
    std::vector<int64_t> order;
    for (size_t i = 0; i < strings->size(); ++i) order.push_back(static_cast<int64_t>(i));
    return mapping_between(node, in, *strings, mapper ? *ints : order);
  }
  Mapping m;
  TRY_ASSIGN(m.keys, list_attribute(node, "keys"));
  TRY_ASSIGN(m.values, list_attribute(node, "values"));
  if (m.keys.size() != m.values.size())
    return invalid(format("{} keys and {} values do not pair up", m.keys.size(), m.values.size()));
  TRY_ASSIGN(m.other, default_of(node, m.values.dtype()));
  return m;
}

Status infer_mapping(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const DType in = ctx.dtype(0);
  if (in == DType::kUndefined) return ok();
  TRY_ASSIGN(const Mapping m, mapping_of(ctx.node(), in));
  if (m.keys.dtype() != in)
    return ctx.error(
        format("keys are {}, input is {}", dtype_name(m.keys.dtype()), dtype_name(in)));
  return ctx.set(0, m.values.dtype(), s ? std::optional(*s) : std::nullopt);
}

Status eval_mapping(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Mapping m, mapping_of(ctx.node(), x.dtype()));
  if (m.keys.dtype() != x.dtype())
    return ctx.error(
        format("keys are {}, input is {}", dtype_name(m.keys.dtype()), dtype_name(x.dtype())));
  const KeyIndex index(m.keys);
  TRY_ASSIGN(Tensor out, ctx.allocate(m.values.dtype(), x.dims()));
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t at = index.find(x, i);
    copy_element(out, i, at >= 0 ? m.values : m.other, at >= 0 ? at : 0);
  }
  ctx.set(0, std::move(out));
  return ok();
}

// ----------------------------------------------------------------------------- OneHotEncoder
Result<Tensor> categories(const Node& node) {
  const auto* ints = node.attr_ints("cats_int64s");
  const auto* strings = node.attr_strings("cats_strings");
  const bool i = ints != nullptr && !ints->empty(), s = strings != nullptr && !strings->empty();
  if (i == s) return invalid("one of the attributes 'cats_int64s' and 'cats_strings' is expected");
  return i ? list_of(*ints) : list_of(*strings);
}

Status check_categories(const Tensor& cats, DType in) {
  if (in == DType::kUndefined || (in == DType::kString) == cats.is_string()) return ok();
  return invalid(
      format("categories are {}, input is {}", dtype_name(cats.dtype()), dtype_name(in)));
}

Status infer_one_hot(InferContext& ctx) {
  TRY_ASSIGN(const Tensor cats, categories(ctx.node()));
  TRY(check_categories(cats, ctx.dtype(0)));
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, DType::kFloat, std::nullopt);
  Shape out = *s;
  out.push_back(cats.size());
  return ctx.set(0, DType::kFloat, std::move(out));
}

Status eval_one_hot(EvalContext& ctx) {
  TRY_ASSIGN(const Tensor cats, categories(ctx.node()));
  TRY(check_categories(cats, ctx.in(0).dtype()));
  Tensor x = ctx.in(0);
  if (!x.is_string()) {  // floats are cut to integers
    std::vector<int64_t> v(static_cast<size_t>(x.size()));
    load_i64(x, 0, v);
    TRY_ASSIGN(x, Tensor::from_i64(DType::kInt64, x.dims(), v));
  }
  const bool zeros = ctx.node().attr_int("zeros", 1) != 0;
  const KeyIndex index(cats);
  Dims dims = x.dims();
  dims.push_back(cats.size());
  TRY_ASSIGN(Tensor out, ctx.allocate(DType::kFloat, std::move(dims)));
  const std::span<float> to = out.mut<float>();
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t at = index.find(x, i);
    if (at >= 0)
      to[static_cast<size_t>(i * cats.size() + at)] = 1;
    else if (!zeros)
      return ctx.error(format("element {} is in no category", i));
  }
  ctx.set(0, std::move(out));
  return ok();
}

// Version 1 maps between strings and their positions, whichever way the input's type says.
constexpr VersionStep kLabelSteps[] = {{2, nullptr, nullptr}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(ml_label,
             {.name = "LabelEncoder",
              .domain = "ai.onnx.ml",
              .infer = infer_mapping,
              .eval = eval_mapping,
              .steps = kLabelSteps},
             {.name = "CategoryMapper",
              .domain = "ai.onnx.ml",
              .infer = infer_mapping,
              .eval = eval_mapping},
             {.name = "OneHotEncoder",
              .domain = "ai.onnx.ml",
              .infer = infer_one_hot,
              .eval = eval_one_hot});
