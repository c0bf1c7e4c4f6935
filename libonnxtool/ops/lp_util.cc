// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/lp_util.h"

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

Result<bool> order_up(Model& m, NodeId n) {
  const Attribute* a = m.node(n).attr("p");
  if (a == nullptr) return true;
  if (!a->ref.empty() || a->type != AttrType::kFloat) return false;
  const float p = a->f();
  if (!(p >= 1 && p <= 1e6f) || std::nearbyint(p) != p) return false;
  m.set_attr(n, Attribute::of("p", static_cast<int64_t>(p)));
  return true;
}

Status order_down(Model& m, NodeId n) {
  const Attribute* a = m.node(n).attr("p");
  if (a == nullptr) return ok();
  if (!a->ref.empty() || a->type != AttrType::kInt)
    return step_error("attribute 'p' is not an integer constant");
  m.set_attr(n, Attribute::of("p", static_cast<float>(a->i())));
  return ok();
}

}  // namespace

const VersionStep kLpSteps[1] = {{2, order_up, order_down}};

Result<double> lp_order(const Node& node) {
  const Attribute* a = node.attr("p");
  double p = 2;
  if (a != nullptr && a->type == AttrType::kInt) p = static_cast<double>(node.attr_int("p", 2));
  if (a != nullptr && a->type == AttrType::kFloat) p = node.attr_float("p", 2);
  if (!(p > 0)) return invalid(format("attribute 'p' is {}, a positive number expected", p));
  return p;
}

}  // namespace onnxtool
