// SPDX-License-Identifier: Apache-2.0
// Data files of test sets: TensorProto, SequenceProto, MapProto, OptionalProto (onnx-data.proto).
#pragma once
#include <string>

#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/ids.h"

namespace onnxtool {

// The message kind does not follow from the bytes: it is chosen by `type`. External data is
// refused. `name` (may be null) receives the name inside of the message.
Result<Datum> read_datum(const Bytes& bytes, const Type& type, std::string* name = nullptr);
Result<std::string> write_datum(const Datum& d, const std::string& name);

}  // namespace onnxtool
