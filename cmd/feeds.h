// SPDX-License-Identifier: Apache-2.0
// Inputs of a run: from files (npz, npy, pb, json, csv, raw bytes), from generators; outputs to
// files.
#pragma once

#include <string>
#include <vector>

#include "cmd/command.h"
#include "cmd/npy.h"
#include "cmd/sizes.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ir/datum.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

struct FeedOptions {
  std::vector<std::string>
      files;  // FILE (npz: by name, with or without "in:"; else the next input) or NAME=FILE
  // For inputs without a file: random, zeros, ones, range. Empty: random where no file is given at
  // all; a file that leaves out an input is more likely a mistake.
  std::string generate;
  uint64_t seed = 0;
  SizeOptions sizes;
  bool fill = true;  // false: without --generate, an input without a file is an error
};

// Declares --inputs, --generate, --seed, --set and --shape.
void add_feed_options(CLI::App& app, FeedOptions& o);

// One Datum for each input of the main graph in its order; without value where an initializer
// stands behind the input and no file gives it. `assumed`: sizes of generated inputs that nobody
// told, as text; empty: none.
Result<std::vector<Datum>> make_feeds(const Model& model, const FeedOptions& o,
                                      std::string* assumed = nullptr);
// A run on inputs of assumed sizes that failed may have failed because of them: says so.
template <typename T>
T with_assumed(T result, const std::string& assumed) {
  if (assumed.empty()) return result;
  return std::move(result).context(
      format("with {} (--set SYMBOL=N, --shape NAME=N,N,...)", assumed));
}

// A file as bytes; "-" is standard input.
Result<Bytes> read_file(const std::string& path);

// Converts `t` to what the model declares where that loses nothing: raw npy types to bfloat16 and
// float8, one-a-byte integers to 4 and 2 bits. Error naming both types otherwise.
Result<Tensor> fit_type(Tensor t, const Type& want, std::string_view name);

// A value as one array: tensors as they are; sequences of equal tensors stacked; sequences of maps
// as a matrix whose columns are the sorted keys.
Result<Tensor> as_array(const Datum& d);

// Outputs by name: .npz, .npy (one output), .pb (one), .json, or a folder ending in '/'
// (output_N.pb).
Status write_outputs(const std::string& path, const std::vector<std::string>& names,
                     const std::vector<Datum>& outputs);

// How far two arrays are apart.
struct Difference {
  std::string mismatch;  // type or shape differ, or NaN where the other has none; empty: comparable
  double max_abs = 0;
  double max_rel_scale = 0;  // max |a-b| / max |b| over finite elements
  int64_t over = 0;          // elements with |a-b| > atol + rtol |b|
  int64_t count = 0;
  double cosine = 1;
};
Difference compare(const Tensor& got, const Tensor& want, double rtol, double atol);

}  // namespace onnxtool
