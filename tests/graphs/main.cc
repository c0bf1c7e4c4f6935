// SPDX-License-Identifier: Apache-2.0
// Random graphs of many nodes: the reference on the graph as it is says the same as the engine, and
// as the reference on what `optimize` makes of it. What one-node tests do not see: fusions,
// layouts, in-place values, shape arithmetic, other readers, constants that mean something (0, 1,
// -0, NaN).
//
// usage: random_graphs [--cases N] [--seed S] [--only K]      --only prints the graph
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "exec/engine.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/infer/interpreter.h"
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/ops/lift.h"
#include "passes/passes.h"
#include "tests/differential/gen.h"

namespace onnxtool {
namespace {

using differential::Gen;

constexpr int64_t kOpset = 21;
constexpr int64_t kMostElements = 4096;

// Grows a model node by node; a node that inference refuses is left out again.
class Grower {
 public:
  explicit Grower(uint64_t seed) : g_(seed) {
    m_.ir_version = 10;
    m_.add_graph();
    OpsetImport o;
    o.version = kOpset;
    m_.opset_imports.push_back(o);
    for (int64_t n = g_.between(1, 3); n > 0; --n) {
      Dims d = g_.chance(0.5)
                   ? Dims{g_.between(1, 2), g_.between(1, 4), g_.between(3, 6), g_.between(3, 6)}
                   : g_.dims(0, 4, 5);
      Tensor t = g_.floats(d, -3, 3);
      const ValueId v = m_.add_input(m_.main(), "x" + std::to_string(n),
                                     Type::tensor(DType::kFloat, to_shape(d)));
      inputs.emplace_back(t);
      made_.push_back(v);
    }
    for (int64_t n = g_.between(4, 16); n > 0; --n) grow();
    finish();
  }
  Model take() { return std::move(m_); }
  std::vector<Datum> inputs;

 private:
  Dims dims(ValueId v) { return *static_dims(m_.value(v).type); }
  ValueId constant(Tensor t) {
    return m_.add_initializer(m_.main(), "c" + std::to_string(names_++), std::move(t));
  }
  ValueId number(double v) {
    return constant(*Tensor::from_f64(DType::kFloat, {}, std::vector<double>{v}));
  }
  ValueId ints(std::vector<int64_t> v) { return constant(Tensor::ints(v)); }
  // One number for all elements, which passes look for; or any.
  ValueId parameter(const Dims& d) {
    if (g_.chance(0.25)) {
      const double v = g_.pick({0.0, 1.0, -1.0, 2.0, 0.5, -0.0});
      return constant(*Tensor::from_f64(
          DType::kFloat, d, std::vector<double>(static_cast<size_t>(*checked_product(d)), v)));
    }
    Tensor t = g_.floats(d, -2, 2);
    return constant(std::move(t));
  }
  ValueId any() {
    const auto n = static_cast<int64_t>(made_.size());
    return made_[static_cast<size_t>(g_.chance(0.7) ? std::max<int64_t>(0, n - 1 - g_.below(3))
                                                    : g_.below(n))];
  }

