// SPDX-License-Identifier: Apache-2.0
// CPU or second device for each step. Every step that a kernel of the device takes runs there, but
// for islands: steps without a neighbour on the device that count no multiply-accumulates would pay
// two copies for nothing. Values that the other side needs are copied once; graph inputs are copied
// before the first step, so that what runs on the device is as few unbroken runs as possible.
#include <map>

#include "exec/plan/plan.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

class Transfer final : public Prepared {
 public:
  Transfer(bool up, int64_t bytes) : up_(up), bytes_(bytes) {}
  Status run(const RunArgs& a) const override {
    return up_ ? a.stream->upload(static_cast<std::byte*>(a.out[0]), a.in[0], bytes_)
               : a.stream->download(a.out[0], static_cast<const std::byte*>(a.in[0]), bytes_);
  }

 private:
  bool up_;
  int64_t bytes_;
};

const char* accept_none(const StepInfo&) { return "the plan places copies itself"; }
Result<std::unique_ptr<Prepared>> prepare_none(const StepInfo&, PrepareContext&) {
  return internal_error("a copy between devices is not prepared");
}
constexpr Kernel kUploadKernel = {"upload", step_kind::kUpload, 0, accept_none, prepare_none};
constexpr Kernel kDownloadKernel = {"download", step_kind::kDownload, 0, accept_none, prepare_none};

class Devices {
 public:
  Devices(Plan& plan, const Model& model, const KernelIndex& kernels, PrepareContext& ctx)
      : plan_(plan), model_(model), kernels_(kernels), ctx_(ctx) {}

  Status run(bool islands, bool keep_refusals) {
    for (PlanStep& step : plan_.steps) step.on_device = takes(step, Side::kDevice);
    settle_views();
    if (!islands) drop_islands();
    if (keep_refusals) explain_refusals();
    TRY(prepare());
    insert_transfers();
    return ok();
  }

 private:
  PlanValue& at(int v) { return plan_.values[static_cast<size_t>(v)]; }

  bool takes(const PlanStep& step, Side side) {
    if (step.dynamic || !step.bodies.empty()) return false;
    StepInfo info = step_info(plan_, step, model_);
    for (const Kernel* k : kernels_.candidates(step.op))
      if ((k->view || k->device == (side == Side::kDevice)) && !refusal(*k, info)) return true;
    return false;
  }
  // Why the steps that stay on the host do.
  void explain_refusals() {
    for (PlanStep& step : plan_.steps) {
      if (step.on_device) continue;
      const StepInfo info = step_info(plan_, step, model_);
      for (const Kernel* k : kernels_.candidates(step.op))
        if (k->device) {
          const char* why = step.dynamic ? "shapes known only while running" : refusal(*k, info);
          step.refused.emplace_back(k->name,
                                    format("(of the device) {}", why ? why : "too little to do"));
        }
    }
  }
  bool is_view(const PlanStep& step) {
    StepInfo info = step_info(plan_, step, model_);
    for (const Kernel* k : kernels_.candidates(step.op))
      if (k->view && !refusal(*k, info)) return true;
    return false;
  }

