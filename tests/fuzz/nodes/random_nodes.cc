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
#include <random>

#include "tests/fuzz/nodes/seeds.h"

using namespace onnxtool;

namespace {

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
  const std::vector<fuzz::Seed> seeds = fuzz::seeds_of(paths);
  std::printf("%zu seeds\n", seeds.size());
  for (int64_t i = from; i < from + count; ++i) {
    std::mt19937_64 random(static_cast<uint64_t>(i));
    std::vector<uint8_t> bytes(40 + random() % 400);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    const fuzz::Seed* seed =
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
