#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares operators in each of their versions with ONNX Runtime, or with onnx's ReferenceEvaluator where that refuses.

    scripts/compare_versions.py ONNXTOOL [--op NAME] [--rounds N] [--seed N] [--keep FOLDER] [--backend WHICH] [-v]

Each case is a model of one node in the form of that version, with random inputs. What neither knows is counted apart.
Known differences: ReferenceEvaluator knows no axis of broadcasts before version 7, no channels of PRelu before 7, counts
the padding in AveragePool 1, and takes the last axis for a Softmax before 13 whose axis is out of range; masks of Dropout
before 12 are false in ONNX Runtime; it clamps both coordinates in GridSample; Resize with antialias along corners; it
slices backward to the first element where the end is INT_MAX.
Exit status: 0; 1 where results differ; 77 without the onnxruntime package.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings

try:
    import compare_contrib
    import numpy as np
    import onnx
    import onnx.reference
    from compare_contrib import run_apart, write_case
    from onnx import helper, numpy_helper
except ImportError:
    print("compare_versions: the onnxruntime package is not here: skipped")
    sys.exit(77)

warnings.simplefilter("ignore")
GENERATORS = {}
pick = random.choice
rng = np.random.default_rng()


def op(*names):
    return compare_contrib.op(*names, to=GENERATORS)


def f(*shape, t=np.float32):
    return (rng.integers(-8, 9, shape) / 4).astype(t)


def u(*shape, t=np.uint8, low=0, high=10):
    return rng.integers(low, high, shape).astype(t)


def i64(*values):
    return np.array(values, np.int64)


def dims(rank=None):
    return tuple(int(d) for d in rng.integers(1, 5, pick([1, 2, 3, 4]) if rank is None else rank))


def maybe(**attrs):
    return {k: v for k, v in attrs.items() if pick([0, 1])}


# Each takes (name, version) and gives (attributes, inputs, outputs[, constant inputs]).

@op("Softmax", "LogSoftmax", "Hardmax")
def softmax(name, v):
    s = dims()
    axis = int(rng.integers(-len(s) if v >= 11 else 0, len(s)))
    return maybe(axis=axis) if len(s) > 1 else {"axis": axis}, [f(*s)], 1


@op("BatchNormalization")
def batch_norm(name, v):
    c = 3
    s = (2, c) + dims(pick([1, 2]))
    attrs = maybe(epsilon=0.01, momentum=0.8)
    if v < 7:
        attrs["is_test"] = 1
    if v < 6:
        attrs["consumed_inputs"] = [0, 0, 0, 1, 1]
    stats = (c,)
    if v < 9 and pick([0, 1, 1]):
        attrs["spatial"] = 1
    outputs = 1
    if v >= 14 and pick([0, 1]):
        attrs["training_mode"], outputs = 1, pick([1, 3])
    return attrs, [f(*s), f(*stats), f(*stats), f(*stats), np.abs(f(*stats)) + 1], outputs


@op("Upsample")
def upsample(name, v):
    mode = {"mode": pick(["nearest", "linear" if v > 1 else "bilinear"])}
    x = f(1, 2, 3, 3)
    if v < 7:
        return {**mode, "height_scale": 2.0, "width_scale": pick([1.0, 3.0])}, [x], 1
    scales = [1.0, 1.0, pick([1.0, 2.0, 1.5]), pick([2.0, 2.5])]
    if v < 9:
        return {**mode, "scales": scales}, [x], 1
    return mode, [x, np.array(scales, np.float32)], 1, (1,)


