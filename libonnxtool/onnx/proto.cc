// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/proto.h"

namespace onnxtool {

namespace {
extern const MessageDesc kIntIntListEntryProto;
extern const MessageDesc kNodeDeviceConfigurationProto;
extern const MessageDesc kShardingSpecProto;
extern const MessageDesc kShardedDimProto;
extern const MessageDesc kSimpleShardedDimProto;
extern const MessageDesc kDeviceConfigurationProto;
extern const MessageDesc kTensorAnnotation;
extern const MessageDesc kTensorProtoSegment;
extern const MessageDesc kTensorShapeProtoDimension;
extern const MessageDesc kTypeProtoTensor;
extern const MessageDesc kTypeProtoSequence;
extern const MessageDesc kTypeProtoMap;
extern const MessageDesc kTypeProtoOptional;
extern const MessageDesc kTypeProtoSparseTensor;
extern const MessageDesc kTypeProtoOpaque;
constexpr EnumValue kAttributeProtoAttributeTypeValues[] = {
    {0, "UNDEFINED"},      {1, "FLOAT"},           {2, "INT"},
    {3, "STRING"},         {4, "TENSOR"},          {5, "GRAPH"},
    {11, "SPARSE_TENSOR"}, {13, "TYPE_PROTO"},     {6, "FLOATS"},
    {7, "INTS"},           {8, "STRINGS"},         {9, "TENSORS"},
    {10, "GRAPHS"},        {12, "SPARSE_TENSORS"}, {14, "TYPE_PROTOS"},
};
constexpr EnumValue kTensorProtoDataTypeValues[] = {
    {0, "UNDEFINED"},       {1, "FLOAT"},         {2, "UINT8"},           {3, "INT8"},
    {4, "UINT16"},          {5, "INT16"},         {6, "INT32"},           {7, "INT64"},
    {8, "STRING"},          {9, "BOOL"},          {10, "FLOAT16"},        {11, "DOUBLE"},
    {12, "UINT32"},         {13, "UINT64"},       {14, "COMPLEX64"},      {15, "COMPLEX128"},
    {16, "BFLOAT16"},       {17, "FLOAT8E4M3FN"}, {18, "FLOAT8E4M3FNUZ"}, {19, "FLOAT8E5M2"},
    {20, "FLOAT8E5M2FNUZ"}, {21, "UINT4"},        {22, "INT4"},           {23, "FLOAT4E2M1"},
    {24, "FLOAT8E8M0"},     {25, "UINT2"},        {26, "INT2"},           {27, "FLOAT6E2M3"},
    {28, "FLOAT6E3M2"},
};
constexpr EnumValue kTensorProtoDataLocationValues[] = {
    {0, "DEFAULT"},
    {1, "EXTERNAL"},
};
constexpr EnumValue kSequenceProtoDataTypeValues[] = {
    {0, "UNDEFINED"}, {1, "TENSOR"}, {2, "SPARSE_TENSOR"},
    {3, "SEQUENCE"},  {4, "MAP"},    {5, "OPTIONAL"},
};
constexpr EnumValue kOptionalProtoDataTypeValues[] = {
    {0, "UNDEFINED"}, {1, "TENSOR"}, {2, "SPARSE_TENSOR"},
    {3, "SEQUENCE"},  {4, "MAP"},    {5, "OPTIONAL"},
};
constexpr FieldDesc kAttributeProtoFields[] = {
    {1, "name", FieldKind::kString},
    {2, "f", FieldKind::kFloat},
    {3, "i", FieldKind::kInt64},
    {4, "s", FieldKind::kBytes},
    {5, "t", FieldKind::kMessage, false, &kTensorProto},
    {6, "g", FieldKind::kMessage, false, &kGraphProto},
    {7, "floats", FieldKind::kFloat, true},
    {8, "ints", FieldKind::kInt64, true},
    {9, "strings", FieldKind::kBytes, true},
    {10, "tensors", FieldKind::kMessage, true, &kTensorProto},
    {11, "graphs", FieldKind::kMessage, true, &kGraphProto},
    {13, "doc_string", FieldKind::kString},
    {14, "tp", FieldKind::kMessage, false, &kTypeProto},
    {15, "type_protos", FieldKind::kMessage, true, &kTypeProto},
    {20, "type", FieldKind::kEnum, false, nullptr, kAttributeProtoAttributeTypeValues},
    {21, "ref_attr_name", FieldKind::kString},
    {22, "sparse_tensor", FieldKind::kMessage, false, &kSparseTensorProto},
    {23, "sparse_tensors", FieldKind::kMessage, true, &kSparseTensorProto},
};
constexpr FieldDesc kValueInfoProtoFields[] = {
    {1, "name", FieldKind::kString},
    {2, "type", FieldKind::kMessage, false, &kTypeProto},
    {3, "doc_string", FieldKind::kString},
    {4, "metadata_props", FieldKind::kMessage, true, &kStringStringEntryProto},
};
constexpr FieldDesc kNodeProtoFields[] = {
    {1, "input", FieldKind::kString, true},
    {2, "output", FieldKind::kString, true},
    {3, "name", FieldKind::kString},
    {4, "op_type", FieldKind::kString},
    {5, "attribute", FieldKind::kMessage, true, &kAttributeProto},
    {6, "doc_string", FieldKind::kString},
    {7, "domain", FieldKind::kString},
    {8, "overload", FieldKind::kString},
    {9, "metadata_props", FieldKind::kMessage, true, &kStringStringEntryProto},
    {10, "device_configurations", FieldKind::kMessage, true, &kNodeDeviceConfigurationProto},
};
constexpr FieldDesc kIntIntListEntryProtoFields[] = {
    {1, "key", FieldKind::kInt64},
    {2, "value", FieldKind::kInt64, true},
};
constexpr FieldDesc kNodeDeviceConfigurationProtoFields[] = {
    {1, "configuration_id", FieldKind::kString},
    {2, "sharding_spec", FieldKind::kMessage, true, &kShardingSpecProto},
    {3, "pipeline_stage", FieldKind::kInt32},
};
constexpr FieldDesc kShardingSpecProtoFields[] = {
    {1, "tensor_name", FieldKind::kString},
    {2, "device", FieldKind::kInt64, true},
    {3, "index_to_device_group_map", FieldKind::kMessage, true, &kIntIntListEntryProto},
    {4, "sharded_dim", FieldKind::kMessage, true, &kShardedDimProto},
};
constexpr FieldDesc kShardedDimProtoFields[] = {
    {1, "axis", FieldKind::kInt64},
    {2, "simple_sharding", FieldKind::kMessage, true, &kSimpleShardedDimProto},
};
constexpr FieldDesc kSimpleShardedDimProtoFields[] = {
    {1, "dim_value", FieldKind::kInt64},
    {2, "dim_param", FieldKind::kString},
    {3, "num_shards", FieldKind::kInt64},
};
constexpr FieldDesc kTrainingInfoProtoFields[] = {
    {1, "initialization", FieldKind::kMessage, false, &kGraphProto},
    {2, "algorithm", FieldKind::kMessage, false, &kGraphProto},
    {3, "initialization_binding", FieldKind::kMessage, true, &kStringStringEntryProto},
    {4, "update_binding", FieldKind::kMessage, true, &kStringStringEntryProto},
};
constexpr FieldDesc kModelProtoFields[] = {
    {1, "ir_version", FieldKind::kInt64},
    {2, "producer_name", FieldKind::kString},
    {3, "producer_version", FieldKind::kString},
    {4, "domain", FieldKind::kString},
    {5, "model_version", FieldKind::kInt64},
    {6, "doc_string", FieldKind::kString},
    {7, "graph", FieldKind::kMessage, false, &kGraphProto},
    {8, "opset_import", FieldKind::kMessage, true, &kOperatorSetIdProto},
    {14, "metadata_props", FieldKind::kMessage, true, &kStringStringEntryProto},
    {20, "training_info", FieldKind::kMessage, true, &kTrainingInfoProto},
    {25, "functions", FieldKind::kMessage, true, &kFunctionProto},
    {26, "configuration", FieldKind::kMessage, true, &kDeviceConfigurationProto},
};
constexpr FieldDesc kDeviceConfigurationProtoFields[] = {
    {1, "name", FieldKind::kString},
    {2, "num_devices", FieldKind::kInt32},
    {3, "device", FieldKind::kString, true},
};
constexpr FieldDesc kStringStringEntryProtoFields[] = {
    {1, "key", FieldKind::kString},
    {2, "value", FieldKind::kString},
};
constexpr FieldDesc kTensorAnnotationFields[] = {
    {1, "tensor_name", FieldKind::kString},
    {2, "quant_parameter_tensor_names", FieldKind::kMessage, true, &kStringStringEntryProto},
};
constexpr FieldDesc kGraphProtoFields[] = {
    {1, "node", FieldKind::kMessage, true, &kNodeProto},
    {2, "name", FieldKind::kString},
    {5, "initializer", FieldKind::kMessage, true, &kTensorProto},
    {10, "doc_string", FieldKind::kString},
    {11, "input", FieldKind::kMessage, true, &kValueInfoProto},
    {12, "output", FieldKind::kMessage, true, &kValueInfoProto},
    {13, "value_info", FieldKind::kMessage, true, &kValueInfoProto},
    {14, "quantization_annotation", FieldKind::kMessage, true, &kTensorAnnotation},
    {15, "sparse_initializer", FieldKind::kMessage, true, &kSparseTensorProto},
    {16, "metadata_props", FieldKind::kMessage, true, &kStringStringEntryProto},
};
constexpr FieldDesc kTensorProtoSegmentFields[] = {
    {1, "begin", FieldKind::kInt64},
    {2, "end", FieldKind::kInt64},
};
constexpr FieldDesc kTensorProtoFields[] = {
    {1, "dims", FieldKind::kInt64, true},
    {2, "data_type", FieldKind::kInt32},
    {3, "segment", FieldKind::kMessage, false, &kTensorProtoSegment},
    {4, "float_data", FieldKind::kFloat, true},
    {5, "int32_data", FieldKind::kInt32, true},
    {6, "string_data", FieldKind::kBytes, true},
    {7, "int64_data", FieldKind::kInt64, true},
    {8, "name", FieldKind::kString},
    {9, "raw_data", FieldKind::kBytes},
    {10, "double_data", FieldKind::kDouble, true},
    {11, "uint64_data", FieldKind::kUint64, true},
    {12, "doc_string", FieldKind::kString},
    {13, "external_data", FieldKind::kMessage, true, &kStringStringEntryProto},
    {14, "data_location", FieldKind::kEnum, false, nullptr, kTensorProtoDataLocationValues},
    {16, "metadata_props", FieldKind::kMessage, true, &kStringStringEntryProto},
};
constexpr FieldDesc kSparseTensorProtoFields[] = {
    {1, "values", FieldKind::kMessage, false, &kTensorProto},
    {2, "indices", FieldKind::kMessage, false, &kTensorProto},
    {3, "dims", FieldKind::kInt64, true},
};
constexpr FieldDesc kTensorShapeProtoDimensionFields[] = {
    {1, "dim_value", FieldKind::kInt64},
    {2, "dim_param", FieldKind::kString},
    {3, "denotation", FieldKind::kString},
};
constexpr FieldDesc kTensorShapeProtoFields[] = {
    {1, "dim", FieldKind::kMessage, true, &kTensorShapeProtoDimension},
};
constexpr FieldDesc kTypeProtoTensorFields[] = {
    {1, "elem_type", FieldKind::kInt32},
    {2, "shape", FieldKind::kMessage, false, &kTensorShapeProto},
};
constexpr FieldDesc kTypeProtoSequenceFields[] = {
    {1, "elem_type", FieldKind::kMessage, false, &kTypeProto},
};
constexpr FieldDesc kTypeProtoMapFields[] = {
    {1, "key_type", FieldKind::kInt32},
    {2, "value_type", FieldKind::kMessage, false, &kTypeProto},
};
constexpr FieldDesc kTypeProtoOptionalFields[] = {
    {1, "elem_type", FieldKind::kMessage, false, &kTypeProto},
};
constexpr FieldDesc kTypeProtoSparseTensorFields[] = {
    {1, "elem_type", FieldKind::kInt32},
    {2, "shape", FieldKind::kMessage, false, &kTensorShapeProto},
};
constexpr FieldDesc kTypeProtoOpaqueFields[] = {
    {1, "domain", FieldKind::kString},
    {2, "name", FieldKind::kString},
};
constexpr FieldDesc kTypeProtoFields[] = {
    {1, "tensor_type", FieldKind::kMessage, false, &kTypeProtoTensor},
    {4, "sequence_type", FieldKind::kMessage, false, &kTypeProtoSequence},
    {5, "map_type", FieldKind::kMessage, false, &kTypeProtoMap},
    {6, "denotation", FieldKind::kString},
    {7, "opaque_type", FieldKind::kMessage, false, &kTypeProtoOpaque},
    {8, "sparse_tensor_type", FieldKind::kMessage, false, &kTypeProtoSparseTensor},
    {9, "optional_type", FieldKind::kMessage, false, &kTypeProtoOptional},
};
constexpr FieldDesc kOperatorSetIdProtoFields[] = {
    {1, "domain", FieldKind::kString},
    {2, "version", FieldKind::kInt64},
};
constexpr FieldDesc kFunctionProtoFields[] = {
    {1, "name", FieldKind::kString},
    {4, "input", FieldKind::kString, true},
    {5, "output", FieldKind::kString, true},
    {6, "attribute", FieldKind::kString, true},
    {7, "node", FieldKind::kMessage, true, &kNodeProto},
    {8, "doc_string", FieldKind::kString},
    {9, "opset_import", FieldKind::kMessage, true, &kOperatorSetIdProto},
    {10, "domain", FieldKind::kString},
    {11, "attribute_proto", FieldKind::kMessage, true, &kAttributeProto},
    {12, "value_info", FieldKind::kMessage, true, &kValueInfoProto},
    {13, "overload", FieldKind::kString},
    {14, "metadata_props", FieldKind::kMessage, true, &kStringStringEntryProto},
};
constexpr FieldDesc kSequenceProtoFields[] = {
    {1, "name", FieldKind::kString},
    {2, "elem_type", FieldKind::kInt32},
    {3, "tensor_values", FieldKind::kMessage, true, &kTensorProto},
    {4, "sparse_tensor_values", FieldKind::kMessage, true, &kSparseTensorProto},
    {5, "sequence_values", FieldKind::kMessage, true, &kSequenceProto},
    {6, "map_values", FieldKind::kMessage, true, &kMapProto},
    {7, "optional_values", FieldKind::kMessage, true, &kOptionalProto},
};
constexpr FieldDesc kMapProtoFields[] = {
    {1, "name", FieldKind::kString},
    {2, "key_type", FieldKind::kInt32},
    {3, "keys", FieldKind::kInt64, true},
    {4, "string_keys", FieldKind::kBytes, true},
    {5, "values", FieldKind::kMessage, false, &kSequenceProto},
};
constexpr FieldDesc kOptionalProtoFields[] = {
    {1, "name", FieldKind::kString},
    {2, "elem_type", FieldKind::kInt32},
    {3, "tensor_value", FieldKind::kMessage, false, &kTensorProto},
    {4, "sparse_tensor_value", FieldKind::kMessage, false, &kSparseTensorProto},
    {5, "sequence_value", FieldKind::kMessage, false, &kSequenceProto},
    {6, "map_value", FieldKind::kMessage, false, &kMapProto},
    {7, "optional_value", FieldKind::kMessage, false, &kOptionalProto},
};
const MessageDesc kIntIntListEntryProto = {"IntIntListEntryProto", kIntIntListEntryProtoFields};
const MessageDesc kNodeDeviceConfigurationProto = {"NodeDeviceConfigurationProto",
                                                   kNodeDeviceConfigurationProtoFields};
const MessageDesc kShardingSpecProto = {"ShardingSpecProto", kShardingSpecProtoFields};
const MessageDesc kShardedDimProto = {"ShardedDimProto", kShardedDimProtoFields};
const MessageDesc kSimpleShardedDimProto = {"SimpleShardedDimProto", kSimpleShardedDimProtoFields};
const MessageDesc kDeviceConfigurationProto = {"DeviceConfigurationProto",
                                               kDeviceConfigurationProtoFields};
const MessageDesc kTensorAnnotation = {"TensorAnnotation", kTensorAnnotationFields};
const MessageDesc kTensorProtoSegment = {"TensorProto.Segment", kTensorProtoSegmentFields};
const MessageDesc kTensorShapeProtoDimension = {"TensorShapeProto.Dimension",
                                                kTensorShapeProtoDimensionFields};
const MessageDesc kTypeProtoTensor = {"TypeProto.Tensor", kTypeProtoTensorFields};
const MessageDesc kTypeProtoSequence = {"TypeProto.Sequence", kTypeProtoSequenceFields};
const MessageDesc kTypeProtoMap = {"TypeProto.Map", kTypeProtoMapFields};
const MessageDesc kTypeProtoOptional = {"TypeProto.Optional", kTypeProtoOptionalFields};
const MessageDesc kTypeProtoSparseTensor = {"TypeProto.SparseTensor", kTypeProtoSparseTensorFields};
const MessageDesc kTypeProtoOpaque = {"TypeProto.Opaque", kTypeProtoOpaqueFields};
}  // namespace

const MessageDesc kModelProto = {"ModelProto", kModelProtoFields};
const MessageDesc kGraphProto = {"GraphProto", kGraphProtoFields};
const MessageDesc kNodeProto = {"NodeProto", kNodeProtoFields};
const MessageDesc kAttributeProto = {"AttributeProto", kAttributeProtoFields};
const MessageDesc kTensorProto = {"TensorProto", kTensorProtoFields};
const MessageDesc kSparseTensorProto = {"SparseTensorProto", kSparseTensorProtoFields};
const MessageDesc kTypeProto = {"TypeProto", kTypeProtoFields};
const MessageDesc kValueInfoProto = {"ValueInfoProto", kValueInfoProtoFields};
const MessageDesc kFunctionProto = {"FunctionProto", kFunctionProtoFields};
const MessageDesc kTrainingInfoProto = {"TrainingInfoProto", kTrainingInfoProtoFields};
const MessageDesc kStringStringEntryProto = {"StringStringEntryProto",
                                             kStringStringEntryProtoFields};
const MessageDesc kTensorShapeProto = {"TensorShapeProto", kTensorShapeProtoFields};
const MessageDesc kOperatorSetIdProto = {"OperatorSetIdProto", kOperatorSetIdProtoFields};
const MessageDesc kSequenceProto = {"SequenceProto", kSequenceProtoFields};
const MessageDesc kMapProto = {"MapProto", kMapProtoFields};
const MessageDesc kOptionalProto = {"OptionalProto", kOptionalProtoFields};

bool in_oneof(const MessageDesc& message, uint32_t number) {
  if (&message == &kTypeProto) return number != 6;  // all but denotation
  if (&message == &kTensorShapeProtoDimension || &message == &kSimpleShardedDimProto)
    return number <= 2;
  return false;
}

}  // namespace onnxtool
