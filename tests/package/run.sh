#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the build $1 and builds a program against the installed package, with CMake and with pkg-config.
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/model.onnxtxt" <<'END'
<ir_version: 8, opset_import: ["" : 17]>
main (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] b = {0.5, -0.5}>
{
  h = MatMul(x, w)
  s = Add(h, b)
  y = Relu(s)
}
END
# What the README shows is what is built here.
sed -n '/^```cpp/,/^```/p' "$here/../../README.md" | sed '1d;$d' | diff - "$here/main.cc" | grep '^<' && exit 1
answers() {
  "$@" "$work/model.onnxtxt" >"$work/answer"
  printf '2 nodes, 3 before\n16.5\n19.5\n' | diff - "$work/answer"
}
cmake --install "$1" --prefix "$work/prefix" >/dev/null
cmake -S "$here" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/build"
answers "$work/build/package_test"
status=0
"$work/build/package_test" "$work/nothing.onnx" 2>"$work/answer" || status=$?
[ $status = 3 ] && grep -q "cannot open '.*nothing.onnx'" "$work/answer"
[ ! -x "$work/prefix/bin/onnxtool" ] || "$work/prefix/bin/onnxtool" check "$work/model.onnxtxt"
[ ! -x "$work/prefix/bin/onnxtool" ] || [ -e "$work/prefix/share/man/man1/onnxtool.1" ]
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name onnxtool.pc)")
if command -v pkg-config >/dev/null; then
  export PKG_CONFIG_PATH
  # shellcheck disable=SC2046
  c++ -std=c++20 "$here/main.cc" -o "$work/by_pc" $(pkg-config --cflags --libs --static onnxtool)
  answers "$work/by_pc"
fi
