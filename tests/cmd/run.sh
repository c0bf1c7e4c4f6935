# SPDX-License-Identifier: Apache-2.0
models
t 0 onnxtool run lin.onnx --generate ones --set N=2
has out 'y: float[2,2]  min 16.5  max 19.5'
empty err
t 0 onnxtool run lin.onnx --generate ones --set N=2 -o -
is out '{"y": [[16.5,19.5],[16.5,19.5]]}'

t 0 onnxtool run lin.onnx --generate ones --json
is out '{"y": [[16.5,19.5]]}'

# Every form of data, in and out. ones.onnx makes files without any other program.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main () => (float[3, 4] x)' \
  '{ x = Constant <value = float[3, 4] {1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, -1}> () }' >data.onnxtxt
want='{"y": [[16.5,19.5],[32.5,39.5],[0,0]]}'
mkdir folder
for file in in.npz in.npy in.pb in.json folder/; do
  t 0 onnxtool run data.onnxtxt -o $file
  empty out
done
printf '1,1,1,1\n2,2,2,2\n0,0,0,-1\n' >in.csv
for file in in.npz in.npy in.pb in.json in.csv x=in.npy folder/output_0.pb; do
  t 0 onnxtool run lin.onnx -i $file -o -
  is out "$want"
done
for file in out.npz out.npy out.pb out.json; do
  t 0 onnxtool run lin.onnx -i in.npz -o $file
done
is out.json "$want"
t 0 onnxtool run lin.onnx -i in.npz --explain -o -
is out "$want"
has err 'Gemm'
t 2 onnxtool run lin.onnx -i in.npz -o out.bin
has err ".npz, .npy, .pb, .json or a folder ending in / expected"
gone out.bin
t 0 sh -c 'onnxtool run lin.onnx -i x=- -o - <in.npy'
is out "$want"
for options in --no-optimize '--backend reference' '--precision fp32-strict' '--device auto' '--threads 1'; do
  t 0 onnxtool run lin.onnx -i in.npz -o - $options
  is out "$want"
done

# What does not fit is named, with both sides.
printf '[[1, 2, 3]]' >short.json
t 3 onnxtool run lin.onnx -i short.json
has err "'x'"
has err '[1,3]'
has err '[N,4]'
printf '[[1, 2], [3]]' >ragged.json
t 3 onnxtool run lin.onnx -i ragged.json
has err 'rows of different length'
printf '{"z": [1]}' >other.json
t 3 onnxtool run lin.onnx -i other.json
has err "other.json holds 'z', which is no input of the model; inputs are 'x'"
t 3 onnxtool run lin.onnx -i nowhere.npz
has err "cannot open 'nowhere.npz'"
t 2 onnxtool run lin.onnx -i in.npy -i in.npy
has err 'the model has no more inputs'
head -c 100 in.npz >cut.npz
t 3 onnxtool run lin.onnx -i cut.npz
has err 'cut.npz'
printf 'nonsense' >x.npy
t 3 onnxtool run lin.onnx -i x.npy
has err 'x.npy'
t 2 onnxtool run lin.onnx --set M=2
has err "--set M=2: the model has no such symbol; it has 'N'"

# Sizes that are open: by symbol, by shape, else 1, which is said.
t 0 onnxtool run lin.onnx
has err 'random numbers, with N=1'
t 0 onnxtool run lin.onnx --shape x=2,4 --generate ones -o -
is out '{"y": [[16.5,19.5],[16.5,19.5]]}'
t 2 onnxtool run lin.onnx --shape x=2,5
has err '--shape x=2,5: the model wants float[N,4]'
t 2 onnxtool run lin.onnx --shape z=2
has err "--shape z=2: the model has no such input; it has 'x'"
t 2 onnxtool run lin.onnx --shape x=2,,4
has err "NAME=N,N,... expected"
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (float[1, 1, ?] x) => (float[a, b, c] y)' \
  '<float[1, 1, 3] w = {1, 1, 1}> { y = Conv(x, w) }' >open.onnxtxt
t 3 onnxtool run open.onnxtxt
has err "with x_d2=1 (--set SYMBOL=N, --shape NAME=N,N,...)"
t 0 onnxtool run open.onnxtxt --set x_d2=4 --generate ones -o -
is out '{"y": [[[3,3]]]}'
t 0 onnxtool inspect open.onnxtxt --set x_d2=4
has out '6 MACs'
t 2 onnxtool run open.onnxtxt --set N=4
has err 'no such symbol; it has'
t 0 onnxtool run open.onnxtxt --shape x=1,1,4 --generate ones -o -
is out '{"y": [[[3,3]]]}'
t 0 onnxtool inspect open.onnxtxt --shape x=1,1,4
has out '6 MACs'

# A missing input is an error once any file is given.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (float[2] a, float[2] b) => (float[2] c)' \
  '{ c = Add(a, b) }' >add.onnxtxt
