// SPDX-License-Identifier: Apache-2.0
#include "cmd/prepare.h"

#include <malloc.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <set>
#include <span>

#include "cmd/libraries.h"
#include "cmd/output.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/base/file_identity.h"
#include "libonnxtool/infer/verify.h"
#include "libonnxtool/ir/weights.h"
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

// What decides the packed weights: the tool itself, options, and the files that the model's bytes
// come from. Empty: no files (standard input).
std::string cache_key(const std::string& path, const Model& m, const EngineFlags& flags,
                      const GlobalOptions& global) {
  std::set<std::string> files = {file_identity(path)};
  for_each_weight(m, [&](const TensorConst& t) { files.insert(file_identity(t.tensor.raw())); });
  if (files.count("") && file_identity(path).empty()) return "";
  std::string key =
      format("onnxtool {} {}\n{} {} {}\n", ONNXTOOL_VERSION, file_identity("/proc/self/exe"),
             flags.precision, flags.backend, flags.optimize);
  for (const std::string& f : files) key += f + "\n";
  for (const auto* list : {&global.functions, &global.op_libraries})
    for (const std::string& f : *list) key += file_identity(f) + "\n";
  return key;
}

Result<Model> read_kept(const Bytes& bytes, const std::string& path, const GlobalOptions& global) {
  LoadOptions options;
  options.functions = global.library.get();
  return read_model(bytes, path, options);
}

// The rewritten model goes to the cache, and p.model becomes what a later start reads there: packed
// weights go by its names. A model that cannot be written so is rewritten at each start.
void keep_model(PreparedModel& p, const std::string& path, const GlobalOptions& global) {
  auto made = model_bytes_beside(p.model, dir_name(path));
  if (!made.ok()) return note(global, 1, "--cache: " + made.error().text());
  Bytes bytes = Bytes::copy(std::move(*made));
  auto again = read_kept(bytes, path, global);
  if (!again.ok() || !verify_and_infer(*again).ok()) return;
  p.model = std::move(*again);
  p.options.pack_model = std::move(bytes);
}

// What is really computed in when the user asks for `wanted`.
Result<std::string> used_precision(const std::string& wanted, const std::string& device) {
  if (wanted == "tf32" && device == "cpu")
    return unsupported("--precision tf32: for CUDA devices only, see --device");
  if (wanted == "bf16" && device != "cpu")
    return unsupported(
        "--precision bf16: for the CPU only; models in bfloat16 run on CUDA devices");
  if (wanted == "fp16")
    return unsupported("--precision fp16: no kernel computes in it; fp32, fp32-strict and bf16 do");
  return wanted == "auto" ? "fp32" : wanted;
}

bool holds_half(const Model& m) {
  for (size_t i = 0; i < m.num_values(); ++i) {
    const DType t = m.value(ValueId(static_cast<uint32_t>(i))).type.dtype;
    if (t == DType::kFloat16 || t == DType::kBfloat16) return true;
  }
  return false;
}

}  // namespace

void add_device_option(CLI::App& app, std::string& device) {
  app.add_option("--device", device, "cpu, cuda, cuda:N, or auto: a CUDA device if there is one")
      ->type_name("D")
      ->capture_default_str();
}

void add_engine_options(CLI::App& app, EngineFlags& f, std::vector<std::string>* precisions) {
  const char* what =
      "fp32: error as of fp32 arithmetic; fp32-strict: plain fused multiply-add only; auto: the "
      "fastest whose error is that of fp32; bf16: operands of products and convolutions rounded to "
      "bfloat16, sums in fp32; tf32: on a CUDA device, operands of products rounded to 11 bits; "
      "what "
      "the machine cannot do is refused";
  CLI::Option* precision = precisions ? app.add_option("--precision", *precisions, what)
                                      : app.add_option("--precision", f.precision, what);
  if (precisions) precision->delimiter(',')->allow_extra_args(false);
  precision->check(CLI::IsMember({"fp32", "fp32-strict", "tf32", "bf16", "fp16", "auto"}))
      ->type_name(precisions ? "P,..." : "P")
      ->capture_default_str();
  add_device_option(app, f.device);
  app.add_option("--backend", f.backend,
                 "engine, or reference: the evaluation that defines each operator")
      ->check(CLI::IsMember({"engine", "reference"}))
      ->type_name("WHICH")
      ->capture_default_str();
  app.add_option(
         "--cache", f.cache,
         "keep the rewritten model and packed weights in this folder: the next start is quicker")
      ->type_name("FOLDER");
  app.add_option("--tune", f.tune,
                 "choose kernels by their time on this machine, and keep the choices in this file")
      ->type_name("FILE");
  app.add_flag("--explain", f.explain, "print the plan: steps, kernels, layouts, memory");
  app.add_flag("!--no-optimize", f.optimize, "run the model as it is, without rewriting it first");
}

