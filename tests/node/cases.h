// SPDX-License-Identifier: Apache-2.0
// Official cases as scripts/node_cases writes them: FOLDER/KIND/CASE/model.onnx and the data beside
// it.
#pragma once
#include <algorithm>
#include <filesystem>
#include <vector>

#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/model.h"
#include "libonnxtool/onnx/data.h"

namespace onnxtool {

namespace fs = std::filesystem;

inline std::vector<fs::path> case_folders(const char* folder) {
  std::vector<fs::path> folders;
  for (const auto& kind : fs::directory_iterator(folder))
    if (kind.is_directory())
      for (const auto& c : fs::directory_iterator(kind.path()))
        if (fs::exists(c.path() / "model.onnx")) folders.push_back(c.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

inline Result<std::vector<Datum>> read_inputs(const Model& m, const fs::path& folder) {
  const Graph& g = m.graph(m.main());
  std::vector<Datum> inputs(g.inputs.size());
  const auto path = [&](size_t file) { return folder / ("input_" + std::to_string(file) + ".pb"); };
  // Files count inputs without initializers, unless there are more files than those.
  size_t required = 0;
  for (const ValueId v : g.inputs) required += m.value(v).constant == nullptr;
  const bool all = fs::exists(path(required));
  size_t file = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& v = m.value(g.inputs[i]);
    if (v.constant && !all) continue;
    if (!fs::exists(path(file))) break;
    TRY_ASSIGN(const auto file_bytes, MappedFile::open(path(file).string()));
    TRY_ASSIGN(inputs[i],
               read_datum(Bytes{file_bytes->data(), file_bytes->size(), file_bytes}, v.type));
    ++file;
  }
  return inputs;
}

}  // namespace onnxtool
