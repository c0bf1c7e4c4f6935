#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A new operator, pass and command are one file and one test each, and no list is edited: in a copy of the
# sources, scripts/new writes them, the build finds them, their tests pass, `list` shows them.
# usage: new_things.sh BUILD       the copy is configured as BUILD is, and takes from it the object of every source
# that is the same there, so that only what is new is compiled.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
built=$(cd "$1" && pwd)
[ -e "$built/onnxtool" ] || { echo "SKIP: the tool is not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy=$work/source

if git -C "$source" rev-parse >/dev/null 2>&1; then
  mkdir "$copy"
  (cd "$source" && git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c '
    for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh | tar -c --null -T - -f -) | tar -x -C "$copy"
else
  mkdir "$copy"
  (cd "$source" && tar -c --exclude=./build -f - .) | tar -x -C "$copy"
fi

before=$(cd "$copy" && find . -type f | sort)
"$copy/scripts/new" op com.example.Wobble
"$copy/scripts/new" pass fuse-wobbles
"$copy/scripts/new" command wobble
after=$(cd "$copy" && find . -type f | sort)
expected="./cmd/wobble.cc
./libonnxtool/ops/wobble.cc
./passes/fuse/fuse_wobbles.cc
./tests/cmd/wobble.sh
./tests/ops/wobble.test
./tests/passes/fuse_wobbles.test"
printf '%s\n' "$before" >"$work/before"
printf '%s\n' "$after" | comm -13 "$work/before" - >"$work/new"
printf '%s\n' "$expected" | diff - "$work/new" || { echo "FAIL: scripts/new wrote other files"; exit 1; }
for same in $before; do
  [ ! -e "$source/$same" ] || cmp -s "$source/$same" "$copy/$same" || { echo "FAIL: $same was edited"; exit 1; }
done

# The compiler of the copy: objects of sources that did not change come from BUILD.
cat >"$work/launcher" <<END
#!/bin/sh
out= src= dep= next=
for a; do
  case "\$next" in o) out=\$a ;; c) src=\$a ;; d) dep=\$a ;; esac
  case "\$a" in -o) next=o ;; -c) next=c ;; -MF) next=d ;; *) next= ;; esac
done
old=$source/\${src#$copy/}
case "\$src" in $copy/build/*) old=$built/\${src#$copy/build/} ;; esac
if [ -n "\$src" ] && [ -e "$built/\$out" ] && cmp -s "\$src" "\$old"; then
  [ -z "\$dep" ] || echo "\$out: \$src" >"\$dep"
  exec cp "$built/\$out" "\$out"
fi
echo "\$src" >>$work/compiled
exec "\$@"
END
chmod +x "$work/launcher"
from() { sed -n "s/^$1:[A-Z]*=//p" "$built/CMakeCache.txt"; }
dnnl=$(from dnnl_DIR)
cmake -S "$copy" -B "$copy/build" -G Ninja -DCMAKE_CXX_COMPILER_LAUNCHER="$work/launcher" \
  -DCMAKE_BUILD_TYPE="$(from CMAKE_BUILD_TYPE)" -DCMAKE_CXX_FLAGS="$(from CMAKE_CXX_FLAGS)" \
  -DCMAKE_CXX_COMPILER="$(from CMAKE_CXX_COMPILER)" -DBUILD_SHARED_LIBS="$(from BUILD_SHARED_LIBS)" \
  -DONNXTOOL_SANITIZE="$(from ONNXTOOL_SANITIZE)" -DONNXTOOL_HARDEN="$(from ONNXTOOL_HARDEN)" \
  ${dnnl:+"-Ddnnl_DIR=$dnnl"} -DONNXTOOL_WERROR=ON >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cmake --build "$copy/build" --target onnxtool run_cases >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
echo "compiled: $(sed "s,^$copy/,," "$work/compiled" | sort | tr '\n' ' ')"

tool=$copy/build/onnxtool
"$copy/build/tests/run_cases" "$copy/tests/ops/wobble.test" "$copy/tests/passes/fuse_wobbles.test"
ONNXTOOL=$tool ONNXTOOL_SOURCE=$copy sh "$copy/tests/cmd/lib.sh" "$copy/tests/cmd/wobble.sh"
shows() {
  "$tool" list "$1" >"$work/table"
  grep -q "$2" "$work/table" || { echo "FAIL: list $1 does not show $2"; exit 1; }
  echo "list $1: $(grep "$2" "$work/table")"
}
shows ops '^com.example  *Wobble '
shows passes '^fuse-wobbles '
shows commands '^wobble '
"$tool" help | grep -q '^  wobble ' || { echo "FAIL: help does not show it"; exit 1; }
"$tool" completion bash | grep -q wobble || { echo "FAIL: the completion does not know it"; exit 1; }
(cd "$copy" && scripts/make-man "$tool")
[ -s "$copy/man/onnxtool-wobble.1" ] || { echo "FAIL: no man page"; exit 1; }
grep -qF 'fuse\-wobbles' "$copy/man/onnxtool-passes.7" || { echo "FAIL: not in onnxtool-passes(7)"; exit 1; }
if command -v clang-format-14 >/dev/null; then
  (cd "$copy" && clang-format-14 --style=file --dry-run -Werror cmd/wobble.cc libonnxtool/ops/wobble.cc \
    passes/fuse/fuse_wobbles.cc)
fi
