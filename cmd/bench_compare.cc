// SPDX-License-Identifier: Apache-2.0
// bench --compare: slower is only what is slower beyond what both measurements may be off by, and
// beyond what the machine itself was slower by.
#include <algorithm>

#include "cmd/bench_report.h"
#include "cmd/output.h"
#include "libonnxtool/base/file.h"

namespace onnxtool {
namespace {

struct Recorded {
  double p50 = 0, low = 0, high = 0, loop_ms = 0;
};

bool same_case(const nlohmann::json& j, const BenchResult& r) {
  const auto is = [&](const char* key, const nlohmann::json& want, const nlohmann::json& def) {
    const auto it = j.find(key);
    return (it == j.end() ? def : *it) == want;
  };
  const auto model = j.find("model");
  return model != j.end() && model->is_string() &&
         base_name(model->get<std::string>()) == base_name(r.contender->model) &&
         is("precision", r.contender->precision, nullptr) &&
         is("threads", r.contender->threads, nullptr) && is("concurrency", r.concurrency, 1);
}

std::optional<Recorded> recorded(const nlohmann::json& j) {
  const auto number = [](const nlohmann::json& o, const char* key, double def) {
    const auto it = o.find(key);
    return it != o.end() && it->is_number() ? it->get<double>() : def;
  };
  const auto latency = j.find("latency_ms");
  if (latency == j.end() || !latency->is_object()) return std::nullopt;
  Recorded r;
  r.p50 = r.low = r.high = number(*latency, "p50", 0);
  if (!(r.p50 > 0)) return std::nullopt;
  const auto ci = latency->find("p50_ci95");
  if (ci != latency->end() && ci->is_array() && ci->size() == 2 && (*ci)[0].is_number() &&
      (*ci)[1].is_number()) {
    r.low = (*ci)[0].get<double>();
    r.high = (*ci)[1].get<double>();
  }
  r.loop_ms = number(j, "machine_loop_ms", 0);
  return r;
}

}  // namespace

Result<Comparison> compare_bench(const std::vector<BenchResult>& results,
                                 const nlohmann::json& base, double limit) {
  const nlohmann::json* list = &base;
  nlohmann::json one = nlohmann::json::array();
  if (base.is_object() && base.contains("results"))
    list = &base["results"];
  else if (base.is_object())
    one.push_back(base), list = &one;
  if (!list->is_array()) return invalid("no document of `onnxtool bench --json`");
  Comparison c;
  size_t found = 0;
  std::vector<std::vector<std::string>> rows = {
      {"compared", "base p50", "p50", "change %", "at least %", "verdict"}};
  for (const BenchResult& r : results) {
    const auto at = std::find_if(list->begin(), list->end(), [&](const nlohmann::json& j) {
      return j.is_object() && same_case(j, r);
    });
    const std::string name = escape(r.label(), 100);
    if (at == list->end()) {
      rows.push_back({name, "", format("{:.4f}", r.stats.p50), "", "", "not in the base"});
      continue;
    }
    const auto old = recorded(*at);
    if (!old) return invalid(format("{}: no latency_ms.p50 for it", name));
    ++found;
    // A slower machine is no slower program.
    const double machine =
        old->loop_ms > 0 && r.loop_ms > 0 ? std::max(1.0, r.loop_ms / old->loop_ms) : 1;
    const double change = 100 * (r.stats.p50 / old->p50 / machine - 1);
    const double least = 100 * (r.stats.p50_ci.low / old->high / machine - 1);
    const double most = 100 * (r.stats.p50_ci.high / old->low / machine - 1);
    std::string verdict = "no slower";
    if (least > limit)
      verdict = format("slower by more than {:.3g} %", limit), c.slower = true;
    else if (most > limit)
      verdict = format("not sure: may be {:.1f} % slower", most);
    if (most < 0) verdict = "faster";
    if (machine > 1.02) verdict += format(" (the machine is {:.0f} % slower)", 100 * machine - 100);
    rows.push_back({name, format("{:.4f}", old->p50), format("{:.4f}", r.stats.p50),
                    format("{:+.1f}", change), format("{:+.1f}", least), verdict});
  }
  if (found == 0)
    return invalid("it has none of these models with these precisions, threads and concurrency");
  c.text = table(rows);
  return c;
}

}  // namespace onnxtool
