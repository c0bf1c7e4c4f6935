// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/tune.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "exec/plan/packs.h"
#include "exec/plan/plan.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/base/file_identity.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr int64_t kLeastMacs = 10'000;  // below, no choice is worth measuring

std::string sum_text(std::string_view s) {
  return sha1_hex({reinterpret_cast<const std::byte*>(s.data()), s.size()});
}

void append(std::string& text, const Attribute& a) {
  text += " " + a.name;
  if (a.type == AttrType::kInt) text += format("={}", a.i());
  if (a.type == AttrType::kFloat) text += format("={}", a.f());
  if (a.type == AttrType::kString) text += "=" + a.s();
  if (a.type == AttrType::kInts)
    for (int64_t v : a.ints()) text += format(",{}", v);
}

std::string signature(const StepInfo& s, const PrepareContext& ctx) {
  std::string text = format("{} {} {} {}", s.op.view(), ctx.threads, ctx.strict, ctx.bf16);
  const auto add = [&](const Operand& o) {
    text += format(" {}{}{}{}", dtype_name(o.dtype), to_string(o.dims), static_cast<int>(o.layout),
                   o.constant != nullptr);
  };
  std::for_each(s.in.begin(), s.in.end(), add);
  std::for_each(s.out.begin(), s.out.end(), add);
  for (const Attribute& a : s.attrs) append(text, a);
  if (s.node)
    for (const Attribute& a : s.node->attrs) append(text, a);
  for (const PostOp& p : s.post) text += format(" {}:{}:{}", elt_name(p.op), p.operand, p.has_imm);
  return sum_text(text);
}

// Runs it a few times; the least seconds, or infinity.
double seconds_of(const Prepared& kernel, std::vector<Tensor>& in, std::vector<Tensor>& out) {
  constexpr int kLeastRuns = 4;
  constexpr double kLeastSeconds = 2e-3;
  auto scratch = Tensor::allocate(DType::kUint8, {std::max<int64_t>(kernel.scratch_bytes, 1)});
  if (!scratch.ok()) return INFINITY;
  std::vector<const void*> from;
  std::vector<void*> to;
  for (const Tensor& t : in) from.push_back(t.defined() ? t.raw() : nullptr);
  for (Tensor& t : out) to.push_back(t.defined() ? t.mutable_raw() : nullptr);
  double best = INFINITY, total = 0;
  for (int run = 0; run < kLeastRuns || total < kLeastSeconds; ++run) {
    const auto start = std::chrono::steady_clock::now();
    if (!kernel.run({from.data(), to.data(), scratch->mutable_raw(), nullptr}).ok())
      return INFINITY;
    const double s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::min(best, s);
    total += s;
  }
  return best;
}

Result<Tensor> made_up(const Operand& o) {
  if (!o.present()) return Tensor();
  if (o.constant) return o.constant->to_aligned();
  TRY_ASSIGN(Tensor t, Tensor::allocate(o.dtype, o.dims));
  if (o.dtype == DType::kFloat) {
    std::minstd_rand random(1);
    for (float& f : t.mut<float>()) f = static_cast<float>(random() % 2048) / 1024.0f - 1.0f;
  }
  return t;
}

}  // namespace

Tuner::Tuner(std::string path, std::string key)
    : path_(std::move(path)), head_("onnxtool-tune 1 " + sum_text(key) + "\n") {
  if (file_identity(path_).empty()) return;
  if (Status s = read(); !s.ok()) {
    note_ = s.error().message;
    choices_.clear();
  }
}

Status Tuner::read() {
  TRY_ASSIGN(auto file, MappedFile::open(path_));
  std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  if (text.substr(0, head_.size()) != head_)
    return invalid("made by another version, on another machine, or no such file");
  constexpr size_t kSumLine = 41;  // 40 digits and the end of the line
  if (text.size() < head_.size() + kSumLine ||
      sum_text(text.substr(0, text.size() - kSumLine)) !=
          text.substr(text.size() - kSumLine, kSumLine - 1))
    return invalid("damaged");
  text = text.substr(head_.size(), text.size() - head_.size() - kSumLine);
  while (!text.empty()) {
    const size_t end = text.find('\n'), space = text.find(' ');
    if (end == text.npos || space > end) return invalid("damaged");
    choices_.emplace(text.substr(0, space), text.substr(space + 1, end - space - 1));
    text.remove_prefix(end + 1);
  }
  return ok();
}

const Kernel* Tuner::fastest(const StepInfo& step, std::span<const Kernel* const> candidates,
                             PrepareContext& ctx) {
  if (ctx.device || step.sizes_unknown || step_macs(step) < kLeastMacs) return nullptr;
  std::vector<const Kernel*> fit;
  for (const Kernel* k : candidates)
    if (!k->device && k->rank < kReferenceRank && !refusal(*k, step)) fit.push_back(k);
  if (fit.size() < 2 || fit[0]->view) return nullptr;
  const std::string key = signature(step, ctx);
  const std::lock_guard lock(mutex_);  // one measurement at a time
  if (const auto known = choices_.find(key); known != choices_.end()) {
    const auto k = std::find_if(fit.begin(), fit.end(),
                                [&](const Kernel* c) { return c->name == known->second; });
    if (k != fit.end()) return *k;
  }
  std::vector<Tensor> in, out;
  for (const Operand& o : step.in) {
    auto t = made_up(o);
    if (!t.ok()) return nullptr;
    in.push_back(std::move(*t));
  }
  for (const Operand& o : step.out) {
    auto t = made_up(o);
    if (!t.ok()) return nullptr;
    out.push_back(std::move(*t));
  }
  const Kernel* best = nullptr;
  double least = INFINITY;
  for (const Kernel* k : fit) {
    PassingPacks packs;
    PrepareContext trial{packs, ctx.threads, ctx.strict, nullptr, ctx.bf16};
    auto prepared = k->prepare(step, trial);
    if (!prepared.ok()) continue;
    const double seconds = seconds_of(**prepared, in, out);
    if (seconds < least) {
      least = seconds;
      best = k;
    }
  }
  ++measured_;
  if (best) choices_[key] = best->name;
  return best;
}

int64_t Tuner::measured() const {
  const std::lock_guard lock(mutex_);
  return measured_;
}

Status Tuner::save() const {
  const std::lock_guard lock(mutex_);
  if (measured_ == 0) return ok();
  std::string text = head_;
  for (const auto& [step, kernel] : choices_) text += step + " " + kernel + "\n";
  text += sum_text(text) + "\n";
  TRY_ASSIGN(OutputFile file, OutputFile::create(path_));
  TRY(file.write(text.data(), text.size()));
  return file.commit();
}

}  // namespace onnxtool
