# SPDX-License-Identifier: Apache-2.0
models
t 0 onnxtool optimize lin.onnx -o small.onnx
is out '            before  after
nodes       4       2
weights     40 B    40 B
MACs        8*      8*
  Add       1       0
  Gemm      0       1
  Identity  1       0
  MatMul    1       0
* with symbolic sizes taken as 1
verified: outputs agree'
empty err
t 0 onnxtool check small.onnx
t 0 onnxtool run small.onnx --generate ones -o -
is out '{"y": [[16.5,19.5]]}'
t 0 onnxtool optimize lin.onnx -o again.onnx --threads 1
same small.onnx again.onnx
t 0 onnxtool optimize small.onnx -o twice.onnx
has out 'verified: nothing changed'
same small.onnx twice.onnx

t 0 onnxtool optimize lin.onnx -o s.onnx --json
json out '"nodes_before":4,"nodes_after":2'
json out '"weight_bytes_before":40,"weight_bytes_after":40,"macs_before":8,"macs_after":8,"macs_with_symbols_1":["N"]'
json out '"ops_before":{"Add":1,"Identity":1,"MatMul":1,"Relu":1},"ops_after":{"Gemm":1,"Relu":1}'
json out '"verified":"outputsagree"'
json out '"name":"eliminate-identity","edits":1'
t 0 onnxtool optimize lin.onnx -o s.onnx --explain
has out 'applied eliminate-identity at '
has out 'applied fuse-matmul-add at '
t 0 onnxtool optimize lin.onnx -o s.onnx --passes eliminate-identity
has out 'nodes       4       3'
t 0 onnxtool optimize lin.onnx -o s.onnx --skip fuse-matmul-add,eliminate-identity
has out 'verified: nothing changed'
t 0 onnxtool optimize lin.onnx -o s.onnx -O 0
has out 'nodes    4       4'
t 0 onnxtool optimize lin.onnx -o s.onnx -O1
lacks out 'Gemm'
t 2 onnxtool optimize lin.onnx -o n.onnx --passes eliminate-identitty
has err "no pass is named 'eliminate-identitty'"
has err "did you mean 'eliminate-identity'?"
t 2 onnxtool optimize lin.onnx -o n.onnx --skip nope
has err "no pass is named 'nope'"
gone n.onnx
t 2 onnxtool optimize lin.onnx -o n.onnx --max-growth lots
has err "--max-growth 'lots': a size such as 64M or 1G expected"
t 2 onnxtool optimize lin.onnx -o n.onnx -O 9
t 0 onnxtool optimize lin.onnx -o s.onnx --no-verify
has out 'verified: not asked for'
t 0 onnxtool optimize lin.onnx -o s.onnx --verify
has out 'verified: outputs agree'

# An invalid model is refused, and nothing is written.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' \
  'main (float[2, 4] x) => (float y) <float[3] w = {1, 2, 3}> { y = Add(x, w) }' >bad.onnxtxt
t 3 onnxtool optimize bad.onnxtxt -o n.onnx
has err 'bad.onnxtxt'
gone n.onnx

# An output without a shape is a fault, but one that inference repairs.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (float[2, 3] x) => (float[] y) { y = Relu(x) }' \
  >open.onnxtxt
t 1 onnxtool check open.onnxtxt
has out "E110: output 'y': has no shape"
t 0 onnxtool optimize open.onnxtxt -o closed.onnx
t 0 onnxtool check closed.onnx
t 0 onnxtool run open.onnxtxt --generate ones -o -
is out '{"y": [[1,1,1],[1,1,1]]}'

# Onto itself; other forms; standard output, where the report goes to standard error.
cp lin.onnx self.onnx
t 0 onnxtool optimize self.onnx -o self.onnx
same small.onnx self.onnx
t 0 onnxtool optimize lin.onnx -o s.onnxtxt
has s.onnxtxt 'Gemm'
t 0 onnxtool optimize lin.onnx -o -
has err 'verified: outputs agree'
same out small.onnx
t 2 onnxtool optimize lin.onnx -o - --external-data one
has err 'external data needs an output file'

# Weights grow up to a limit, at which a second run stops too.
cat >grow.onnxtxt <<'EOF'
<ir_version: 10, opset_import: ["" : 17]>
grow (float[2,900] x) => (float[2,900] y)
<int64[2] s = {900, 900}>
{
  a = ConstantOfShape <value: tensor = float[1] {0.5}> (s)
  b = ConstantOfShape <value: tensor = float[1] {0.25}> (s)
  c = ConstantOfShape <value: tensor = float[1] {0.75}> (s)
  p = Gemm (x, a)
  q = Gemm (p, b)
  y = Gemm (q, c)
}
EOF
t 0 onnxtool optimize grow.onnxtxt -o grown.onnx --max-growth 8M
has out 'ConstantOfShape  3'
t 0 test "$(wc -c <grown.onnx)" -lt 8388608
t 0 onnxtool optimize grown.onnx -o again.onnx --max-growth 8M
same grown.onnx again.onnx
t 0 onnxtool optimize grow.onnxtxt -o grown.onnx --max-growth 0
t 0 test "$(wc -c <grown.onnx)" -lt 1024

