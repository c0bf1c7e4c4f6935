// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/step.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"

namespace onnxtool {

Dims physical_dims(const Dims& dims, Layout layout) {
  if (layout == Layout::kPlain || dims.size() < 3) return dims;
  Dims r = dims;
  std::rotate(r.begin() + 1, r.begin() + 2, r.end());
  return r;
}

std::vector<int64_t> memory_strides(const Dims& dims, Layout layout) {
  std::vector<int64_t> strides(dims.size(), 1);
  int64_t at = 1;
  auto place = [&](size_t axis) {
    strides[axis] = at;
    at *= dims[axis];
  };
  if (layout == Layout::kChannelsLast && dims.size() >= 3) {
    place(1);
    for (size_t i = dims.size(); i-- > 2;) place(i);
    place(0);
  } else {
    for (size_t i = dims.size(); i-- > 0;) place(i);
  }
  return strides;
}

bool layout_free(const Dims& dims) {
  if (dims.size() < 3) return true;
  if (dims[1] == 1) return true;
  return std::all_of(dims.begin() + 2, dims.end(), [](int64_t d) { return d == 1; });
}

const char* elt_name(Elt e) {
  static const char* const names[] = {"Copy",       "Neg",     "Abs",        "Sign",
                                      "Floor",      "Ceil",    "Round",      "Trunc",
                                      "Reciprocal", "Sqrt",    "Rsqrt",      "Square",
                                      "Cube",       "Exp",     "Expm1",      "Log",
                                      "Log1p",      "Sin",     "Cos",        "Tanh",
                                      "Erf",        "Sigmoid", "LogSigmoid", "Softplus",
                                      "Softsign",   "Relu",    "LeakyRelu",  "ThresholdedRelu",
                                      "Elu",        "Selu",    "Celu",       "HardSigmoid",
                                      "HardSwish",  "Silu",    "Mish",       "Gelu",
                                      "GeluTanh",   "Clip",    "Affine",     "PowImm",
                                      "Shrink",     "Add",     "Sub",        "Mul",
                                      "Div",        "Min",     "Max",        "Pow",
                                      "PRelu",      "Fmod",    "Eq",         "Ne",
                                      "Lt",         "Le",      "Gt",         "Ge",
                                      "Where"};
  static_assert(std::size(names) == static_cast<size_t>(Elt::kWhere) + 1);
  return names[static_cast<size_t>(e)];
}

int64_t Operand::size() const { return checked_product(dims).value_or(0); }
int64_t Operand::bytes() const { return raw_bytes(dtype, size()).value_or(0); }

namespace {

const Attribute* find(std::span<const Attribute> attrs, std::string_view name, AttrType type) {
  for (const Attribute& a : attrs)
    if (a.name == name) return a.type == type ? &a : nullptr;
  return nullptr;
}

}  // namespace

bool all_plain(const StepInfo& step) {
  return std::all_of(step.in.begin(), step.in.end(), plain) &&
         std::all_of(step.out.begin(), step.out.end(), plain);
}

int64_t StepInfo::attr_int(std::string_view n, int64_t def) const {
  if (auto* a = find(attrs, n, AttrType::kInt)) return a->i();
  return node ? node->attr_int(n, def) : def;
}
float StepInfo::attr_float(std::string_view n, float def) const {
  if (auto* a = find(attrs, n, AttrType::kFloat)) return a->f();
  return node ? node->attr_float(n, def) : def;
}
std::string_view StepInfo::attr_str(std::string_view n, std::string_view def) const {
  if (auto* a = find(attrs, n, AttrType::kString)) return a->s();
  return node ? node->attr_str(n, def) : def;
}
const std::vector<int64_t>* StepInfo::attr_ints(std::string_view n) const {
  if (auto* a = find(attrs, n, AttrType::kInts)) return &a->ints();
  return node ? node->attr_ints(n) : nullptr;
}
const std::vector<float>* StepInfo::attr_floats(std::string_view n) const {
  if (auto* a = find(attrs, n, AttrType::kFloats)) return &a->floats();
  return node ? node->attr_floats(n) : nullptr;
}

const Tensor* StepInfo::known(size_t i) const {
  if (!has(i)) return nullptr;
  if (in[i].constant) return in[i].constant;
  if (i < run_time.size() && run_time[i]) {
    if (i >= 64) return nullptr;
    used_contents |= uint64_t{1} << i;
    return run_time[i];
  }
  return nullptr;
}

std::optional<std::vector<int64_t>> StepInfo::ints(size_t i, std::string_view attr) const {
  if (has(i)) {
    const Tensor* t = known(i);
    if (!t || !(is_integer(t->dtype()) || t->dtype() == DType::kBool)) return std::nullopt;
    return t->to_i64();
  }
  if (!attr.empty())
    if (auto* v = attr_ints(attr)) return *v;
  return std::nullopt;
}

std::optional<double> StepInfo::scalar(size_t i) const {
  const Tensor* t = known(i);
  if (!t || t->size() != 1 || t->is_string()) return std::nullopt;
  return t->f64_at(0);
}

}  // namespace onnxtool