printf '[1, 2]' >a.json
t 3 onnxtool run add.onnxtxt -i a=a.json
has err "no data for input 'b' float[2]"
t 0 onnxtool run add.onnxtxt -i a=a.json --generate ones -o -
is out '{"c": [2,3]}'
t 0 onnxtool run add.onnxtxt -i a=a.json -i a.json -o -
is out '{"c": [2,4]}'
t 0 onnxtool run add.onnxtxt --seed 1 -q -o -
mv out first
t 0 onnxtool run add.onnxtxt --seed 1 -q -o -
same out first

# Numbers that a type does not hold are no other numbers.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' \
  'main (uint8[2] x, int64[2] k, uint64[1] u, float[2] f) => (uint8[2] a, int64[2] b, uint64[1] c, float[2] d)' \
  '{ a = Identity(x) b = Identity(k) c = Identity(u) d = Identity(f) }' >exact.onnxtxt
printf '{"x": [255, 0], "k": [9007199254740993, "-9223372036854775808"], "u": [18446744073709551615],
  "f": ["NaN", "-Infinity"]}' >exact.json
t 0 onnxtool run exact.onnxtxt -i exact.json -o out.json
t 0 onnxtool run exact.onnxtxt -i exact.json -o -
has out '"b": [9007199254740993,-9223372036854775808]'
has out '"c": [18446744073709551615]'
has out '"d": ["NaN","-Infinity"]'
for wrong in 'x=[256, 0]' 'x=[-1, 0]' 'x=[0.5, 0]' 'k=[1e19, 0]' 'u=[-1]' 'k=["NaN", 0]'; do
  printf '%s' "${wrong#*=}" >wrong.json
  t 3 onnxtool run exact.onnxtxt -i exact.json -i "${wrong%%=*}=wrong.json" -o -
  has err " is no "
done
printf '["caf\\u00e9", "a\\"b\\r"]' >text.json
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (string[2] x) => (string[2] y) { y = Identity(x) }' >text.onnxtxt
t 0 onnxtool run text.onnxtxt -i text.json -o -
is out '{"y": ["café","a\"b\u000d"]}'

# An operator that nobody knows is named, with status 4 or 3.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17, "my.domain" : 1]>' 'main (float[2] a) => (float[2] c)' \
  '{ c = my.domain.Mystery(a) }' >mystery.onnxtxt
t 4 onnxtool run mystery.onnxtxt --generate ones
has err 'my.domain.Mystery'

# What the engine does with a graph, not with a node: the reference says the same.
agrees() {
  printf '%s\n' '<ir_version: 9, opset_import: ["" : 18]>' "$1" >graph.onnxtxt
  t 0 onnxtool run graph.onnxtxt --inputs in.json -o engine.json
  t 0 onnxtool run graph.onnxtxt --inputs in.json -o reference.json --backend reference
  same engine.json reference.json
}
printf '{"x": [1.0001, "NaN", 3.3, 4, -5, 6, 7, 0.125, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]}' >in.json
# Channels-last operands of different rank.
agrees 'g (float[24] x) => (float[1,2,3,4] y) <float[1,2,3,1] c = {1,2,3,4,5,6}, int64[3] d = {4,3,2}> {
  r = Reshape(x, d) t = Transpose(r) s = Relu(t) y = Add(c, s) }'
# NaN out of a condition's branch.
agrees 'g (float[24] x) => (float[24] y, float[24] z) <float one = {1}, float no = {nan}> {
  v = GreaterOrEqual(x, one) y = Where(v, no, x) z = Where(v, x, no) }'
# A Cast to half precision rounds.
agrees 'g (float[24] x) => (float[24] y) { h = Cast<to=10>(x) y = Cast<to=1>(h) }'
agrees 'g (float[24] x) => (float[24] y) { h = Cast<to=16>(x) y = Cast<to=1>(h) }'
# Crossed bounds behind a convolution.
sed 's/"NaN"/2/' in.json >n && mv n in.json
agrees 'g (float[24] x) => (float[1,6,4,1] y) <float[6,1,1,1] w = {1,2,3,4,5,6}, float lo = {3}, float hi = {1}, int64[4] d = {1,6,4,1}> {
  r = Reshape(x, d) c = Conv<group=6>(r, w) y = Clip(c, lo, hi) }'

# --loop: what a step gives is what the next one takes.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' \
  'main (int64[b, s] ids, float[b, p, 1] "past.0.key", float[b, p, 1] "past.1.key", int64[b, t] mask, int64[b, s] at)' \
  '=> (float[b, s, 4] scores, float[b, q, 1] "present.0.key", float[b, q, 1] "present.1.key", int64[b, u] sum)' \
  '<float[4, 4] next = {0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0}, int64[1] last = {2}>' \
  '{ scores = Gather(next, ids) f = Cast<to=1>(ids) x = Unsqueeze(f, last) n = Neg(x)' \
  '  "present.0.key" = Concat<axis=1>("past.0.key", x) "present.1.key" = Concat<axis=1>("past.1.key", n)' \
  '  m = Concat<axis=1>(mask, at) sum = Identity(m) }' >steps.onnxtxt
