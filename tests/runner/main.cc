// SPDX-License-Identifier: Apache-2.0
// run_cases FOLDER|FILE... [--filter TEXT] [--all-fail]: runs all cases of *.test files;
// tests/ops/README.md tells the format. A case with `pass` is one of passes. A folder's skip.txt
// lists what a backend may fail, with the reason; a listed case that passes is an error too.
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "libonnxtool/base/str.h"
#include "tests/runner/runner.h"

using namespace onnxtool;
using namespace onnxtool::cases;

namespace {

struct Totals {
  int passed = 0, failed = 0, skipped = 0;
};

std::vector<std::string> test_files(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return {path};
  std::vector<std::string> files;
  if (DIR* d = ::opendir(path.c_str())) {
    while (const dirent* e = ::readdir(d))
      if (std::string_view(e->d_name).ends_with(".test")) files.push_back(path + "/" + e->d_name);
    ::closedir(d);
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct Options {
  std::string filter;
  bool all_fail = false;  // each case must fail: a test of the runner
};

void run_file(const std::string& path, const Options& options, Totals& totals) {
  const auto complain = [&](int line, const std::string& what) {
    ++totals.failed;
    std::printf("%s:%d: %s\n", path.c_str(), line, what.c_str());
  };
  const auto all = read_cases(path);
  if (!all.ok()) return complain(1, all.error().text());
  const size_t slash = path.rfind('/');
  const auto skips =
      read_skips((slash == std::string::npos ? "." : path.substr(0, slash)) + "/skip.txt");
  if (!skips.ok()) return complain(1, skips.error().text());
  for (const Case& c : *all) {
    if (c.name.find(options.filter) == std::string::npos &&
        c.file.find(options.filter) == std::string::npos)
      continue;
    bool good = true;
    for (const Verdict& v : c.find("pass") ? run_pass_case(c) : run_op_case(c)) {
      const auto skip = skips->find(v.backend + " " + c.file + " " + c.name);
      if (skip != skips->end()) {
        ++totals.skipped;
        if (v.why.empty())
          complain(c.line, format("{} [{}]: passes, but is on the skip list", c.name, v.backend));
        continue;
      }
      if (v.why.empty()) continue;
      good = false;
      if (!options.all_fail) complain(c.line, format("{} [{}]: {}", c.name, v.backend, v.why));
    }
    if (options.all_fail) {
      if (good) complain(c.line, format("{}: passes, but must fail", c.name));
      good = !good;
    }
    if (good) ++totals.passed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--filter" && i + 1 < argc)
      options.filter = argv[++i];
    else if (std::string_view(argv[i]) == "--all-fail")
      options.all_fail = true;
    else
      paths.emplace_back(argv[i]);
  }
  if (paths.empty()) {
    std::fprintf(stderr, "usage: run_cases FOLDER|FILE... [--filter TEXT] [--all-fail]\n");
    return 2;
  }
  Totals totals;
  for (const std::string& p : paths)
    for (const std::string& f : test_files(p)) run_file(f, options, totals);
  std::printf("%d cases passed, %d failed, %d skipped\n", totals.passed, totals.failed,
              totals.skipped);
  return totals.failed > 0 || totals.passed == 0 ? 1 : 0;
}
