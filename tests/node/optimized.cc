// SPDX-License-Identifier: Apache-2.0
// Property: what optimize makes of a model computes the same. Each official case (FOLDER/KIND/CASE,
// made by scripts/node_cases, without the large ones of kind `light`) is optimized with its inputs
// as they are, with symbols for their sizes, and with their contents as constants, so that all of
// it folds.
//
// usage: node_optimized FOLDER
#include <cstdio>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/interpreter.h"
#include "libonnxtool/onnx/load.h"
#include "libonnxtool/ops/op.h"
#include "passes/passes.h"
#include "tests/node/cases.h"
#include "tests/runner/values.h"

namespace onnxtool {
namespace {

constexpr cases::Tolerance kClose = {1e-3, 1e-5};

// Tensors that are given become constants.
void fix_inputs(Model& m, const std::vector<Datum>& inputs) {
  std::vector<ValueId> open;
  Graph& g = m.graph(m.main());
  for (size_t i = 0; i < inputs.size(); ++i) {
    Value& v = m.value(g.inputs[i]);
    if (!inputs[i].is_tensor() || v.constant) {
      open.push_back(g.inputs[i]);
      continue;
    }
    v.kind = ValueKind::kInitializer;
    m.set_constant(g.inputs[i], inputs[i].tensor);
    g.initializers.push_back(g.inputs[i]);
  }
  g.inputs = std::move(open);
  m.ir_version = std::max<int64_t>(m.ir_version, 4);
}

// A symbol of its own in place of every size of an input. Before opset 7 shapes of operands had to
// be known to agree.
void open_sizes(Model& m) {
  if (m.opset(m.main(), {}) < 7) return;
  const std::vector<ValueId>& inputs = m.graph(m.main()).inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Value& v = m.value(inputs[i]);
    if (v.constant || !v.type.is_tensor() || !v.type.shape) continue;
    for (size_t k = 0; k < v.type.shape->size(); ++k)
      (*v.type.shape)[k] = Dim::symbol(format("s{}_{}", i, k));
    v.declared = v.type;
  }
}

bool draws(const Model& m) {
  for (uint32_t i = 0; i < m.num_nodes(); ++i)
    if (const OpDef* def = find_op(m.node(NodeId(i))); def && (def->flags & kRandom)) return true;
  return false;
}

Status same(const Model& original, const std::vector<Datum>& inputs, Model changed,
            const OptimizeOptions& options) {
  TRY_ASSIGN(const std::vector<Datum> want, Interpreter(original).run(inputs));
  TRY(optimize(changed, options));
  TRY_ASSIGN(std::string bytes, model_bytes(changed));
  TRY_ASSIGN(const Model written, read_model(Bytes::copy(std::move(bytes)), ""));
  const std::vector<ValueId>& before = original.graph(original.main()).inputs;
  std::vector<Datum> left;  // a default may be a plain constant now
  for (ValueId v : written.graph(written.main()).inputs)
    for (size_t i = 0; i < before.size(); ++i)
      if (original.value(before[i]).name == written.value(v).name) left.push_back(inputs[i]);
  TRY_ASSIGN(const std::vector<Datum> got, Interpreter(written).run(left));
  for (size_t i = 0; i < want.size(); ++i)
    if (std::string why = cases::difference(got[i], want[i], kClose); !why.empty())
      return invalid(format("output {}: {}", i, why));
  return ok();
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: node_optimized FOLDER\n");
    return 2;
  }
  int64_t runs = 0, faults = 0;
  for (const fs::path& folder : case_folders(argv[1])) {
    if (folder.parent_path().filename() == "light") continue;
    auto model = load_model((folder / "model.onnx").string());
    if (!model.ok() || draws(*model)) continue;
    auto inputs = read_inputs(*model, folder / "test_data_set_0");
    if (!inputs.ok()) continue;
    const auto check = [&](const char* how, Model m, const OptimizeOptions& options) {
      ++runs;
      if (auto s = same(*model, *inputs, std::move(m), options); !s.ok() && ++faults)
        std::printf("%s, %s: %s\n", folder.filename().string().c_str(), how,
                    s.error().text().c_str());
    };
    OptimizeOptions options;
    options.level = 3;
    for (const char* target : {"onnx", "ort"}) {
      options.target = target;
      check(target, model->clone(), options);
    }
    Model open = model->clone();
    open_sizes(open);
    check("symbols", std::move(open), options);
    Model fixed = model->clone();
    fix_inputs(fixed, *inputs);
    check("constants", std::move(fixed), options);
  }
  std::printf("%lld runs, %lld faults\n", static_cast<long long>(runs),
              static_cast<long long>(faults));
  return faults == 0 && runs > 0 ? 0 : 1;
}

}  // namespace
}  // namespace onnxtool

int main(int argc, char** argv) { return onnxtool::main(argc, argv); }
