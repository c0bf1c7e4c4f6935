# SPDX-License-Identifier: Apache-2.0
cat >lib.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 18, "my" : 1]>
unused () => () {}
<domain: "my", opset_import: ["" : 18, "my" : 1]>
Mean2 <keep : int = 0> (x) => (y) {
  axes = Constant <value_ints = [-1]> ()
  m = ReduceMean <keepdims : int = @keep> (x, axes)
  y = my.Twice (m)
}
<domain: "my", opset_import: ["" : 18]>
Twice (x) => (y) { y = Add (x, x) }
<domain: "my", opset_import: ["" : 18]>
Other (x) => (y) { y = Neg (x) }
END
cat >calls.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
main (float[N, 2] x) => (float[N] y) { y = my.Mean2 (x) }
END
t 0 onnxtool convert lib.onnxtxt lib.onnx
t 0 onnxtool convert calls.onnxtxt calls.onnx

# The model alone is not to be run; with the library it is, in every form.
t 4 onnxtool run calls.onnx --set N=3 --generate ones
has err 'my.Mean2'
for lib in lib.onnx lib.onnxtxt; do
  for backend in engine reference; do
    t 0 onnxtool --functions $lib run calls.onnx --set N=3 --generate ones -o - --backend $backend
    is out '{"y": [2,2,2]}'
  done
done
t 0 onnxtool check calls.onnx --functions lib.onnx
lacks out 'W216'
lacks out 'E406'
t 0 onnxtool inspect --nodes --json calls.onnx --functions lib.onnx
json out '"name":"y","type":"float[N]"'
t 0 onnxtool bench calls.onnx --functions lib.onnx --set N=3 --iterations 2

# Only what is called goes into the model; or its body.
t 0 onnxtool convert calls.onnx own.onnx --functions lib.onnx
t 0 onnxtool convert own.onnx - --to text
has out 'Mean2'
has out 'Twice'
lacks out 'Other'
t 0 onnxtool run own.onnx --set N=3 --generate ones -o -
t 0 onnxtool convert calls.onnx flat.onnx --functions lib.onnx --inline-functions
t 0 onnxtool convert flat.onnx - --to text
lacks out 'my'
has out 'axes: ints'
t 0 onnxtool check flat.onnx
t 0 onnxtool validate flat.onnx --reference calls.onnx --functions lib.onnx --set N=3
t 0 onnxtool optimize calls.onnx -o fast.onnx --functions lib.onnx
t 0 onnxtool validate fast.onnx --reference flat.onnx --set N=3

# The model's own functions and known operators come first.
cat >own.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
main (float[N, 2] x) => (float[N, 2] y) { y = my.Twice (x) }
<domain: "my", opset_import: ["" : 17]>
Twice (x) => (y) { y = Sub (x, x) }
END
t 0 onnxtool --functions lib.onnx run own.onnxtxt --set N=1 --generate ones -o -
is out '{"y": [[0,0]]}'

t 3 onnxtool --functions calls.onnx version
has err '--functions: calls.onnx: the model has no functions'
t 3 onnxtool --functions missing.onnx version
has err '--functions: '
t 3 onnxtool --functions lib.onnx --functions lib.onnxtxt version
has err "function 'my.Mean2' is there already"
