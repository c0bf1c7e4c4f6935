// SPDX-License-Identifier: Apache-2.0
// Sizes that a model leaves open: --set SYMBOL=N and --shape NAME=N,N,...
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ir/model.h"

namespace CLI {
class App;
}

namespace onnxtool {

struct SizeOptions {
  std::vector<std::string> symbols;  // SYMBOL=N
  std::vector<std::string> shapes;   // NAME=N,N,...
};

// Declares --set and --shape.
void add_size_options(CLI::App& app, SizeOptions& o);

class Sizes {
 public:
  // Errors (kUsage): malformed, no such symbol or input, not what the model declares. With
  // `lenient` what the model lacks is left out (several models, one command line).
  static Result<Sizes> of(const Model& model, const SizeOptions& o, bool lenient = false);

  // Of an input: what is declared, with open sizes as told, else 1; nullopt: the rank is open.
  std::optional<Dims> dims(const Value& v);
  // "batch=1, dim 2 of 'x' = 1": what dims() took as 1 so far.
  std::string assumed() const;
  // For inference with what was told.
  void apply(const Model& model, InferOptions& options) const;

 private:
  void assume(std::string what);
  std::map<std::string, int64_t, std::less<>> symbols_;
  std::map<std::string, Dims, std::less<>> shapes_;  // by input
  std::vector<std::string> assumed_;
};

}  // namespace onnxtool