  // The first output; not valid: the node does not fit.
  ValueId node(const char* op, std::vector<ValueId> in, std::vector<Attribute> attrs = {},
               size_t outputs = 1) {
    if (!ok_) return {};
    Model trial = m_.clone();
    std::vector<std::string> out;
    for (size_t i = 0; i < outputs; ++i) out.push_back("t" + std::to_string(names_++));
    const NodeId id =
        trial.add_node(trial.main(), Sym(op), std::move(in), out, std::move(attrs), Sym());
    ok_ = lift_model(trial).ok() && infer(trial).ok();
    std::vector<ValueId> made;
    for (size_t i = 0; ok_ && i < outputs; ++i) {
      const ValueId v = trial.node(id).output(i);
      const Type& t = trial.value(v).type;
      const auto d = static_dims(t);
      ok_ = d && checked_product(*d).value_or(INT64_MAX) <= kMostElements;
      made.push_back(v);
    }
    if (!ok_) return {};
    m_ = std::move(trial);
    for (ValueId v : made)
      if (m_.value(v).type.dtype == DType::kFloat) made_.push_back(v);
    all_.insert(all_.end(), made.begin(), made.end());
    return made[0];
  }
  void grow() {
    ok_ = true;
    const ValueId v = any();
    const Dims d = dims(v);
    const auto rank = static_cast<int64_t>(d.size());
    const auto axis = [&] { return rank ? g_.below(rank) : 0; };
    const auto a = [](const char* name, auto value) { return Attribute::of(name, value); };
    switch (g_.below(30)) {
      case 0:
      case 1:
        node(g_.pick({"Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Exp", "Identity", "Erf",
                      "LeakyRelu", "Elu", "HardSigmoid", "HardSwish", "Softplus", "Dropout"}),
             {v});
        return;
      case 2:
      case 3:
      case 4:
      case 5: {
        const ValueId w = g_.chance(0.4) ? any() : parameter(g_.broadcastable(d));
        if (g_.chance(0.15)) {  // nothing near zero below: it makes any rounding large
          node("Div", {v, constant(g_.floats(g_.broadcastable(d), 0.5, 2))});
          return;
        }
        const char* op = g_.pick({"Add", "Sub", "Mul", "Max", "Min", "Add", "Mul"});
        g_.chance(0.6) ? node(op, {v, w}) : node(op, {w, v});
        return;
      }
      case 6: node("PRelu", {v, parameter(g_.broadcastable(d))}); return;
      case 7:
        node("Clip", {v, g_.chance(0.8) ? number(g_.pick({0.0, -1.0, 1.0, 2.0})) : ValueId(),
                      number(g_.pick({6.0, 1.0, 0.0, 100.0}))});
        return;
      case 8:
      case 9: {
        std::vector<int64_t> perm(d.size());
        for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
        for (size_t i = perm.size(); i > 1; --i)
          std::swap(perm[i - 1], perm[static_cast<size_t>(g_.below(static_cast<int64_t>(i)))]);
        node("Transpose", {v},
             g_.chance(0.2) ? std::vector<Attribute>{} : std::vector<Attribute>{a("perm", perm)});
        return;
      }
      case 10: {  // a known size from a Shape chain, and the rest
        const ValueId n =
            node("Gather", {node("Shape", {v}), ints({axis()})}, {a("axis", int64_t{0})});
        node("Reshape", {v, node("Concat", {n, ints({-1})}, {a("axis", int64_t{0})})});
        return;
      }
      case 11: {
        std::vector<int64_t> to;
        int64_t left = *checked_product(d);
        for (int64_t k = g_.below(4); k > 0; --k) {
          const int64_t n = g_.between(1, 6);
          if (left % n) continue;
          to.push_back(n);
          left /= n;
        }
        to.push_back(g_.chance(0.5) ? -1 : left);
        node("Reshape", {v, ints(to)});
        return;
      }
      case 12: node("Unsqueeze", {v, ints({g_.below(rank + 1)})}); return;
      case 13: node("Squeeze", {v, ints({axis()})}); return;
      case 14: {
        const ValueId w = any();
        node("Concat", g_.chance(0.5) ? std::vector<ValueId>{v, w} : std::vector<ValueId>{v, v, w},
             {a("axis", axis())});
        return;
      }
      case 15: {
        const int64_t k = axis(), n = rank ? d[static_cast<size_t>(k)] : 0,
                      first = n > 1 ? g_.between(1, n - 1) : 0;
        if (n > 1) node("Split", {v, ints({first, n - first})}, {a("axis", k)}, 2);
        return;
      }
      case 16: {
        const bool back = g_.chance(0.3);
        const int64_t end = back ? INT64_MIN : g_.chance(0.5) ? INT64_MAX : g_.between(-4, 4);
        node("Slice", {v, ints({g_.between(-4, 4)}), ints({end}), ints({axis()}),
                       ints({back ? -g_.between(1, 2) : g_.between(1, 2)})});
        return;
      }
      case 17: {
        const int64_t k = axis(), n = rank ? d[static_cast<size_t>(k)] : 0;
        if (n == 0) return;
        const ValueId at =
            g_.chance(0.4) ? constant(*Tensor::from_i64(
                                 DType::kInt64, {}, std::vector<int64_t>{g_.between(-n, n - 1)}))
                           : ints({g_.below(n), g_.below(n)});
        node("Gather", {v, at}, {a("axis", k)});
        return;
      }
      case 18: {
        std::vector<int64_t> pads(2 * d.size());
        for (int64_t& p : pads) p = g_.pick({0, 0, 1, 2});
        node("Pad", {v, ints(pads), number(g_.pick({0.0, 0.0, 1.0}))});
        return;
      }
      case 19:
      case 20: {
        std::vector<ValueId> in{v};
        if (g_.chance(0.8)) in.push_back(ints({axis() - (g_.chance(0.5) ? rank : 0)}));
        node(g_.pick({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2",
                      "ReduceSumSquare"}),
             in, {a("keepdims", g_.below(2))});
        return;
      }
      case 21: node(g_.pick({"Softmax", "LogSoftmax"}), {v}, {a("axis", axis())}); return;
      case 22:
        if (rank > 0) node("MatMul", {v, constant(g_.floats({d.back(), g_.between(1, 5)}, -1, 1))});
        return;
      case 23: {
        if (rank != 2) return;
        const int64_t ta = g_.below(2), tb = g_.below(2), n = g_.between(1, 5), k = d[ta ? 0 : 1];
        node("Gemm",
             {v, constant(g_.floats(tb ? Dims{n, k} : Dims{k, n}, -1, 1)),
              constant(g_.floats({n}, -1, 1))},
             {a("transA", ta), a("transB", tb), a("alpha", g_.pick({1.0F, 0.5F})),
              a("beta", g_.pick({1.0F, 2.0F}))});
        return;
      }
      case 24:
      case 25: {
        if (rank != 4 || d[1] == 0) return;
        const int64_t groups = g_.chance(0.3) ? d[1] : 1, out = groups * g_.between(1, 3),
                      k = g_.pick({1, 1, 3});
        std::vector<int64_t> pads;
        for (int i = 0; i < 4; ++i) pads.push_back(g_.below(2));
        std::vector<ValueId> in{v, constant(g_.floats({out, d[1] / groups, k, k}, -1, 1))};
        if (g_.chance(0.6)) in.push_back(constant(g_.floats({out}, -1, 1)));
        node("Conv", in, {a("group", groups), a("pads", pads)});
        return;
      }
      case 26: {
        if (rank < 2) return;
        const Dims c{d[1]};
        node("BatchNormalization",
             {v, constant(g_.floats(c, -2, 2)), constant(g_.floats(c, -2, 2)),
              constant(g_.floats(c, -2, 2)), constant(g_.floats(c, 0.25, 2))});
        return;
      }
      case 27:
        node(g_.pick({"MaxPool", "AveragePool"}), {v},
             {a("kernel_shape", std::vector<int64_t>{2, 2})});
        return;
      case 28: {
        const ValueId c = node(g_.pick({"Greater", "Less", "GreaterOrEqual"}),
                               {v, number(g_.pick({0.37, -0.61, 1.43}))});
        const bool special = g_.chance(0.2);
        const ValueId w = special          ? number(g_.pick<double>({NAN, -INFINITY}))
                          : g_.chance(0.4) ? number(g_.pick({0.0, 1.0}))
                                           : parameter(g_.broadcastable(d));
        g_.chance(0.5) ? node("Where", {c, v, w}) : node("Where", {c, w, v});
        return;
      }
      default: pattern(v);
    }
  }