void save_cache(const Engine& engine, const EngineFlags& flags, const GlobalOptions& global) {
  const EngineStats stats = engine.stats();
  if (!stats.tune_note.empty())
    warn(global, "--tune: the file is ignored and written anew: " + stats.tune_note);
  if (stats.tuned > 0) note(global, 1, format("--tune: {} steps measured", stats.tuned));
  if (Status s = engine.save_tuning(); !s.ok()) warn(global, "--tune: " + s.error().text());
  if (flags.cache.empty()) return;
  if (!stats.pack_note.empty())
    warn(global, "--cache: a file is ignored and written anew: " + stats.pack_note);
  ::mkdir(flags.cache.c_str(), 0777);
  if (Status s = engine.save_packs(); !s.ok()) warn(global, "--cache: " + s.error().text());
}

Result<PreparedModel> prepare_model(const std::string& path, const EngineFlags& flags,
                                    const GlobalOptions& global) {
  const auto start = std::chrono::steady_clock::now();
  PreparedModel p;
  TRY_ASSIGN(p.precision, used_precision(flags.precision, flags.device));
  TRY_ASSIGN(p.model, load_for(global, path));
  if (flags.keep_original) p.original = original_nodes(p.model);
  if (!flags.cache.empty()) {
    p.options.pack_key = cache_key(path, p.model, flags, global);
    if (p.options.pack_key.empty())
      warn(global, "--cache: nothing is kept of a model from standard input");
    else
      p.options.pack_file =
          flags.cache + "/" + sha1_hex(std::as_bytes(std::span(p.options.pack_key))) + ".packs";
  }
  const bool rewrites = flags.optimize && flags.backend == "engine";
  bool kept = false;
  if (rewrites && !p.options.pack_file.empty()) {
    const Bytes bytes = packed_model(p.options.pack_file, p.options.pack_key);
    auto model = bytes.empty() ? Result<Model>(Model()) : read_kept(bytes, path, global);
    kept = !bytes.empty() && model.ok();
    if (kept) p.model = std::move(*model);
  }
  auto checked = verify_and_infer(p.model);
  if (!checked.ok())
    return std::move(checked).context(path == "-" ? "standard input" : escape(path, 200)).error();
  for (const Finding& f : checked->findings) note(global, 1, f.text());
  checked->state.reset();
  if (rewrites && !kept) {
    OptimizeOptions options;
    options.skip = {"fuse-scale", "fuse-matmul-affine"};  // plans do so without copies of weights
    TRY(optimize(p.model, options));
    malloc_trim(0);  // what the passes took goes back before weights are packed
    if (!p.options.pack_file.empty()) keep_model(p, path, global);
  }
  p.options.threads = global.threads;
  p.options.precision = p.precision == "fp32-strict" ? Precision::kFp32Strict
                        : p.precision == "bf16"      ? Precision::kBf16
                        : p.precision == "tf32"      ? Precision::kTf32
                                                     : Precision::kFp32;
  p.options.tune_file = flags.tune;
  if (flags.precision == "auto") note(global, 0, "precision: " + p.precision);
  if (p.precision == "bf16")
    note(global, 0,
         "precision: bf16 for operands of products and convolutions with weights, fp32 for their "
         "sums and all else");
  if (flags.device == "cpu" && holds_half(p.model))
    note(global, 1, "float16 and bfloat16 are computed in float");
  p.options.device = flags.device;
  p.options.reference = flags.backend == "reference";
  p.options.explain = flags.explain;
  p.load_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return p;
}

}  // namespace onnxtool
