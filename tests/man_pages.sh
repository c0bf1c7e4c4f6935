#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The man pages say what the tool says, and groff finds nothing wrong with them.
set -eu
cd "$(dirname "$0")/.."
[ -x "$ONNXTOOL" ] || { echo "SKIP: the tool is not built"; exit 77; }
scripts/make-man --check "$ONNXTOOL"
command -v groff >/dev/null || exit 0
for page in man/*; do
  found=$(groff -man -Tutf8 -ww -rLL=100n "$page" 2>&1 >/dev/null)
  [ -z "$found" ] || { echo "$page: $found"; exit 1; }
done