# Targets, rules of the user's own, a page for a browser.
t 0 onnxtool optimize lin.onnx -o s.onnx --target ort --report r.html
grep -q '<svg' r.html && grep -q 'class="new"' r.html && grep -q '</html>' r.html
is_zero=$?
t 0 test "$is_zero" = 0
t 2 onnxtool optimize lin.onnx -o n.onnx --target ortt
has err "no target is named 'ortt'"
has err "did you mean 'ort'?"
cat >rules.onnxtxt <<'EOF'
<ir_version: 10, opset_import: ["" : 17, "pattern" : 1, "replacement" : 1]>
rules () => () { }
<domain: "pattern", opset_import: ["" : 17]>
sum (x, b) => (y) { y = Add (x, b) }
<domain: "replacement", opset_import: ["" : 17]>
sum (x, b) => (y) { n = Neg (b)  y = Sub (x, n) }
EOF
t 0 onnxtool optimize lin.onnx -o s.onnx -O0 --rules rules.onnxtxt --explain
has out 'applied rule:sum at '
has out 'verified: outputs agree'
sed 's/n = Neg (b)  y = Sub (x, n)/y = Sub (x, b)/' rules.onnxtxt >wrong.onnxtxt
t 1 onnxtool optimize lin.onnx -o n.onnx -O0 --rules wrong.onnxtxt --verify
has err "caused by pass 'rule:sum'"
gone n.onnx
sed 's/n = Neg (b)  y = Sub (x, n)/y = Add (b, x)/' rules.onnxtxt >endless.onnxtxt
t 3 onnxtool optimize lin.onnx -o n.onnx -O0 --rules endless.onnxtxt
has err 'the rules undo each other'
t 3 onnxtool optimize lin.onnx -o n.onnx --rules lin.onnx
has err 'there are no functions of domain pattern'

# Provenance, once.
t 0 onnxtool optimize lin.onnx -o p.onnx --provenance --no-verify
t 0 onnxtool optimize p.onnx -o p2.onnxtxt --provenance
n=$(grep -o 'onnxtool.optimize' p2.onnxtxt | wc -l)
t 0 test "$n" -eq 1
has p2.onnxtxt 'target onnx, level 2; 2 nodes to 2; verified: nothing changed'
# A function that is called once.
cat >fn.onnxtxt <<'EOF'
<ir_version: 10, opset_import: ["" : 17, "my" : 1]>
g (float[2] x) => (float[2] y) { y = my.f (x) }
<domain: "my", opset_import: ["" : 17]>
f (x) => (y) { a = Neg (x)  y = Exp (a) }
EOF
t 0 onnxtool optimize fn.onnxtxt -o f.onnxtxt --json
json out '"inlined":true'
t 0 onnxtool optimize fn.onnxtxt -o f.onnxtxt --inline never --json
json out '"inlined":false'
# Readers that look at the first field want the version of the format there, not metadata.
t 0 test "$(head -c 2 p.onnx | od -An -tx1 | tr -d ' ')" = 0808

# What a file says of its values by name stays true: training and devices, and quantization of initializers.
graph='"irVersion":"10","opsetImport":[{"domain":"","version":"20"}],"graph":{"name":"g","node":[
 {"input":["x","w"],"output":["a"],"opType":"Mul"},{"input":["a","v"],"output":["y"],"opType":"Add"}],"initializer":[
 {"dims":["2"],"dataType":1,"floatData":[1,2],"name":"w"},{"dims":["2"],"dataType":1,"floatData":[1,2],"name":"v"},
 {"dataType":1,"floatData":[0.5],"name":"scale"},{"dataType":1,"floatData":[0.5],"name":"unused"}],
 "input":[{"name":"x","type":{"tensorType":{"elemType":1,"shape":{"dim":[{"dimValue":"2"}]}}}}],
 "output":[{"name":"y","type":{"tensorType":{"elemType":1,"shape":{"dim":[{"dimValue":"2"}]}}}}]'
printf '{%s},"trainingInfo":[{"updateBinding":[{"key":"w","value":"v"}]}]}' "$graph" >train.json
t 0 onnxtool optimize train.json -o trained.json
has err 'the model has training information: its graph is left as it is'
json trained.json '"name":"v"'
json trained.json '"name":"unused"'
printf '{%s},"configuration":[{"name":"c","numDevices":2}]}' "$graph" >devices.json
t 0 onnxtool optimize devices.json -o devices2.json
has err 'the model has configurations of devices'
printf '{%s,"quantizationAnnotation":[{"tensorName":"v","quantParameterTensorNames":[
  {"key":"SCALE_TENSOR","value":"scale"}]}]}}' "$graph" >annotated.json
t 0 onnxtool optimize annotated.json -o annotated2.json
empty err
json annotated2.json '"name":"v"'
json annotated2.json '"name":"scale"'
lacks annotated2.json unused
