// SPDX-License-Identifier: Apache-2.0
// onnxtool inspect: what a model is made of; several models side by side.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmd/libraries.h"
#include "cmd/macs.h"
#include "cmd/output.h"
#include "cmd/sizes.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ir/weights.h"
#include "libonnxtool/onnx/load.h"

namespace onnxtool {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> models;
  SizeOptions sizes;
  bool json = false, nodes = false, values = false;
};

struct Summary {
  std::string path;
  Model model;
  std::map<std::string, int64_t> ops;           // "Conv", "com.microsoft.Gelu"
  std::map<std::string, int64_t> weight_types;  // bytes by element type
  int64_t nodes = 0, subgraphs = 0, parameters = 0, weight_bytes = 0, external = 0;
  int64_t quantized = 0;
  MacCount macs;
  std::string infer_error;
  std::vector<std::string> warnings;
};

bool is_quantized(const Node& n) {
  const std::string& op = n.op.str();
  return op.find("QLinear") != std::string::npos || op.find("Quantize") != std::string::npos ||
         op.find("Integer") != std::string::npos || op.find("NBits") != std::string::npos;
}

Result<Summary> summarize(const std::string& path, const Options& o, const GlobalOptions& global) {
  Summary s;
  s.path = path;
  TRY_ASSIGN(s.model, load_for(global, path));
  Model& m = s.model;
  InferOptions options;
  if (!o.sizes.symbols.empty() || !o.sizes.shapes.empty()) {
    Model probe = m.clone();  // sizes without a name are called as inference calls them
    InferOptions plain;
    plain.collect = true;
    (void)infer(probe, plain);
    TRY_ASSIGN(const Sizes sizes, Sizes::of(probe, o.sizes, o.models.size() > 1));
    sizes.apply(probe, options);
  }
  options.collect = true;
  options.defaults_hold = m.ir_version < 4;
  auto report = infer(m, options);
  if (!report.ok()) {
    s.infer_error = report.error().text();
  } else {
    for (const Finding& f : report->findings) s.warnings.push_back(f.text());
  }
  s.subgraphs = -1 - static_cast<int64_t>(m.functions.size());  // main and functions are none
  for (size_t i = 0; i < m.num_graphs(); ++i) {
    const Graph& g = m.graph(GraphId(static_cast<uint32_t>(i)));
    if (g.removed) continue;
    ++s.subgraphs;
    for (NodeId id : g.nodes) {
      const Node& n = m.node(id);
      ++s.nodes;
      ++s.ops[n.domain.view().empty() ? n.op.str() : n.domain.str() + "." + n.op.str()];
      s.quantized += is_quantized(n);
    }
  }
  if (report.ok()) s.macs = count_macs(m, *report->state, options);
  for_each_weight(m, [&](const TensorConst& t) {
    const auto bytes = static_cast<int64_t>(t.tensor.bytes());
    s.parameters += t.tensor.size();
    s.weight_bytes += bytes;
    s.weight_types[std::string(dtype_name(t.tensor.dtype()))] += bytes;
    s.external += t.external;
  });
  return s;
}

std::string macs_text(const MacCount& c) {
  std::string t = human_count(static_cast<uint64_t>(c.macs)) + " MACs";
  for (size_t i = 0; i < c.assumed.size() && i < 4; ++i)
    t += (i ? ", " : " with ") + escape(c.assumed[i], 40) + "=1";
  if (c.assumed.size() > 4) t += format(" and {} more 1", c.assumed.size() - 4);
  if (!c.assumed.empty()) t += " (--set SYMBOL=N)";
  if (c.unknown)
    t += format(", not counting {} node{} of unknown size", c.unknown, c.unknown == 1 ? "" : "s");
  return t;
}

std::string opset_text(const Model& m) {
  std::string s;
  for (const OpsetImport& i : m.opset_imports)
    s += (s.empty() ? "" : ", ") + (i.domain.view().empty() ? "ai.onnx" : escape(i.domain.view())) +
         " " + std::to_string(i.version);
  return s;
}

Json type_json(const Value& v, const Type& t) {
  Json j = {{"name", v.name}, {"type", t.text()}};
  if (t.is_tensor()) {
    j["dtype"] = std::string(dtype_name(t.dtype));
    if (t.shape) {
      j["shape"] = Json::array();
      for (const Dim& d : *t.shape) {
        if (d.is_const())
          j["shape"].push_back(d.value());
        else
          j["shape"].push_back(d.text());
      }
    }
  }
  return j;
}

