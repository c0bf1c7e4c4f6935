// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/carried.h"

#include <unordered_set>

#include "libonnxtool/onnx/wire.h"

namespace onnxtool {
namespace {

constexpr uint32_t kTrainingInfo = 20, kConfiguration = 26;  // of ModelProto
constexpr uint32_t kQuantizationAnnotation = 14;             // of GraphProto
constexpr uint32_t kTensorName = 1, kParameters = 2;         // of TensorAnnotation
constexpr uint32_t kValue = 2;                               // of StringStringEntryProto

}  // namespace

Result<const char*> speaks_of_values(const Model& model) {
  const char* found = nullptr;
  const Bytes& extra = model.extra;
  TRY(for_each_field(extra.data, extra.size, extra.data, [&](const WireField& f) -> Status {
    if (f.number == kTrainingInfo) found = "training information";
    if (f.number == kConfiguration) found = "configurations of devices";
    return ok();
  }));
  return found;
}

Result<std::vector<ValueId>> annotated_initializers(const Model& model) {
  std::vector<ValueId> found;
  if (model.num_graphs() == 0) return found;
  std::unordered_set<std::string> names;
  const Graph& main = model.graph(model.main());
  const std::byte* base = main.extra.data;
  const auto name = [&](const WireField& f, uint32_t number) {
    if (f.number == number && f.type == WireType::kBytes) names.insert(f.str());
  };
  TRY(for_each_field(base, main.extra.size, base, [&](const WireField& f) -> Status {
    if (f.number != kQuantizationAnnotation || f.type != WireType::kBytes) return ok();
    return for_each_field(f.data, f.size, base, [&](const WireField& g) -> Status {
      name(g, kTensorName);
      if (g.number != kParameters || g.type != WireType::kBytes) return ok();
      return for_each_field(g.data, g.size, base, [&](const WireField& h) -> Status {
        name(h, kValue);
        return ok();
      });
    });
  }));
  for (ValueId v : main.initializers)
    if (names.count(model.value(v).name)) found.push_back(v);
  return found;
}

}  // namespace onnxtool
