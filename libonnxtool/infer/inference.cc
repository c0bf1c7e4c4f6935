// SPDX-License-Identifier: Apache-2.0
// The public face of inference (infer.h).
#include "libonnxtool/infer/driver.h"

namespace onnxtool {

struct Inference::Impl {
  mutable inference::Driver driver;
  Impl(const Model& m, Model* w, InferOptions o) : driver(m, w, std::move(o)) {}
};

Inference::Inference(Model& model, InferOptions options)
    : impl_(std::make_unique<Impl>(model, &model, std::move(options))) {}
Inference::Inference(const Model& model, InferOptions options)
    : impl_(std::make_unique<Impl>(model, nullptr, std::move(options))) {}
Inference::Inference(Inference&&) noexcept = default;
Inference& Inference::operator=(Inference&&) noexcept = default;
Inference::~Inference() = default;

Status Inference::run() { return impl_->driver.run(); }
Status Inference::update(NodeId node) { return impl_->driver.update(node); }

const Type& Inference::type(ValueId v) const { return impl_->driver.type(impl_->driver.main, v); }

const PartialValue* Inference::partial(ValueId v) const {
  inference::Driver& d = impl_->driver;
  return d.in_main(v) ? d.partial(d.main, v) : nullptr;
}

const Tensor* Inference::constant(ValueId v) const {
  inference::Driver& d = impl_->driver;
  return d.in_main(v) ? d.constant(d.main, v) : nullptr;
}

const std::vector<Finding>& Inference::findings() const { return impl_->driver.findings; }

std::unique_ptr<const InferContext> Inference::context(NodeId node) const {
  inference::Driver& d = impl_->driver;
  return std::make_unique<inference::NodeContext>(d, d.main, node, d.model.node(node));
}

Result<InferReport> infer(Model& model, const InferOptions& options) {
  InferReport report;
  report.state = std::make_shared<Inference>(model, options);
  TRY(report.state->run());
  report.findings = report.state->findings();
  return report;
}

}  // namespace onnxtool
