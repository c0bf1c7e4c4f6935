// SPDX-License-Identifier: Apache-2.0
#include "cmd/verifier.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "exec/engine.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

struct Cost {
  int64_t macs = INT64_MAX, bytes = INT64_MAX;
};

// Multiply-accumulates and bytes of all values, with inputs of these types. Nodes that do not say
// count nothing.
Cost cost_of(const Model& m, std::span<const Datum> feeds) {
  Cost c{0, 0};
  InferOptions options;
  for (const Datum& d : feeds) options.inputs.push_back(type_of(d));
  options.defaults_hold = true;
  Inference state(m, options);
  if (!state.run().ok()) return {};
  for (size_t i = 0; i < m.num_values(); ++i) {
    const Type& t = state.type(ValueId(static_cast<uint32_t>(i)));
    if (!t.is_tensor() || !t.shape) continue;
    int64_t count = 1;
    bool overflow = false;
    for (const Dim& d : *t.shape)
      if (d.is_const()) overflow |= __builtin_mul_overflow(count, d.value(), &count);
    const auto bytes = overflow ? std::nullopt : raw_bytes(t.dtype, count);
    if (!bytes || __builtin_add_overflow(c.bytes, *bytes, &c.bytes)) return {};
  }
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const NodeId id(static_cast<uint32_t>(i));
    const Node& n = m.node(id);
    const OpDef* def = n.removed() ? nullptr : find_op(n);
    if (def == nullptr || def->macs == nullptr) continue;
    const auto ctx = state.context(id);
    const auto macs = ctx ? def->macs(*ctx) : Result<int64_t>(invalid(""));
    if (macs.ok() && __builtin_add_overflow(c.macs, *macs, &c.macs)) return {};
  }
  return c;
}

// What the check before writing does by itself: models that run twice in well under a second. A
// build step shall not notice it.
constexpr size_t kAutoNodes = 50'000;
constexpr int64_t kAutoMacs = 1'000'000'000;
constexpr int64_t kMoreMacs = 100'000'000;  // of all sets of inputs but the first
constexpr int64_t kAutoBytes = 128 << 20;
constexpr std::chrono::milliseconds kLongRun{200};  // one set of inputs is enough then

// How far outputs may move because other roundings happen, relative to their scale: the noise of
// the narrowest arithmetic in the model. A fused chain rounds to float16 once, not at each step; a
// value on the edge of two quantization steps takes the other one.
double default_tolerance(const Model& m) {
  double noise = 1e-4;
  for (size_t i = 0; i < m.num_values(); ++i) {
    const Type& t = m.value(ValueId(static_cast<uint32_t>(i))).type;
    if (t.is_tensor() && t.dtype == DType::kFloat16) noise = std::max(noise, 1e-2);
    if (t.is_tensor() && t.dtype == DType::kBfloat16) noise = std::max(noise, 5e-2);
  }
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(static_cast<uint32_t>(i)));
    const std::string_view op = n.op.view();
    if (!n.removed() && (op.find("Quantize") == 0 || op.find("DynamicQuantize") == 0 ||
                         op.find("QLinear") == 0 || op == "QGemm"))
      return std::max(noise, 5e-2);
  }
  return noise;
}

// Loops may run for ever: what they cost is not known before.
bool has_loops(const Model& m) {
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(static_cast<uint32_t>(i)));
    if (!n.removed() && (n.is("Loop") || n.is("Scan") || n.is("SequenceMap"))) return true;
  }
  return false;
}

// Without a sign: what a Relu or a Log lets through.
double positive(size_t, double x) { return std::fabs(x); }
// Zeros of both signs, ones, integers and halves at every third place.
double with_edges(size_t i, double x) {
  static constexpr double kEdges[] = {0, -0.0, 1, -1, 0.5, -0.5, 2, -3, 6, 7};
  return i % 3 == 0 ? kEdges[i / 3 % std::size(kEdges)] : x;
}

void change(std::vector<Datum>& feeds, double (*f)(size_t, double)) {
  for (Datum& d : feeds) {
    if (!d.is_tensor() || !is_float(d.tensor.dtype()) || dtype_bits(d.tensor.dtype()) < 16)
      continue;
    std::vector<double> v = d.tensor.to_f64();
    for (size_t i = 0; i < v.size(); ++i) v[i] = f(i, v[i]);
    if (auto t = Tensor::from_f64(d.tensor.dtype(), d.tensor.dims(), v); t.ok())
      d = Datum(std::move(*t));
  }
}

// Sizes that nobody told are 1 by default, which hides what broadcasts: the symbols of inputs.
std::vector<std::string> open_symbols(const Model& m, int64_t size) {
  std::vector<std::string> r;
  for (ValueId in : m.graph(m.main()).inputs) {
    const Type& t = m.value(in).type;
    if (!t.is_tensor() || !t.shape || m.value(in).constant) continue;
    for (const Dim& d : *t.shape)
      if (d.is_symbol()) r.push_back(format("{}={}", d.text(), size));
  }
  std::sort(r.begin(), r.end());
  r.erase(std::unique(r.begin(), r.end()), r.end());
  return r;
}

EngineOptions engine_of(const ComparisonOptions& o) {
  EngineOptions e;
  e.threads = o.threads;
  e.device = o.device;
  e.precision = Precision::kFp32Strict;
  e.low_memory = true;  // a build step has other work beside it
  e.max_plans = 1;
  e.memory_limit = o.optimize.runner.budget.max_memory_bytes * 2;
  return e;
}

