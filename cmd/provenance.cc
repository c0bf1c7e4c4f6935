// SPDX-License-Identifier: Apache-2.0
#include "cmd/provenance.h"

#include "libonnxtool/onnx/wire.h"
#include "libonnxtool/onnx/wire_build.h"

namespace onnxtool {
namespace {

constexpr uint32_t kMetadataProps = 14, kKey = 1, kValue = 2;

}  // namespace

Status set_metadata(Model& model, const std::string& key, const std::string& text) {
  std::string kept;
  const Bytes& extra = model.extra;
  TRY(for_each_field(extra.data, extra.size, extra.data, [&](const WireField& f) -> Status {
    bool same = false;
    if (f.number == kMetadataProps && f.type == WireType::kBytes)
      TRY(for_each_field(f.data, f.size, extra.data, [&](const WireField& g) -> Status {
        same = same || (g.number == kKey && g.type == WireType::kBytes && g.view() == key);
        return ok();
      }));
    if (!same)
      kept.append(reinterpret_cast<const char*>(f.start), static_cast<size_t>(f.end - f.start));
    return ok();
  }));
  WireBuilder entry;
  entry.begin(kMetadataProps);
  entry.bytes(kKey, key);
  entry.bytes(kValue, text);
  entry.end();
  model.extra = Bytes::copy(kept + entry.take());
  return ok();
}

}  // namespace onnxtool
