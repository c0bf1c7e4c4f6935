#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a test of the whole tool: sh lib.sh TEST.sh. The test is sourced in an empty folder, with `onnxtool` on
# PATH, $ONNXTOOL_SOURCE the repository, and these helpers. Output is TAP; the first failure is shown in full.
#   t STATUS COMMAND...    runs it with stdout in ./out and stderr in ./err; fails unless it exits with STATUS
#   has FILE TEXT, lacks FILE TEXT     FILE (out, err or any other) contains TEXT, or does not
#   is FILE TEXT           FILE is exactly TEXT and a newline
#   need COMMAND...        skips the test with a reason unless COMMAND succeeds (python3 -c 'import onnx'...)
#   fail MESSAGE           a failure found by the test itself
set -u
count=0
failed=0

pass() { count=$((count + 1)); echo "ok $count - $*"; }
fail() {
  count=$((count + 1)); failed=$((failed + 1))
  echo "not ok $count - $*"
  for f in out err; do [ ! -s $f ] || sed "s/^/# $f: /" $f | head -40; done
}
t() {
  expected=$1; shift
  status=0
  "$@" >out 2>err </dev/null || status=$?
  if [ "$status" = "$expected" ]; then pass "$*"; else fail "$* (status $status, expected $expected)"; fi
}
has() { if grep -qF -e "$2" "$1"; then pass "$1 has '$2'"; else fail "$1 lacks '$2'"; fi; }
lacks() { if grep -qF -e "$2" "$1"; then fail "$1 has '$2'"; else pass "$1 lacks '$2'"; fi; }
is() {
  printf '%s\n' "$2" >expected
  if cmp -s expected "$1"; then pass "$1 is as expected"; else fail "$1 is not '$2'"; fi
}
need() { "$@" >/dev/null 2>&1 || { echo "1..0 # SKIP needs: $*"; exit 77; }; }

test_file=$1
work=$(mktemp -d)
trap 'cd / && rm -rf "$work"' EXIT
PATH=$(dirname "$ONNXTOOL"):$PATH
cd "$work" || exit 1
. "$test_file"
echo "1..$count"
[ $failed = 0 ] && [ $count != 0 ]
