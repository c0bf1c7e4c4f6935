// SPDX-License-Identifier: Apache-2.0
// Which instruction sets the kernels are compiled for: the compiler's baseline, AVX2, AVX-512.
// Included first by every file of this folder that uses Highway; fewer targets = less to compile.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
// The GCC bug behind Highway's default (PR 106322) concerns 16-bit high products, not used here.
#define HWY_BROKEN_EMU128 0
