# SPDX-License-Identifier: Apache-2.0
libs=$ONNXTOOL_TESTS/op_library
cat >ops.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17, "example" : 1]>
main (float[N, 3] x, string[K] s) => (float[N, 3] y, float[M] z, string[K] t)
{
  y = example.ScaleAdd <alpha = 0.5> (x, x)
  minus = Constant <value = int64[1] {-1}> ()
  flat = Reshape (y, minus)
  z = example.NonNegative (flat)
  t = example.Shout (s)
}
END
t 0 onnxtool convert ops.onnxtxt ops.onnx

# Without the flag the model is valid, but cannot be run.
t 0 onnxtool check ops.onnx
has out 'example.ScaleAdd'
t 4 onnxtool run ops.onnx --set N=2 --set K=1 --generate ones
has err 'example.ScaleAdd'

# With it: inference, engine, reference, optimize, validate, bench, inspect.
run="run ops.onnx -i x=x.json -i s=s.json -o -"
echo '[[1, -2, 3], [4, 5, -6]]' >x.json
echo '["abc", "x1"]' >s.json
for backend in engine reference; do
  t 0 onnxtool --op-library $libs/libexample.so $run --backend $backend
  is out '{"y": [[1.5,-3,4.5],[6,7.5,-9]],
 "z": [1.5,4.5,6,7.5],
 "t": ["ABC","X1"]}'
done
t 0 onnxtool check ops.onnx --op-library $libs/libexample.so
lacks out 'W216'
t 0 onnxtool inspect --nodes --json ops.onnx --op-library $libs/libexample.so
json out '"name":"y","type":"float[N,3]"'
t 0 onnxtool optimize ops.onnx -o fast.onnx --op-library $libs/libexample.so
t 0 onnxtool --op-library $libs/libexample.so validate fast.onnx --reference ops.onnx --set N=2 --set K=1
t 0 onnxtool --op-library $libs/libexample.so bench ops.onnx --set N=2 --set K=1 --iterations 2

# Its own errors; wrong operands.
one() { # operator inputs
  printf '<ir_version: 8, opset_import: ["" : 17, "faulty" : 1, "example" : 1]>\ng (float[N] x, float[2,2] w) => (%s y) { y = %s }\n' "${2-float[M]}" "$1" >one.onnxtxt
}
one 'example.NonNegative (w)'
t 3 onnxtool --op-library $libs/libexample.so run one.onnxtxt --set N=2
has err "x must be a vector (operator library 'example')"
one 'example.ScaleAdd (x, x, x)'
t 3 onnxtool --op-library $libs/libexample.so run one.onnxtxt --set N=2
has err '3 inputs, the operator takes 1 to 2'

# What a library gives is not trusted.
faulty() { # status operator message
  one "faulty.$2 (x)" ${4-float[M]}
  for backend in engine reference; do
    t $1 onnxtool --op-library $libs/libfaulty.so run one.onnxtxt --set N=2 --generate ones --backend $backend -o -
    if [ $1 = 0 ]; then is out "$3"; else has err "$3"; fi
  done
}
faulty 3 BadType 'the shape rule gives output 0 the element type 77'
faulty 3 BadRank 'the shape rule gives output 0 rank 1000'
faulty 3 BadSymbol 'the shape rule gives dim 0 of output 0 the size -1000'
faulty 4 LongMessage 'xxxxxx'
faulty 3 Silent "operator library 'faulty' gave no output 0"
faulty 4 Negative 'output 0 has shape [-5]'
faulty 4 Huge 'too large'
faulty 4 NoType 'output 0 has element type 99 and rank 1'
faulty 3 Longer "output 0 is float[3], the shape rule of operator library 'faulty' says float[2]"
faulty 4 Twice 'code 2 without a reason'
faulty 0 Truth '{"y": [false,true]}' bool[M]
faulty 4 NoEval 'NoEval'

# Libraries that are none, or not for us.
t 3 onnxtool --op-library missing.so version
has err "operator library 'missing.so': cannot be opened"
echo text >text.so
t 3 onnxtool --op-library text.so version
has err "operator library 'text.so': cannot be opened"
t 4 onnxtool --op-library $libs/libfaulty_abi.so version
has err 'another version of the interface than 1'
t 3 onnxtool --op-library $libs/libfaulty_domain.so version
has err "operator 'ai.onnx.BadType': the domain belongs to the standard"
t 3 onnxtool --op-library $libs/libexample.so --op-library $libs/libexample.so version
has err "operator 'example.ScaleAdd' exists already"
