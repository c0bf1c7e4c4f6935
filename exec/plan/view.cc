// SPDX-License-Identifier: Apache-2.0
// Steps whose output is the bytes of their input: reshapes, identities, and data movement that
// happens to move nothing. Layouts take part: a Transpose between [N,C,H,W] stored channels-last
// and [N,H,W,C] stored plain is one of them.
#include <algorithm>

#include "exec/plan/kernel.h"

namespace onnxtool {
namespace {

const char* same_bytes(const StepInfo& s) {
  if (s.in.empty() || s.out.empty() || !s.in[0].present() || !s.out[0].present())
    return "no tensor";
  for (size_t i = 1; i < s.out.size(); ++i)
    if (s.out[i].present()) return "more than one output";
  if (s.in[0].dtype != s.out[0].dtype) return "another element type";
  if (s.in[0].size() != s.out[0].size()) return "another size";
  if (!s.post.empty()) return "post operations";
  return nullptr;
}

// The same dims on both sides, or leading two kept while channels-last: the bytes stay.
const char* layouts_agree(const StepInfo& s) {
  const Operand& in = s.in[0];
  const Operand& out = s.out[0];
  if (plain(in) && plain(out)) return nullptr;
  if (in.layout != out.layout) return "layouts differ";
  if (in.dims == out.dims) return nullptr;
  if (in.rank() >= 3 && out.rank() >= 3 && in.dims[0] == out.dims[0] && in.dims[1] == out.dims[1])
    return nullptr;
  return "the reshape mixes channels";
}

const char* accept_reshape(const StepInfo& s) {
  if (auto* why = same_bytes(s)) return why;
  return layouts_agree(s);
}

bool all_are(const std::optional<std::vector<int64_t>>& v, int64_t x) {
  return v && std::all_of(v->begin(), v->end(), [x](int64_t y) { return y == x; });
}

const char* accept_same_dims(const StepInfo& s) {
  if (auto* why = same_bytes(s)) return why;
  if (s.in[0].dims != s.out[0].dims) return "another shape";
  std::string_view op = s.op.view();
  if (op == "Slice") {
    if (s.version() < 10) return "an old form";
    if (s.has(4) && !all_are(s.ints(4), 1)) return "steps";
  } else if (op == "Pad") {
    if (!all_are(s.ints(1, "pads"), 0)) return "pads";
  } else if (op == "Dropout") {
    if (s.has(2) && s.scalar(2) != 0.0) return "training";
  } else if (op == "Concat" || op == "Sum" || op == "Max" || op == "Min" || op == "Mean") {
    if (s.main_inputs != 1) return "more than one input";
  }
  return layouts_agree(s);
}

// Order of axes in memory, without axes of extent 1.
std::vector<int64_t> memory_order(const Operand& o) {
  std::vector<int64_t> axes;
  int64_t rank = o.rank();
  for (int64_t i = 0; i < rank; ++i) {
    int64_t axis = i;
    if (o.layout == Layout::kChannelsLast && rank >= 3 && i > 0) axis = i == rank - 1 ? 1 : i + 1;
    if (o.dims[static_cast<size_t>(axis)] != 1) axes.push_back(axis);
  }
  return axes;
}

const char* accept_transpose(const StepInfo& s) {
  if (auto* why = same_bytes(s)) return why;
  int64_t rank = s.in[0].rank();
  std::vector<int64_t> perm;
  if (auto* p = s.attr_ints("perm"))
    perm = *p;
  else
    for (int64_t i = rank; i-- > 0;) perm.push_back(i);
  if (static_cast<int64_t>(perm.size()) != rank || s.out[0].rank() != rank)
    return "a wrong permutation";
  std::vector<int64_t> out = memory_order(s.out[0]);
  for (int64_t& axis : out) {
    axis = perm[static_cast<size_t>(axis)];
    if (axis < 0 || axis >= rank) return "a wrong permutation";
  }
  return out == memory_order(s.in[0]) ? nullptr : "bytes move";
}

const char* accept_reorder(const StepInfo& s) {
  return memory_order(s.in[0]) == memory_order(s.out[0]) ? nullptr : "bytes move";
}

Result<std::unique_ptr<Prepared>> no_prepare(const StepInfo&, PrepareContext&) {
  return internal_error("a view is not prepared");
}

constexpr Kernel kViews[] = {
    {"view", "Reshape Squeeze Unsqueeze Flatten Identity plan.View", 0, accept_reshape, no_prepare,
     nullptr, false, true},
    {"view", "Cast CastLike Dropout Expand Tile Slice Pad Concat Sum Max Min Mean", 0,
     accept_same_dims, no_prepare, nullptr, false, true},
    {"view", "Transpose", 0, accept_transpose, no_prepare, nullptr, false, true},
    {"view", "plan.Reorder", 0, accept_reorder, no_prepare, nullptr, false, true},
};

}  // namespace

const KernelTable plan_views = {kViews, std::size(kViews)};

}  // namespace onnxtool
