// SPDX-License-Identifier: Apache-2.0
#include "cmd/roofline.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "exec/cpu/simd/peak.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/base/threads.h"

namespace onnxtool {
namespace {

using Clock = std::chrono::steady_clock;

template <typename F>
double seconds_of(F f) {
  const auto start = Clock::now();
  f();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double peak_gflops(const ThreadPool& pool) {
  // Short bursts, many times: some find the machine undisturbed.
  constexpr int64_t kRounds = 1 << 13;
  const int64_t chunks = int64_t{pool.threads()} * 12;
  double best = 0;
  for (int repeat = 0; repeat < 150; ++repeat) {
    const int64_t each = [] {
      float sink = 0;
      return simd::fma_burst(1, &sink);
    }();
    const double s = seconds_of([&] {
      pool.execute([&] {
        parallel_for(chunks, 1, [](int64_t begin, int64_t end) {
          float sink = 0;
          for (int64_t i = begin; i < end; ++i) simd::fma_burst(kRounds, &sink);
        });
      });
    });
    best = std::max(best, 1e-9 * static_cast<double>(each * kRounds * chunks) / s);
  }
  return best;
}

double bandwidth(const ThreadPool& pool, std::vector<float>& memory, int64_t bytes) {
  const int64_t n = bytes / 2 / static_cast<int64_t>(sizeof(float));
  float* x = memory.data();
  float* y = x + n;
  const int repeats = static_cast<int>(std::clamp<int64_t>((int64_t{16} << 20) / bytes, 1, 50));
  double best = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const double s = seconds_of([&] {
      pool.execute([&] {
        for (int r = 0; r < repeats; ++r)
          parallel_for(n, 4096, [&](int64_t begin, int64_t end) {
            simd::scale_f32(x + begin, y + begin, 0.5f, end - begin);
          });
      });
    });
    best = std::max(best, 1e-9 * static_cast<double>(bytes) * repeats / s);
  }
  return best;
}

Roofline measure(int threads) {
  const ThreadPool pool(threads);
  Roofline r;
  r.threads = pool.threads();
  r.gflops = peak_gflops(pool);
  constexpr int64_t kSizes[] = {int64_t{1} << 18, int64_t{1} << 21, int64_t{1} << 24,
                                int64_t{1} << 27};
  std::vector<float> memory(static_cast<size_t>(kSizes[3]) / sizeof(float), 1.0f);
  for (const int64_t bytes : kSizes) r.bandwidth.push_back({bytes, bandwidth(pool, memory, bytes)});
  return r;
}

std::string cache_folder() {
  if (const char* x = std::getenv("XDG_CACHE_HOME"); x && *x == '/') return x;
  const char* home = std::getenv("HOME");
  return home && *home == '/' ? std::string(home) + "/.cache" : "";
}

bool read(const std::string& path, const std::string& cpu, int threads, Roofline& r) {
  const auto file = MappedFile::open(path);
  if (!file.ok() || (*file)->size() > 1 << 16) return false;
  const auto* text = reinterpret_cast<const char*>((*file)->data());
  const auto j = nlohmann::json::parse(text, text + (*file)->size(), nullptr, false);
  const auto number = [](const nlohmann::json& o, const char* key) {
    const auto it = o.is_object() ? o.find(key) : o.end();
    return o.is_object() && it != o.end() && it->is_number() ? it->get<double>() : 0.0;
  };
  if (!j.is_object() || j.value("version", nlohmann::json()) != ONNXTOOL_VERSION ||
      j.value("cpu", nlohmann::json()) != cpu || number(j, "threads") != threads)
    return false;
  r.threads = threads;
  r.gflops = number(j, "gflops");
  const auto list = j.value("bandwidth", nlohmann::json());
  if (!(r.gflops > 0) || !list.is_array() || list.size() > 64) return false;
  for (const auto& b : list) {
    const double bytes = number(b, "bytes"), gbs = number(b, "gbs");
    if (!(bytes >= 1 && bytes < 1e15 && gbs > 0)) return false;
    r.bandwidth.push_back({static_cast<int64_t>(bytes), gbs});
  }
  return !r.bandwidth.empty();
}

}  // namespace

double Roofline::least_ms(int64_t macs, int64_t bytes, bool fp32) const {
  const double rate = fp32 ? gflops : half_gflops;
  if (rate <= 0 || bandwidth.empty()) return 0;
  const auto level = std::find_if(bandwidth.begin(), bandwidth.end(),
                                  [&](const Bandwidth& b) { return b.bytes >= bytes; });
  const double gbs = level == bandwidth.end() ? bandwidth.back().gbs : level->gbs;
  return 1e-6 * std::max(2 * static_cast<double>(macs) / rate, static_cast<double>(bytes) / gbs);
}

std::string cpu_name() {
  std::ifstream f("/proc/cpuinfo");
  for (std::string line; std::getline(f, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos)
      return line.substr(colon + 2);
  }
  return "unknown";
}

Roofline roofline(int threads) {
  if (threads <= 0) threads = usable_cores();
  const std::string cpu = cpu_name(), home = cache_folder();
  const std::string folder = home + "/onnxtool";
  const std::string path = folder + format("/roofline-{}.json", threads);
  Roofline r;
  if (!home.empty() && read(path, cpu, threads, r)) return r;
  r = measure(threads);
  if (home.empty()) return r;
  ::mkdir(home.c_str(), 0777);
  ::mkdir(folder.c_str(), 0777);
  nlohmann::ordered_json j = {{"version", ONNXTOOL_VERSION},
                              {"cpu", cpu},
                              {"threads", threads},
                              {"gflops", r.gflops},
                              {"bandwidth", nlohmann::ordered_json::array()}};
  for (const Roofline::Bandwidth& b : r.bandwidth)
    j["bandwidth"].push_back({{"bytes", b.bytes}, {"gbs", b.gbs}});
  const std::string text = j.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  // A cache that cannot be written is measured again next time: no reason to stop.
  if (auto file = OutputFile::create(path); file.ok() && file->write(text.data(), text.size()).ok())
    (void)file->commit();
  return r;
}

}  // namespace onnxtool