Json to_json(const Summary& s, const Options& o) {
  const Model& m = s.model;
  const Graph& g = m.graph(m.main());
  Json j = {{"model", s.path},
            {"ir_version", m.ir_version},
            {"producer", m.producer_name},
            {"producer_version", m.producer_version},
            {"graph", g.name},
            {"opsets", Json::object()},
            {"inputs", Json::array()},
            {"outputs", Json::array()}};
  for (const OpsetImport& i : m.opset_imports)
    j["opsets"][i.domain.view().empty() ? "ai.onnx" : i.domain.str()] = i.version;
  for (ValueId v : g.inputs) {
    j["inputs"].push_back(type_json(m.value(v), m.value(v).type));
    j["inputs"].back()["has_default"] = m.value(v).constant != nullptr;
  }
  for (ValueId v : g.outputs) j["outputs"].push_back(type_json(m.value(v), m.value(v).type));
  j["nodes"] = s.nodes;
  j["subgraphs"] = s.subgraphs;
  j["functions"] = m.functions.size();
  j["ops"] = s.ops;
  j["parameters"] = s.parameters;
  j["weight_bytes"] = s.weight_bytes;
  j["weight_bytes_by_type"] = s.weight_types;
  j["external_tensors"] = s.external;
  j["macs"] = s.macs.macs;
  j["flops"] = 2 * s.macs.macs;
  j["macs_with_symbols_1"] = s.macs.assumed;
  j["nodes_without_known_macs"] = s.macs.unknown;
  j["quantized_nodes"] = s.quantized;
  if (!s.infer_error.empty()) j["inference_error"] = s.infer_error;
  j["warnings"] = s.warnings;
  if (o.values || o.nodes) {
    j["graphs"] = Json::array();
    for (size_t i = 0; i < m.num_graphs(); ++i) {
      const Graph& gr = m.graph(GraphId(static_cast<uint32_t>(i)));
      Json gj = {{"name", gr.name}, {"nodes", Json::array()}};
      for (NodeId id : gr.nodes) {
        const Node& n = m.node(id);
        Json nj = {{"name", n.name},
                   {"op", n.op.str()},
                   {"domain", n.domain.str()},
                   {"inputs", Json::array()},
                   {"outputs", Json::array()}};
        for (size_t k = 0; k < n.num_inputs(); ++k)
          nj["inputs"].push_back(n.has_input(k) ? m.value(n.input(k)).name : "");
        for (ValueId v : n.outputs())
          nj["outputs"].push_back(v.valid() ? type_json(m.value(v), m.value(v).type)
                                            : Json(nullptr));
        gj["nodes"].push_back(std::move(nj));
      }
      j["graphs"].push_back(std::move(gj));
    }
  }
  return j;
}

