// SPDX-License-Identifier: Apache-2.0
#include "tests/runner/case_file.h"

#include <algorithm>
#include <fstream>

#include "libonnxtool/base/str.h"

namespace onnxtool::cases {
namespace {

constexpr std::string_view kKeys[] = {"opset",     "model", "input",  "expect", "type", "error",
                                      "tolerance", "pass",  "before", "after",  "ops",  "refuse",
                                      "nothing",   "dim",   "target", "rules"};

std::string trim(std::string s) {
  s.erase(0, std::min(s.find_first_not_of(" \t\r"), s.size()));
  s.erase(s.find_last_not_of(" \t\r") + 1);
  return s;
}

std::string stem(const std::string& path) {
  const size_t slash = path.rfind('/') + 1;
  return path.substr(slash, path.rfind('.') - slash);
}

}  // namespace

Result<std::vector<Case>> read_cases(const std::string& path) {
  std::ifstream in(path);
  if (!in) return invalid("cannot read " + quoted(path, 200));
  std::vector<Case> cases;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const auto wrong = [&](const std::string& what) {
      return invalid(format("{}:{}: {}", path, number, what));
    };
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with("== ")) {
      Case c;
      c.file = stem(path);
      c.name = trim(line.substr(3));
      c.line = number;
      for (const Case& other : cases)
        if (other.name == c.name) return wrong("a second case " + quoted(c.name));
      cases.push_back(std::move(c));
      continue;
    }
    if (cases.empty()) return wrong("text before the first case");
    std::vector<Entry>& entries = cases.back().entries;
    if (line[0] == ' ' || line[0] == '\t') {
      if (entries.empty()) return wrong("no entry to continue");
      entries.back().text += "\n" + line;
      continue;
    }
    const size_t space = std::min(line.find(' '), line.size());
    Entry e;
    e.key = line.substr(0, space);
    e.line = number;
    if (std::find(std::begin(kKeys), std::end(kKeys), e.key) == std::end(kKeys))
      return wrong("no keyword " + quoted(e.key));
    const std::string rest = line.substr(space);
    if (const size_t equals = rest.find(" = ");
        equals != std::string::npos && e.key != "error" && e.key != "refuse") {
      e.name = trim(rest.substr(0, equals));
      e.text = rest.substr(equals + 3);
    } else {
      e.name = trim(rest);
    }
    entries.push_back(std::move(e));
  }
  return cases;
}

Result<std::map<std::string, std::string>> read_skips(const std::string& path) {
  std::map<std::string, std::string> skips;
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    const size_t colon = line.rfind(": ");
    if (colon == std::string::npos)
      return invalid(path + ": a line without a reason: " + quoted(line));
    skips[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return skips;
}

}  // namespace onnxtool::cases
