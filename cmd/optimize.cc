// SPDX-License-Identifier: Apache-2.0
// onnxtool optimize: a smaller model that computes the same.
#include <malloc.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmd/feeds.h"
#include "cmd/libraries.h"
#include "cmd/optimize_report.h"
#include "cmd/output.h"
#include "cmd/prepare.h"
#include "cmd/provenance.h"
#include "cmd/usage.h"
#include "cmd/verifier.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/infer/verify.h"
#include "libonnxtool/ir/weights.h"
#include "libonnxtool/onnx/carried.h"
#include "libonnxtool/onnx/load.h"
#include "passes/passes.h"

namespace onnxtool {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string model, output, to, rules, report, external = "keep", inlining = "auto",
                                                verify = "auto", device = "cpu";
  OptimizeOptions optimize;
  FeedOptions feeds;
  int level = 2;
  double tolerance = -1;  // default_tolerance
  bool explain = false, json = false, provenance = false;
  std::string max_growth, max_constant, max_memory;
};

Result<int64_t> parse_bytes(const std::string& s, const char* option) {
  size_t used = 0;
  double v = 0;
  const auto bad = [&] {
    return usage_error(
        format("{} {}: a size such as 64M or 1G expected", option, onnxtool::quoted(s)));
  };
  const char* end = s.c_str();
  char* stop = nullptr;
  v = std::strtod(end, &stop);
  used = static_cast<size_t>(stop - end);
  if (used == 0 || !(v >= 0)) return bad();
  const std::string unit = s.substr(used);
  static constexpr std::pair<const char*, double> kUnits[] = {
      {"", 1},          {"B", 1},           {"K", 1024.0},       {"KiB", 1024.0},
      {"M", 1048576.0}, {"MiB", 1048576.0}, {"G", 1073741824.0}, {"GiB", 1073741824.0}};
  for (const auto& [name, factor] : kUnits)
    if (unit == name && v * factor < 9e18) return static_cast<int64_t>(v * factor);
  return bad();
}

Status check_names(const OptimizeOptions& o) {
  for (const auto* list : {&o.passes, &o.skip})
    for (const std::string& name : *list) {
      std::vector<std::string> known;
      for (const Pass* p : all_passes()) known.emplace_back(p->name);
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      const std::string near = nearest(name, known);
      return usage_error(format("no pass is named {}{} (`onnxtool list passes` lists them)",
                                onnxtool::quoted(name),
                                near.empty() ? "" : format("; did you mean '{}'?", near)));
    }
  return ok();
}

Status check_target(const std::string& name) {
  if (find_target(name)) return ok();
  std::vector<std::string> known;
  std::string list;
  for (const Target& t : targets()) {
    known.emplace_back(t.name);
    list += (list.empty() ? "" : ", ") + known.back();
  }
  const std::string near = nearest(name, known);
  return usage_error(format("no target is named {} ({}){}", onnxtool::quoted(name), list,
                            near.empty() ? "" : format("; did you mean '{}'?", near)));
}

ModelSide side_of(const Model& m, const std::string& name) {
  ModelSide side{&m, name, {}, weight_bytes(m), {}};
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(static_cast<uint32_t>(i)));
    if (n.removed() || m.graph(n.graph).removed) continue;
    ++side.ops[n.domain.view().empty() ? n.op.str() : n.domain.str() + "." + n.op.str()];
  }
  return side;
}

std::string report_table(const ModelSide& before, const ModelSide& after) {
  std::vector<std::vector<std::string>> rows = {{"", "before", "after"}};
  const auto row = [&](const std::string& what, auto f) {
    rows.push_back({what, f(before), f(after)});
  };
  row("nodes", [](const ModelSide& m) {
    int64_t n = 0;
    for (const auto& [op, count] : m.ops) n += count;
    return std::to_string(n);
  });
  row("weights",
      [](const ModelSide& m) { return human_bytes(static_cast<uint64_t>(m.weight_bytes)); });
  row("MACs", [](const ModelSide& m) { return macs_cell(m.macs); });
  std::map<std::string, std::pair<int64_t, int64_t>> all;
  for (const auto& [op, n] : before.ops) all[op].first = n;
  for (const auto& [op, n] : after.ops) all[op].second = n;
  for (const auto& [op, n] : all)
    if (n.first != n.second)
      rows.push_back({"  " + escape(op), std::to_string(n.first), std::to_string(n.second)});
  std::string s = table(rows);
  if (!before.macs.assumed.empty()) s += "* with symbolic sizes taken as 1\n";
  if (before.macs.unknown || after.macs.unknown) s += ">= nodes of unknown size are not counted\n";
  return s;
}

