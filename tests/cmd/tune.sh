# SPDX-License-Identifier: Apache-2.0
# --tune: kernels chosen by time, and the file that keeps the choices; nothing that lies there changes a result.
product
tuned() { t 0 onnxtool run big.onnx --generate ones -o tuned.json -v "$@"; }
t 0 onnxtool run big.onnx --generate ones -o plain.json
tuned --tune choices
has err '--tune: 1 steps measured'
cp choices whole
tuned --tune choices
lacks err 'steps measured'
lacks err 'warning'
same choices whole
ignored() {
  tuned --tune choices
  has err "ignored and written anew: $1"
  has err '--tune: 1 steps measured'
}
: >choices && ignored 'made by another version'
printf nonsense >choices && ignored 'made by another version'
head -c 60 whole >choices && ignored 'damaged'
sed '2s/^./z/' whole >choices && ignored 'damaged'
# A kernel that is not, with a sum that fits.
{ head -n 1 whole; sed -n '2s/ .*/ nosuch/p' whole; } >choices
printf '%s\n' "$(sha1sum choices | cut -d' ' -f1)" >>choices
tuned --tune choices
lacks err 'ignored'
has err '--tune: 1 steps measured'
tuned --tune nowhere/choices
has err 'warning: --tune'
