# SPDX-License-Identifier: Apache-2.0
# - is standard input or output wherever a model is taken or written.
models
t 0 sh -c 'onnxtool convert lin.onnxtxt - | onnxtool optimize - -o - 2>/dev/null | onnxtool check -'
is out '-: ok'
t 0 sh -c 'onnxtool convert lin.onnx - | cmp - lin.onnx'
t 0 sh -c 'onnxtool convert lin.onnx - --to json | onnxtool convert - - | onnxtool validate - --reference lin.onnx'
t 0 sh -c 'onnxtool convert lin.onnx - --to text | onnxtool inspect - --json'
json out '"nodes":4'
t 0 sh -c 'onnxtool optimize lin.onnx -o - -q | onnxtool run - --generate ones -o -'
is out '{"y": [[16.5,19.5]]}'
t 0 sh -c 'onnxtool bench - --iterations 1 --warmup 0 <lin.onnx'
t 0 sh -c 'onnxtool validate - --reference lin.onnx <lin.onnx'
t 0 sh -c 'onnxtool optimize lin.onnx -o - --json 2>report | cat >small.onnx'
json report '"nodes_after":2'
t 0 onnxtool check small.onnx
t 3 sh -c 'onnxtool check - </dev/null'
has err 'standard input'
t 3 sh -c 'echo nonsense | onnxtool inspect -'
has err 'standard input'
t 3 sh -c 'head -c 60 lin.onnx | onnxtool optimize - -o x.onnx'
gone x.onnx
t 3 onnxtool inspect -
t 3 sh -c 'onnxtool inspect - <&-'
