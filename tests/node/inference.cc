// SPDX-License-Identifier: Apache-2.0
// Property: what inference says of a value holds when the model is evaluated. For each official
// case (FOLDER/KIND/CASE, made by scripts/node_cases) three inferences, all without the types that
// the file declares for what nodes make: inputs as declared; inputs as declared, with a symbol in
// place of every size; and with the contents of the inputs known. Symbols are bound to the sizes of
// the recorded inputs, then types, shapes and known contents of every value are compared with
// evaluation.
//
// usage: node_inference FOLDER [-v]      -v lists values without rank
#include <cstdio>
#include <deque>
#include <map>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/infer/interpreter.h"
#include "libonnxtool/onnx/load.h"
#include "tests/node/cases.h"

namespace onnxtool {
namespace {

enum Mode : uint8_t { kDeclared, kSymbolic, kKnown };
constexpr const char* kModes[] = {"as declared", "symbolic", "contents known"};

struct Counts {
  int64_t values = 0, typed = 0, ranked = 0, sized = 0, runs = 0, unsupported = 0, faults = 0;
};

// Sizes that symbols stand for.
struct Binding {
  std::map<std::string, int64_t, std::less<>> sizes;
  bool fixed = false;  // inside of bodies a symbol stands for another size in each round

  // False: d cannot be n.
  bool agrees(Dim d, int64_t n) {
    if (d.is_unknown()) return true;
    if (!fixed && d.is_symbol() && sizes.find(d.text()) == sizes.end()) sizes[d.text()] = n;
    bool complete = true;
    const auto v = d.evaluate([&](std::string_view s) -> std::optional<int64_t> {
      const auto it = sizes.find(s);
      if (it != sizes.end()) return it->second;
      complete = false;
      return std::nullopt;
    });
    return !complete || (v && *v == n);
  }
};

bool agrees(const Type& t, const Datum& d, Binding& b) {
  if (!t.known() || !d.has_value()) return true;
  if (t.kind == TypeKind::kOptional) {
    if (d.kind != TypeKind::kOptional) return !t.inner || agrees(*t.inner, d, b);
    return !d.opt || !t.inner || agrees(*t.inner, *d.opt, b);
  }
  if (t.kind != d.kind) return false;
  if (t.kind == TypeKind::kSequence) {
    // The elements' type holds for each; a symbol in it need not be the same size in all.
    Binding each = b;
    for (const Datum& e : *d.seq) {
      each.fixed = true;
      if (t.inner && !agrees(*t.inner, e, each)) return false;
    }
    return true;
  }
  if (!d.is_tensor()) return true;
  if (t.dtype != DType::kUndefined && t.dtype != d.tensor.dtype()) return false;
  if (!t.shape) return true;
  if (t.shape->size() != d.tensor.dims().size()) return false;
  for (size_t i = 0; i < t.shape->size(); ++i)
    if (!b.agrees((*t.shape)[i], d.tensor.dims()[i])) return false;
  return true;
}

bool agrees(const PartialValue& p, const Datum& d, Binding& b) {
  if (!d.is_tensor() || static_cast<int64_t>(p.size()) != d.tensor.size()) return false;
  for (size_t i = 0; i < p.size(); ++i)
    if (!b.agrees(p[i], d.tensor.i64_at(static_cast<int64_t>(i)))) return false;
  return true;
}

std::string shown(const Datum& d) {
  Type t = type_of(d);
  return t.text();
}

// Forgets what the file says of values that nodes make, and of inputs of bodies.
void forget_declarations(Model& m) {
  for (size_t i = 0; i < m.num_values(); ++i) {
    Value& v = m.value(ValueId(static_cast<uint32_t>(i)));
    if (v.kind == ValueKind::kOutput || (v.kind == ValueKind::kInput && v.graph != m.main()))
      v.type = v.declared = Type();
  }
  for (size_t g = 0; g < m.num_graphs(); ++g)
    for (Type& t : m.graph(GraphId(static_cast<uint32_t>(g))).output_types) t = Type();
}

struct Case {
  const Model& original;
  std::string name;
  std::vector<Datum> inputs;
  bool verbose = false;
  Counts* counts;  // of each mode

  void fault(Mode mode, const std::string& text) {
    ++counts[mode].faults;
    std::printf("%s, %s: %s\n", name.c_str(), kModes[mode], text.c_str());
  }

  struct Inferred {
    Mode mode;
    Model model;
    Binding binding;
    std::unique_ptr<Inference> inference;
  };

