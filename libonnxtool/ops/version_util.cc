// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/version_util.h"

#include <algorithm>

#include "libonnxtool/base/str.h"

namespace onnxtool {

Result<bool> int_to_input(Model& m, NodeId n, std::string_view attr, size_t index) {
  const Attribute* a = m.node(n).attr(attr);
  if (a == nullptr) return true;
  if (a->type != AttrType::kInt || !a->ref.empty() || m.node(n).has_input(index)) return false;
  const int64_t value = a->i();
  m.remove_attr(n, attr);
  set_constant_input(m, n, index, attr, Tensor::ints({value}));
  return true;
}

Result<std::vector<int64_t>> constant_ints(const Model& m, NodeId n, size_t index,
                                           std::string_view what) {
  const ValueId v = m.node(n).input(index);
  const Tensor* t = v.valid() ? m.constant(v) : nullptr;
  if (t == nullptr || !is_integer(t->dtype()))
    return step_error(format("{} is not constant, which the older form needs", what));
  return t->to_aligned().to_i64();
}

Status input_to_int(Model& m, NodeId n, size_t index, std::string_view attr) {
  if (!m.node(n).has_input(index)) return ok();
  TRY_ASSIGN(std::vector<int64_t> values, constant_ints(m, n, index, attr));
  if (values.size() != 1)
    return step_error(format("{} has {} elements, the older form takes one", attr, values.size()));
  drop_input(m, n, index);
  m.set_attr(n, Attribute::of(std::string(attr), values[0]));
  return ok();
}

Status lower_negative_axes(Model& m, NodeId n, std::string_view attr, int64_t def) {
  const auto* list = m.node(n).attr_ints(attr);
  std::vector<int64_t> values = list ? *list : std::vector{m.node(n).attr_int(attr, def)};
  if (std::none_of(values.begin(), values.end(), [](int64_t v) { return v < 0; })) return ok();
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (!rank)
    return step_error(format("negative '{}' needs an input of known rank in the older form", attr));
  for (int64_t& v : values)
    if (v < 0) v += *rank;
  if (list)
    m.set_attr(n, Attribute::of(std::string(attr), std::move(values)));
  else
    m.set_attr(n, Attribute::of(std::string(attr), values[0]));
  return ok();
}

Status lower_fixed(Model& m, NodeId n, std::string_view attr, std::string_view def,
                   std::string_view value) {
  const std::string_view have = m.node(n).attr_str(attr, def);
  if (have != value) return step_error(format("{} {} has no older form", attr, quoted(have)));
  if (m.node(n).attr(attr) != nullptr) m.remove_attr(n, attr);
  return ok();
}

}  // namespace onnxtool
