// SPDX-License-Identifier: Apache-2.0
// Attribute of a node (onnx.proto AttributeProto). One payload, chosen by `type`.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "libonnxtool/ir/ids.h"
#include "libonnxtool/ir/tensor.h"
#include "libonnxtool/ir/type.h"

namespace onnxtool {

enum class AttrType : uint8_t {  // numbers of AttributeProto.AttributeType
  kUndefined = 0,
  kFloat = 1,
  kInt = 2,
  kString = 3,
  kTensor = 4,
  kGraph = 5,
  kFloats = 6,
  kInts = 7,
  kStrings = 8,
  kTensors = 9,
  kGraphs = 10,
  kSparseTensor = 11,
  kSparseTensors = 12,
  kTypeProto = 13,
  kTypeProtos = 14,
};
const char* attr_type_name(AttrType t);  // "FLOAT", "INTS"...

// A TensorProto with what Tensor does not hold.
struct TensorConst {
  Tensor tensor;
  std::string name;       // tensor's own name (initializers: the value's name counts)
  Bytes origin;           // the TensorProto as read, for writing back; empty = made by us
  bool external = false;  // came from an external data file
};

// Sparse tensor: `values` 1-D [NNZ]; `indices` int64, [NNZ] linear or [NNZ, rank].
struct SparseTensor {
  TensorConst values;
  TensorConst indices;
  Dims dims;
  Bytes origin;
};

struct Attribute {
  std::string name;
  AttrType type = AttrType::kUndefined;
  std::string ref;  // ref_attr_name: takes its value from the enclosing function's attribute
  std::variant<std::monostate, float, int64_t, std::string, std::shared_ptr<const TensorConst>,
               GraphId, std::vector<float>, std::vector<int64_t>, std::vector<std::string>,
               std::vector<TensorConst>, std::vector<GraphId>, std::shared_ptr<const SparseTensor>,
               std::vector<SparseTensor>, Type, std::vector<Type>>
      value;
  Bytes extra;  // fields we keep but do not interpret (doc_string, unknown fields), as wire bytes

  float f() const { return std::get<float>(value); }
  int64_t i() const { return std::get<int64_t>(value); }
  const std::string& s() const { return std::get<std::string>(value); }
  const Tensor& t() const { return std::get<std::shared_ptr<const TensorConst>>(value)->tensor; }
  const SparseTensor& sparse() const {
    return *std::get<std::shared_ptr<const SparseTensor>>(value);
  }
  GraphId g() const { return std::get<GraphId>(value); }
  const std::vector<float>& floats() const { return std::get<std::vector<float>>(value); }
  const std::vector<int64_t>& ints() const { return std::get<std::vector<int64_t>>(value); }
  const std::vector<std::string>& strings() const {
    return std::get<std::vector<std::string>>(value);
  }
  const std::vector<GraphId>& graphs() const { return std::get<std::vector<GraphId>>(value); }

  static Attribute of(std::string name, float v);
  static Attribute of(std::string name, int64_t v);
  static Attribute of(std::string name, std::string v);
  static Attribute of(std::string name, const char* v) {
    return of(std::move(name), std::string(v));
  }
  static Attribute of(std::string name, Tensor v);
  static Attribute of(std::string name, GraphId v);
  static Attribute of(std::string name, std::vector<int64_t> v);
  static Attribute of(std::string name, std::vector<float> v);
  static Attribute of(std::string name, std::vector<std::string> v);
};

}  // namespace onnxtool
