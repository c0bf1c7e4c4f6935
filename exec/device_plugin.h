// SPDX-License-Identifier: Apache-2.0
// Finds and opens the plug-in of a second device.
#pragma once
#include <memory>
#include <string>

#include "exec/plan/device.h"

namespace onnxtool {

// `what`: see EngineOptions::device. Null for "cpu", and for "auto" where there is no device.
// The plug-in, libonnxtool_cuda.so, is looked for where the environment variable
// ONNXTOOL_CUDA_LIBRARY says, beside the program, and where the system looks for libraries.
// kUsage: another word; kUnsupported: no plug-in, driver or device, with what would help.
Result<std::unique_ptr<Device>> open_device(const std::string& what);

// The kernels of the plug-in, whether or not there is a device; none without a plug-in.
std::span<const KernelTable* const> device_kernels();

}  // namespace onnxtool
