// SPDX-License-Identifier: Apache-2.0
#include "cmd/output.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "libonnxtool/base/file.h"

namespace onnxtool {
namespace {

std::string g_out;
Status g_out_status;

bool numeric(const std::string& s) {
  return !s.empty() && s.find_first_not_of("0123456789.,+-%xe") == std::string::npos;
}

// Columns a string takes: UTF-8 sequences count as one.
size_t width(std::string_view s) {
  return static_cast<size_t>(
      std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

void print(std::string_view text) {
  g_out += text;
  if (g_out.size() < (1u << 20) || !g_out_status.ok()) return;
  g_out_status = write_stdout(g_out.data(), g_out.size());
  g_out.clear();
}

Status flush_output() {
  if (g_out_status.ok() && !g_out.empty()) g_out_status = write_stdout(g_out.data(), g_out.size());
  g_out.clear();
  return std::move(g_out_status);
}

std::string painted(const GlobalOptions& global, int fd, const std::string& severity) {
  const char* sgr = severity == "error" ? "1;31" : severity == "warning" ? "33" : nullptr;
  if (sgr == nullptr || !use_color(global, fd)) return severity;
  return format("\x1b[{}m{}\x1b[0m", sgr, severity);
}

void print_error(const GlobalOptions& global, std::string_view text) {
  std::fprintf(stderr, "onnxtool: %s: %s\n", painted(global, STDERR_FILENO, "error").c_str(),
               escape(text, 900).c_str());
}

void warn(const GlobalOptions& global, std::string_view text) {
  if (global.quiet) return;
  std::fprintf(stderr, "onnxtool: %s: %s\n", painted(global, STDERR_FILENO, "warning").c_str(),
               escape(text, 500).c_str());
}

void note(const GlobalOptions& global, int level, std::string_view text) {
  if (!global.quiet && global.verbose >= level)
    std::fprintf(stderr, "%s\n", escape(text, 2000).c_str());
}

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) != 0; }

bool use_color(const GlobalOptions& global, int fd) {
  if (global.color == "always") return true;
  return global.color == "auto" && ::isatty(fd) != 0 && std::getenv("NO_COLOR") == nullptr;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<bool> right;
  for (size_t r = 0; r < rows.size(); ++r)
    for (size_t c = 0; c < rows[r].size(); ++c) {
      if (c >= widths.size()) {
        widths.push_back(0);
        right.push_back(true);
      }
      widths[c] = std::max(widths[c], width(rows[r][c]));
      if (r > 0 && !rows[r][c].empty() && !numeric(rows[r][c])) right[c] = false;
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - width(row[c]), ' ');
      line += (c ? "  " : "") + (right[c] ? pad + row[c] : row[c] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

Progress::Progress(const GlobalOptions& global, std::string label, size_t total)
    : on_(global.progress == "always" ||
          (global.progress == "auto" && !global.quiet && stderr_is_terminal())),
      label_(std::move(label)),
      total_(total) {}

void Progress::step(size_t done) {
  if (!on_ || total_ == 0) return;
  const int percent = static_cast<int>(done * 100 / total_);
  if (percent == shown_) return;
  shown_ = percent;
  std::fprintf(stderr, "\r%s %3d%%", label_.c_str(), percent);
  std::fflush(stderr);
}

Progress::~Progress() {
  if (on_ && shown_ >= 0) std::fprintf(stderr, "\r\033[K");
}

}  // namespace onnxtool
