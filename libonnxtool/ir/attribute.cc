// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ir/attribute.h"

namespace onnxtool {

const char* attr_type_name(AttrType t) {
  static constexpr const char* kNames[] = {
      "UNDEFINED",      "FLOAT",      "INT",        "STRING",  "TENSOR", "GRAPH",
      "FLOATS",         "INTS",       "STRINGS",    "TENSORS", "GRAPHS", "SPARSE_TENSOR",
      "SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS"};
  return static_cast<size_t>(t) < std::size(kNames) ? kNames[static_cast<size_t>(t)] : "UNDEFINED";
}

namespace {
template <typename T>
Attribute make(std::string name, AttrType type, T value) {
  Attribute a;
  a.name = std::move(name);
  a.type = type;
  a.value = std::move(value);
  return a;
}
}  // namespace

Attribute Attribute::of(std::string n, float v) { return make(std::move(n), AttrType::kFloat, v); }
Attribute Attribute::of(std::string n, int64_t v) { return make(std::move(n), AttrType::kInt, v); }
Attribute Attribute::of(std::string n, std::string v) {
  return make(std::move(n), AttrType::kString, std::move(v));
}
Attribute Attribute::of(std::string n, Tensor v) {
  auto c = std::make_shared<TensorConst>();
  c->tensor = std::move(v);
  return make(std::move(n), AttrType::kTensor, std::shared_ptr<const TensorConst>(std::move(c)));
}
Attribute Attribute::of(std::string n, GraphId v) {
  return make(std::move(n), AttrType::kGraph, v);
}
Attribute Attribute::of(std::string n, std::vector<int64_t> v) {
  return make(std::move(n), AttrType::kInts, std::move(v));
}
Attribute Attribute::of(std::string n, std::vector<float> v) {
  return make(std::move(n), AttrType::kFloats, std::move(v));
}
Attribute Attribute::of(std::string n, std::vector<std::string> v) {
  return make(std::move(n), AttrType::kStrings, std::move(v));
}

}  // namespace onnxtool
