# SPDX-License-Identifier: Apache-2.0
for what in commands kernels ops passes rules targets; do
  t 0 onnxtool list $what
  if [ "$(wc -l <out)" -gt 5 ]; then pass "$what are listed"; else fail "a few lines only"; fi
  t 0 onnxtool list $what --json
  json out
done
t 0 onnxtool list ops
grep '^ai.onnx  *Conv ' out >row
has row '1 11 22'
has row 'onednn_conv'
t 0 onnxtool list passes
has out 'eliminate-identity'
t 2 onnxtool list op
has err "WHAT 'op': commands, kernels, ops, passes, rules or targets expected; did you mean 'ops'?"
t 2 onnxtool list

# The table of operators: each column holds what it says.
t 0 onnxtool list ops
grep '^ai.onnx  *Relu ' out >row
has row 'elementwise'
grep '^ai.onnx.ml  *TreeEnsembleRegressor ' out >row
has row '(deprecated)'
t 0 onnxtool list ops --json
json out '"operator":"Abs","versions":[1,6,13],"deprecated":false,"types":["tensor('
json out '"reference":true,"cpu":["elementwise"],"cuda":['