@op("Resize")
def resize(name, v):
    x = f(1, 1, int(rng.integers(2, 6)), int(rng.integers(2, 6)))
    scales = np.array([1, 1, pick([0.5, 0.6, 1, 2, 1.7]), pick([0.7, 1, 3])], np.float32)
    attrs = {"mode": pick(["nearest", "linear"])}
    if v < 11:
        return attrs, [x, scales], 1, (1,)
    attrs["mode"] = pick(["nearest", "linear", "cubic"])
    attrs["coordinate_transformation_mode"] = pick(
        ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"] + (["half_pixel_symmetric"] if v >= 19 else []))
    if attrs["mode"] == "nearest":
        attrs["nearest_mode"] = pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    if attrs["mode"] == "cubic":
        attrs.update(maybe(cubic_coeff_a=-0.5, exclude_outside=1))
    if v >= 18 and attrs["mode"] != "nearest" and pick([0, 1]):
        attrs["antialias"] = 1
    if pick([0, 1]):
        sizes = np.array(x.shape[:2] + (int(rng.integers(1, 9)), int(rng.integers(1, 9))), np.int64)
        return attrs, [x, np.array([], np.float32) if v < 13 else None, np.array([], np.float32) if v < 13 else None,
                       sizes], 1, (1, 2, 3)
    return attrs, [x, np.array([], np.float32), scales], 1, (1, 2)


@op("Pad")
def pad(name, v):
    s = tuple(d + 2 for d in dims(2))
    modes = ["constant", "edge", "reflect"] + (["wrap"] if v >= 19 else [])
    mode = pick(modes)
    pads = [int(p) for p in rng.integers(0 if mode != "constant" else -1, 2, 4)]
    if v < 2:
        return {"paddings": [abs(p) for p in pads], "mode": mode, **maybe(value=1.5)}, [f(*s)], 1
    if v < 11:
        return {"pads": pads, "mode": mode, **maybe(value=1.5)}, [f(*s)], 1
    value = np.array(2.5, np.float32) if pick([0, 1]) else None
    if v >= 18 and pick([0, 1]):
        return {"mode": mode}, [f(*s), i64(*pads[:2]), value, i64(pick([0, 1, -1]))], 1
    return {"mode": mode}, [f(*s), i64(*pads), value], 1


@op("Slice")
def slice_(name, v):
    s = tuple(d + 2 for d in dims(3))
    axes = sorted(random.sample(range(3), pick([1, 2, 3])))
    starts = [int(rng.integers(-4, 4)) for _ in axes]
    ends = [pick([-1, 2, 3, 100, -100, 2 ** 31 - 1]) for _ in axes]
    if v < 10:
        return {"starts": starts, "ends": ends, **({"axes": axes} if len(axes) < 3 else maybe(axes=axes))}, [f(*s)], 1
    steps = [pick([1, 1, 2, -1, -2] if e < 2 ** 31 - 1 else [1, 2]) for e in ends]
    t = pick([np.int32, np.int64])
    return {}, [f(*s)] + [np.array(x, t) for x in (starts, ends, axes, steps)], 1


@op("Dropout")
def dropout(name, v):
    outputs = pick([1, 2]) if v >= 7 else 1
    if v < 7:
        return {"is_test": 1, **maybe(ratio=0.3), **({"consumed_inputs": [0]} if v < 6 else {})}, [f(*dims())], 1
    if v < 12:
        return maybe(ratio=0.3), [f(*dims())], outputs
    return {}, [f(*dims()), pick([None, np.array(0.25, np.float32)]), pick([None, np.array(False)])], outputs


@op("Cast")
def cast(name, v):
    kinds = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.int8, bool, np.float16]
    source, target = pick(kinds), pick(kinds)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    x = (rng.integers(0, 40, dims()) / 4).astype(source)
    if v < 6:
        return {"to": onnx.TensorProto.DataType.Name(to)}, [x], 1
    if v >= 9 and pick([0, 0, 1]):
        x = np.array(["1.5", "-3", "1e2", "inf", "-0"], object)
        return {"to": pick([1, 11, 1, 1])}, [x], 1
    return {"to": to}, [x], 1


@op("Clip")
def clip(name, v):
    if v < 11:
        return {**maybe(min=-0.5, max=0.75), **({"consumed_inputs": [0]} if v < 6 and pick([0, 1]) else {})}, [f(*dims())], 1
    t = pick([np.float32, np.int32, np.int64, np.float64]) if v >= 12 else np.float32
    return {}, [f(*dims()).astype(t), pick([None, np.array(-1, t)]), pick([None, np.array(1, t)])], 1


@op("TopK")
def topk(name, v):
    s = tuple(d + 1 for d in dims(2))
    axis = pick([0, 1] + ([-1] if v >= 11 else []))
    x = rng.permutation(int(np.prod(s))).reshape(s).astype(np.float32)
    k = int(rng.integers(1, s[axis] + 1))
    if v < 10:
        return {"k": k, "axis": axis}, [x], 2
    attrs = {"axis": axis}
    if v >= 11:
        attrs.update(maybe(largest=0))
        x = x.astype(pick([np.float32, np.int64, np.int32, np.float64]))
    return attrs, [x, i64(k)], 2


