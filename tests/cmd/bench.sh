# SPDX-License-Identifier: Apache-2.0
models
t 0 onnxtool bench lin.onnx --iterations 5 --warmup 0 --threads 1 --json
for key in min mean p50 p90 p99 stddev; do has out "\"$key\":"; done
json out '"iterations":5'
json out '"threads":1,"precision":"fp32","device":"cpu"'
for key in load_ms compile_ms peak_rss_bytes latency_ms throughput_per_s; do has out "\"$key\":"; done
empty err
t 0 onnxtool bench lin.onnx --iterations 5 --warmup 0 --json --profile
json out '"profile":[{'
t 0 onnxtool bench lin.onnx --duration 0.05 --warmup 0 --profile --set N=64
has out 'latency ms'
has out 'runs '
has out 'memory '
has out 'kernel'
t 0 onnxtool bench lin.onnx --iterations 1 --warmup 0 --explain
has out 'Gemm'
t 0 onnxtool bench lin.onnx --iterations 1 --warmup 0 --explain --json
json out
has err 'Gemm'
t 0 onnxtool bench lin.onnx --duration 0.1 --warmup 0 --progress always --json
has err 'measuring'
json out
t 2 onnxtool bench lin.onnx --iterations 0
has err '--iterations'
t 2 onnxtool bench lin.onnx --duration soon
t 3 onnxtool bench nowhere.onnx
printf '[[1,2,3]]' >short.json
t 3 onnxtool bench lin.onnx -i short.json --iterations 1
has err '[N,4]'
t 0 onnxtool bench lin.onnx --iterations 2 --warmup 0 --json --profile --set N=64
json out '"macs":512'

# Statistics: the interval of the median holds it, warm-up runs are counted apart.
cat >check.py <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
for r in d.get("results", [d]):
    l = r["latency_ms"]
    assert l["min"] <= l["p50_ci95"][0] <= l["p50"] <= l["p50_ci95"][1] <= l["max"], l
    assert r["warmup_iterations"] > 0 and r["iterations"] > 0 and r["throughput_per_s"] > 0, r
    assert isinstance(r["drift"]["detected"], bool) and r["machine_loop_ms"] > 0, r
END
export XDG_CACHE_HOME=$PWD/cache  # the roofline is kept here
t 0 onnxtool bench lin.onnx --duration 0.1 --warmup 0.01 --json
python=python3
command -v python3 >/dev/null || python=true
cp out one.json
t 0 $python check.py one.json

# Several models, precisions and numbers of threads in turns.
cp lin.onnx other.onnx
t 0 onnxtool bench lin.onnx other.onnx --threads 1,2 --precision fp32,fp32-strict --duration 0.02 --warmup 0.01
has out 'lin.onnx    fp32-strict        2'
has out 'other.onnx  fp32               1'
t 0 onnxtool bench lin.onnx other.onnx --threads 1,2 --duration 0.02 --warmup 0.01 --json
json out '{"results":[{"model":"lin.onnx"'
cp out many.json
t 0 $python check.py many.json
t 2 onnxtool bench lin.onnx --threads 1,many
has err "--threads 'many': a number from 0 to 1024 expected"
t 2 onnxtool bench lin.onnx --precision fp32,fp7

# Requests at the same time.
t 0 onnxtool bench lin.onnx --concurrency 4 --duration 0.1 --warmup 0 --threads 2
has out '4 at a time'
t 0 onnxtool bench lin.onnx --concurrency 3 --iterations 100 --warmup 0 --json
json out '"iterations":100,'
json out '"concurrency":3'
t 2 onnxtool bench lin.onnx --concurrency 0

# Steps, with the nodes of the file they stand for, against the roofline.
t 0 onnxtool bench lin.onnx --iterations 5 --warmup 0 --profile
has out 'roofline %'
has out 'GFLOP/s fp32'
t 0 onnxtool bench lin.onnx --iterations 5 --warmup 0 --profile --json
json out '"nodes":["MatMul:h","Add:s","Identity:i","Relu:y"]'
for key in roofline_percent gflops gbs bandwidth; do has out "\"$key\":"; done
for file in cache/onnxtool/*; do
  for bad in '' '[1' '{}' '{"version": 1}' '{"gflops": "x"}'; do
    printf '%s' "$bad" >"$file"
    t 0 onnxtool bench lin.onnx --iterations 1 --warmup 0 --profile
    has out 'GFLOP/s fp32'
  done
  sed 's/"bytes": [0-9]*/"bytes": -1/' "$file" >n && mv n "$file"
  t 0 onnxtool bench lin.onnx --iterations 1 --warmup 0 --profile
  lacks "$file" '"bytes": -1'
done
t 0 env HOME=/nowhere XDG_CACHE_HOME= onnxtool bench lin.onnx --iterations 1 --warmup 0 --profile

# A trace and a page.
t 0 onnxtool bench lin.onnx --iterations 5 --warmup 0 --trace trace.json --html page.html
json trace.json '"name":"Gemm+Relu"'
json trace.json '"ph":"X"'
has page.html '</html>'
has page.html 'Gemm+Relu'
lacks page.html '<script'
t 5 onnxtool bench lin.onnx --iterations 1 --warmup 0 --html nowhere/page.html
t 0 onnxtool bench lin.onnx other.onnx --iterations 3 --warmup 0 --html page.html --trace - --json --threads 1
has page.html 'median latency'

# Against what was recorded: slower only when that is sure.
t 0 onnxtool bench lin.onnx --duration 0.1 --warmup 0.01 --compare one.json --fail-over 900%
has out 'compared'
printf '%s' '{"model": "lin.onnx", "precision": "fp32", "threads": 1, "latency_ms": {"p50": 1e-7}}' >fast.json
t 1 onnxtool bench lin.onnx --duration 0.05 --warmup 0 --threads 1 --compare fast.json --fail-over 3
has out 'slower by more than 3 %'
has err 'measuring again'
t 1 onnxtool bench lin.onnx --duration 0.05 --warmup 0 --threads 1 --compare fast.json --fail-over 3 --json
json out '"slower_than_base":true'
t 0 onnxtool bench lin.onnx --duration 0.05 --warmup 0 --threads 1 --compare fast.json
sed 's/1e-7/1e7/' fast.json >slow.json
t 0 onnxtool bench lin.onnx --duration 0.05 --warmup 0 --threads 1 --compare slow.json --fail-over 0
has out 'faster'
# The machine was a thousand times faster then: no news about the program.
sed 's/1e-7}/1e-7, "p50_ci95": [1e-7, 1e7]}/' fast.json >wide.json
t 0 onnxtool bench lin.onnx --duration 0.05 --warmup 0 --threads 1 --compare wide.json --fail-over 3%
has out 'not sure'
t 3 onnxtool bench lin.onnx --iterations 1 --warmup 0 --threads 2 --compare fast.json
has err 'fast.json: it has none of these models'
for bad in '' '[' '7' '{}' '{"results": 1}' '{"model": "lin.onnx", "precision": "fp32", "threads": 1}' \
  '{"model": "lin.onnx", "precision": "fp32", "threads": 1, "latency_ms": {"p50": -1}}'; do
  printf '%s' "$bad" >bad.json
  t 3 onnxtool bench lin.onnx --iterations 1 --warmup 0 --threads 1 --compare bad.json
  has err 'bad.json'
done
t 2 onnxtool bench lin.onnx --fail-over 3%
has err 'needs --compare'
t 2 onnxtool bench lin.onnx --compare one.json --fail-over much
t 3 onnxtool bench lin.onnx --compare nowhere.json
