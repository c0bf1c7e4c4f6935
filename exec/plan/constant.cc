// SPDX-License-Identifier: Apache-2.0
// Constants of a plan: as they are, or made when a step packs them, so that not all are there at
// once, and what nobody needs in the end (weights whose codes a product takes) is not made at all.
#include "exec/plan/plan.h"

namespace onnxtool {
namespace {

constexpr int64_t kLateBytes = 64 << 10;  // at least
constexpr int kDeepest = 4;

PlanValue constant_of(DType dtype, const Dims& dims) {
  PlanValue v;
  v.dtype = dtype;
  v.known = true;
  v.dims = dims;
  v.type = Type::tensor(dtype, to_shape(dims));
  v.place = Place::kConstant;
  return v;
}

int add(Plan& plan, PlanValue v) {
  plan.values.push_back(std::move(v));
  return static_cast<int>(plan.values.size()) - 1;
}

}  // namespace

MakeTensor PlanValue::content() const {
  if (make) return make;
  return [t = constant]() -> Result<Tensor> { return t; };
}

Status PlanValue::settle() {
  if (!make) return ok();
  TRY_ASSIGN(constant, make());
  make = nullptr;
  make_depth = 0;
  return ok();
}

bool made_late(const PlanValue& value, int depth) {
  return value.known && value.dtype != DType::kString && depth < kDeepest &&
         raw_bytes(value.dtype, value.size()).value_or(0) >= kLateBytes;
}

Status set_constant(PlanValue& value, MakeTensor make, int depth) {
  if (!made_late(value, depth)) {
    TRY_ASSIGN(value.constant, make());
    return ok();
  }
  const auto bytes = static_cast<size_t>(*raw_bytes(value.dtype, value.size()));
  value.constant = Tensor::view(value.dtype, value.dims, nullptr, bytes, nullptr);
  value.make = std::move(make);
  value.make_depth = depth + 1;
  return ok();
}

Result<int> add_plan_constant(Plan& plan, DType dtype, const Dims& dims, MakeTensor make,
                              int depth) {
  PlanValue v = constant_of(dtype, dims);
  TRY(set_constant(v, std::move(make), depth));
  v.bytes = static_cast<int64_t>(v.constant.bytes());
  return add(plan, std::move(v));
}

int add_plan_constant(Plan& plan, Tensor t) {
  PlanValue v = constant_of(t.dtype(), t.dims());
  v.bytes = static_cast<int64_t>(t.bytes());
  v.constant = std::move(t);
  return add(plan, std::move(v));
}

Status add_contents(const Plan& plan, const PlanStep& step, StepInfo& info,
                    std::deque<Tensor>& made) {
  for (size_t k = 0; k < step.in.size(); ++k) {
    if (step.in[k] < 0) continue;
    const PlanValue& v = plan.values[static_cast<size_t>(step.in[k])];
    if (!v.make) continue;
    TRY_ASSIGN(Tensor t, v.make());
    info.in[k].constant = &made.emplace_back(std::move(t));
  }
  return ok();
}

}  // namespace onnxtool
