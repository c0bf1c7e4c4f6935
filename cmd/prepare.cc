// SPDX-License-Identifier: Apache-2.0
#include "cmd/prepare.h"

#include <CLI/CLI.hpp>
#include <chrono>

#include "cmd/libraries.h"
#include "cmd/output.h"
#include "libonnxtool/infer/verify.h"
#include "libonnxtool/onnx/load.h"
#include "passes/passes.h"

namespace onnxtool {

namespace {

std::vector<OriginalNode> original_nodes(const Model& m) {
  std::vector<OriginalNode> all;
  for (NodeId id : m.graph(m.main()).nodes) {
    const Node& n = m.node(id);
    OriginalNode& o = all.emplace_back();
    o.name = n.name;
    o.op = n.op.str();
    for (size_t i = 0; i < n.num_inputs(); ++i)
      if (n.has_input(i)) o.in.push_back(m.value(n.input(i)).name);
    for (size_t i = 0; i < n.num_outputs(); ++i)
      if (n.has_output(i)) o.out.push_back(m.value(n.output(i)).name);
  }
  return all;
}

}  // namespace

void add_engine_options(CLI::App& app, EngineFlags& f, std::vector<std::string>* precisions) {
  const char* what = "fp32, or fp32-strict: plain fused multiply-add only";
  CLI::Option* precision = precisions ? app.add_option("--precision", *precisions, what)
                                      : app.add_option("--precision", f.precision, what);
  if (precisions) precision->delimiter(',')->allow_extra_args(false);
  precision->check(CLI::IsMember({"fp32", "fp32-strict"}))
      ->type_name(precisions ? "P,..." : "P")
      ->capture_default_str();
  app.add_option("--device", f.device, "cpu, or auto: the best there is")
      ->check(CLI::IsMember({"cpu", "auto"}))
      ->type_name("D")
      ->capture_default_str();
  app.add_option("--backend", f.backend,
                 "engine, or reference: the evaluation that defines each operator")
      ->check(CLI::IsMember({"engine", "reference"}))
      ->type_name("WHICH")
      ->capture_default_str();
  app.add_flag("--explain", f.explain, "print the plan: steps, kernels, layouts, memory");
  app.add_flag("!--no-optimize", f.optimize, "run the model as it is, without rewriting it first");
}

Result<PreparedModel> prepare_model(const std::string& path, const EngineFlags& flags,
                                    const GlobalOptions& global) {
  const auto start = std::chrono::steady_clock::now();
  PreparedModel p;
  TRY_ASSIGN(p.model, load_for(global, path));
  if (flags.keep_original) p.original = original_nodes(p.model);
  auto checked = verify_and_infer(p.model);
  if (!checked.ok())
    return std::move(checked).context(path == "-" ? "standard input" : escape(path, 200)).error();
  for (const Finding& f : checked->findings) note(global, 1, f.text());
  checked->state.reset();
  if (flags.optimize && flags.backend == "engine") TRY(optimize(p.model));
  p.options.threads = global.threads;
  p.options.precision =
      flags.precision == "fp32-strict" ? Precision::kFp32Strict : Precision::kFp32;
  p.options.reference = flags.backend == "reference";
  p.options.explain = flags.explain;
  p.load_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return p;
}

}  // namespace onnxtool
