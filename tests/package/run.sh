#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the build $1 and builds a program against the installed package.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$1" --prefix "$work/prefix" >/dev/null
cmake -S "$(dirname "$0")" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/build"
"$work/build/package_test"
[ ! -x "$work/prefix/bin/onnxtool" ] || "$work/prefix/bin/onnxtool" --version
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name onnxtool.pc)")
if command -v pkg-config >/dev/null; then
  export PKG_CONFIG_PATH
  # shellcheck disable=SC2046
  c++ -std=c++20 "$(dirname "$0")/main.cc" -o "$work/by_pc" $(pkg-config --cflags --libs --static onnxtool)
  "$work/by_pc"
fi
