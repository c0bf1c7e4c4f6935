// SPDX-License-Identifier: Apache-2.0
// The messages of onnx.proto (IR version 14) as data: field numbers, names, kinds. Used to check
// parts we only carry along, and to transcode between the wire format and JSON.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace onnxtool {

enum class FieldKind : uint8_t {
  kInt64,
  kInt32,
  kUint64,
  kEnum,
  kFloat,
  kDouble,
  kString,
  kBytes,
  kMessage
};

struct EnumValue {
  int32_t number;
  const char* name;
};
struct MessageDesc;
struct FieldDesc {
  uint32_t number;
  const char* name;  // as in onnx.proto: "op_type"
  FieldKind kind;
  bool repeated = false;
  const MessageDesc* message = nullptr;    // kMessage
  std::span<const EnumValue> values = {};  // kEnum; also data_type fields, for reading
};
struct MessageDesc {
  const char* name;
  std::span<const FieldDesc> fields;
  const FieldDesc* find(uint32_t number) const {
    for (const FieldDesc& f : fields)
      if (f.number == number) return &f;
    return nullptr;
  }
  const FieldDesc* find(std::string_view field_name) const {
    for (const FieldDesc& f : fields)
      if (field_name == f.name) return &f;
    return nullptr;
  }
};

// Fields of one message of which only the last one set counts (proto2 `oneof`).
bool in_oneof(const MessageDesc& message, uint32_t number);

extern const MessageDesc kModelProto, kGraphProto, kNodeProto, kAttributeProto, kTensorProto,
    kSparseTensorProto, kTypeProto, kValueInfoProto, kFunctionProto, kTrainingInfoProto,
    kStringStringEntryProto, kTensorShapeProto, kOperatorSetIdProto, kSequenceProto, kMapProto,
    kOptionalProto;

}  // namespace onnxtool
