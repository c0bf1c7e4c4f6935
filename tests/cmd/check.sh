# SPDX-License-Identifier: Apache-2.0
# The verdict is the exit status; findings are results and go to standard output.
models
t 0 onnxtool check lin.onnx
is out 'lin.onnx: ok'
empty err
t 0 onnxtool check lin.onnx -q
empty out

cat >bad.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
main (float[2, 4] x) => (float[2, 2] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}>
{
  y = MatMul(x, w)
}
END
t 0 onnxtool convert bad.onnxtxt bad.onnx
t 1 onnxtool check bad.onnx
has out 'bad.onnx: error: '
has out 'MatMul'
has out '[2,4]'
has out '[3,2]'
has out 'bad.onnx: 1 error, 0 warnings'
empty err
t 1 onnxtool check lin.onnx bad.onnx
has out 'lin.onnx: ok'
t 1 onnxtool check -q lin.onnx bad.onnx
lacks out 'ok'
has out 'bad.onnx: error: '
t 3 onnxtool check bad.onnx nowhere.onnx lin.onnx
has out 'bad.onnx: 1 error'
has out 'lin.onnx: ok'
has err "cannot open 'nowhere.onnx'"

t 1 onnxtool check lin.onnx bad.onnx --json
json out '"model":"lin.onnx","valid":true,"errors":0,"warnings":0,"findings":[]'
json out '"model":"bad.onnx","valid":false,"errors":1'
json out '"severity":"error"'
t 3 onnxtool check nowhere.onnx --json
json out '"unreadable":'
t 1 onnxtool check --format sarif bad.onnx
json out '"version":"2.1.0"'
json out '"artifactLocation":{"uri":"bad.onnx"}'
json out '"level":"error"'
t 1 onnxtool check --format github bad.onnx
has out '::error file=bad.onnx,title='
t 2 onnxtool check --format yaml lin.onnx
has err "--format 'yaml': text, json, sarif or github expected"
t 1 sh -c 'onnxtool check - <bad.onnx'
t 0 sh -c 'onnxtool check --json - <lin.onnx'
json out '"valid":true'

sed 's/MatMul/Matmul/' bad.onnxtxt >case.onnxtxt
t 1 onnxtool check case.onnxtxt
has out "operator 'Matmul' is not known; did you mean 'MatMul'?"

# Every code that a finding has is in the table.
t 1 onnxtool check bad.onnx --json
code=$(tr -d ' \n' <out | sed 's/.*"code":"\([^"]*\)".*/\1/')
t 0 onnxtool list rules
has out "$code"
