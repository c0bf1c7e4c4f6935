# SPDX-License-Identifier: Apache-2.0
# --device: without a plug-in, and with one that emulates a device.
models
export ONNXTOOL_CUDA_LIBRARY=./none.so
t 4 onnxtool run lin.onnx --device cuda
has err 'no CUDA plug-in'
t 0 onnxtool run lin.onnx --device auto
has out 'y: float'
t 2 onnxtool run lin.onnx --device tpu
has err "'tpu'"
printf 'no library' >none.so
t 4 onnxtool bench lin.onnx --device cuda:0 --iterations 1
has err 'no CUDA plug-in'

export ONNXTOOL_CUDA_LIBRARY="$ONNXTOOL_TESTS/cuda/libcuda_emulated.so"
t 0 onnxtool run lin.onnx --device cuda --set N=3 --explain
has out 'upload'
has out 'cublaslt'
has out 'download'
t 0 onnxtool bench lin.onnx --device cuda --iterations 3 --warmup 0 --json
json out '"device":"cuda:0'
json out '"device_steps":1,"device_copies":2,"device_copy_bytes":24'
t 2 onnxtool run lin.onnx --device cuda:x
t 4 onnxtool run lin.onnx --device cuda:7
has err 'no CUDA device 7'
t 0 onnxtool validate lin.onnx --reference lin.onnx --device cuda
has out '0 failed'

# What an index reads is checked on the device, too.
cat >gather.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
main (float[3, 2] x, int64[2] i) => (float[2, 2] y) { g = Gather(x, i) y = Relu(g) }
END
onnxtool convert gather.onnxtxt gather.onnx
printf '{"x": [[1,2],[3,4],[5,6]], "i": [2, -3]}' >good.json
printf '{"x": [[1,2],[3,4],[5,6]], "i": [2, 3]}' >wrong.json
t 0 onnxtool run gather.onnx --device cuda -i good.json
has out '[5, 6, 1, 2]'
t 3 onnxtool run gather.onnx --device cuda -i wrong.json
has err 'out of range'
