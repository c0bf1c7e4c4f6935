# SPDX-License-Identifier: Apache-2.0
# Files that are no models, and names that are no plain words.
models
for command in 'inspect X' 'check X' 'convert X out.onnx' 'optimize X -o out.onnx' 'run X' 'bench X'; do
  c() { echo "$command" | sed "s/X/$1/"; }
  t 3 onnxtool $(c nowhere.onnx)
  has err "cannot open 'nowhere.onnx': No such file or directory"
  mkdir -p folder.onnx
  t 3 onnxtool $(c folder.onnx)
  has err "cannot read 'folder.onnx': it is a folder"
  : >none.onnx
  t 3 onnxtool $(c none.onnx)
  has err 'none.onnx'
  head -c 100 lin.onnx >cut.onnx
  t 3 onnxtool $(c cut.onnx)
  has err 'cut.onnx'
  printf 'this is no model, it is a line of text\n' >text.onnx
  t 3 onnxtool $(c text.onnx)
  has err 'text.onnx: not an ONNX model: it looks like text (ONNX text is named .onnxtxt)'
  printf '{"a": 1}' >other.json
  t 3 onnxtool $(c other.json)
  has err 'other.json'
  printf 'main (float x => y {' >broken.onnxtxt
  t 3 onnxtool $(c broken.onnxtxt)
  has err 'broken.onnxtxt'
  gone out.onnx
done
mkfifo pipe.onnx
t 3 onnxtool inspect pipe.onnx
has err "cannot read 'pipe.onnx': it is a pipe; - reads standard input"

name='ein Größen-Modell 模型 "x".onnx'
t 0 onnxtool convert lin.onnx "$name"
same lin.onnx "$name"
t 0 onnxtool check "$name"
is out "$name: ok"
t 0 onnxtool optimize "$name" -o "$name"
t 0 onnxtool inspect "$name" --json
json out
mkdir 'a b'
t 0 onnxtool run "$name" --generate ones -o 'a b/o u t.json'
is 'a b/o u t.json' '{"y": [[16.5,19.5]]}'

# Control characters in names of files and tensors do not reach the terminal.
evil=$(printf 'evil\033[31m\nname.onnx')
t 0 onnxtool convert lin.onnx "$evil"
t 0 onnxtool check "$evil"
has out 'evil\x1b[31m\nname.onnx: ok'
t 0 onnxtool convert lin.onnx evil.json
sed 's/"h"/"h\\u001b[2J\\nx"/g' evil.json >evil2.json
t 0 onnxtool inspect evil2.json --nodes
has out 'h\x1b[2J\nx'
t 0 onnxtool convert evil2.json evil2.onnx
t 0 onnxtool inspect evil2.onnx --nodes --json
json out
long=$(printf 'x%.0s' $(seq 1 240)).onnx
t 0 onnxtool convert lin.onnx "$long"
t 0 onnxtool check "$long"
longer=$(printf 'x%.0s' $(seq 1 300)).onnx
t 5 onnxtool convert lin.onnx "$longer"
has err 'File name too long'
t 3 onnxtool check "$longer"