  // What exporters write for one operation.
  void pattern(ValueId v) {
    const auto mean = [&](ValueId x) {
      return node("ReduceMean", {x, ints({-1})}, {Attribute::of("keepdims", int64_t{1})});
    };
    const Dims d = dims(v);
    switch (g_.below(5)) {
      case 0: {
        if (d.empty()) return;
        const ValueId c = node("Sub", {v, mean(v)});
        const ValueId var =
            mean(g_.chance(0.5) ? node("Mul", {c, c}) : node("Pow", {c, number(2)}));
        const ValueId y = node("Div", {c, node("Sqrt", {node("Add", {var, number(1e-3)})})});
        node("Add", {node("Mul", {y, parameter({d.back()})}), parameter({d.back()})});
        return;
      }
      case 1: {
        const ValueId e = node("Erf", {node("Div", {v, number(std::sqrt(2.0))})});
        node("Mul",
             {node("Mul", {v, node("Add", {e, number(1)})}), number(g_.pick({0.5, 0.5, 0.4}))});
        return;
      }
      case 2: node("Mul", {v, node("Sigmoid", {v})}); return;
      case 3: {
        const auto to =
            static_cast<int64_t>(g_.pick({DType::kFloat16, DType::kDouble, DType::kBfloat16}));
        node("Cast", {node("Cast", {v}, {Attribute::of("to", to)})},
             {Attribute::of("to", static_cast<int64_t>(DType::kFloat))});
        return;
      }
      default: {
        const ValueId s = number(0.125),
                      z = constant(*Tensor::from_i64(DType::kUint8, {}, std::vector<int64_t>{128}));
        node("DequantizeLinear", {node("QuantizeLinear", {v, s, z}), s, z});
      }
    }
  }

  // What nobody reads is an output, and now and then what somebody does.
  void finish() {
    for (ValueId v : all_)
      if (m_.value(v).use_count == 0 || g_.chance(0.08)) m_.add_graph_output(m_.main(), v);
  }

