// SPDX-License-Identifier: Apache-2.0
// The binary form as a rope of own and borrowed bytes, and where external tensors go.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libonnxtool/onnx/load.h"
#include "libonnxtool/onnx/tensor_proto.h"

namespace onnxtool {

// Assigns places in data files to tensors while a model is written.
class ExternalPlan {
 public:
  struct Item {
    uint64_t offset = 0;
    Bytes data;
  };
  ExternalPlan(const SaveOptions& options, std::string data_name)
      : options_(options), data_name_(std::move(data_name)) {}
  // The reference to write instead of the data; nullopt: the tensor stays inside.
  std::optional<ExternalRef> place(const TensorConst& t, std::string_view name);
  // Some tensor attribute of the node would move out.
  bool wants_attributes(const Node& n) const;
  const std::map<std::string, std::vector<Item>>& files() const { return files_; }

 private:
  bool wants(const TensorConst& t) const;
  const SaveOptions& options_;
  std::string data_name_;
  std::map<std::string, std::vector<Item>> files_;
};

Result<Rope> write_model(const Model& model, ExternalPlan* plan);

}  // namespace onnxtool
