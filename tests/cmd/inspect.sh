# SPDX-License-Identifier: Apache-2.0
models
t 0 onnxtool inspect lin.onnx
is out 'lin.onnx
  IR 8, ai.onnx 17, made by test
  input   x  float[N,4]
  output  y  float[N,2]
  4 nodes
  10 parameters, 40 B (float 40 B)
  8 MACs with N=1 (--set SYMBOL=N)
  Add 1, Identity 1, MatMul 1, Relu 1'
empty err
t 0 onnxtool inspect lin.onnx --set N=3
has out 'float[3,4]'
has out '24 MACs'
t 2 onnxtool inspect lin.onnx --set M=3
has err "--set M=3: the model has no such symbol; it has 'N'"

t 0 onnxtool inspect lin.onnx --json
json out '"shape":["N",4]'
json out '"ops":{"Add":1,"Identity":1,"MatMul":1,"Relu":1}'
json out '"parameters":10,"weight_bytes":40'
json out '"macs":8,"flops":16'
t 0 onnxtool inspect lin.onnx --json --nodes
json out '"inputs":["x","w"],"outputs":[{"name":"h","type":"float[N,2]"'
t 0 onnxtool inspect lin.onnx --nodes
has out 'MatMul'
has out 'h float[N,2]'

# Several: side by side as text, an array as JSON.
t 0 onnxtool optimize lin.onnx -o small.onnx -q
t 0 onnxtool inspect lin.onnx small.onnx
is out '            lin.onnx    small.onnx
opsets      ai.onnx 17  ai.onnx 17
nodes       4           2
parameters  10          10
weights     40 B        40 B
MACs        8*          8*
Add         1
Gemm                    1
Identity    1
MatMul      1
Relu        1           1
* with symbolic sizes taken as 1 (--set SYMBOL=N)'
t 0 onnxtool inspect lin.onnx small.onnx --json
json out '"model":"small.onnx"'
t 3 onnxtool inspect lin.onnx nowhere.onnx
is err "onnxtool: error: cannot open 'nowhere.onnx': No such file or directory"
# Tensors of Constant nodes are weights too.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (float[3] x) => (float[3] y)' \
  '{ c = Constant <value = float[3] {1, 2, 3}> () y = Add(x, c) }' >constant.onnxtxt
t 0 onnxtool inspect constant.onnxtxt
has out '3 parameters, 12 B (float 12 B)'
t 0 sh -c 'onnxtool inspect - <lin.onnxtxt'
has out '4 nodes'
