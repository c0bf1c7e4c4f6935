// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/complex_parts.h"

#include <cstring>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

template <typename T>
std::complex<double> load(const Tensor& t, int64_t i) {
  T parts[2];
  std::memcpy(parts, t.raw() + static_cast<size_t>(i) * sizeof parts, sizeof parts);
  return {parts[0], parts[1]};
}

template <typename T>
void store(Tensor& t, int64_t i, std::complex<double> v) {
  const T parts[2] = {static_cast<T>(v.real()), static_cast<T>(v.imag())};
  std::memcpy(t.mutable_raw() + static_cast<size_t>(i) * sizeof parts, parts, sizeof parts);
}

}  // namespace

std::complex<double> load_complex(const Tensor& t, int64_t i) {
  return t.dtype() == DType::kComplex64 ? load<float>(t, i) : load<double>(t, i);
}

void store_complex(Tensor& t, int64_t i, std::complex<double> v) {
  t.dtype() == DType::kComplex64 ? store<float>(t, i, v) : store<double>(t, i, v);
}

Status eval_by_parts(EvalContext& ctx, Status (*eval)(EvalContext&, bool imaginary)) {
  const DType type = ctx.in(0).dtype();
  const DType part = type == DType::kComplex64 ? DType::kFloat : DType::kDouble;
  Tensor results[2];
  for (const bool imaginary : {false, true}) {
    std::vector<Datum> inputs;
    for (size_t i = 0; i < ctx.num_inputs(); ++i) {
      inputs.push_back(ctx.datum(i));
      if (!ctx.datum(i).is_tensor() || !is_complex(ctx.in(i).dtype())) continue;
      const Tensor& x = ctx.in(i);
      std::vector<double> v;
      TRY(ctx.host().reserve(x.size() * 8));
      for (int64_t k = 0; k < x.size(); ++k) {
        const auto c = load_complex(x, k);
        v.push_back(imaginary ? c.imag() : c.real());
      }
      TRY_ASSIGN(inputs.back(), Tensor::from_f64(part, x.dims(), v));
    }
    std::vector<Datum> outputs(ctx.num_outputs());
    EvalContext half(ctx.model(), ctx.node(), inputs, outputs, ctx.host());
    TRY(eval(half, imaginary));
    results[imaginary] = std::move(outputs[0].tensor);
  }
  TRY_ASSIGN(Tensor out, ctx.allocate(type, results[0].dims()));
  for (int64_t i = 0; i < out.size(); ++i)
    store_complex(out, i, {results[0].f64_at(i), results[1].f64_at(i)});
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace onnxtool
