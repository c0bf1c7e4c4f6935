// SPDX-License-Identifier: Apache-2.0
// Which instruction sets the kernels are compiled for: the compiler's baseline, AVX2, AVX-512; NEON
// on AArch64, as vectors of SVE cannot be elements of arrays.
// Included first by every file of this folder that uses Highway; fewer targets = less to compile.
#pragma once

#define ONNXTOOL_SVE_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | ONNXTOOL_SVE_TARGETS)
// The GCC bug behind Highway's default (PR 106322) concerns 16-bit high products, not used here.
#define HWY_BROKEN_EMU128 0
