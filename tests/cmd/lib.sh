#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a test of the whole tool: sh lib.sh TEST.sh. The test is sourced in an empty folder, with `onnxtool` on
# PATH, $ONNXTOOL_SOURCE the repository, and these helpers. Output is TAP; the first failure is shown in full.
#   t STATUS COMMAND...    runs it with stdout in ./out and stderr in ./err; fails unless it exits with STATUS
#   has FILE TEXT, lacks FILE TEXT     FILE (out, err or any other) contains TEXT, or does not
#   is FILE TEXT           FILE is exactly TEXT and a newline
#   empty FILE             FILE has no bytes
#   json FILE [PATTERN]    FILE is one JSON document; without blanks and line ends it contains PATTERN
#   same A B, gone PATH    the same bytes; nothing is there
#   models                 writes lin.onnx (x float[N,4] => y float[N,2]) and its text lin.onnxtxt
#   product                writes big.onnx (x float[4,64] => y float[4,64]), a MatMul with random weights
#   need COMMAND...        skips the test with a reason unless COMMAND succeeds (python3 -c 'import onnx'...)
#   fail MESSAGE           a failure found by the test itself
set -u
count=0
failed=0

pass() { count=$((count + 1)); echo "ok $count - $(echo "$*" | tr "\n" " ")"; }
fail() {
  count=$((count + 1)); failed=$((failed + 1))
  echo "not ok $count - $(echo "$*" | tr "\n" " ")"
  for f in out err; do [ ! -s $f ] || sed "s/^/# $f: /" $f | head -40; done
}
t() {
  expected=$1; shift
  status=0
  "$@" >out 2>err </dev/null || status=$?
  if [ "$status" = "$expected" ]; then pass "$(echo "$*" | tr -d '\000-\037')"; else fail "$* (status $status, expected $expected)"; fi
}
has() { if grep -qF -e "$2" "$1"; then pass "$1 has '$2'"; else fail "$1 lacks '$2'"; fi; }
lacks() { if grep -qF -e "$2" "$1"; then fail "$1 has '$2'"; else pass "$1 lacks '$2'"; fi; }
is() {
  printf '%s\n' "$2" >expected
  if cmp -s expected "$1"; then pass "$1 is as expected"; else
    fail "$1 is not '$2'"
    diff expected "$1" | sed 's/^/# /' | head -20
  fi
}
empty() { if [ -s "$1" ]; then fail "$1 is not empty"; else pass "$1 is empty"; fi; }
json() {
  if command -v python3 >/dev/null; then
    python3 -m json.tool "$1" >/dev/null 2>json_err || { fail "$1 is no JSON: $(cat json_err)"; return; }
  fi
  [ $# = 1 ] || { tr -d ' \n' <"$1" >flat; has flat "$2"; }
}
same() { if cmp -s "$1" "$2"; then pass "$1 and $2 are the same"; else fail "$1 and $2 are not the same"; fi; }
gone() { if [ -e "$1" ]; then fail "$1 is there"; else pass "$1 is not there"; fi; }
models() {
  cat >lin.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17], producer_name: "test">
main (float[N, 4] x) => (float[N, 2] y)
<float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] b = {0.5, -0.5}>
{
  h = MatMul(x, w)
  s = Add(h, b)
  i = Identity(s)
  y = Relu(i)
}
END
  onnxtool convert lin.onnxtxt lin.onnx
}
product() {
  printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main () => (float[64, 64] w)' \
    '{ s = Constant <value = int64[1] {64}> () r = Constant <value = int64[2] {64, 64}> ()' \
    '  w = RandomNormal<shape = [64, 64], seed = 1.0>() }' >weights.onnxtxt
  t 0 onnxtool run weights.onnxtxt -o weights.json
  {
    printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (float[4, 64] x) => (float[4, 64] y)'
    sed 's/^{"w": /<float[64, 64] w = /; s/\[/{/g; s/\]/}/g; s/}}}*$/}>/; s/{{/{/g; s/},{/,/g' weights.json |
      sed 's/<float{64, 64} w/<float[64, 64] w/; s/[{}]//g; s/w = /w = {/; s/>$/}>/'
    printf '%s\n' '{ y = MatMul(x, w) }'
  } >big.onnxtxt
  t 0 onnxtool convert big.onnxtxt big.onnx
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
