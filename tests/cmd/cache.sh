# SPDX-License-Identifier: Apache-2.0
# --cache: packed weights of one start serve the next one; nothing that lies there changes a result or ends a run.
product
cached() { t 0 onnxtool bench big.onnx --iterations 1 --warmup 0 --json --cache kept "$@"; }
t 0 onnxtool run big.onnx --generate ones -o plain.json
t 0 onnxtool run big.onnx --generate ones -o first.json --cache kept
empty err
same first.json plain.json
t 0 onnxtool run big.onnx --generate ones -o second.json --cache kept
same second.json plain.json
cached
json out '"cached_bytes":16384'
[ "$(ls kept | wc -l)" = 1 ] && pass 'one file' || fail 'not one file'
# Another precision, another model, the same one written anew: files of their own.
cached --precision fp32-strict
cp big.onnx other.onnx
t 0 onnxtool run other.onnx --generate ones -q --cache kept
[ "$(ls kept | wc -l)" = 3 ] && pass 'three files' || fail 'not three files'
rm -r kept
cached
file=$(echo kept/*)
cp "$file" whole
ignored() {
  t 0 onnxtool run big.onnx --generate ones -o again.json --cache kept
  has err "ignored and written anew: $1"
  same again.json plain.json
  cached
  json out '"cached_bytes":16384'
}
printf nonsense >"$file" && ignored 'cut off'
: >"$file" && ignored 'cut off'
head -c 5000 whole >"$file" && ignored 'another kind of file, or cut off'
{ head -c 64 /dev/zero; tail -c +65 whole; } >"$file" && ignored 'damaged'
{ head -c -60 whole; head -c 20 /dev/zero; tail -c 40 whole; } >"$file" && ignored 'damaged'
{ head -c -40 whole; head -c 8 /dev/zero | tr '\000' '\377'; tail -c 32 whole; } >"$file" && ignored 'damaged'
{ head -c -32 whole; head -c 8 /dev/zero | tr '\000' '\377'; tail -c 24 whole; } >"$file" && ignored 'damaged'
# What is no file, or cannot be written, is a warning.
rm "$file" && mkdir "$file"
t 0 onnxtool run big.onnx --generate ones -o again.json --cache kept
has err 'warning: --cache'
same again.json plain.json
rmdir "$file" && mkfifo "$file"
t 0 onnxtool run big.onnx --generate ones -o again.json --cache nowhere/deep
has err 'warning: --cache'
same again.json plain.json
t 0 sh -c 'onnxtool run - --generate ones --cache kept <big.onnx'
has err 'standard input'
# The rewritten model is kept too: a start that reads it gives the same, and one that finds it damaged rewrites again.
cat >long.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
main (float[N, 4] x) => (float[N, 2] y)
<float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[4, 2] v = {0, 1, 0, 1, 0, 1, 0, 1}>
{ u = Add(w, v) h = MatMul(x, u) i = Identity(h) j = Neg(i) y = Neg(j) }
END
t 0 onnxtool convert long.onnxtxt long.onnx
t 0 onnxtool run long.onnx --generate ones -o plain.json
for start in first second third; do
  t 0 onnxtool run long.onnx --generate ones -o $start.json --cache models
  empty err
  same $start.json plain.json
done
file=$(echo models/*)
cp "$file" whole
for at in 16 64 100 200; do
  { head -c $at whole; printf '\377'; tail -c +$((at + 2)) whole; } >"$file"
  t 0 onnxtool run long.onnx --generate ones -o again.json --cache models
  same again.json plain.json
done
