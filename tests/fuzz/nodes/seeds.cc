// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/nodes/seeds.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/data.h"
#include "libonnxtool/onnx/load.h"
#include "tests/runner/case_file.h"
#include "tests/runner/values.h"

namespace fs = std::filesystem;

namespace onnxtool::fuzz {
namespace {

void add(std::vector<Seed>& seeds, const std::string& name, const Model& m,
         const std::vector<Datum>& inputs) {
  Seed s{name, {}};
  if (case_of(m, inputs, s.node)) seeds.push_back(std::move(s));
}

void add_text_cases(std::vector<Seed>& seeds, const std::string& path) {
  const auto all = cases::read_cases(path);
  if (!all.ok()) return;
  for (const cases::Case& c : *all) {
    const cases::Entry* text = c.find("model");
    if (text == nullptr) continue;
    std::optional<int64_t> opset;
    for (const cases::Entry& e : c.entries)
      if (e.key == "opset" && e.name.find(' ') == std::string::npos)
        opset = std::strtoll(e.name.c_str(), nullptr, 10);
    const auto m = cases::read_model_text(c, *text, opset);
    if (!m.ok()) continue;
    const Graph& g = m->graph(m->main());
    std::vector<Datum> inputs(g.inputs.size());
    for (const cases::Entry& e : c.entries)
      for (size_t i = 0; i < inputs.size(); ++i)
        if (e.key == "input" && m->value(g.inputs[i]).name == e.name)
          if (auto v = cases::read_value(e.text); v.ok()) inputs[i] = std::move(*v);
    add(seeds, c.file + ": " + c.name, *m, inputs);
  }
}

void add_official_case(std::vector<Seed>& seeds, const fs::path& folder) {
  const auto m = load_model((folder / "model.onnx").string());
  if (!m.ok()) return;
  const Graph& g = m->graph(m->main());
  std::vector<Datum> inputs(g.inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto file =
        MappedFile::open((folder / format("test_data_set_0/input_{}.pb", i)).string());
    if (!file.ok()) break;
    auto d = read_datum(Bytes{(*file)->data(), (*file)->size(), *file}, m->value(g.inputs[i]).type);
    if (d.ok() && (!d->is_tensor() || d->tensor.size() <= 4096)) inputs[i] = std::move(*d);
  }
  add(seeds, folder.filename().string(), *m, inputs);
}

}  // namespace

std::vector<Seed> seeds_of(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& p : paths) {
    if (!fs::is_directory(p)) files.emplace_back(p);
    if (fs::is_directory(p))
      for (const auto& e : fs::recursive_directory_iterator(p))
        if (e.path().extension() == ".test" || e.path().filename() == "model.onnx")
          files.push_back(e.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Seed> seeds;
  for (const fs::path& f : files) {
    if (f.extension() == ".test")
      add_text_cases(seeds, f.string());
    else
      add_official_case(seeds, f.parent_path());
  }
  return seeds;
}

}  // namespace onnxtool::fuzz