// The same text for the same work.
std::string provenance_text(const Options& o, const OptimizeReport& report,
                            const std::string& verified) {
  std::string s = format("onnxtool {}; target {}, level {}", ONNXTOOL_VERSION, o.optimize.target,
                         o.optimize.level);
  s += format("; {} nodes to {}", report.nodes_before, report.nodes_after);
  for (const PassStats& p : report.run.passes)
    if (p.edits) s += format("; {} {}", p.pass->name, p.edits);
  return s + "; verified: " + verified;
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "model to optimize; - is standard input")
      ->required()
      ->type_name("MODEL");
  app.add_option("-o,--output", o->output, "where to write; - is standard output")
      ->required()
      ->type_name("OUT");
  app.add_option("--target", o->optimize.target,
                 "what the result is for: onnx, onnxtool, ort (makes operators of com.microsoft), "
                 "openvino or tensorrt")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("-O,--level", o->level,
                 "0 none, 1 eliminations only, 2 fusions too, 3 loops unrolled too")
      ->check(CLI::Range(0, 3))
      ->type_name("LEVEL")
      ->capture_default_str();
  app.add_option("--passes", o->optimize.passes, "run only these passes, in this order")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,...");
  app.add_option("--skip", o->optimize.skip, "leave out these passes")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,...");
  app.add_option("--rules", o->rules,
                 "a model whose local functions are rules: what those of domain 'pattern' say is "
                 "replaced by those of domain 'replacement'")
      ->type_name("FILE");
  app.add_option("--inline", o->inlining,
                 "calls of local functions replaced by the functions' bodies: auto (where the "
                 "model gets no more nodes), always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("WHEN")
      ->capture_default_str();
  app.add_flag("--fold-defaults", o->optimize.fold_defaults,
               "take initializers that are graph inputs too as constants");
  app.add_flag("--keep-defaults", o->optimize.keep_defaults,
               "never take them as constants, not even in models of IR version 3");
  auto* verify = app.add_flag("--verify{always}", o->verify,
                              "run the model before and after and compare outputs; auto (the "
                              "default): where that takes a moment only")
                     ->check(CLI::IsMember({"auto", "always", "never"}))
                     ->type_name("WHEN");
  app.add_flag_callback(
         "--no-verify", [o] { o->verify = "never"; }, "do not compare outputs")
      ->excludes(verify);
  add_device_option(app, o->device);
  app.add_option(
         "--tolerance", o->tolerance,
         "largest difference of an output, relative to its scale (default: 1e-4, for float16 "
         "1e-2, for bfloat16 and quantized models 5e-2)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("X");
  add_feed_options(app, o->feeds);
  app.add_option("--max-growth", o->max_growth,
                 "bytes that rewriting may add to the model (default 32M)")
      ->type_name("BYTES");
  app.add_option("--max-constant", o->max_constant,
                 "largest tensor that folding may make (default 64M)")
      ->type_name("BYTES");
  app.add_option("--max-memory", o->max_memory, "memory for evaluating constants (default 1G)")
      ->type_name("BYTES");
  app.add_option("--time-limit", o->optimize.runner.time_limit, "stop rewriting after so long")
      ->type_name("SECONDS");
  app.add_option("--external-data", o->external, "where tensors go: keep, none, one or many")
      ->check(CLI::IsMember({"keep", "none", "one", "many"}))
      ->type_name("HOW")
      ->capture_default_str();
  app.add_option("--to", o->to, "form to write: onnx, text or json (default: by OUT's ending)")
      ->check(CLI::IsMember({"onnx", "text", "json"}))
      ->type_name("FORM");
  app.add_flag("--explain", o->explain,
               "print each edit, and near-matches with the reason why they were refused");
  app.add_flag("--json", o->json, "print the report as a JSON document");
  app.add_flag("--provenance", o->provenance,
               "write what was done into the model's metadata, as 'onnxtool.optimize'");
  app.add_option("--report", o->report,
                 "also write a page for a browser: what changed, and both graphs side by side")
      ->type_name("FILE.html");
  return [o, &global]() -> Status {
    // Large blocks go back to the system when they are free, whatever was allocated before.
    ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
    Budget& budget = o->optimize.runner.budget;
    if (!o->max_growth.empty()) {
      TRY_ASSIGN(budget.max_growth_bytes, parse_bytes(o->max_growth, "--max-growth"));
    }
    if (!o->max_constant.empty()) {
      TRY_ASSIGN(budget.max_constant_bytes, parse_bytes(o->max_constant, "--max-constant"));
    }
    if (!o->max_memory.empty()) {
      TRY_ASSIGN(budget.max_memory_bytes, parse_bytes(o->max_memory, "--max-memory"));
    }
    TRY(check_names(o->optimize));
    o->optimize.level = o->level;
    using How = OptimizeOptions::Inline;
    o->optimize.inlining = o->inlining == "always"  ? How::kAlways
                           : o->inlining == "never" ? How::kNever
                                                    : How::kAuto;
    TRY(check_target(o->optimize.target));
    if (!o->rules.empty()) {
      TRY_ASSIGN(Model rules, load_model(o->rules));
      auto set = rules_of(std::make_shared<const Model>(std::move(rules)));
      if (!set.ok()) return std::move(set).context(escape(o->rules, 200)).error();
      o->optimize.rules = std::make_shared<const RuleSet>(std::move(*set));
    }
    TRY_ASSIGN(Model model, load_for(global, o->model));
    auto prepared = verify_and_infer(model);
    if (!prepared.ok())
      return std::move(prepared)
          .context(o->model == "-" ? "standard input" : escape(o->model, 200))
          .error();
    for (const Finding& f : prepared->findings) note(global, 1, f.text());
    const bool told = o->json || !o->report.empty() || !global.quiet;
    ModelSide before = side_of(model, o->model);
    if (told) before.macs = count_macs(model, *prepared->state);
    prepared->state.reset();
    Model original;
    if (o->verify != "never" || !o->report.empty()) original = model.clone();
    before.model = &original;
    std::string explained;
    if (o->explain) {
      o->optimize.runner.keep_log = true;
      o->optimize.runner.refused = [&](const Pass& p, const std::string& node,
                                       const std::string& reason) {
        explained += format("refused {} at {}: {}\n", p.name, node, escape(reason, 300));
      };
    }
    TRY_ASSIGN(o->optimize.keep, annotated_initializers(model));
    TRY_ASSIGN(const char* const carried, speaks_of_values(model));
    if (carried) {
      warn(global, format("the model has {}: its graph is left as it is", carried));
      o->optimize.level = 0;
      o->optimize.passes.clear();
      o->optimize.rules.reset();
      o->optimize.inlining = How::kNever;
    }
    TRY_ASSIGN(const OptimizeReport report, optimize(model, o->optimize));
    if (report.run.limited)
      warn(global, "the time limit was reached; the model is valid, but not as small as it can be");
    std::string verified = "not asked for";
    if (o->verify == "auto" && report.run.edits == 0 && !report.inlined) {
      verified = "nothing changed";
    } else if (o->verify != "never") {
      ComparisonOptions how{o->optimize, o->feeds, o->tolerance, global.threads, o->device};
      Verifier verifier(original, how);
      const bool wanted = o->verify == "always" || !o->feeds.files.empty() || o->device != "cpu";
      auto s = verifier.prepare();
      if (s.ok() && !wanted && !verifier.cheap()) {
        verified = "skipped: may take more than a moment (--verify does it)";
      } else if (s.ok() && (s = verifier.run_original()).ok()) {
        TRY_ASSIGN(const std::string why, verifier.compare_with(model));
        if (!why.empty()) {
          TRY_ASSIGN(const std::string guilty, verifier.guilty_edit(report));
          return make_error(Code::kNegative,
                            format("the result is not the same: {}; caused by {}; nothing was "
                                   "written (--skip leaves a pass out)",
                                   why, guilty));
        }
        verified = "outputs agree";
      } else if (wanted) {
        return std::move(s).context("the model cannot be run to verify the result");
      } else {
        verified = "skipped: the model does not run on generated inputs";
        note(global, 1, "not verified: " + s.error().text());
      }
    }
    if (o->provenance)
      TRY(set_metadata(model, "onnxtool.optimize", provenance_text(*o, report, verified)));
    SaveOptions save;
    save.form = o->to == "text"   ? ModelForm::kText
                : o->to == "json" ? ModelForm::kJson
                : o->to == "onnx" ? ModelForm::kBinary
                                  : form_of_path(o->output);
    save.external = o->external == "none"   ? ExternalData::kNone
                    : o->external == "one"  ? ExternalData::kOne
                    : o->external == "many" ? ExternalData::kMany
                                            : ExternalData::kKeep;
    TRY(save_model(model, o->output, save));
    ModelSide after = side_of(model, o->output);
    if (told) {
      Inference types(std::as_const(model));
      if (types.run().ok()) after.macs = count_macs(model, types);
    }
    if (!o->report.empty()) {
      const std::string page = optimize_report(before, after, report, verified);
      TRY_ASSIGN(OutputFile file, OutputFile::create(o->report));
      TRY(file.write(page.data(), page.size()));
      TRY(file.commit());
    }
    std::string text;
    if (o->json) {
      Json j = {{"model", o->model},
                {"output", o->output},
                {"nodes_before", report.nodes_before},
                {"nodes_after", report.nodes_after},
                {"weight_bytes_before", before.weight_bytes},
                {"weight_bytes_after", after.weight_bytes},
                {"macs_before", before.macs.macs},
                {"macs_after", after.macs.macs},
                {"macs_with_symbols_1", before.macs.assumed},
                {"nodes_without_known_macs_before", before.macs.unknown},
                {"nodes_without_known_macs_after", after.macs.unknown},
                {"ops_before", before.ops},
                {"ops_after", after.ops},
                {"edits", report.run.edits},
                {"inlined", report.inlined},
                {"rounds", report.run.rounds},
                {"seconds", report.seconds},
                {"verified", verified},
                {"passes", Json::array()}};
      for (const PassStats& p : report.run.passes)
        if (p.edits || p.refused)
          j["passes"].push_back({{"name", p.pass->name},
                                 {"edits", p.edits},
                                 {"refused", p.refused},
                                 {"seconds", p.seconds}});
      text = j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    } else {
      for (const EditRecord& e : report.run.log)
        text += format("applied {} at {}{}{}\n", e.pass->name, e.node, e.note.empty() ? "" : ": ",
                       escape(e.note, 200));
      text += explained;
      if (!global.quiet) {
        text += report_table(before, after);
        text += "verified: " + verified + "\n";
      }
    }
    if (o->output == "-")
      std::fputs(text.c_str(), stderr);  // standard output holds the model
    else
      print(text);
    return ok();
  };
}

}  // namespace

extern const Command cmd_optimize;
const Command cmd_optimize = {
    .name = "optimize",
    .group = "Models",
    .summary = "rewrite a model into a smaller one that computes the same",
    .examples =
        "  onnxtool optimize model.onnx -o small.onnx\n"
        "  onnxtool optimize model.onnx -o small.onnx --verify --inputs in.npz\n"
        "  onnxtool optimize - -o - --no-verify < model.onnx | onnxtool inspect -\n"
        "  onnxtool optimize model.onnx -o small.onnx --skip fuse-conv-affine --explain\n",
    .setup = setup,
};

}  // namespace onnxtool
