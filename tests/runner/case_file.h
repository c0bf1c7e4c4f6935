// SPDX-License-Identifier: Apache-2.0
// The files of text cases (tests/ops/README.md): cases begin with "== NAME"; a line that begins
// with a keyword opens an entry, lines that begin with space continue it.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libonnxtool/base/error.h"

namespace onnxtool::cases {

struct Entry {
  std::string key;   // "input"
  std::string name;  // "x" of "input x = ..."; the whole rest where there is no " = "
  std::string text;  // after " = ", with the lines that follow
  int line = 0;
};

struct Case {
  std::string file;  // without folder and ending
  std::string name;
  int line = 0;
  std::vector<Entry> entries;

  const Entry* find(std::string_view key) const {
    for (const Entry& e : entries)
      if (e.key == key) return &e;
    return nullptr;
  }
};

Result<std::vector<Case>> read_cases(const std::string& path);

// "BACKEND FILE NAME: REASON" lines of a skip list; the key is all before the colon.
Result<std::map<std::string, std::string>> read_skips(const std::string& path);

}  // namespace onnxtool::cases
