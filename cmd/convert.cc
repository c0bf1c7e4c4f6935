// SPDX-License-Identifier: Apache-2.0
// onnxtool convert: the same model in another form.
#include <CLI/CLI.hpp>
#include <memory>

#include "cmd/command.h"
#include "cmd/libraries.h"
#include "cmd/output.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/infer/inline.h"
#include "libonnxtool/onnx/load.h"

namespace onnxtool {
namespace {

struct Options {
  std::string input, output, output2, to, external, data_name;
  uint64_t threshold = 1024, alignment = 4096;
  bool inline_functions = false;
};

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->input, "model to read; - is standard input")
      ->required()
      ->type_name("MODEL");
  app.add_option("target", o->output2, "where to write; - is standard output")->type_name("OUT");
  app.add_option("-o,--output", o->output, "where to write (the same as OUT)")->type_name("OUT");
  app.add_option(
         "--to", o->to,
         "form to write: onnx, text or json (default: by OUT's ending: .onnx .txt .onnxtxt .json)")
      ->check(CLI::IsMember({"onnx", "text", "json"}))
      ->type_name("FORM");
  app.add_option("--external-data", o->external,
                 "where tensors go: keep (as they are), none (all inside), one (one file), many (a "
                 "file each)")
      ->check(CLI::IsMember({"keep", "none", "one", "many"}))
      ->type_name("HOW");
  app.add_option("--external-threshold", o->threshold, "smaller tensors stay inside (one, many)")
      ->type_name("BYTES")
      ->capture_default_str();
  app.add_option("--external-alignment", o->alignment,
                 "alignment of offsets in data files, a power of two")
      ->type_name("BYTES")
      ->capture_default_str();
  app.add_option("--external-name", o->data_name,
                 "name of the data file for one (default: OUT's name + .data)")
      ->type_name("NAME");
  app.add_flag("--inline-functions", o->inline_functions,
               "replace calls of local functions by their bodies");
  return [o, &global]() -> Status {
    if (!o->output.empty() && !o->output2.empty()) return usage_error("OUT is given twice");
    const std::string out = o->output.empty() ? o->output2 : o->output;
    if (out.empty()) return usage_error("no output: give OUT or -o OUT");
    SaveOptions save;
    save.form = o->to == "text"   ? ModelForm::kText
                : o->to == "json" ? ModelForm::kJson
                : o->to == "onnx" ? ModelForm::kBinary
                                  : form_of_path(out);
    save.external = o->external == "none"   ? ExternalData::kNone
                    : o->external == "one"  ? ExternalData::kOne
                    : o->external == "many" ? ExternalData::kMany
                                            : ExternalData::kKeep;
    save.threshold = o->threshold;
    save.alignment = o->alignment;
    save.data_name = o->data_name;
    LoadOptions load;
    // Without functions to fit in, nothing is changed: each node is written as it was read.
    load.lift = o->inline_functions || global.library;
    TRY_ASSIGN(Model model, load_for(global, o->input, load));
    if (o->inline_functions) {
      TRY(inline_functions(model));
      (void)Inference(model).run();  // older forms of some operators follow from types
    }
    return save_model(model, out, save);
  };
}

}  // namespace

extern const Command cmd_convert;
const Command cmd_convert = {
    .name = "convert",
    .group = "Models",
    .summary = "write a model in another form: binary, text, JSON, external data",
    .examples =
        "  onnxtool convert model.onnx model.json\n"
        "  onnxtool convert model.onnx - --to text | less\n"
        "  onnxtool convert exported.onnx flat.onnx --inline-functions\n"
        "  onnxtool convert big.onnx big2.onnx --external-data one\n",
    .setup = setup,
};

}  // namespace onnxtool
