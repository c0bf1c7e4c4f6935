// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/recurrent.h"

#include <span>

namespace onnxtool {
namespace {

constexpr std::string_view kDynamic = "com.microsoft.DynamicQuantizeLSTM";

bool read_shapes(const StepInfo& s, RnnForm* to) {
  RnnForm& r = *to;
  std::string_view op = s.op.view();
  r.cell = op == "LSTM" || op == kDynamic ? RnnForm::Cell::kLstm
           : op == "GRU"                  ? RnnForm::Cell::kGru
                                          : RnnForm::Cell::kRnn;
  r.gates = r.cell == RnnForm::Cell::kLstm ? 4 : r.cell == RnnForm::Cell::kGru ? 3 : 1;
  if (s.in.size() < 3 || s.in[RnnForm::kX].rank() != 3 || s.in[RnnForm::kW].rank() != 3 ||
      s.in[RnnForm::kR].rank() != 3)
    return false;
  r.steps = s.in[RnnForm::kX].dims[0];
  r.batch = s.in[RnnForm::kX].dims[1];
  r.input = s.in[RnnForm::kX].dims[2];
  r.hidden = s.in[RnnForm::kR].dims[is_dynamic_lstm(s) ? 1 : 2];
  std::string_view direction = s.attr_str("direction", "forward");
  r.directions = direction == "bidirectional" ? 2 : 1;
  r.first_backward = direction == "reverse";
  r.linear_before_reset = s.attr_int("linear_before_reset", 0) != 0;
  const auto weights = [&](int64_t k) {
    return is_dynamic_lstm(s) ? Dims{r.directions, k, r.width()} : Dims{r.directions, r.width(), k};
  };
  if (s.in[RnnForm::kW].dims != weights(r.input) || s.in[RnnForm::kR].dims != weights(r.hidden))
    return false;
  if (s.has(RnnForm::kB) && s.in[RnnForm::kB].dims != Dims{r.directions, 2 * r.width()})
    return false;
  for (size_t i : {RnnForm::kH0, RnnForm::kC0})
    if (s.has(i) && s.in[i].dims != Dims{r.directions, r.batch, r.hidden}) return false;
  return true;
}

// Weights of 8 bits, their scales and zero points: one a direction, or one a direction and column.
const char* check_bytes(const StepInfo& s, size_t i, const RnnForm& r) {
  const Operand& o = s.in[i];
  if (!o.constant) return "weights are not constant";
  const bool scale = i == RnnForm::kWScale || i == RnnForm::kRScale;
  if (scale ? o.dtype != DType::kFloat : o.dtype != DType::kInt8 && o.dtype != DType::kUint8)
    return "types";
  if (i == RnnForm::kW || i == RnnForm::kR) return nullptr;
  return o.size() == r.directions || o.size() == r.directions * r.width() ? nullptr : "scales";
}

}  // namespace

const char* plan_rnn(const StepInfo& s, RnnForm* r) {
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  if (!read_shapes(s, r)) return "shapes";
  for (size_t i = 0; i < s.in.size(); ++i) {
    if (i == RnnForm::kLengths || !s.in[i].present()) continue;
    if (is_dynamic_lstm(s) && (i == RnnForm::kW || i == RnnForm::kR || i >= RnnForm::kWScale)) {
      if (const char* why = check_bytes(s, i, *r)) return why;
    } else if (s.in[i].dtype != DType::kFloat) {
      return "not float";
    }
  }
  if (!s.in[RnnForm::kW].constant || !s.in[RnnForm::kR].constant) return "weights are not constant";
  if (s.has(RnnForm::kB) && !s.in[RnnForm::kB].constant) return "the bias is not constant";
  if (s.has(RnnForm::kPeephole)) return "peepholes";
  if (s.attr_int("layout", 0)) return "batch first";
  if (s.attr_int("input_forget", 0)) return "input_forget";
  if (s.attr_float("clip", 0) > 0) return "clip";
  if (s.has(RnnForm::kLengths)) {
    const Tensor* t = s.in[RnnForm::kLengths].constant;
    if (!t) return "sequence lengths";
    for (int64_t n : t->to_i64())
      if (n != r->steps) return "sequence lengths";
  }
  if (const Attribute* a = s.node ? s.node->attr("activations") : nullptr;
      a && a->type == AttrType::kStrings) {
    static constexpr const char* kLstm[] = {"Sigmoid", "Tanh", "Tanh"};
    static constexpr const char* kGru[] = {"Sigmoid", "Tanh"};
    static constexpr const char* kPlain[] = {"Tanh"};
    std::span<const char* const> want =
        r->cell == RnnForm::Cell::kLstm  ? std::span<const char* const>(kLstm)
        : r->cell == RnnForm::Cell::kGru ? std::span<const char* const>(kGru)
                                         : std::span<const char* const>(kPlain);
    const auto& names = a->strings();
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] != want[i % want.size()]) return "activations";
  }
  return nullptr;
}

// One direction of 8-bit weights as floats, [k, width].
std::vector<float> dequantized_rnn(const StepInfo& s, size_t index, int64_t d, int64_t k,
                                   int64_t width) {
  const size_t at = index == RnnForm::kW ? RnnForm::kWScale : RnnForm::kRScale;
  const Tensor& t = *s.in[index].constant;
  const auto scale = s.in[at].constant->to_f64();
  const auto zero =
      s.has(at + 1) ? s.in[at + 1].constant->to_f64() : std::vector<double>(scale.size(), 0);
  const auto param = [&](const std::vector<double>& v, int64_t column) {
    const bool each = static_cast<int64_t>(v.size()) >= (d + 1) * width && width > 1;
    return v[static_cast<size_t>(each ? d * width + column : d)];
  };
  std::vector<float> r(static_cast<size_t>(k * width));
  const auto* bytes = reinterpret_cast<const uint8_t*>(t.raw()) + d * k * width;
  const bool sign = t.dtype() == DType::kInt8;
  for (int64_t i = 0; i < k * width; ++i) {
    const double code =
        sign ? static_cast<double>(static_cast<int8_t>(bytes[i])) : static_cast<double>(bytes[i]);
    r[static_cast<size_t>(i)] =
        static_cast<float>((code - param(zero, i % width)) * param(scale, i % width));
  }
  return r;
}

bool is_dynamic_lstm(const StepInfo& s) { return s.op.view() == kDynamic; }

RnnBias rnn_bias(const StepInfo& s, const RnnForm& r) {
  const int64_t D = r.directions, W = r.width(), H = r.hidden;
  RnnBias b;
  b.sum.assign(static_cast<size_t>(D * W), 0);
  b.late.assign(static_cast<size_t>(D * H), 0);
  if (!s.has(RnnForm::kB)) return b;
  const std::vector<double> v = s.in[RnnForm::kB].constant->to_f64();
  for (int64_t d = 0; d < D; ++d)
    for (int64_t i = 0; i < W; ++i) {
      const auto of_input = static_cast<float>(v[static_cast<size_t>(d * 2 * W + i)]);
      const auto recurrent = static_cast<float>(v[static_cast<size_t>(d * 2 * W + W + i)]);
      const bool apart = r.cell == RnnForm::Cell::kGru && r.linear_before_reset && i >= 2 * H;
      b.sum[static_cast<size_t>(d * W + i)] = apart ? of_input : of_input + recurrent;
      if (apart) b.late[static_cast<size_t>(d * H + i - 2 * H)] = recurrent;
    }
  return b;
}

}  // namespace onnxtool
