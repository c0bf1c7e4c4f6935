// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/external.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

std::string canonical(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  std::string s = real ? real : "";
  ::free(real);
  return s;
}

bool below(const std::string& path, const std::string& folder) {
  if (folder.empty()) return false;
  if (folder == "/") return true;
  return path.size() > folder.size() && path.compare(0, folder.size(), folder) == 0 &&
         path[folder.size()] == '/';
}

}  // namespace

Status check_location(const std::string& location) {
  if (location.empty()) return invalid("external data without a location");
  if (location.size() > 4096) return invalid("external data location of more than 4096 characters");
  for (char c : location)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      return invalid(format("external data location {} has control characters", quoted(location)));
  if (location[0] == '/' || location[0] == '\\' || (location.size() > 1 && location[1] == ':'))
    return invalid(format("external data location {} is absolute", quoted(location)));
  for (size_t i = 0; i <= location.size();) {
    size_t e = location.find_first_of("/\\", i);
    if (e == std::string::npos) e = location.size();
    if (location.compare(i, e - i, "..") == 0)
      return invalid(
          format("external data location {} leaves the model's folder", quoted(location)));
    i = e + 1;
  }
  return ok();
}

ExternalFiles::ExternalFiles(const std::string& model_path)
    : folder_(model_path.empty() ? "." : dir_name(model_path)) {
  allowed_.push_back(canonical(folder_));
  if (!model_path.empty())
    if (const std::string real = canonical(model_path); !real.empty())
      allowed_.push_back(dir_name(real));
}

Result<std::shared_ptr<const MappedFile>> ExternalFiles::open(const std::string& location) {
  if (auto it = files_.find(location); it != files_.end()) return it->second;
  TRY(check_location(location));
  const std::string path = folder_ + "/" + location;
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return invalid(
        format("cannot open external data {}: {}", quoted(path, 200), std::strerror(errno)));
  char real[PATH_MAX];
  const ssize_t n = ::readlink(format("/proc/self/fd/{}", fd).c_str(), real, sizeof real);
  const std::string opened = n > 0 ? std::string(real, static_cast<size_t>(n)) : canonical(path);
  bool inside = false;
  for (const std::string& folder : allowed_) inside |= below(opened, folder);
  if (!inside) {
    ::close(fd);
    return invalid(
        format("external data location {} leads out of the model's folder", quoted(location)));
  }
  TRY_ASSIGN(auto file, MappedFile::from_fd(fd, path));
  files_[location] = file;
  return file;
}

}  // namespace onnxtool
