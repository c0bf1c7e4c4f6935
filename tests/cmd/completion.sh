# SPDX-License-Identifier: Apache-2.0
# The scripts parse, and the one for bash completes.
models
for shell in bash zsh fish; do
  t 0 onnxtool completion $shell
  mv out $shell.completion
  if command -v $shell >/dev/null; then t 0 $shell -n $shell.completion; fi
done
t 2 onnxtool completion tcsh
has err 'bash, zsh or fish expected'
need bash -c 'complete -p || true; mapfile -t x </dev/null'
cat >complete.bash <<'END'
source bash.completion
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
_onnxtool
printf '%s\n' "${COMPREPLY[@]}"
END
complete() { want=$1; shift; t 0 bash complete.bash onnxtool "$@"; is out "$want"; }
touch 'my model.onnx'
complete inspect insp
complete inspect --threads 2 ins
complete --threads --th
complete always --color al
complete always --color = al
complete ops list o
complete optimize help opt
complete fp32-strict run --precision fp32-
complete --generate run lin.onnx --gen
complete 'random
range' run lin.onnx --generate r
complete 'lin.onnx
lin.onnxtxt' inspect li
complete 'my model.onnx' inspect my
complete 'lin.onnx
lin.onnxtxt' optimize x.onnx -o lin
complete '' run lin.onnx --threads ''
