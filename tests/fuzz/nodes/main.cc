// SPDX-License-Identifier: Apache-2.0
// Random nodes, and valid ones changed at random, without a fuzzer: the number of the case decides.
//
// usage: random_nodes [--cases N] [--from N] [FOLDER|FILE.test...]
// FOLDER: text cases (*.test), or official cases (scripts/node_cases). Every second case changes
// one of theirs; without any all are made from nothing. Exit status 1 names the case.
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/data.h"
#include "libonnxtool/onnx/load.h"
#include "tests/fuzz/nodes/node_case.h"
#include "tests/runner/case_file.h"
#include "tests/runner/values.h"

namespace fs = std::filesystem;
using namespace onnxtool;

namespace {

struct Seed {
  std::string name;
  fuzz::NodeCase node;
};

void add(std::vector<Seed>& seeds, const std::string& name, const Model& m,
         const std::vector<Datum>& inputs) {
  Seed s{name, {}};
  if (fuzz::case_of(m, inputs, s.node)) seeds.push_back(std::move(s));
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

char now[256];  // what runs, for the report of a signal

void on_signal(int signal) {
  (void)!write(STDERR_FILENO, now, std::strlen(now));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t count = 1000, from = 0;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    if ((a == "--cases" || a == "--from") && i + 1 < argc)
      (a == "--cases" ? count : from) = std::strtoll(argv[++i], nullptr, 10);
    else
      paths.emplace_back(a);
  }
  for (const int s : {SIGSEGV, SIGABRT, SIGFPE, SIGALRM, SIGBUS}) std::signal(s, on_signal);
  const std::vector<Seed> seeds = seeds_of(paths);
  std::printf("%zu seeds\n", seeds.size());
  for (int64_t i = from; i < from + count; ++i) {
    std::mt19937_64 random(static_cast<uint64_t>(i));
    std::vector<uint8_t> bytes(40 + random() % 400);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    const Seed* seed =
        seeds.empty() || random() % 2 == 0 ? nullptr : &seeds[random() % seeds.size()];
    std::snprintf(now, sizeof(now), "case %lld: %s\n", static_cast<long long>(i),
                  seed ? seed->name.c_str() : "made");
    alarm(60);
    fuzz::Choices c(bytes.data(), bytes.size());
    fuzz::NodeCase n = seed ? fuzz::changed_case(c, seed->node) : fuzz::random_case(c);
    const std::string fault = fuzz::check_case(c, n);
    if (fault.empty()) continue;
    std::fprintf(stderr, "%s%s\n", now, fault.c_str());
    return 1;
  }
  return 0;
}