// Where two results differ; empty: they are the same.
std::string difference_of(const Datum& got, const Datum& want, const std::string& name,
                          double tolerance) {
  auto a = as_array(got), b = as_array(want);
  if (!b.ok()) return {};  // no form that could be compared
  const std::string output = "output " + onnxtool::quoted(name);
  if (!a.ok()) return output + " changed its kind";
  const Difference d = compare(*a, *b, 0, 0);
  if (!d.mismatch.empty()) return output + " has " + d.mismatch;
  if (!(d.max_rel_scale <= tolerance))
    return format("{} differs by {:.3g} of its scale", output, d.max_rel_scale);
  return {};
}

}  // namespace

Verifier::Verifier(const Model& original, const ComparisonOptions& options)
    : original_(original), o_(options) {
  tolerance_ = o_.tolerance >= 0 ? o_.tolerance : default_tolerance(original);
}

Status Verifier::prepare() {
  runs_.resize(1);
  TRY_ASSIGN(runs_[0].feeds, make_feeds(original_, o_.feeds));
  if (!o_.feeds.files.empty() || !o_.feeds.generate.empty() || runs_[0].feeds.empty()) return ok();
  FeedOptions more = o_.feeds;
  ++more.seed;
  if (auto feeds = make_feeds(original_, more); feeds.ok()) {
    change(*feeds, positive);
    runs_.push_back({std::move(*feeds), {}});
  }
  ++more.seed;
  if (more.sizes.symbols.empty() && more.sizes.shapes.empty())
    more.sizes.symbols = open_symbols(original_, 3);
  if (auto feeds = make_feeds(original_, more); feeds.ok()) {
    change(*feeds, with_edges);
    runs_.push_back({std::move(*feeds), {}});
  }
  return ok();
}

bool Verifier::cheap() {
  if (has_loops(original_) || original_.num_nodes() > kAutoNodes) return false;
  Cost all{0, 0};
  for (size_t i = 0; i < runs_.size(); ++i) {
    const Cost c = cost_of(original_, runs_[i].feeds);
    const bool fits = c.macs <= kAutoMacs && c.bytes <= kAutoBytes;
    if (i == 0 && !fits) return false;
    if (!fits || (i > 0 && all.macs + c.macs > kMoreMacs) || all.bytes + c.bytes > kAutoBytes) {
      runs_.resize(i);
      break;
    }
    if (i > 0) all.macs += c.macs;
    all.bytes += c.bytes;
  }
  quick_ = true;
  return true;
}

Status Verifier::run_original() {
  TRY_ASSIGN(Engine e, Engine::compile(original_, engine_of(o_)));
  const auto start = std::chrono::steady_clock::now();
  TRY_ASSIGN(runs_[0].want, e.run(runs_[0].feeds));
  if (quick_ && std::chrono::steady_clock::now() - start > kLongRun) runs_.resize(1);
  for (size_t i = 1; i < runs_.size(); ++i)
    if (auto want = e.run(runs_[i].feeds); want.ok()) runs_[i].want = std::move(*want);
  std::erase_if(runs_, [&](const Run& r) { return r.want.empty() && &r != &runs_[0]; });
  return ok();
}

Result<std::string> Verifier::compare_with(const Model& changed) {
  TRY_ASSIGN(Engine e, Engine::compile(changed, engine_of(o_)));
  // Inputs are those of the original by name.
  const Graph& g = changed.graph(changed.main());
  const Graph& og = original_.graph(original_.main());
  for (const Run& run : runs_) {
    std::vector<Datum> feeds(g.inputs.size());
    for (size_t i = 0; i < g.inputs.size(); ++i)
      for (size_t k = 0; k < og.inputs.size(); ++k)
        if (original_.value(og.inputs[k]).name == changed.value(g.inputs[i]).name)
          feeds[i] = run.feeds[k];
    auto got = e.run(feeds);
    if (!got.ok()) return format("it no longer runs: {}", got.error().text());
    for (size_t i = 0; i < run.want.size(); ++i)
      if (std::string why =
              difference_of((*got)[i], run.want[i], changed.value(g.outputs[i]).name, tolerance_);
          !why.empty())
        return why;
  }
  return std::string();
}

Result<std::string> Verifier::guilty_edit(const OptimizeReport& report) {
  int64_t good = 0, bad = report.run.edits;
  EditRecord last{};
  while (good < bad) {
    const int64_t middle = good + (bad - good) / 2;
    Model m = original_.clone();
    OptimizeOptions options = o_.optimize;
    options.inlining =
        report.inlined ? OptimizeOptions::Inline::kAlways : OptimizeOptions::Inline::kNever;
    options.runner.max_edits = middle + 1;
    options.runner.keep_log = true;
    TRY_ASSIGN(const OptimizeReport r, onnxtool::optimize(m, options));
    TRY_ASSIGN(const std::string why, compare_with(m));
    if (why.empty()) {
      good = middle + 1;
    } else {
      bad = middle;
      if (!r.run.log.empty()) last = r.run.log.back();
    }
  }
  if (last.pass == nullptr) return std::string("a pass that could not be singled out");
  return format("pass '{}' at {}", last.pass->name, last.node);
}

}  // namespace onnxtool
