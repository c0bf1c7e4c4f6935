// SPDX-License-Identifier: Apache-2.0
// What a user of the installed library writes: load, check, optimize, run. The README shows this
// file.
#include <cstdio>

#include "exec/engine.h"
#include "libonnxtool/infer/verify.h"
#include "libonnxtool/onnx/load.h"
#include "passes/passes.h"

using namespace onnxtool;

Status work(const char* path) {
  TRY_ASSIGN(Model model, load_model(path));
  TRY(verify_and_infer(model));
  TRY_ASSIGN(OptimizeReport report, optimize(model));
  std::printf("%zu nodes, %zu before\n", report.nodes_after, report.nodes_before);

  TRY_ASSIGN(Engine engine, Engine::compile(model));
  const Datum x(Tensor::of<float>({1, 4}, {1, 1, 1, 1}));
  TRY_ASSIGN(std::vector<Datum> y,
             engine.run(std::vector<std::pair<std::string, Datum>>{{"x", x}}));
  for (float v : y[0].tensor.as<float>()) std::printf("%g\n", v);
  return ok();
}

int main(int argc, char** argv) {
  const Status status = work(argc > 1 ? argv[1] : "-");
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().text().c_str());
  return status.ok() ? 0 : exit_status(status.error().code);
}