@op("Squeeze")
def squeeze(name, v):
    x = f(1, 3, 1, 2)
    axes = pick([[0], [2], [0, 2], [-2] if v >= 11 else [2], None])
    if v < 13:
        return ({"axes": axes} if axes else {}), [x], 1
    return {}, [x, None if axes is None else i64(*axes)], 1, (1,)


@op("Unsqueeze")
def unsqueeze(name, v):
    axes = pick([[0], [2], [0, 3], [-1] if v >= 11 else [1], [2, 0] if v >= 11 else [0, 2]])
    return ({"axes": axes}, [f(2, 3)], 1) if v < 13 else ({}, [f(2, 3), i64(*axes)], 1, (1,))


@op("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare")
def reduce(name, v):
    x = f(2, 3, 4)
    if name == "ReduceLogSum":
        x = np.abs(x) + 1
    if pick([0, 1]) and name not in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean"):
        x = x.astype(pick([np.int32, np.int64]))
    axes = pick([None, [0], [1, 2], [-1] if v >= 11 else [2], [0, 2]])
    attrs = maybe(keepdims=0)
    if v < (13 if name == "ReduceSum" else 18):
        return {**attrs, **({"axes": axes} if axes else {})}, [x], 1
    if axes is None and pick([0, 1]):
        return {**attrs, "noop_with_empty_axes": pick([0, 1])}, [x, i64() if pick([0, 1]) else None], 1
    return attrs, [x, None if axes is None else i64(*axes)], 1, (1,)


@op("ArgMax", "ArgMin")
def arg_max(name, v):
    attrs = {**maybe(keepdims=0), "axis": pick([0, 1] + ([-1] if v >= 11 else []))}
    if v >= 12:
        attrs.update(maybe(select_last_index=1))
    return attrs, [u(3, 4, high=3, t=pick([np.float32, np.int32]))], 1


