// SPDX-License-Identifier: Apache-2.0
// One node with inputs, made of random numbers or changed at random from a valid one: shape rule
// and evaluation must end without a fault, and where both succeed they must agree.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool::fuzz {

// Random numbers out of bytes.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  // 0 to n - 1
  size_t below(size_t n) {
    size_t x = byte();
    if (n > 256) x = x << 8 | byte();
    return n ? x % n : 0;
  }
  bool one_in(size_t n) { return below(n) == 0; }
  uint8_t byte() { return at_ < size_ ? data_[at_++] : static_cast<uint8_t>(at_++ * 37); }
  template <typename T, size_t N>
  T of(const T (&list)[N]) {
    return list[below(N)];
  }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

struct NodeCase {
  Model model;
  NodeId node;
  std::vector<Datum> inputs;        // of the node; without value: left out
  std::map<uint32_t, Datum> outer;  // inputs of the graph, for bodies of the node
};

// The only node of the model's graph, with these inputs of the graph; false if there are more.
bool case_of(const Model& m, const std::vector<Datum>& inputs, NodeCase& r);

NodeCase random_case(Choices& c);
NodeCase changed_case(Choices& c, const NodeCase& seed);

// The same numbers in another type, or others.
Tensor converted(Choices& c, const Tensor& x, DType t);

// Infers and evaluates; what is wrong, or nothing.
std::string check_case(Choices& c, NodeCase& n);

}  // namespace onnxtool::fuzz