  Gen g_;
  Model m_;
  std::vector<ValueId> made_, all_;
  int names_ = 0;
  bool ok_ = true;
};

// `magnitude`: of the largest number on the way, whose roundings a difference may leave over.
std::string differ(const Tensor& got, const Tensor& want, double magnitude, bool nan_is_open) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims())
    return format("{}{} instead of {}{}", dtype_name(got.dtype()), to_string(got.dims()),
                  dtype_name(want.dtype()), to_string(want.dims()));
  if (!is_float(want.dtype())) return got.same_bytes(want) ? "" : "other values";
  const auto a = got.to_f64(), b = want.to_f64();
  double scale = 0;
  for (double x : b)
    if (std::isfinite(x)) scale = std::max(scale, std::fabs(x));
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    if (nan_is_open && (std::isnan(a[i]) || std::isnan(b[i]))) continue;
    if (!(std::fabs(a[i] - b[i]) <= 1e-4 * scale + 1e-5 * magnitude))
      return format("element {} is {} instead of {} (scale {})", i, a[i], b[i], scale);
  }
  return "";
}

std::string check(const Model& m, const std::vector<Datum>& inputs) {
  // What NaN becomes when it is quantized, and behind a convolution, is open.
  bool nan_is_open = false;
  for (NodeId n : m.graph(m.main()).nodes)
    nan_is_open |= m.node(n).is("QuantizeLinear") || m.node(n).is("Conv");
  double magnitude = 0;
  InterpreterOptions watch;
  watch.observe = [&](const NodeRun& r) -> Status {
    for (const Datum& d : r.outputs)
      if (d.is_tensor() && is_float(d.tensor.dtype()))
        for (double x : d.tensor.to_f64())
          if (std::isfinite(x)) magnitude = std::max(magnitude, std::fabs(x));
    return ok();
  };
  const auto want = Interpreter(m, watch).run(inputs);
  if (!want.ok()) return "reference: " + want.error().text();
  const auto compare = [&](const char* who, const Result<std::vector<Datum>>& got) -> std::string {
    if (!got.ok()) return format("{}: {}", who, got.error().text());
    for (size_t i = 0; i < want->size(); ++i)
      if (std::string why = differ((*got)[i].tensor, (*want)[i].tensor, magnitude, nan_is_open);
          !why.empty())
        return format("{}, output {}: {}", who, quoted(m.value(m.graph(m.main()).outputs[i]).name),
                      why);
    return "";
  };
  Model small = m.clone();
  OptimizeOptions o;
  o.level = 3;
  if (auto s = optimize(small, o); !s.ok()) return "optimize: " + s.error().text();
  if (std::string why = compare("optimized", Interpreter(small).run(inputs)); !why.empty())
    return why;
  auto engine = Engine::compile(m, {});
  if (!engine.ok()) return "engine: " + engine.error().text();
  if (std::string why = compare("engine", engine->run(inputs)); !why.empty()) return why;
  auto fast = Engine::compile(small, {});
  if (!fast.ok()) return "engine, optimized: " + fast.error().text();
  return compare("engine, optimized", fast->run(inputs));
}

int main(int argc, char** argv) {
  int64_t cases = 100, seed = 1, only = -1;
  for (int i = 1; i + 1 < argc; i += 2) {
    int64_t* to = !std::strcmp(argv[i], "--cases")  ? &cases
                  : !std::strcmp(argv[i], "--seed") ? &seed
                  : !std::strcmp(argv[i], "--only") ? &only
                                                    : nullptr;
    if (!to) return std::printf("unknown option %s\n", argv[i]), 2;
    *to = std::atoll(argv[i + 1]);
  }
  int64_t failed = 0, nodes = 0;
  for (int64_t k = only >= 0 ? only : 0; k < (only >= 0 ? only + 1 : cases); ++k) {
    Grower grower(static_cast<uint64_t>(seed) << 32 ^ static_cast<uint64_t>(k));
    Model m = grower.take();
    nodes += static_cast<int64_t>(m.num_nodes());
    if (only >= 0) std::printf("%s\n", to_text(m).value().c_str());
    if (m.graph(m.main()).outputs.empty()) continue;
    const std::string why = check(m, grower.inputs);
    if (why.empty()) continue;
    ++failed;
    std::printf("graph %lld of seed %lld: %s\n", static_cast<long long>(k),
                static_cast<long long>(seed), why.c_str());
  }
  std::printf("%lld graphs with %lld nodes, %lld differ\n",
              static_cast<long long>(only >= 0 ? 1 : cases), static_cast<long long>(nodes),
              static_cast<long long>(failed));
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace onnxtool

int main(int argc, char** argv) { return onnxtool::main(argc, argv); }
