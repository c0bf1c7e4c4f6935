// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "exec/engine.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/infer/interpreter.h"
#include "libonnxtool/ops/lift.h"
#include "libonnxtool/ops/schema.h"
#include "passes/passes.h"
#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

Model build(const Case& c, std::vector<Datum>& inputs) {
  Model m;
  m.ir_version = 13;
  const GraphId g = m.add_graph();
  for (const char* domain : {"", "ai.onnx.ml", "com.microsoft"}) {
    OpsetImport o;
    o.domain = Sym(domain);
    o.spelled = Sym(domain);
    o.version = *domain == 0 && c.opset ? c.opset : newest_opset(domain);
    m.opset_imports.push_back(o);
  }
  std::vector<ValueId> in;
  for (const In& i : c.in) {
    const std::string name = "x" + std::to_string(in.size());
    if (!i.tensor) {
      in.emplace_back();
    } else if (i.constant) {
      in.push_back(m.add_initializer(g, name, *i.tensor));
    } else {
      in.push_back(
          m.add_input(g, name, Type::tensor(i.tensor->dtype(), to_shape(i.tensor->dims()))));
      inputs.emplace_back(*i.tensor);
    }
  }
  std::vector<std::string> out;
  for (size_t i = 0; i < c.outputs; ++i) out.push_back("y" + std::to_string(i));
  const NodeId n = m.add_node(g, Sym(c.op), in, out, c.attrs, Sym(c.domain));
  for (size_t i = 0; i < c.outputs; ++i) m.add_graph_output(g, m.node(n).output(i));
  return m;
}

std::string differ(const Tensor& got, const Tensor& want, const Case& c) {
  if (got.dtype() != want.dtype())
    return format("{} instead of {}", dtype_name(got.dtype()), dtype_name(want.dtype()));
  if (got.dims() != want.dims())
    return format("shape {} instead of {}", to_string(got.dims()), to_string(want.dims()));
  if (got.is_string()) return got.string_data() == want.string_data() ? "" : "other strings";
  const DType t = want.dtype();
  if (!is_float(t))
    return got.same_bytes(want) ? "" : [&] {
      const auto a = got.to_i64(), b = want.to_i64();
      for (size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i] && !(c.steps > 0 && std::abs(a[i] - b[i]) <= c.steps))
          return format("element {} is {}, reference {}", i, a[i], b[i]);
      return std::string();
    }();
  const auto a = got.to_f64(), b = want.to_f64();
  double scale = 0;
  for (double x : b)
    if (std::isfinite(x)) scale = std::max(scale, std::abs(x));
  const double step = t == DType::kFloat16 ? 2e-3 : t == DType::kBfloat16 ? 1.6e-2 : 0;
  const double least = t == DType::kFloat16 ? 1e-7 : 1e-37;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] == b[i]) continue;
    const double limit =
        std::max(c.relative, step) * std::abs(b[i]) + c.of_scale * scale + c.absolute + least;
    // At the edge of the range one rounding more decides between infinity and the largest number.
    const double edge = t == DType::kFloat16 ? 65000 : 3.3e38;
    if (std::isinf(a[i]) != std::isinf(b[i]) && std::abs(a[i]) > edge && std::abs(b[i]) > edge &&
        std::signbit(a[i]) == std::signbit(b[i]))
      continue;
    if (!(std::abs(a[i] - b[i]) <= limit))
      return format("element {} is {}, reference {} (scale {})", i, a[i], b[i], scale);
  }
  return "";
}

// Recipes make valid models: only what nobody supports may fail everywhere.
std::string expected_error(const Error& e) {
  return e.code == Code::kUnsupported ? "" : "the reference says: " + e.text();
}

struct Variant {
  int threads;
  bool fuse, optimize, low_memory;
};

}  // namespace

std::string run_case(const Case& c, Gen& g, const std::string& device, Ran& ran) {
  std::vector<Datum> inputs;
  Model m = build(c, inputs);
  if (auto s = lift_model(m); !s.ok()) return "lifting: " + s.error().text();
  auto checked = infer(m);
  if (!checked.ok()) return "the model is not valid: " + checked.error().text();
  const auto want = Interpreter(m).run(inputs);
  std::vector<Datum> first;
  const bool fuse = g.chance(0.7), rewrite = g.chance(0.5), low = g.chance(0.3);
  for (const Variant& v : {Variant{1, fuse, rewrite, low}, Variant{2, fuse, rewrite, low}}) {
    Model copy = m.clone();
    if (v.optimize)
      if (auto s = optimize(copy); !s.ok()) return "optimizing: " + s.error().text();
    EngineOptions o;
    o.threads = v.threads;
    o.fuse = v.fuse;
    o.low_memory = v.low_memory;
    // On a device, steps that are not timed are recorded when they run again.
    const bool again = device != "cpu" && v.threads == 2;
    o.profile = !again;
    o.device = device;
    o.device_always = true;
    auto engine = Engine::compile(copy, o);
    if (!engine.ok() && want.ok()) return "compiling: " + engine.error().text();
    if (!engine.ok()) return expected_error(want.error());
    auto got = engine->run(inputs);
    if (again && got.ok()) got = engine->run(inputs);
    if (again && got.ok()) got = engine->run(inputs);
    if (!got.ok() || !want.ok()) {
      if (got.ok()) return "the engine runs, the reference says: " + want.error().text();
      if (want.ok()) return "the engine says: " + got.error().text();
      return expected_error(want.error());
    }
    for (const StepProfile& p : engine->profile()) {
      ran.fast |= p.kernel.rfind("reference", 0) != 0 && p.kernel.rfind("empty", 0) != 0;
      if (p.on_device && !p.copy) ++ran.on_device[p.kernel];
    }
    for (size_t i = 0; i < got->size(); ++i) {
      if (!(*want)[i].is_tensor()) continue;
      if (std::string why = differ((*got)[i].tensor, (*want)[i].tensor, c); !why.empty())
        return format("output {} with {} threads{}{}{}: {}", i, v.threads,
                      v.fuse ? "" : ", not fused", v.optimize ? ", optimized" : "",
                      v.low_memory ? ", low memory" : "", why);
      if (c.same_bits && !first.empty() && !(*got)[i].tensor.same_bytes(first[i].tensor))
        return format("output {} depends on the number of threads", i);
    }
    if (first.empty()) first = std::move(*got);
  }
  return "";
}

}  // namespace onnxtool::differential