void print_one(const Summary& s, const Options& o) {
  const Model& m = s.model;
  const Graph& g = m.graph(m.main());
  std::string producer = escape(m.producer_name);
  if (!m.producer_version.empty()) producer += " " + escape(m.producer_version);
  print(format("{}\n  IR {}, {}{}\n", escape(s.path, 200), m.ir_version, opset_text(m),
               producer.empty() ? "" : ", made by " + producer));
  const auto values = [&](const char* what, const std::vector<ValueId>& list) {
    size_t shown = 0;
    for (ValueId v : list) {
      if (what[0] == 'i' && m.value(v).constant) continue;  // has a default: a weight
      if (++shown <= 20)
        print(format("  {:7} {}  {}\n", what, escape(m.value(v).name),
                     escape(m.value(v).type.text(), 200)));
    }
    if (shown > 20) print(format("  ... {} {}s in all\n", shown, what));
  };
  values("input", g.inputs);
  values("output", g.outputs);
  std::string extra;
  if (s.subgraphs) extra += format(", {} subgraphs", s.subgraphs);
  if (!m.functions.empty()) extra += format(", {} functions", m.functions.size());
  if (s.quantized) extra += format(", {} quantized or (de)quantizing", s.quantized);
  print(format("  {} nodes{}\n", human_count(static_cast<uint64_t>(s.nodes)), extra));
  std::string types;
  for (const auto& [t, b] : s.weight_types)
    types +=
        format("{}{} {}", types.empty() ? " (" : ", ", t, human_bytes(static_cast<uint64_t>(b)));
  print(format("  {} parameters, {}{}{}\n", human_count(static_cast<uint64_t>(s.parameters)),
               human_bytes(static_cast<uint64_t>(s.weight_bytes)), types.empty() ? "" : types + ")",
               s.external ? format(", {} tensors in external files", s.external) : ""));
  print("  " + macs_text(s.macs) + "\n");
  std::vector<std::pair<std::string, int64_t>> ops(s.ops.begin(), s.ops.end());
  std::stable_sort(ops.begin(), ops.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string line = "  ";
  for (const auto& [op, n] : ops) {
    const std::string item = format("{} {}", escape(op), n);
    if (line.size() + item.size() > 98) {
      print(line + "\n");
      line = "  ";
    }
    line += (line.size() > 2 ? ", " : "") + item;
  }
  print(line + "\n");
  if (!s.infer_error.empty())
    print("  shapes could not be inferred: " + escape(s.infer_error, 300) + "\n");
  if (!o.nodes) return;
  std::vector<std::vector<std::string>> rows = {{"node", "op", "outputs"}};
  for (NodeId id : g.nodes) {
    const Node& n = m.node(id);
    std::string outs;
    for (ValueId v : n.outputs())
      if (v.valid())
        outs += (outs.empty() ? "" : ", ") + escape(m.value(v).name) + " " +
                escape(m.value(v).type.text());
    rows.push_back({escape(n.name, 40), escape(n.op.view()), outs});
  }
  print(table(rows));
}

void print_side_by_side(const std::vector<Summary>& all) {
  std::vector<std::vector<std::string>> rows = {{""}};
  std::map<std::string, std::vector<int64_t>> ops;
  for (size_t i = 0; i < all.size(); ++i) {
    rows[0].push_back(escape(base_name(all[i].path), 40));
    for (const auto& [op, n] : all[i].ops) {
      ops[op].resize(all.size());
      ops[op][i] = n;
    }
  }
  const auto row = [&](const char* name, auto f) {
    std::vector<std::string> r = {name};
    for (const Summary& s : all) r.push_back(f(s));
    rows.push_back(std::move(r));
  };
  row("opsets", [](const Summary& s) { return opset_text(s.model); });
  row("nodes", [](const Summary& s) { return human_count(static_cast<uint64_t>(s.nodes)); });
  row("parameters",
      [](const Summary& s) { return human_count(static_cast<uint64_t>(s.parameters)); });
  row("weights",
      [](const Summary& s) { return human_bytes(static_cast<uint64_t>(s.weight_bytes)); });
  bool assumed = false, partial = false;
  row("MACs", [&](const Summary& s) {
    assumed |= !s.macs.assumed.empty();
    partial |= s.macs.unknown > 0;
    return macs_cell(s.macs);
  });
  for (const auto& [op, counts] : ops) {
    std::vector<std::string> r = {escape(op)};
    for (size_t i = 0; i < all.size(); ++i)
      r.push_back(i < counts.size() && counts[i] ? std::to_string(counts[i]) : "");
    rows.push_back(std::move(r));
  }
  print(table(rows));
  if (assumed) print("* with symbolic sizes taken as 1 (--set SYMBOL=N)\n");
  if (partial) print(">= nodes of unknown size are not counted\n");
  for (const Summary& s : all)
    if (!s.infer_error.empty())
      print(format("{}: shapes could not be inferred: {}\n", escape(s.path, 200),
                   escape(s.infer_error, 300)));
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->models,
                 "models to look at; several are shown side by side; - is standard input")
      ->required()
      ->type_name("MODEL");
  add_size_options(app, o->sizes);
  app.add_flag("--nodes", o->nodes, "list every node with the types of its outputs");
  app.add_flag("--json", o->json, "print a JSON document; with --nodes also every node");
  return [o, &global]() -> Status {
    std::vector<Summary> all;
    for (const std::string& path : o->models) {
      TRY_ASSIGN(all.emplace_back(), summarize(path, *o, global));
      for (const std::string& w : all.back().warnings)
        note(global, 1, escape(path, 200) + ": " + w);
    }
    if (o->json) {
      Json j = Json::array();
      for (const Summary& s : all) j.push_back(to_json(s, *o));
      print((all.size() == 1 ? j[0] : j).dump(2, ' ', false, Json::error_handler_t::replace) +
            "\n");
    } else if (all.size() == 1) {
      print_one(all[0], *o);
    } else {
      print_side_by_side(all);
    }
    return ok();
  };
}

}  // namespace

extern const Command cmd_inspect;
const Command cmd_inspect = {
    .name = "inspect",
    .group = "Models",
    .summary = "show inputs, outputs, operators, parameters and cost",
    .examples =
        "  onnxtool inspect model.onnx\n"
        "  onnxtool inspect before.onnx after.onnx\n"
        "  onnxtool inspect model.onnx --set batch=1 --json | jq .macs\n",
    .setup = setup,
};

}  // namespace onnxtool
