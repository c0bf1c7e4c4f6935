// SPDX-License-Identifier: Apache-2.0
// What a user of the installed library writes.
#include <cstdio>

#include "libonnxtool/ops/op.h"

int main() {
  size_t count = 0;
  for (const onnxtool::OpTable* table : onnxtool::all_op_tables()) count += table->count;
  std::printf("%zu operators\n", count);
  return count == 0;
}
