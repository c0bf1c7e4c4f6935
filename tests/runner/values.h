// SPDX-License-Identifier: Apache-2.0
// Models and values of text cases, and their comparison.
#pragma once
#include <optional>
#include <string>

#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/model.h"
#include "tests/runner/case_file.h"

namespace onnxtool::cases {

struct Tolerance {
  double relative = -1, absolute = -1;  // below 0: by element type
};

// The model of an entry. A text without header gets one with the newest operator sets, or those
// of the case's `opset` entries; a text without a name of the graph is called "g".
Result<Model> read_model_text(const Case& c, const Entry& e, std::optional<int64_t> opset);

// float[2] {1, 2} | [tensor, ...] (a sequence) | none | some VALUE | map TENSOR -> TENSOR
Result<Datum> read_value(const std::string& text);

// What differs, or nothing.
std::string difference(const Datum& got, const Datum& want, const Tolerance& tolerance);
Result<Tolerance> tolerance_of(const Case& c);

}  // namespace onnxtool::cases
