// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/function_library.h"

#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/load.h"
#include "libonnxtool/onnx/wire.h"

namespace onnxtool {

Status FunctionLibrary::add(const std::string& path) {
  LoadOptions as_it_is;
  as_it_is.lift = false;
  TRY_ASSIGN(const Model model, load_model(path, as_it_is));
  const std::string shown = path == "-" ? "standard input" : escape(path, 200);
  if (model.functions.empty()) return Status(invalid("the model has no functions")).context(shown);
  TRY_ASSIGN(std::string text, model_bytes(model));
  const Bytes bytes = Bytes::copy(std::move(text));
  return for_each_field(bytes.data, bytes.size, bytes.data, [&](const WireField& f) -> Status {
    if (f.number != 25 || f.type != WireType::kBytes) return ok();
    Entry e;
    e.proto = {f.data, f.size, bytes.owner};
    TRY(for_each_field(f.data, f.size, bytes.data, [&](const WireField& g) -> Status {
      if (g.type != WireType::kBytes) return ok();
      if (g.number == 1) e.name = g.str();
      if (g.number == 10) e.domain = g.str();
      if (g.number == 13) e.overload = g.str();
      return ok();
    }));
    if (e.domain == "ai.onnx") e.domain.clear();
    if (find(e.domain, e.name, e.overload))
      return Status(invalid(format("function {} is there already",
                                   quoted(e.domain.empty() ? e.name : e.domain + "." + e.name))))
          .context(shown);
    entries_.push_back(std::move(e));
    return ok();
  });
}

const FunctionLibrary::Entry* FunctionLibrary::find(std::string_view domain, std::string_view name,
                                                    std::string_view overload) const {
  if (domain == "ai.onnx") domain = "";
  const auto it = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return e.name == name && e.domain == domain && e.overload == overload;
  });
  return it == entries_.end() ? nullptr : &*it;
}

}  // namespace onnxtool