  bool infer(Inferred& in) {
    forget_declarations(in.model);
    InferOptions options;
    const Graph& g = in.model.graph(in.model.main());
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      Value& v = in.model.value(g.inputs[i]);
      const bool tensor = inputs[i].is_tensor() && v.type.is_tensor() && v.type.shape;
      options.input_values.push_back(in.mode == kKnown && tensor ? inputs[i].tensor : Tensor());
      if (!tensor || v.constant) continue;
      for (size_t k = 0; in.mode == kSymbolic && k < v.type.shape->size(); ++k)
        (*v.type.shape)[k] = Dim::symbol(format("s{}_{}", i, k));
      v.declared = v.type;
      if (!agrees(v.type, inputs[i], in.binding)) {
        fault(in.mode, format("input {} is {}, the file has {}", onnxtool::quoted(v.name),
                              v.type.text(), shown(inputs[i])));
        return false;
      }
    }
    ++counts[in.mode].runs;
    in.inference = std::make_unique<Inference>(in.model, options);
    if (auto done = in.inference->run(); !done.ok()) {
      fault(in.mode, done.error().text());
      return false;
    }
    return true;
  }

  void compare(Inferred& in, const NodeRun& r) {
    const Model& m = in.model;
    const Node& node = m.node(r.node);
    in.binding.fixed = r.function != nullptr || node.graph != m.main();
    for (size_t i = 0; i < r.outputs.size(); ++i) {
      if (!node.has_output(i) || !r.outputs[i].has_value()) continue;
      const ValueId v = node.output(i);
      const Type& t = in.inference->type(v);
      count(in.mode, node, t);
      if (!agrees(t, r.outputs[i], in.binding))
        fault(in.mode, format("{}: {} is inferred as {}, evaluation gives {}", m.describe(r.node),
                              onnxtool::quoted(m.value(v).name), t.text(), shown(r.outputs[i])));
      const PartialValue* p = in.binding.fixed ? nullptr : in.inference->partial(v);
      if (p && !agrees(*p, r.outputs[i], in.binding))
        fault(in.mode, format("{}: the contents of {} are not as inferred", m.describe(r.node),
                              onnxtool::quoted(m.value(v).name)));
    }
  }

  void run() {
    std::deque<Inferred> all;  // inference points to the model
    for (const Mode mode : {kDeclared, kSymbolic, kKnown}) {
      all.push_back({mode, original.clone(), {}, nullptr});
      if (!infer(all.back())) all.pop_back();
    }
    if (all.empty()) return;
    InterpreterOptions running;
    running.observe = [&](const NodeRun& r) -> Status {
      for (Inferred& in : all) compare(in, r);
      return ok();
    };
    auto outputs = Interpreter(all[0].model, running).run(inputs);
    if (outputs.ok()) return;
    if (outputs.error().code == Code::kUnsupported)
      ++counts[all[0].mode].unsupported;
    else
      fault(all[0].mode, outputs.error().text());
  }

  void count(Mode mode, const Node& node, const Type& t) {
    Counts& c = counts[mode];
    ++c.values;
    const bool typed = t.known() && (!t.is_tensor() || t.dtype != DType::kUndefined);
    c.typed += typed;
    const bool ranked = typed && (!t.is_tensor() || t.shape);
    c.ranked += ranked;
    c.sized += ranked && (!t.is_tensor() || t.is_static());
    if (verbose && !ranked)
      std::printf("%s, %s: no rank of an output of %s\n", name.c_str(), kModes[mode],
                  std::string(node.op.view()).c_str());
  }
};

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: node_inference FOLDER [-v]\n");
    return 2;
  }
  const std::vector<fs::path> folders = case_folders(argv[1]);
  Counts counts[std::size(kModes)];
  for (const fs::path& folder : folders) {
    const std::string name = folder.filename().string();
    auto model = load_model((folder / "model.onnx").string());
    if (!model.ok()) {
      ++counts[0].faults;
      std::printf("%s: %s\n", name.c_str(), model.error().text().c_str());
      continue;
    }
    auto inputs = read_inputs(*model, folder / "test_data_set_0");
    if (!inputs.ok()) {
      ++counts[0].faults;
      std::printf("%s: %s\n", name.c_str(), inputs.error().text().c_str());
      continue;
    }
    Case{*model, name, *inputs, argc > 2, counts}.run();
  }
  int64_t faults = 0;
  for (size_t i = 0; i < std::size(kModes); ++i) {
    const Counts& c = counts[i];
    faults += c.faults;
    std::printf(
        "%s: %s cases, %s values: %s with type, %s with rank, %s with all sizes; %s not supported, "
        "%s faults\n",
        kModes[i], std::to_string(c.runs).c_str(), std::to_string(c.values).c_str(),
        std::to_string(c.typed).c_str(), std::to_string(c.ranked).c_str(),
        std::to_string(c.sized).c_str(), std::to_string(c.unsupported).c_str(),
        std::to_string(c.faults).c_str());
  }
  return faults == 0 && !folders.empty() ? 0 : 1;
}

}  // namespace
}  // namespace onnxtool

int main(int argc, char** argv) { return onnxtool::main(argc, argv); }