printf '{"ids": [[2]], "past.0.key": [[[9]]], "past.1.key": [[[8]]], "mask": [[1, 1]], "at": [[5]]}' >start.json
t 0 onnxtool run steps.onnxtxt -i start.json --steps 4 --loop past=present --loop 'ids=argmax(scores)' \
  --loop 'mask=append(1)' --loop 'at=add(1)' -o -
has out '"scores": [[[0,0,1,0]]]'
has out '"present.0.key": [[[9],[2],[3],[0],[1]]]'
has out '"present.1.key": [[[8],[-2],[-3],[-0],[-1]]]'
has out '"sum": [[1,1,1,1,1,8]]'
has out '"ids.chosen": [[3,0,1,2]]'
t 0 onnxtool run steps.onnxtxt -i start.json --steps 2 --loop 'ids=sample(scores,0.01)' --loop past.0.key=present.0.key \
  --loop past.1.key=present.0.key
has out 'ids.chosen: int64[1,2]'
# Names that differ in more than a prefix pair up by what follows.
sed 's/"past\./"past_key_values./g' steps.onnxtxt >hf.onnxtxt
sed 's/past\./past_key_values./g' start.json >hf.json
t 0 onnxtool run hf.onnxtxt -i hf.json --steps 2 --loop past=present -o -
has out '"present.1.key": [[[8],[-2],[-2]]]'
loop() { t "$1" onnxtool run steps.onnxtxt -i start.json --steps 2 --loop "$2"; has err "$3"; }
loop 2 past.0.kay=present.0.key "the model has no input 'past.0.kay'; did you mean 'past.0.key'?"
loop 2 ids=present.7.key "the model has no output 'present.7.key'"
loop 2 ids=scores "does not fit input 'ids' int64[b,s]: another element type"
loop 2 mask=present.0.key "does not fit input 'mask' int64[b,t]: another element type"
loop 2 'past.0.key=argmax(scores)' 'an index is an integer'
loop 2 'ids=argmax(score)' "no output 'score'; did you mean 'scores'?"
loop 2 'ids=append(x)' "a number expected, not 'x'"
loop 2 'ids=sample(scores,0)' 'the temperature is a number above 0'
loop 2 past=s 'do not pair up'
loop 2 ids 'INPUT=OUTPUT expected'
loop 2 'past.0.key=scores' 'dim 2 differs'
loop 3 'ids=add(9)' 'step 2 of 2'
t 2 onnxtool run steps.onnxtxt -i start.json --steps 2 --loop 'at=add(1)' --loop 'at=append(1)'
has err "input 'at' gets two values"
t 2 onnxtool run steps.onnxtxt -i start.json --steps 2
has err '--steps needs --loop'
t 2 onnxtool run steps.onnxtxt -i start.json --loop past=present
has err '--loop needs --steps N'

# The precision that is asked for, or none.
t 0 onnxtool run lin.onnx --generate ones --precision auto
has err 'precision: fp32'
t 4 onnxtool run lin.onnx --generate ones --precision fp16
has err '--precision fp16: no kernel computes in it'
# 1 / 3 is no bfloat16: the product is seen to round. What cannot round says so.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (float[1, 4] x) => (float[1, 1] y)' \
  '<float[4, 1] w = {0.333333, 0, 0, 0}> { y = MatMul(x, w) }' >third.onnxtxt
if grep -q avx512_bf16 /proc/cpuinfo 2>/dev/null; then
  t 0 onnxtool run third.onnxtxt --generate ones --precision bf16 -o -
  has err 'precision: bf16'
  has out '0.33398438'
else
  t 4 onnxtool run third.onnxtxt --generate ones --precision bf16
  has err 'no instructions that multiply bfloat16'
fi
t 2 onnxtool run lin.onnx --precision fp64

# Large constants that are computed while planning are made late, also one from another, and where a result shows them.
cat >late.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
main (float[2, 128] x) => (float[2, 512] y, float[2, 512] z, float[128, 512] h)
<int64 a = {0}, int64 b = {65536}, int64 c = {1}, float half = {0.5}, int64[2] s = {128, 512}>
{
  r = Range(a, b, c)
  f = Cast<to = 1>(r)
  g = Mul(f, half)
  h = Reshape(g, s)
  y = MatMul(x, h)
  i = Cast<to = 10>(h)
  j = Cast<to = 1>(i)
  z = MatMul(x, j)
}
END
t 0 onnxtool run late.onnxtxt --generate ones --no-optimize -o engine.json
t 0 onnxtool run late.onnxtxt --generate ones --backend reference -o reference.json
same engine.json reference.json
