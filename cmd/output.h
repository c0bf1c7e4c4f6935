// SPDX-License-Identifier: Apache-2.0
// What commands print: results to standard output (buffered, checked at exit), all else to
// standard error.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cmd/command.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {

// Appends to the standard output buffer; flush_output() writes it and reports failure.
void print(std::string_view text);
Status flush_output();

// "onnxtool: error: ..." on standard error: one line, whatever the text holds.
void print_error(const GlobalOptions& global, std::string_view text);
// "onnxtool: warning: ..." on standard error; silent with --quiet.
void warn(const GlobalOptions& global, std::string_view text);
// A note on standard error, shown from `level` -v options on.
void note(const GlobalOptions& global, int level, std::string_view text);

bool stderr_is_terminal();
bool use_color(const GlobalOptions& global, int fd);
// "error" red, "warning" yellow, all else as it is; plain where `fd` shows no colours.
std::string painted(const GlobalOptions& global, int fd, const std::string& severity);

// A table with columns padded to their widest cell; a column whose cells are all numbers is
// aligned right. The first row is the head.
std::string table(const std::vector<std::vector<std::string>>& rows);

// The progress of long work, drawn on standard error when it is a terminal.
class Progress {
 public:
  Progress(const GlobalOptions& global, std::string label, size_t total);
  ~Progress();
  void step(size_t done);

 private:
  bool on_;
  std::string label_;
  size_t total_;
  int shown_ = -1;
};

}  // namespace onnxtool
