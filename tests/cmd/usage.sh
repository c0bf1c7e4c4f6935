# SPDX-License-Identifier: Apache-2.0
# The command line itself: help, version, global options, and what a line that does not parse is told.
models

t 0 onnxtool --version
has out 'onnxtool 0.'
empty err
t 0 onnxtool version
has out 'ONNX IR up to 14'
t 0 onnxtool version --json
json out '"ir_version":14'

t 0 onnxtool --help
cp out help
t 0 onnxtool help
same out help
for command in inspect check convert optimize run bench validate list help version completion; do
  has help "  $command "
  t 0 onnxtool help $command
  has out "Usage: onnxtool $command"
  mv out help_$command
  t 0 onnxtool $command --help
  same out help_$command
  empty err
done
has help 'Exit status: 0 done, 1 negative answer, 2 wrong usage, 3 invalid input, 4 not supported'
has help_optimize '-o, --output OUT'
has help_list 'WHAT'

t 2 onnxtool
empty out
has err 'Usage: onnxtool COMMAND'
t 2 onnxtool insepct lin.onnx
is err "onnxtool: error: there is no command 'insepct'; did you mean 'inspect'? (\`onnxtool help\` lists them)"
t 2 onnxtool --threads 2 optimise lin.onnx
has err "did you mean 'optimize'?"
t 2 onnxtool help optimise
has err "did you mean 'optimize'?"
t 2 onnxtool xyzzy
has err "there is no command 'xyzzy' ("
lacks err 'did you mean'
t 2 onnxtool inspect lin.onnx --jsn
is err "onnxtool: error: there is no option '--jsn'; did you mean '--json'? (see \`onnxtool help inspect\`)"
t 2 onnxtool inspect
has err 'MODEL is missing (see `onnxtool help inspect`)'
t 2 onnxtool optimize lin.onnx
has err '--output is missing'
t 2 onnxtool convert lin.onnx
has err 'no output: give OUT or -o OUT'
t 2 onnxtool convert lin.onnx a.onnx b.onnx
has err "one argument too many: 'b.onnx'"
t 2 onnxtool run lin.onnx --set
has err '--set needs a value: SYMBOL=N'
t 2 onnxtool run lin.onnx --set N
has err "'N': SYMBOL=N expected"
t 2 onnxtool run lin.onnx --seed abc
has err "--seed 'abc': a number expected"

t 2 onnxtool bench lin.onnx --duration -1
has err "--duration '-1': a number from 0 to 86400 expected"
t 2 onnxtool optimize lin.onnx -o o.onnx --tolerance x
has err "--tolerance 'x': a number of at least 0 expected"
t 4 onnxtool run lin.onnx --set N=999999999
has err "input 'x' of shape [999999999,4] is too large to generate"

t 0 onnxtool --threads 0 check lin.onnx
t 0 onnxtool check lin.onnx --threads 1
t 0 onnxtool --threads 1 check lin.onnx --threads 2
t 2 onnxtool --threads abc check lin.onnx
has err "--threads 'abc': a number from 0 to 1024 expected"
t 2 onnxtool --threads -1 check lin.onnx
t 2 onnxtool --threads 99999 check lin.onnx
t 2 onnxtool --color alwys check lin.onnx
has err "auto, always or never expected; did you mean 'always'?"

# A word after the command is a model, also when it is a command's name.
t 3 onnxtool check list
has err "cannot open 'list'"
cp lin.onnx -- -odd.onnx
t 0 onnxtool check -- -odd.onnx
t 0 onnxtool check ./-odd.onnx

t 0 onnxtool optimize lin.onnx -o q.onnx --quiet
empty out
empty err
t 0 onnxtool optimize lin.onnx -o q.onnx -q --explain
has out 'applied eliminate-identity'
t 3 onnxtool --quiet check no_such_file.onnx
has err 'no_such_file.onnx'
t 0 onnxtool run lin.onnx --quiet
empty err
t 0 onnxtool run lin.onnx
has err 'warning: no --inputs: the model runs on random numbers'

# No colour where nobody looks, or where NO_COLOR says so.
t 0 env NO_COLOR=1 onnxtool check lin.onnx
if LC_ALL=C grep -q "$(printf '\033')" out err; then fail 'an escape sequence in plain output'; else pass 'plain output'; fi

t 3 onnxtool --color always check nowhere.onnx
has err "$(printf 'onnxtool: \033[1;31merror\033[0m: cannot open')"
t 3 onnxtool check nowhere.onnx
is err "onnxtool: error: cannot open 'nowhere.onnx': No such file or directory"

# Control characters of a command line do not reach the terminal.
t 2 onnxtool "$(printf 'bad\033[31m')"
has err 'bad\x1b[31m'
