# SPDX-License-Identifier: Apache-2.0
models
t 0 onnxtool convert lin.onnx - --to text
mv out text
for form in onnx txt onnxtxt json; do
  t 0 onnxtool convert lin.onnx copy.$form
  empty out
  empty err
  t 0 onnxtool convert copy.$form - --to text
  is out "$(cat text)"
done
json copy.json '"opType":"MatMul"'
has copy.txt 'h = MatMul (x, w)'
t 0 onnxtool convert lin.onnx named --to json
json named
t 0 onnxtool convert lin.onnx -o other.onnx
same lin.onnx other.onnx
t 2 onnxtool convert lin.onnx a.onnx -o b.onnx
has err 'OUT is given twice'
t 2 onnxtool convert lin.onnx a --to yaml
has err "--to 'yaml': onnx, text or json expected"

# Onto itself.
cp lin.onnx self.onnx
t 0 onnxtool convert self.onnx self.onnx
same lin.onnx self.onnx

# External data: one file, many, and back; into another folder; onto itself.
t 0 onnxtool convert lin.onnx one.onnx --external-data one --external-threshold 1
if [ -s one.onnx.data ]; then pass 'one.onnx.data is written'; else fail 'no one.onnx.data'; fi
t 0 onnxtool inspect one.onnx
has out '2 tensors in external files'
t 0 onnxtool run one.onnx --generate ones -o -
is out '{"y": [[16.5,19.5]]}'
t 0 onnxtool convert one.onnx back.onnx --external-data none
t 0 onnxtool inspect back.onnx
lacks out 'external'
t 0 onnxtool run back.onnx --generate ones -o -
is out '{"y": [[16.5,19.5]]}'
mkdir folder
t 0 onnxtool convert one.onnx folder/kept.onnx
t 0 onnxtool run folder/kept.onnx --generate ones -o -
is out '{"y": [[16.5,19.5]]}'
t 0 onnxtool convert one.onnx one.onnx
t 0 onnxtool run one.onnx --generate ones -o -
is out '{"y": [[16.5,19.5]]}'
t 0 onnxtool convert lin.onnx named.onnx --external-data one --external-threshold 1 --external-name weights.bin
if [ -s weights.bin ]; then pass 'weights.bin is written'; else fail 'no weights.bin'; fi
t 2 onnxtool convert lin.onnx - --external-data one
has err 'external data needs an output file'
t 2 onnxtool convert lin.onnx lin2.json --external-data one
has err 'external data needs the binary form'
rm one.onnx.data
t 3 onnxtool convert one.onnx back2.onnx --external-data none
has err 'one.onnx.data'
gone back2.onnx

# Data files stay in the model's folder.
cat >escape.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
main (float[1] x) => (float[1] y) <float[1] w = ["location": "../secret", "offset": "0", "length": "4"]>
{
  y = Add(x, w)
}
END
printf '1234' >secret
mkdir inner
t 0 onnxtool convert lin.onnx inner/a.onnx --external-data many --external-threshold 1
cp escape.onnxtxt inner/
t 3 onnxtool run inner/escape.onnxtxt --generate ones
has err '../secret'
