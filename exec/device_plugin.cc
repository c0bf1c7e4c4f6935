// SPDX-License-Identifier: Apache-2.0
#include "exec/device_plugin.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <vector>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr const char* kFile = "libonnxtool_cuda.so";

std::vector<std::string> places() {
  if (const char* set = std::getenv("ONNXTOOL_CUDA_LIBRARY"); set && *set) return {set};
  std::vector<std::string> paths;
  char exe[PATH_MAX];
  if (ssize_t n = readlink("/proc/self/exe", exe, sizeof exe); n > 0) {
    std::string folder(exe, static_cast<size_t>(n));
    folder.resize(folder.rfind('/') + 1);
    paths = {folder + kFile, folder + "../lib/onnxtool/" + kFile};
  }
  paths.push_back(kFile);
  return paths;
}

struct Plugin {
  OpenDevice open = nullptr;
  DeviceKernels kernels = nullptr;
};

// Stays open: kernels and devices live in it.
Result<Plugin> open_plugin() {
  std::string why;
  for (const std::string& path : places()) {
    const bool file = path.find('/') != std::string::npos;
    if (file && access(path.c_str(), F_OK) != 0) continue;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* text = dlerror();
      if (file || why.empty()) why = text ? text : "unknown";
      continue;
    }
    void *open = dlsym(library, kPluginSymbol), *kernels = dlsym(library, kPluginKernels);
    if (open && kernels)
      return Plugin{reinterpret_cast<OpenDevice>(open), reinterpret_cast<DeviceKernels>(kernels)};
    why = format("{} is not a plug-in of onnxtool", path);
    dlclose(library);
  }
  return unsupported(
      format("no CUDA plug-in ({}): build with -DONNXTOOL_CUDA=ON, or set ONNXTOOL_CUDA_LIBRARY",
             why.empty() ? std::string(kFile) + " not found" : why));
}

const Result<Plugin>& plugin() {
  static const Result<Plugin> opened = open_plugin();
  return opened;
}

Result<std::unique_ptr<Device>> open_cuda(const std::string& option) {
  if (!plugin().ok()) return plugin().error();
  return plugin()->open(ONNXTOOL_PLUGIN_BUILD, option);
}

}  // namespace

std::span<const KernelTable* const> device_kernels() {
  if (!plugin().ok()) return {};
  return plugin()->kernels(ONNXTOOL_PLUGIN_BUILD);
}

Result<std::unique_ptr<Device>> open_device(const std::string& what) {
  if (what == "cpu") return std::unique_ptr<Device>();
  if (what == "auto") {
    auto device = open_cuda("");
    return device.ok() ? std::move(*device) : std::unique_ptr<Device>();
  }
  if (what == "cuda") return open_cuda("");
  if (what.starts_with("cuda:")) return open_cuda(what.substr(5));
  return usage_error(format("no device {}: cpu, cuda, cuda:N or auto", quoted(what)));
}

}  // namespace onnxtool
