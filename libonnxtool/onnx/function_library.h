// SPDX-License-Identifier: Apache-2.0
// Functions offered to models that do not hold them: the local functions of a model that serves as
// a library.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/ids.h"

namespace onnxtool {

class FunctionLibrary {
 public:
  // Adds the functions of a model in any form; its graph is not looked at. kInvalid: it cannot be
  // read, has no functions, or one that is there already.
  Status add(const std::string& path);

  struct Entry {
    std::string domain, name, overload;
    Bytes proto;  // FunctionProto
  };
  // nullptr: there is none. Domains "" and "ai.onnx" are the same.
  const Entry* find(std::string_view domain, std::string_view name,
                    std::string_view overload) const;
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace onnxtool
