// SPDX-License-Identifier: Apache-2.0
// What the classifiers and regressors of ai.onnx.ml share: class labels, score transforms, batches.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

enum class PostTransform : uint8_t { kNone, kSoftmax, kLogistic, kSoftmaxZero, kProbit };
Result<PostTransform> post_transform_of(const Node& node);
void apply_post_transform(PostTransform t, std::span<double> scores);

// A classifier with one score and two classes writes two scores: what becomes of the other one.
enum class SecondScore : uint8_t { kNone, kComplement, kNegative };
// The scores of one row, transformed and completed, as ONNX Runtime does where the documents are
// silent.
std::vector<double> final_scores(PostTransform t, std::span<const double> scores,
                                 SecondScore second);

// Class labels: integers or strings, none at all counts as integers 0, 1...
struct Labels {
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
  size_t size() const { return strings.empty() ? ints.size() : strings.size(); }
  DType dtype() const { return strings.empty() ? DType::kInt64 : DType::kString; }
};
Result<Labels> labels_of(const Node& node, std::string_view ints_attr,
                         std::string_view strings_attr);
// Output i: the label of each row by its index; without such a label the index itself (-1: 0), or
// "".
Status set_labels(EvalContext& ctx, size_t i, const Labels& labels, std::span<const int64_t> index);

// The input as rows of features: [N,F], or [F] as one row.
struct Batch {
  int64_t rows = 0, features = 0;
  std::vector<double> values;
  std::span<const double> row(int64_t i) const {
    return std::span(values).subspan(static_cast<size_t>(i * features),
                                     static_cast<size_t>(features));
  }
};
Result<Batch> batch_of(const EvalContext& ctx, const Tensor& x);
// Rows and features of input 0 as far as known; error when its rank is neither 1 nor 2.
struct BatchShape {
  Dim rows, features;
};
Result<BatchShape> batch_shape(const InferContext& ctx);

// Output 0: labels [rows]; output 1: float scores [rows, scores].
Status infer_classifier(InferContext& ctx, const Labels& labels, Dim scores);

// FLOATS attribute, or the tensor attribute `name`_as_tensor; empty without both.
std::vector<double> numbers_of(const Node& node, std::string_view name);

}  // namespace onnxtool
