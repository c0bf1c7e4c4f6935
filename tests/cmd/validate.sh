# SPDX-License-Identifier: Apache-2.0
models
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main () => (float[1, 4] x)' \
  '{ x = Constant <value = float[1, 4] {1, 1, 1, 1}> () }' >data.onnxtxt
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main () => (float[1, 2] y)' \
  '{ y = Constant <value = float[1, 2] {16.5, 19.75}> () }' >wrong.onnxtxt
for case in good bad; do
  mkdir -p $case/test_data_set_0
  cp lin.onnx $case/model.onnx
  onnxtool run data.onnxtxt -o $case/test_data_set_0/input_0.pb
done
onnxtool run lin.onnx -i good/test_data_set_0/input_0.pb -o good/test_data_set_0/output_0.pb
onnxtool run wrong.onnxtxt -o bad/test_data_set_0/output_0.pb
mkdir none
cp lin.onnx none/model.onnx
mkdir -p broken/test_data_set_0
printf 'nonsense' >broken/model.onnx

t 0 onnxtool validate good
is out '1 passed, 0 failed, 0 skipped'
t 0 onnxtool validate good/ --list
has out 'passed good'
t 1 onnxtool validate good bad
has out "failed bad: output 'y': 1 of 2 elements differ, largest difference 0.25"
has out '1 passed, 1 failed, 0 skipped'
t 0 onnxtool validate good bad --rtol 0.1
t 0 onnxtool validate good none
has out 'skipped none: no test_data_set_N folder'
has out '1 passed, 0 failed, 1 skipped'
t 1 onnxtool validate broken good
has out 'failed broken: '
has out '1 passed, 1 failed, 0 skipped'
t 1 onnxtool validate good bad --json
json out '"passed":1,"failed":1,"skipped":0'
json out '"name":"bad","result":"failed"'
t 0 onnxtool validate good --backend reference
t 3 onnxtool validate nowhere
has err "'nowhere': there is no such folder"
t 2 onnxtool validate lin.onnx
has err 'give --expected or --reference'

# What is random by design is named; a Dropout that drops nothing is not.
drawn() {
  printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' "main () => (float[200] y)" "{ $2 }" >$1.onnxtxt
}
zeros='s = Constant <value_ints = [200]> () x = ConstantOfShape (s)'
drawn unit "y = RandomNormal <shape = [200], seed = 1.0> ()"
drawn wide "y = RandomNormal <shape = [200], scale = 3.0> ()"
drawn same "$zeros t = Constant <value = bool {1}> () r = Constant <value = float {0}> () y = Dropout (x, r, t)"
for case in unit wide same; do
  mkdir -p $case/test_data_set_0
  onnxtool convert $case.onnxtxt -o $case/model.onnx
  onnxtool run unit.onnxtxt -o $case/test_data_set_0/output_0.pb
done
t 0 onnxtool validate unit
has out 'passed unit: random by design: type, shape and distribution compared'
t 1 onnxtool validate wide
has out "failed wide: output 'y': variance"
t 1 onnxtool validate same
has out "failed same: output 'y': 200 of 200 elements differ"

# Recorded values.
onnxtool run data.onnxtxt -o in.npz
onnxtool run lin.onnx -i in.npz -o out.npz
onnxtool run wrong.onnxtxt -o wrong.npz
t 0 onnxtool validate lin.onnx --inputs in.npz --expected out.npz
has out 'passed y'
has out '1 passed, 0 failed, 0 skipped'
t 1 onnxtool validate lin.onnx --inputs in.npz --expected wrong.npz
has out 'failed y: largest difference 0.0127'
t 0 onnxtool validate lin.onnx --inputs in.npz --expected wrong.npz --tolerance 0.1
t 3 onnxtool validate lin.onnx --inputs in.npz --expected in.npz
has err "in.npz holds 'x', which is no output of the model"
t 3 onnxtool validate lin.onnx --expected out.npz
has err "no data for input 'x'"
t 2 onnxtool validate lin.onnx --expected out.npz --reference lin.onnx

# Another model.
t 0 onnxtool optimize lin.onnx -o small.onnx -q
t 0 onnxtool validate small.onnx --reference lin.onnx --set N=5
has out '1 passed, 0 failed, 0 skipped'
sed 's/h = MatMul(x, w)/z = MatMul(x, w) h = Neg(z)/; s/{1, 2,/{3, 2,/' lin.onnxtxt >changed.onnxtxt
t 1 onnxtool validate changed.onnxtxt --reference lin.onnx --generate ones
has out 'failed first value that differs: '
has out "'h'"
