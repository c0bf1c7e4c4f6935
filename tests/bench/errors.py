#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Errors of whole fp32 models against double precision: onnxtool, ONNX Runtime and OpenVINO.

usage: tests/bench/errors.py --tool ONNXTOOL [--precision P] [--keep FOLDER] MODEL.onnx...

The model is rewritten to compute in double and evaluated by `run --backend reference`. An error is the largest
difference of an output in units of the output's largest value. MODEL.npz beside a model holds its inputs (models.py).
Models with operators that know no double, and quantized ones, are left out. Ends with status 1 where onnxtool's error
is above 1e-5 and above the better peer's. --keep: references are written there, and read again the next time.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import common

# Inputs that stay float, by operator; outputs that are float whatever the inputs.
FLOAT_INPUTS = {"Resize": [2], "Upsample": [1], "NonMaxSuppression": [0, 1, 3, 4]}
FLOAT_OUTPUTS = {"TreeEnsembleClassifier": [1], "LinearClassifier": [1], "SVMClassifier": [1], "TreeEnsembleRegressor": [0],
                 "LinearRegressor": [0], "SVMRegressor": [0], "Scaler": [0], "Normalizer": [0]}
LEFT_OUT = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def widen_tensor(t):
    if t.data_type == TensorProto.FLOAT:
        t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float64), t.name))


def widen_type(t):
    kind = t.WhichOneof("value")
    if kind == "tensor_type" and t.tensor_type.elem_type == TensorProto.FLOAT:
        t.tensor_type.elem_type = TensorProto.DOUBLE
    elif kind in ("sequence_type", "optional_type"):
        widen_type(getattr(t, kind).elem_type)


def cast(source, target, kind):
    return helper.make_node("Cast", [source], [target], to=kind)


def widen_node(n):
    """The nodes that take its place."""
    if n.op_type in LEFT_OUT or (n.domain == "com.microsoft"):
        raise ValueError(f"{n.op_type} in double")
    for a in n.attribute:
        if a.type == onnx.AttributeProto.GRAPH:
            widen_graph(a.g)
        elif a.type == onnx.AttributeProto.TENSOR:
            widen_tensor(a.t)
        elif a.name in ("to", "dtype") and a.i == TensorProto.FLOAT:
            a.i = TensorProto.DOUBLE
    if n.op_type == "ConstantOfShape" and not n.attribute:
        n.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))
    if n.op_type == "Constant" and n.attribute[0].name in ("value_float", "value_floats"):
        value = np.array(helper.get_attribute_value(n.attribute[0]), np.float64)
        n.attribute[0].CopyFrom(helper.make_attribute("value", numpy_helper.from_array(value)))
    before, after = [], []
    for i in FLOAT_INPUTS.get(n.op_type, []):
        if i < len(n.input) and n.input[i]:
            name = f"{n.output[0]}:float{i}"
            before.append(cast(n.input[i], name, TensorProto.FLOAT))
            n.input[i] = name
    for i in FLOAT_OUTPUTS.get(n.op_type, []):
        name = f"{n.output[i]}:float"
        after.append(cast(name, n.output[i], TensorProto.DOUBLE))
        n.output[i] = name
    return [*before, n, *after]


def widen_graph(g):
    for t in g.initializer:
        widen_tensor(t)
    for v in [*g.input, *g.output, *g.value_info]:
        widen_type(v.type)
    nodes = [x for n in list(g.node) for x in widen_node(n)]
    del g.node[:]
    g.node.extend(nodes)


def run_tool(tool, model, feeds, folder, *options):
    np.savez(f"{folder}/in.npz", **feeds)
    command = [tool, "run", model, "-i", f"{folder}/in.npz", "-o", f"{folder}/out.npz", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr.strip()[-200:])
    return dict(np.load(f"{folder}/out.npz"))


def reference(tool, path, feeds, folder):
    model = onnx.load(path)
    widen_graph(model.graph)
    for f in model.functions:
        nodes = [x for n in list(f.node) for x in widen_node(n)]
        del f.node[:], f.value_info[:]
        f.node.extend(nodes)
    onnx.save(model, f"{folder}/wide.onnx")
    wide = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in feeds.items()}
    return run_tool(tool, f"{folder}/wide.onnx", wide, folder, "--backend", "reference", "--no-optimize")


def error(want, got):
    """NaN and infinities have to stand in the same places."""
    if want.dtype.kind != "f":
        return 0.0
    want, got = want.ravel(), np.asarray(got, np.float64).ravel()
    finite = np.isfinite(want)
    if want.size != got.size or (finite != np.isfinite(got)).any():
        return float("inf")
    scale = np.abs(want[finite]).max(initial=0)
    return float(np.abs(want - got)[finite].max(initial=0) / (scale or 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--keep")
    a = parser.parse_args()
    worse = 0
    print(f"{'model':40s} {'onnxtool':>9s} {'ort':>9s} {'openvino':>9s}")
    for path in a.models:
        name, feeds = os.path.basename(path)[:-5], common.inputs_of(path)
        kept = a.keep and f"{a.keep}/{name}.f64.npz"
        with tempfile.TemporaryDirectory() as folder:
            try:
                if kept and os.path.exists(kept):
                    want = dict(np.load(kept))
                else:
                    want = reference(a.tool, path, feeds, folder)
                    if kept:
                        np.savez(kept, **want)
                ours = run_tool(a.tool, path, feeds, folder, "--precision", a.precision)
            except ValueError as e:
                print(f"{name:40s} left out: {e}", flush=True)
                continue
        names = [o.name for o in common.session(path).get_outputs()]
        errors = [max((error(want[k], ours[k]) for k in names), default=0.0)]
        for make in (common.onnxruntime, common.openvino):
            try:
                errors.append(max(error(want[k], v) for k, v in zip(names, make(path, feeds)())))
            except Exception:  # a peer that cannot run the model is no bar
                errors.append(float("inf"))
        bad = errors[0] > max(1e-5, min(errors[1:]))
        worse += bad
        print(f"{name:40s} {errors[0]:9.2e} {errors[1]:9.2e} {errors[2]:9.2e}{'  worse' if bad else ''}", flush=True)
    print(f"{worse} above 1e-5 and above the better peer")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