  // A view lies where its source lies.
  void settle_views() {
    std::vector<char> there(plan_.values.size(), 0);
    view_.assign(plan_.steps.size(), 0);
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      PlanStep& step = plan_.steps[s];
      view_[s] = !step.dynamic && step.bodies.empty() && is_view(step);
      if (view_[s]) step.on_device = there[static_cast<size_t>(step.in[0])];
      for (int v : step.out)
        if (v >= 0) there[static_cast<size_t>(v)] = step.on_device;
    }
  }

  void drop_islands() {
    std::vector<int> made(plan_.values.size(), -1);
    std::vector<char> near(plan_.steps.size(), 0);  // has a neighbour on the device
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      const PlanStep& step = plan_.steps[s];
      if (view_[s]) {  // what reads it is a neighbour of what makes its source
        for (int v : step.out)
          if (v >= 0) made[static_cast<size_t>(v)] = made[static_cast<size_t>(step.in[0])];
        continue;
      }
      for (int v : step.in) {
        const int from = v < 0 ? -1 : made[static_cast<size_t>(v)];
        if (from < 0 || !step.on_device || !plan_.steps[static_cast<size_t>(from)].on_device)
          continue;
        near[s] = near[static_cast<size_t>(from)] = 1;
      }
      for (int v : step.out)
        if (v >= 0) made[static_cast<size_t>(v)] = static_cast<int>(s);
    }
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      PlanStep& step = plan_.steps[s];
      if (step.on_device && !near[s] && !view_[s] &&
          step_macs(step_info(plan_, step, model_)) == 0 && takes(step, Side::kHost))
        step.on_device = false;
    }
    settle_views();
  }

  Status prepare() {
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      PlanStep& step = plan_.steps[s];
      if (!step.on_device) continue;
      auto where = [&] { return step.node.valid() ? model_.describe(step.node) : step.op.str(); };
      auto chosen =
          choose_kernel(step_info(plan_, step, model_), kernels_, ctx_, nullptr, Side::kDevice);
      if (!chosen.ok()) return std::move(chosen).context(where()).error();
      step.kernel = chosen->kernel;
      step.prepared = std::move(chosen->prepared);
      for (int v : step.out)
        if (v >= 0) at(v).on_device = true;
    }
    return ok();
  }

  // The value on the other side; the copy is put at the end of `steps`.
  int copied(int v, std::vector<PlanStep>& steps) {
    auto [it, fresh] = copies_.try_emplace(v, -1);
    if (!fresh) return it->second;
    const bool up = !at(v).on_device;
    PlanValue value;
    value.type = at(v).type;
    value.dtype = at(v).dtype;
    value.known = true;
    value.dims = at(v).dims;
    value.layout = at(v).layout;
    value.bytes = at(v).bytes;
    value.on_device = up;
    plan_.values.push_back(std::move(value));
    it->second = static_cast<int>(plan_.values.size()) - 1;
    PlanStep step;
    step.on_device = true;
    step.op = up ? step_kind::kUpload : step_kind::kDownload;
    step.in = {v};
    step.main_inputs = 1;
    step.out = {it->second};
    step.kernel = up ? &kUploadKernel : &kDownloadKernel;
    step.prepared = std::make_shared<Transfer>(up, at(v).bytes);
    steps.push_back(std::move(step));
    return it->second;
  }

  void insert_transfers() {
    std::vector<PlanStep> steps, old;
    old.swap(plan_.steps);
    std::vector<char> made(plan_.values.size(), 0);
    for (const PlanStep& step : old)
      for (int v : step.out)
        if (v >= 0) made[static_cast<size_t>(v)] = 1;
    auto crosses = [&](const PlanStep& step, int v) {
      return v >= 0 && !at(v).is_constant() && at(v).on_device != step.on_device;
    };
    for (const PlanStep& step : old)
      for (int v : step.in)
        if (crosses(step, v) && !made[static_cast<size_t>(v)]) copied(v, steps);
    for (PlanStep& step : old) {
      for (int& v : step.in)
        if (crosses(step, v)) v = copied(v, steps);
      for (PlanBody& b : step.bodies)
        for (PlanBody::Capture& c : b.captures)
          if (at(c.value).on_device) c.value = copied(c.value, steps);
      steps.push_back(std::move(step));
    }
    for (int& v : plan_.outputs)
      if (at(v).on_device) v = copied(v, steps);
    plan_.steps = std::move(steps);
  }

  Plan& plan_;
  const Model& model_;
  const KernelIndex& kernels_;
  PrepareContext& ctx_;
  std::vector<char> view_;
  std::map<int, int> copies_;
};

}  // namespace

bool is_transfer(const PlanStep& step) {
  return step.is(step_kind::kUpload) || step.is(step_kind::kDownload);
}

Status assign_devices(Plan& plan, const Model& model, const KernelIndex& kernels,
                      PrepareContext& device, const PlanOptions& options) {
  return Devices(plan, model, kernels, device).run(options.islands, options.keep_refusals);
}

}  // namespace onnxtool
