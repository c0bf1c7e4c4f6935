// SPDX-License-Identifier: Apache-2.0
// NumPy files: .npy (format 1.0 to 3.0, C and Fortran order, numbers, bool, fixed-width text) and
// .npz archives of them (stored or deflated). Objects (pickles) are refused.
#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/ids.h"
#include "libonnxtool/ir/tensor.h"

namespace onnxtool {

// Raw bytes of NumPy's void types (ml_dtypes: bfloat16, float8...) are read as uint8/uint16 of the
// same width; the caller retypes them by what the model wants.
Result<Tensor> read_npy(const Bytes& bytes);
// Sub-byte types are written one element a byte (uint8/int8), bfloat16 and float8 as raw uints.
std::string write_npy(const Tensor& t);

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
Result<NamedTensors> read_npz(const Bytes& bytes);
Result<std::string> write_npz(const NamedTensors& tensors);

}  // namespace onnxtool
