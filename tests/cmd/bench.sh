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
