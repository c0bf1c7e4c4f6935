// SPDX-License-Identifier: Apache-2.0
// run --loop: what a step of a model gives is what the next one takes. Values go over without
// copies; tokens are chosen from scores, and what counts steps grows.
#pragma once
#include <random>

#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

class Loop {
 public:
  // Each of `specs` is one of
  //   INPUT=OUTPUT          the value as it is; or prefixes of names that pair up
  //   INPUT=argmax(OUTPUT)  index of the highest score, of the last position
  //   INPUT=sample(OUTPUT[,TEMPERATURE])  an index at random, by its score
  //   INPUT=append(NUMBER)  itself with one more element in its last axis
  //   INPUT=add(NUMBER)     its last element and so much more
  // Names, types and shapes are checked against what the model declares (kUsage).
  static Result<Loop> make(const Model& model, const std::vector<std::string>& specs,
                           uint64_t seed);

  // Makes the inputs of the next step from those of this one and what it gave, which it takes.
  Status advance(std::vector<Datum>& feeds, std::vector<Datum>& outputs);

  // After the last step: all tokens that were chosen, its own too, [batch, steps] by the name of
  // their input.
  Result<std::vector<std::pair<std::string, Tensor>>> finish(const std::vector<Datum>& outputs);

 private:
  enum Kind : uint8_t { kValue, kArgmax, kSample, kAppend, kAdd };
  struct Edge {
    Kind kind = kValue;
    size_t input = 0, output = 0;
    double number = 0;  // temperature, or what is appended or added
    std::string name;   // of the input
    DType dtype = DType::kUndefined;
    size_t rank = SIZE_MAX;     // of the input; SIZE_MAX: not known
    std::vector<int64_t> made;  // step by step, all of a batch
    int64_t batch = 0;
  };
  static Result<std::vector<Edge>> parse(const Model& model, const std::string& spec);
  static Status check(const Model& model, const Edge& e, const std::string& spec);
  Result<Tensor> choose(Edge& e, const Tensor& scores);

  std::vector<Edge> edges_;
  std::mt19937_64 random_;
};

}  // namespace onnxtool
