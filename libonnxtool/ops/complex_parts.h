// SPDX-License-Identifier: Apache-2.0
// Complex tensors for operators that are linear in them: real and imaginary parts apart.
#pragma once
#include <complex>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

std::complex<double> load_complex(const Tensor& t, int64_t i);
void store_complex(Tensor& t, int64_t i, std::complex<double> v);

// Evaluates with the real parts of all complex inputs, then with the imaginary parts, and joins
// both in output 0.
Status eval_by_parts(EvalContext& ctx, Status (*eval)(EvalContext&, bool imaginary));

}  // namespace onnxtool
