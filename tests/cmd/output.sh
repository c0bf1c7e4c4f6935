# SPDX-License-Identifier: Apache-2.0
# Status 5: what cannot be written is said, the old file stays as it was, nothing is left beside it.
models
nothing_left() {
  left=$(find . -name '.*.??????' -type f)
  if [ -z "$left" ]; then pass 'no temporary files'; else fail "left behind: $left"; fi
}
onnxtool run lin.onnx --generate ones -o x.npz
[ -e /dev/full ] && full=1 || full=
if [ $full ]; then
  for command in 'convert lin.onnx /dev/full' 'optimize lin.onnx -o /dev/full' \
    'convert lin.onnx /dev/full --to json'; do
    t 5 onnxtool $command
    is err "onnxtool: error: cannot write '/dev/full': No space left on device"
  done
  ln -s /dev/full full.npz
  t 5 onnxtool run lin.onnx --generate ones -o full.npz
  for command in '--version' '--help' 'help' 'list ops' 'inspect lin.onnx' 'check lin.onnx' 'check --json lin.onnx' \
    'convert lin.onnx - --to text' 'convert lin.onnx -' 'optimize lin.onnx -o -' \
    'run lin.onnx --generate ones' 'run lin.onnx --generate ones -o -' 'completion bash' \
    'bench lin.onnx --iterations 1 --warmup 0' 'validate lin.onnx --reference lin.onnx'; do
    t 5 sh -c "onnxtool $command >/dev/full"
    has err 'onnxtool: error: cannot write standard output: No space left on device'
  done
  printf old >old.onnx
fi

mkdir folder
t 5 onnxtool convert lin.onnx folder
is err "onnxtool: error: cannot write 'folder': it is a folder"
t 5 onnxtool optimize lin.onnx -o folder -q
t 5 onnxtool convert lin.onnx no/such/place.onnx
has err "cannot write 'no/such/place.onnx': No such file or directory"
t 5 onnxtool convert lin.onnx lin.onnx/inside.onnx
t 5 onnxtool run lin.onnx --generate ones -o no/such/out.npz

# A file-size limit stands for a full disk: the old file stays.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'main (int64[1] n) => (float[M] y)' \
  '{ y = ConstantOfShape(n) }' >big.onnxtxt
printf '[200000]' >n.json
printf old >out.npz
printf old >out.npy
t 5 sh -c "trap '' XFSZ; ulimit -f 100; exec onnxtool run big.onnxtxt -i n.json -o out.npy"
has err "cannot write"
has err 'File too large'
printf old >expected_old
same out.npy expected_old
nothing_left

if [ "$(id -u)" = 0 ]; then
  pass 'a read-only folder # SKIP root may write everywhere'
else
  mkdir closed
  printf old >closed/old.onnx
  chmod a-w closed closed/old.onnx
  t 5 onnxtool convert lin.onnx closed/new.onnx
  has err 'Permission denied'
  t 5 onnxtool convert lin.onnx closed/old.onnx
  same closed/old.onnx expected_old
  chmod u+w closed
fi

# A signal at any time: the file is the old one or a whole new one.
cat >interrupt.sh <<'END'
for delay in 0.02 0.05 0.1 0.2 0.4; do
  printf old >interrupted.npz
  onnxtool run big.onnxtxt -i many.json -o interrupted.npz & pid=$!
  sleep $delay
  kill -INT $pid 2>/dev/null
  kill -TERM $pid 2>/dev/null
  wait $pid
  case $(head -c 3 interrupted.npz) in old|PK*) ;; *) echo "neither the old file nor a new one"; exit 1 ;; esac
done
exit 0
END
printf '[20000000]' >many.json
t 0 sh interrupt.sh
nothing_left

# Permissions and links of a replaced file stay.
printf old >target.onnx
chmod 640 target.onnx
ln -s target.onnx link.onnx
t 0 onnxtool convert lin.onnx link.onnx
same target.onnx lin.onnx
if [ -h link.onnx ]; then pass 'the link is a link'; else fail 'the link was replaced'; fi
case $(ls -l target.onnx) in -rw-r-----*) pass 'mode 640 stays' ;; *) fail "mode: $(ls -l target.onnx)" ;; esac
nothing_left

# Nobody reads on: no noise.
for command in 'list ops' 'convert lin.onnx - --to text' 'help' 'completion bash'; do
  t 0 sh -c "onnxtool $command | head -n 1"
  empty err
done
t 0 sh -c 'onnxtool list ops --json | true'
empty err
t 5 sh -c '{ sleep 0.3; onnxtool list ops; echo $? >status; } | true; exit $(cat status)'
empty err
