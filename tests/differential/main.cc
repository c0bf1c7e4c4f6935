// SPDX-License-Identifier: Apache-2.0
// Every kernel against the reference on random models of one node: types, ranks, broadcasts,
// layouts, zero-size tensors, NaN and infinities, constants and run-time values, fused and not,
// one thread and two.
//
// usage: differential [--cases N] [--seed S] [--op NAME] [--only K] [--device D] [--verbose]
#include <chrono>
#include <cstdio>
#include <cstring>
#include <set>

#include "exec/device_plugin.h"
#include "exec/plan/kernel.h"
#include "libonnxtool/base/str.h"
#include "tests/differential/gen.h"

using namespace onnxtool;
using namespace onnxtool::differential;

namespace {

struct Options {
  int64_t cases = 100, seed = 1, only = -1;
  std::string op, device = "cpu";
  bool verbose = false;
};

// Kernels that no recipe reaches: a new kernel needs one.
int missing_recipes(const std::vector<Recipe>& recipes) {
  std::set<std::string> known;
  for (const Recipe& r : recipes) known.insert(r.op);
  int missing = 0;
  for (const KernelTable* t : all_cpu_kernels())
    for (size_t i = 0; i < t->count; ++i) {
      std::string_view ops = t->kernels[i].ops;
      while (!ops.empty()) {
        const size_t end = std::min(ops.find(' '), ops.size());
        const std::string op(ops.substr(0, end));
        ops.remove_prefix(std::min(end + 1, ops.size()));
        if (op == "*" || op.starts_with("plan.") || !known.insert(op).second) continue;
        std::printf("there is no recipe for %s (kernel %s)\n", op.c_str(), t->kernels[i].name);
        ++missing;
      }
    }
  return missing;
}

uint64_t seed_of(const Options& o, const std::string& op, int64_t k) {
  uint64_t h = 14695981039346656037ull;
  for (char c : op) h = (h ^ static_cast<uint8_t>(c)) * 1099511628211ull;
  return h ^ (static_cast<uint64_t>(o.seed) << 40) ^
         static_cast<uint64_t>(k) * 0x9E3779B97F4A7C15ull;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* name) {
      return std::strcmp(argv[i], name) == 0 && i + 1 < argc;
    };
    if (is("--cases"))
      o.cases = std::atoll(argv[++i]);
    else if (is("--seed"))
      o.seed = std::atoll(argv[++i]);
    else if (is("--only"))
      o.only = std::atoll(argv[++i]);
    else if (is("--op"))
      o.op = argv[++i];
    else if (is("--device"))
      o.device = argv[++i];
    else if (std::strcmp(argv[i], "--verbose") == 0)
      o.verbose = true;
    else
      return std::printf("unknown option %s\n", argv[i]), 2;
  }
  std::vector<Recipe> recipes;
  add_elementwise(recipes);
  add_movement(recipes);
  add_reductions(recipes);
  add_products(recipes);
  add_windows(recipes);
  add_sequences(recipes);
  add_quantized(recipes);
  int64_t total = 0, failed = missing_recipes(recipes);
  std::map<std::string, int64_t> on_device;
  for (const Recipe& r : recipes) {
    if (!o.op.empty() ? o.op != r.op : r.on_device && o.device == "cpu") continue;
    int64_t fast_cases = 0, shown = 0, bad = 0;
    const auto start = std::chrono::steady_clock::now();
    for (int64_t k = o.only >= 0 ? o.only : 0; k < (o.only >= 0 ? o.only + 1 : o.cases); ++k) {
      Gen g(seed_of(o, r.op, k));
      const Case c = r.make(g, r.op);
      if (o.only >= 0) std::printf("%s\n", describe(c).c_str());
      std::fflush(stdout);
      Ran ran;
      const std::string why = run_case(c, g, o.device, ran);
      fast_cases += ran.fast;
      for (const auto& [kernel, times] : ran.on_device) on_device[kernel] += times;
      ++total;
      if (why.empty()) continue;
      ++bad;
      if (shown++ < 3)
        std::printf("%s, case %lld of seed %lld: %s\n    %s\n", r.op.c_str(),
                    static_cast<long long>(k), static_cast<long long>(o.seed), why.c_str(),
                    describe(c).c_str());
    }
    if (bad > 3) std::printf("%s: %lld cases differ\n", r.op.c_str(), static_cast<long long>(bad));
    failed += bad;
    if (fast_cases == 0 && o.device == "cpu" && o.only < 0 && o.cases >= 20) {
      std::printf("%s: no case ran on a kernel\n", r.op.c_str());
      ++failed;
    }
    if (o.verbose)
      std::printf("%-40s %lld of %lld on a kernel, %.2f s\n", r.op.c_str(),
                  static_cast<long long>(fast_cases), static_cast<long long>(o.cases),
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  if (o.device != "cpu" && o.op.empty()) {
    for (const KernelTable* t : device_kernels())
      for (size_t i = 0; i < t->count; ++i)
        if (on_device.find(t->kernels[i].name) == on_device.end())
          std::printf("kernel %s of the device took no case\n", t->kernels[i].name);
    if (o.verbose)
      for (const auto& [kernel, times] : on_device)
        std::printf("%-40s %lld times\n", kernel.c_str(), static_cast<long long>(times));
  }
  std::printf("%lld cases, %lld differ\n", static_cast<long long>(total),
              static_cast<long long>(failed));
  return failed ? 1 : 0;
}