@op("Split")
def split(name, v):
    axis = pick([0, 1] + ([-1] if v >= 11 else []))
    s = (4, 6)
    parts = pick([[s[axis] // 2] * 2, [1, s[axis] - 1], [s[axis] - 2, 0, 2] if v >= 2 else [1, s[axis] - 1]])
    even = pick([0, 1])
    n = 2 if even else len(parts)
    if v < 13:
        return {"axis": axis, **({} if even else {"split": parts})}, [f(*s)], n
    if v >= 18 and even:
        n = pick([2, 4, 3]) if s[axis] == 6 else pick([2, 3])
        return {"axis": axis, "num_outputs": n}, [f(*s)], n
    return {"axis": axis}, [f(*s), None if even else i64(*parts)], n, (1,)


@op("Reshape")
def reshape(name, v):
    x = f(2, 3, 4)
    to = pick([[6, 4], [-1], [0, -1], [2, 0, 4], [4, -1, 3], [24]])
    if v < 5:
        return {"shape": to}, [x], 1
    if v >= 14 and pick([0, 1]):
        return {"allowzero": 1}, [f(0, 3), i64(*pick([[3, 0], [0, 7], [0]]))], 1
    return {}, [x, i64(*to)], 1


@op("Gemm")
def gemm(name, v):
    m, k, n = dims(3)
    attrs = {**maybe(alpha=0.5, beta=2.0), "transA": pick([0, 1]), "transB": pick([0, 1])}
    c = pick([(m, n), (n,), (1,)]) if v < 7 else pick([(m, n), (n,), (1, n), (m, 1), (1,), (), None] if v >= 11 else [(m, n), (n,)])
    if v < 7:
        attrs["broadcast"] = 1
    t = pick([np.float32, np.float32, np.int32] if v >= 9 else [np.float32])
    return attrs, [f(*((k, m) if attrs["transA"] else (m, k)), t=t), f(*((n, k) if attrs["transB"] else (k, n)), t=t),
                   None if c is None else f(*c, t=t)], 1


@op("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Greater", "Less", "Equal")
def binary(name, v):
    if name in ("And", "Or", "Xor"):
        t = bool
    elif name == "Equal":
        t = pick([np.int32, bool] + ([np.float32] if v >= 11 else []))
    elif name == "Pow" or v < 7:
        t = np.float32
    else:
        t = pick([np.float32, np.int32, np.int64, np.float64] + ([np.uint8, np.int16] if v >= 14 else []))
    s = dims(3)
    make = lambda *d: (np.abs(f(*d)) + 1 if name in ("Pow", "Div") else f(*d) > 0 if t == bool else f(*d)).astype(t)
    if v >= 7:
        b = pick([s, s[1:], s[2:], (1,), (s[0], 1, s[2]), ()])
        return {}, [make(*s), make(*b)], 1
    attrs = {"consumed_inputs": [0, 0]} if v < 6 and name in ("Add", "Sub", "Mul", "Div") and pick([0, 1]) else {}
    how = pick(["same", "suffix", "axis", "one"])
    if how == "same":
        return attrs, [make(*s), make(*s)], 1
    if how == "axis":
        at = pick([0, 1])
        return {**attrs, "broadcast": 1, "axis": at}, [make(*s), make(s[at])], 1
    return {**attrs, "broadcast": 1}, [make(*s), make(*(s[1:] if how == "suffix" else (1,)))], 1


@op("Sum", "Max", "Min", "Mean")
def variadic(name, v):
    s = dims(3)
    n = pick([1, 2, 3])
    t = pick([np.float32, np.int32, np.float64]) if v >= 12 and name in ("Max", "Min") else np.float32
    shapes = [s] + [pick([s, s[1:], (1,), (s[0], 1, 1)]) if v >= 8 else s for _ in range(n - 1)]
    return {}, [f(*d).astype(t) for d in shapes], 1


@op("PRelu")
def prelu(name, v):
    s = (2, 3) + dims(pick([0, 1, 2]))
    slope = pick([(3,) + (1,) * (len(s) - 2), (1,), s]) if v >= 7 else pick([(3,), (1,)])
    return {}, [f(*s), f(*slope)], 1


@op("Concat")
def concat(name, v):
    axis = pick([0, 1, 2] + ([-1, -2] if v >= 11 else []))
    parts = []
    for _ in range(pick([1, 2, 3])):
        d = [2, 3, 4]
        d[axis] = int(rng.integers(1, 4))
        parts.append(f(*d))
    return maybe(axis=1) if v < 4 and axis == 1 else {"axis": axis}, parts, 1


@op("Flatten")
def flatten(name, v):
    s = dims(3)
    return maybe(axis=int(rng.integers(-3 if v >= 11 else 0, 4))), [f(*s)], 1


@op("Tile")
def tile(name, v):
    if v < 6:
        return {}, [f(2, 3), i64(int(rng.integers(1, 4))), i64(pick([0, 1]))], 1
    return {}, [f(2, 3), i64(int(rng.integers(0, 3)), 2)], 1


@op("Gather")
def gather(name, v):
    return maybe(axis=1), [f(4, 4), u(2, 3, t=pick([np.int32, np.int64]), low=-4 if v >= 11 else 0, high=4)], 1


@op("Scatter", "ScatterElements")
def scatter(name, v):
    attrs = maybe(axis=1)
    index = np.array([[0, 2], [1, 3 if v < 11 else -1]], pick([np.int32, np.int64]))
    if v >= 16:
        attrs["reduction"] = pick(["none", "add", "mul"] + (["max", "min"] if v >= 18 else []))
    return attrs, [f(4, 4), index, f(2, 2)], 1


@op("ScatterND")
def scatter_nd(name, v):
    attrs = {"reduction": pick(["none", "add", "mul"] + (["max", "min"] if v >= 18 else []))} if v >= 16 else {}
    return attrs, [f(4, 3), np.array([[0], [2]], np.int64), f(2, 3)], 1


@op("MaxPool", "AveragePool", "LpPool")
def pool(name, v):
    two = pick([1, 1, 2])
    attrs = {"kernel_shape": [2, 3][:two], **maybe(strides=[2, 1][:two])}
    if pick([0, 1]):
        attrs["auto_pad"] = pick(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif pick([0, 1]):
        attrs["pads"] = [1, 1, 0, 1] if two == 2 else [1, 0]
    if name == "AveragePool" and v >= 7:
        attrs.update(maybe(count_include_pad=1))
    if (v >= 10 and name != "LpPool" or v >= 18) and "auto_pad" not in attrs:
        attrs.update(maybe(ceil_mode=1))
    if v >= (10 if name == "MaxPool" else 19 if name == "AveragePool" else 18) and "auto_pad" not in attrs:
        attrs.update(maybe(dilations=[2, 1][:two]))
    if name == "LpPool":
        attrs.update(maybe(p=3 if v >= 2 else 3.0))
    if name == "MaxPool" and v >= 8:
        attrs.update(maybe(storage_order=1))
    x = f(1, 2, *[6, 7][:two])
    if name == "MaxPool" and v >= 12 and pick([0, 1]):
        x = x.astype(np.int8)
    return attrs, [x], pick([1, 2]) if name == "MaxPool" and v >= 8 else 1


@op("GlobalLpPool", "LpNormalization")
def lp(name, v):
    s = (2, 3, 4, 2)
    return {**maybe(p=2.0 if v < 2 and name == "GlobalLpPool" else 1 if name == "LpNormalization" else 2)}, [f(*s) + 0.1], 1


@op("OneHot")
def one_hot(name, v):
    return maybe(axis=pick([0, 1, -1])), [u(2, 3, t=np.int64, low=-3 if v >= 11 else 0, high=3), np.array([3], np.int64), f(2)], 1


@op("InstanceNormalization")
def instance(name, v):
    return {**maybe(epsilon=0.1), **({"consumed_inputs": [0, 0, 0]} if v < 6 and pick([0, 1]) else {})}, [f(2, 3, 4, 2), f(3), f(3)], 1


@op("GroupNormalization")
def group_norm(name, v):
    n = 2 if v < 21 else 4
    return {"num_groups": 2, **maybe(epsilon=0.1)}, [f(2, 4, 3), f(n), f(n)], 1


@op("RNN", "GRU", "LSTM")
def rnn(name, v):
    g = {"RNN": 1, "GRU": 3, "LSTM": 4}[name]
    d, n, b, h, k = pick([1, 2]), 3, 2, 2, 3
    attrs = {"hidden_size": h}
    if d == 2 or pick([0, 1]):
        attrs["direction"] = "bidirectional" if d == 2 else pick(["forward", "reverse"])
    attrs.update(maybe(clip=0.7))
    if name == "GRU" and v >= 3:
        attrs.update(maybe(linear_before_reset=1))
    if name == "LSTM":
        attrs.update(maybe(input_forget=1))
    if v < 7:
        attrs["output_sequence"] = 1
    lens = None if pick([0, 1]) else np.array([3, 2], np.int32)
    inputs = [f(n, b, k), f(d, g * h, k), f(d, g * h, h), f(d, 2 * g * h) if pick([0, 1]) else None, lens,
              f(d, b, h) if pick([0, 1]) else None]
    if name == "LSTM":
        inputs += [f(d, b, h) if pick([0, 1]) else None, f(d, 3 * h) if pick([0, 1]) else None]
    return attrs, inputs, pick([1, 2] + ([3] if name == "LSTM" else []))


@op("Transpose")
def transpose(name, v):
    return maybe(perm=[2, 0, 1]), [f(*dims(3))], 1


@op("DepthToSpace")
def depth_to_space(name, v):
    return {"blocksize": 2, **(maybe(mode=pick(["DCR", "CRD"])) if v >= 11 else {})}, [f(1, 8, 2, 3)], 1


@op("QuantizeLinear")
def quantize(name, v):
    per = pick([0, 1]) if v >= 13 else 0
    t = pick([np.uint8, np.int8] + ([np.uint16, np.int16] if v >= 21 else []))
    n = (3,) if per else ()
    return ({"axis": 1} if per else {}), [f(2, 3), np.abs(f(*n)).astype(np.float32) + np.float32(0.1),
                                          u(*n, t=t)], 1


@op("DequantizeLinear")
def dequantize(name, v):
    per = pick([0, 1]) if v >= 13 else 0
    n = (3,) if per else ()
    t = pick([np.uint8, np.int8, np.int32] + ([np.uint16, np.int16] if v >= 21 else []))
    return ({"axis": 1} if per else {}), [u(2, 3, t=t), np.abs(f(*n)).astype(np.float32) + np.float32(0.1),
                                          None if t == np.int32 else u(*n, t=t)], 1


@op("DFT")
def dft(name, v):
    x = f(2, 5, 4, pick([1, 2]))
    length = pick([None, np.array(3, np.int64), np.array(7, np.int64)])
    if v < 20:
        return {"axis": pick([1, 2]), **maybe(inverse=1)}, [x, length], 1
    return maybe(inverse=1), [x, length, pick([None, np.array(1, np.int64), np.array(-2, np.int64)])], 1


@op("GridSample")
def grid_sample(name, v):
    modes = ["bilinear", "nearest", "bicubic"] if v < 20 else ["linear", "nearest", "cubic"]
    return {**maybe(mode=pick(modes), align_corners=1), "padding_mode": pick(["zeros", "border", "reflection"])}, [
        f(1, 2, 4, 5), rng.uniform(-1.2, 1.2, (1, 3, 2, 2)).astype(np.float32)], 1


@op("RoiAlign")
def roi_align(name, v):
    rois = np.array([[0, 0, 3, 4], [1, 1, 2.5, 2]], np.float32)
    attrs = {"output_height": 2, "output_width": 2, **maybe(sampling_ratio=2, mode="max", spatial_scale=0.5)}
    if v >= 16:
        attrs.update(maybe(coordinate_transformation_mode=pick(["half_pixel", "output_half_pixel"])))
    return attrs, [f(1, 2, 5, 5), rois, i64(0, 0)], 1


@op("HardSigmoid", "Elu", "Selu", "LeakyRelu", "ThresholdedRelu")
def activation(name, v):
    attrs = maybe(alpha=0.3, **({"beta": 0.4} if name == "HardSigmoid" else {"gamma": 1.2} if name == "Selu" else {}))
    if v < 6 and name != "ThresholdedRelu" and pick([0, 1]):
        attrs["consumed_inputs"] = [0]
    return attrs, [f(*dims())], 1


@op("Abs", "Ceil", "Floor", "Neg", "Relu", "Sigmoid", "Tanh", "Exp", "Reciprocal", "Sqrt", "Log")
def unary(name, v):
    return ({"consumed_inputs": [0]} if v < 6 and pick([0, 1]) else {}), [np.abs(f(*dims())) + 0.5], 1


@op("MeanVarianceNormalization")
def mvn(name, v):
    return maybe(axes=[0, 2]), [f(2, 3, 4, 2)], 1


@op("Shape", "Size")
def shape(name, v):
    return (maybe(start=1, end=-1) if v >= 15 and name == "Shape" else {}), [f(*dims())], 1


@op("CumSum")
def cumsum(name, v):
    return maybe(exclusive=1, reverse=1), [f(3, 4), np.array(pick([0, 1, -1]), pick([np.int32, np.int64]))], 1


@op("Mod")
def mod(name, v):
    t = pick([np.int32, np.int64, np.uint8, np.float32])
    b = u(4, t=t, low=1, high=5)
    return ({"fmod": 1} if t == np.float32 else maybe(fmod=1)), [u(3, 4, t=t, low=0 if t == np.uint8 else -9), b], 1


@op("Compress")
def compress(name, v):
    return {"axis": pick([0, 1] + ([-1] if v >= 11 else []))}, [f(3, 4), np.array([True, False, True])], 1


@op("LRN")
def lrn(name, v):
    return {"size": 3, **maybe(alpha=0.01, beta=0.5, bias=2.0)}, [f(1, 4, 3, 3)], 1


@op("ConvTranspose", "Conv")
def conv(name, v):
    attrs = maybe(strides=[2, 1], dilations=[1, 2])
    if name == "ConvTranspose":
        attrs.update(maybe(output_padding=[0, 0]))
    how = pick(["pads", "auto", "none"])
    if how == "pads":
        attrs["pads"] = [1, 0, 1, 1]
    elif how == "auto" and "dilations" not in attrs:
        attrs["auto_pad"] = pick(["SAME_UPPER", "SAME_LOWER", "VALID"])
    return attrs, [f(1, 2, 6, 6), f(2, 2, 3, 2), pick([None, f(2)])], 1


@op("EyeLike")
def eye_like(name, v):
    return maybe(k=1, dtype=pick([1, 7])), [f(3, 4)], 1


@op("Attention")
def attention(name, v):
    b, qh, kh, s, l, h = 2, 4, pick([4, 2]), 3, 5, 4
    attrs = maybe(is_causal=1, softcap=2.0, scale=0.3)
    inputs = [f(b, qh, s, h), f(b, kh, l, h), f(b, kh, l, h)]
    if pick([0, 1]):
        mask = f(s, l) if pick([0, 1]) else f(s, l) > -1
        inputs.append(mask)
    return attrs, inputs, 1


@op("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(name, v):
    attrs = maybe(reduction=pick(["none", "sum", "mean"]), ignore_index=1)
    return attrs, [f(4, 3), u(4, t=np.int64, high=3), pick([None, np.abs(f(3)) + 1])], 1


def make_model(name, version, attrs, inputs, outputs, constants):
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    while names and not names[-1]:
        names.pop()
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(name, names, results, **attrs)
    info, fixed = [], []
    for n, (i, x) in zip(names, enumerate(inputs)):
        if not n:
            continue
        kind = onnx.TensorProto.STRING if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype)
        info.append(helper.make_tensor_value_info(n, kind, x.shape))
        if i in constants:
            fixed.append(numpy_helper.from_array(x, n))
    if version >= 9:
        info = [i for i in info if all(i.name != c.name for c in fixed)]
    graph = helper.make_graph([node], "g", info, [onnx.ValueInfoProto(name=r) for r in results], fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10 if version >= 9 else 3)


def oracle(model, feeds):
    try:
        return run_apart(model.SerializeToString(), feeds), "ONNX Runtime"
    except RuntimeError:
        pass
    results = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    return [np.asarray(r) for r in results], "onnx"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnxtool")
    parser.add_argument("--op", action="append")
    parser.add_argument("--rounds", type=int, default=12, help="cases for each version")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="folder for the cases")
    parser.add_argument("--show", type=int, default=2, help="faults to print for each version")
    parser.add_argument("--backend", default="reference")
    parser.add_argument("-v", action="store_true", help="every version, not only those with faults")
    args = parser.parse_args()
    global rng
    newest = onnx.defs.onnx_opset_version()
    total = [0, 0, 0]
    for name in args.op or sorted(GENERATORS):
        versions = sorted({s.since_version for s in onnx.defs.get_all_schemas_with_history()
                           if s.name == name and s.domain == "" and not s.deprecated and s.since_version <= newest})
        for version in versions:
            random.seed(f"{args.seed} {name} {version}")
            rng = np.random.default_rng(random.getrandbits(60))
            cases, unknown = [], 0
            with tempfile.TemporaryDirectory() as scratch:
                folder = os.path.join(args.keep or scratch, f"{name}-{version}")
                for i in range(args.rounds):
                    attrs, inputs, outputs, *constants = GENERATORS[name](name, version)
                    constants = constants[0] if constants else ()
                    model = make_model(name, version, attrs, inputs, outputs, constants)
                    feeds = {f"x{k}": x for k, x in enumerate(inputs) if x is not None and k not in constants}
                    try:
                        results, who = oracle(model, feeds)
                    except Exception as error:  # noqa: BLE001: neither knows this form
                        unknown += 1
                        if args.v and unknown == 1:
                            print(f"    unknown: {attrs}: {str(error)[:150]!r}")
                        continue
                    case = os.path.join(folder, str(i))
                    write_case(case, model, inputs, constants, results)
                    cases.append((case, who, attrs, [None if x is None else f"{x.dtype}{list(x.shape)}" for x in inputs]))
                run = subprocess.run([args.onnxtool, "validate", "--json", "--backend", args.backend, "--atol", "1e-5"]
                                     + [c[0] for c in cases], capture_output=True, text=True) if cases else None
                found = json.loads(run.stdout)["results"] if run else []
            wrong = [(c, r) for c, r in zip(cases, found) if r["result"] != "passed"]
            total = [total[0] + len(cases), total[1] + len(wrong), total[2] + unknown]
            if wrong or args.v:
                print(f"{name}-{version}: {len(cases) - len(wrong)} agree, {len(wrong)} differ, {unknown} not known")
            for (case, who, attrs, shapes), r in wrong[:args.show]:
                print(f"    {who}: {attrs} {shapes}: {r['why'][:250]}")
    print(f"{total[0]} cases, {total[1]} differ, {total[2]} neither runs")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
