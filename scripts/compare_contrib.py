#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares operators of com.microsoft with ONNX Runtime on random inputs and combinations of attributes.

    scripts/compare_contrib.py ONNXTOOL [--op NAME] [--rounds N] [--seed N] [--keep FOLDER] [--backend WHICH]

Each case is a model of one node, run by ONNX Runtime without rewriting; what it gives is the expected result of
`onnxtool validate`. Known differences: ONNX Runtime adds -10000 in single precision for masked keys; QLinearSoftmax
wraps 256 to 0; QLinearAveragePool with ceil_mode divides by windows that reach beyond the padding; GridSample clamps both
coordinates where one is outside; a state of Attention whose values have another size than its keys is refused here. Cases that ONNX Runtime refuses are counted apart, and so are those that onnxtool refuses. Exit
status: 0; 1 where results differ; 77 without the onnxruntime package.
"""

import argparse
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    print("compare_contrib: the onnxruntime package is not here: skipped")
    sys.exit(77)

MS = "com.microsoft"
GENERATORS = {}
pick = random.choice
rng = np.random.default_rng()


def op(*names, to=GENERATORS):
    def add(function):
        for name in names:
            to[name] = function
        return function
    return add


def f32(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def of(dtype, *shape):
    return f32(*shape).astype(dtype)


def u(*shape, dtype=None, low=None, high=None):
    dtype = np.dtype(dtype or np.uint8)
    info = np.iinfo(dtype)
    return rng.integers(info.min if low is None else low, (info.max if high is None else high) + 1, shape).astype(dtype)


def scale(dtype=np.float32):
    return np.array(rng.uniform(0.005, 0.1), dtype)


def zero(dtype):
    return np.array(rng.integers(-20, 20) if np.dtype(dtype).kind == "i" else rng.integers(100, 150), dtype)


def maybe(value, chance=0.5):
    return value if random.random() < chance else None


def dims(rank=None):
    return tuple(int(d) for d in rng.integers(1, 5, rank if rank is not None else rng.integers(1, 5)))


# Each generator gives (attributes, inputs, number of outputs, indices of inputs that must be constant).

@op("Gelu", "QuickGelu")
def unary(name):
    attrs = {"alpha": float(rng.uniform(0.5, 2))} if name == "QuickGelu" and pick([0, 1]) else {}
    return attrs, [of(np.float32, *dims())], 1, ()


@op("FastGelu", "BiasGelu")
def bias_gelu(name):
    shape = dims()
    return {}, [f32(*shape), f32(shape[-1]) if name == "BiasGelu" else maybe(f32(shape[-1]))], 1, ()


@op("Inverse")
def inverse(name):
    n = int(rng.integers(1, 5))
    return {}, [of(pick([np.float32, np.float64]), *dims(pick([0, 1, 2])), n, n)], 1, ()


@op("Trilu")
def trilu(name):
    x = of(pick([np.float32, np.float64, np.int64]), *dims(pick([2, 3])))
    return ({"upper": pick([0, 1])} if pick([0, 1]) else {}), [x, maybe(np.array(rng.integers(-3, 4), np.int64))], 1, ()


@op("Range")
def range_(name):
    t = pick([np.int32, np.int64, np.float32, np.float64, np.int16])
    start, limit = int(rng.integers(-5, 5)), int(rng.integers(-2, 10))
    delta = maybe(np.array(pick([1, 2, 3, -1]), t))
    return {}, [np.array(start, t), np.array(limit, t), delta], 1, ()


@op("Unique")
def unique(name):
    return {}, [rng.integers(0, 5, int(rng.integers(1, 12))).astype(np.float32)], 3, ()


@op("ExpandDims")
def expand_dims(name):
    x = f32(*dims())
    return {}, [x, np.array(rng.integers(-x.ndim, x.ndim + 1), np.int32)], 1, ()


@op("CropAndResize")
def crop_and_resize(name):
    n, c, h, w = 2, 3, int(rng.integers(2, 8)), int(rng.integers(2, 8))
    k = int(rng.integers(1, 4))
    rois = np.sort(rng.uniform(-0.2, 1.2, (k, 2, 2)), axis=1).reshape(k, 4).astype(np.float32)
    attrs = {"mode": pick(["bilinear", "nearest"])} if pick([0, 1]) else {}
    if pick([0, 1]):
        attrs["extrapolation_value"] = 2.5
    return attrs, [f32(n, c, h, w), rois, rng.integers(0, n, k).astype(np.int32),
                   np.array(rng.integers(1, 6, 2), np.int32)], 1, ()


@op("GridSample")
def grid_sample(name):
    n, c, h, w = 2, 3, int(rng.integers(2, 8)), int(rng.integers(2, 8))
    grid = rng.uniform(-1.3, 1.3, (n, int(rng.integers(1, 5)), int(rng.integers(1, 5)), 2)).astype(np.float32)
    attrs = {"mode": pick(["bilinear", "nearest", "bicubic"]), "padding_mode": pick(["zeros", "border", "reflection"]),
             "align_corners": pick([0, 1])}
    return {k: v for k, v in attrs.items() if pick([0, 1, 1])}, [f32(n, c, h, w), grid], 1, ()


@op("GatherND")
def gather_nd(name):
    x = f32(3, 4, 2)
    k = int(rng.integers(1, 4))
    index = np.stack([rng.integers(0, x.shape[i], dims(2)[:1] + (2,)) for i in range(1)], -1)
    index = np.stack([rng.integers(0, x.shape[i], (3, 2)) for i in range(k)], -1)
    return {}, [x, index.astype(np.int64)], 1, ()


@op("Pad")
def pad(name):
    x = of(pick([np.float32, np.float64]), *[d + 2 for d in dims(2)])
    mode = pick(["constant", "edge", "reflect"])
    return {"mode": mode}, [x, rng.integers(0 if mode != "constant" else -1, 2, 4).astype(np.int64),
                            maybe(np.array([1.5], x.dtype))], 1, ()


@op("BiasSoftmax")
def bias_softmax(name):
    shape = dims(3)
    axis = pick([1, 2])
    bias = (1,) + shape[1:] if axis == 1 else pick([shape[:1] + (1,) + shape[2:], (1,) + shape[1:]])
    inner = 1 if bias[0] == 1 else 0
    return {"axis": axis, "is_inner_broadcast": inner}, [f32(*shape), f32(*bias)], 1, ()


@op("CDist")
def cdist(name):
    k = int(rng.integers(1, 5))
    t = pick([np.float32, np.float64])
    return {"metric": pick(["euclidean", "sqeuclidean"])}, [of(t, 3, k), of(t, 4, k)], 1, ()


@op("MurmurHash3")
def murmur(name):
    x = pick([rng.integers(0, 100, 4).astype(np.int32), np.array(["a", "bc", "hello world", ""], object)])
    return {"positive": pick([0, 1]), "seed": int(rng.integers(0, 100))}, [x], 1, ()


# --------------------------------------------------------------------------------- products
@op("FusedMatMul", "TransposeMatMul")
def fused_matmul(name):
    m, k, n = dims(3)
    batch = dims(pick([0, 1, 2]))
    attrs = {"alpha": pick([1.0, 0.5]), "transA": pick([0, 1]), "transB": pick([0, 1])}
    a, b = batch + (m, k), batch + (k, n)
    if attrs["transA"]:
        a = batch + (k, m)
    if attrs["transB"]:
        b = batch + (n, k)
    if name == "FusedMatMul" and batch:
        if pick([0, 1]):
            attrs["transBatchA"] = 1
            a = (a[-2],) + batch + (a[-1],)
        if pick([0, 1]):
            attrs["transBatchB"] = 1
            b = (b[-2],) + batch + (b[-1],)
    return attrs, [f32(*a), f32(*b)], 1, ()


@op("FusedGemm")
def fused_gemm(name):
    m, k, n = dims(3)
    attrs = {"alpha": pick([1.0, 0.5]), "beta": pick([1.0, 2.0]), "transA": pick([0, 1]), "transB": pick([0, 1]),
             "activation": pick(["Relu", "LeakyRelu", "Tanh", "Sigmoid", "HardSigmoid"])}
    if attrs["activation"] == "LeakyRelu":
        attrs["activation_alpha"] = 0.2
    if attrs["activation"] == "HardSigmoid":
        attrs.update(activation_alpha=0.3, activation_beta=0.4)
    c = maybe(f32(*pick([(n,), (m, n), (1, n), (m, 1), (1,)])))
    return attrs, [f32(*((k, m) if attrs["transA"] else (m, k))), f32(*((n, k) if attrs["transB"] else (k, n))), c], 1, ()


@op("FusedConv", "NhwcFusedConv", "NhwcConv")
def conv(name):
    nhwc = name.startswith("Nhwc")
    group = pick([1, 1, 2])
    c, m, h, w = group * 2, group * 3, int(rng.integers(5, 9)), int(rng.integers(5, 9))
    k = pick([1, 3])
    attrs = {"group": group, "kernel_shape": [k, k], "strides": pick([[1, 1], [2, 1]]), "dilations": pick([[1, 1], [1, 2]]),
             "pads": pick([[0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 2, 1]])}
    if name != "NhwcConv":
        attrs["activation"] = pick(["Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid"])
        extra = {"LeakyRelu": [0.1], "Clip": [-0.5, 0.7], "HardSigmoid": [0.2, 0.5]}
        if attrs["activation"] in extra:
            attrs["activation_params"] = extra[attrs["activation"]]
    x = f32(1, h, w, c) if nhwc else f32(1, c, h, w)
    inputs = [x, f32(m, c // group, k, k) if name != "NhwcConv" else f32(m, c // group, k, k), maybe(f32(m))]
    if name == "FusedConv" and pick([0, 1]):
        size = [(x.shape[2 + i] + attrs["pads"][i] + attrs["pads"][i + 2] - attrs["dilations"][i] * (k - 1) - 1)
                // attrs["strides"][i] + 1 for i in range(2)]
        inputs.append(f32(1, m, *size))
    return attrs, inputs, 1, (1,)


@op("NhwcMaxPool")
def nhwc_max_pool(name):
    attrs = {"kernel_shape": [2, 3], "strides": pick([[1, 1], [2, 1]]), "pads": pick([[0, 0, 0, 0], [1, 1, 0, 1]]),
             "ceil_mode": pick([0, 1])}
    return attrs, [u(1, 6, 7, 3, dtype=pick([np.uint8, np.int8]))], 1, ()


@op("MatMulNBits")
def matmul_nbits(name):
    bits, block = pick([2, 4, 4, 8]), pick([16, 32, 64])
    n, k = int(rng.integers(1, 9)), int(pick([16, 32, 40, 64, 100]))
    blocks = -(-k // block)
    b = u(n, blocks, block * bits // 8)
    scales = rng.uniform(0.01, 0.1, pick([(n, blocks), (n * blocks,)])).astype(np.float32)
    per = 8 // bits
    zp = maybe(pick([u(n, -(-blocks // per)), (rng.uniform(0, 2 ** bits, (n, blocks))).astype(np.float32)]))
    bias = maybe(f32(n), 0.3)
    attrs = {"K": k, "N": n, "bits": bits, "block_size": block}
    if pick([0, 1]):
        attrs["accuracy_level"] = 1
    g_idx = None
    return attrs, [f32(*dims(pick([1, 2])), k), b, scales, zp, g_idx, bias], 1, (1, 2, 3, 4, 5)


@op("MatMulBnb4")
def matmul_bnb4(name):
    n, k, block = int(rng.integers(1, 9)), pick([16, 32, 48]), 16
    count = -(-n * k // block)
    return ({"K": k, "N": n, "block_size": block, "quant_type": pick([0, 1])},
            [f32(3, k), u((n * k + 1) // 2), rng.uniform(0.1, 1, count).astype(np.float32)], 1, (1, 2))


@op("MatMulIntegerToFloat")
def matmul_integer_to_float(name):
    m, k, n = dims(3)
    ta, tb = pick([(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
    per_column = pick([0, 1])
    bs = rng.uniform(0.01, 0.1, n).astype(np.float32) if per_column else scale()
    bz = maybe(np.array([zero(tb)] * n) if per_column else zero(tb))
    return {}, [u(*dims(pick([0, 1])), m, k, dtype=ta), u(k, n, dtype=tb), scale(), bs, maybe(zero(ta)), bz,
                maybe(f32(n))], 1, (1, 3, 5, 6)


@op("DynamicQuantizeMatMul")
def dynamic_quantize_matmul(name):
    m, k, n = dims(3)
    tb = pick([np.uint8, np.int8])
    per_column = pick([0, 1])
    bs = rng.uniform(0.01, 0.1, n).astype(np.float32) if per_column else scale()
    bz = maybe(np.array([zero(tb)] * n) if per_column else zero(tb))
    return {}, [f32(m, k), u(k, n, dtype=tb), bs, bz, maybe(f32(n))], 1, (1, 2, 3)


@op("QGemm")
def qgemm(name):
    m, k, n = dims(3)
    ta, tb = pick([(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
    attrs = {"alpha": pick([1.0, 0.5]), "transA": pick([0, 1]), "transB": pick([0, 1])}
    a, b = (k, m) if attrs["transA"] else (m, k), (n, k) if attrs["transB"] else (k, n)
    per = pick([0, 1])
    bs = rng.uniform(0.01, 0.1, n).astype(np.float32) if per else scale()
    bz = np.array([zero(tb)] * n) if per else zero(tb)
    c = maybe(u(*pick([(n,), (m, n), (1, n)]), dtype=np.int32, low=-1000, high=1000))
    out = [scale() * 3, zero(ta)] if pick([0, 1]) else [None, None]
    return attrs, [u(*a, dtype=ta), scale(), zero(ta), u(*b, dtype=tb), bs, bz, c] + out, 1, (3, 4, 5)


# ---------------------------------------------------------------------------- quantized form
@op("QLinearAdd", "QLinearMul")
def qlinear_binary(name):
    t = pick([np.uint8, np.int8])
    a = dims(3)
    b = tuple(pick([1, d]) for d in a)
    return {}, [u(*a, dtype=t), scale(), zero(t), u(*b[pick([0, 1]):], dtype=t), scale(), zero(t), scale(), zero(t)], 1, ()


@op("QLinearConcat")
def qlinear_concat(name):
    t = pick([np.uint8, np.int8])
    base, axis = list(dims(3)), pick([0, 1, 2, -1])
    inputs = [scale(), zero(t)]
    for _ in range(pick([1, 2, 3])):
        base[axis] = int(rng.integers(1, 5))
        inputs += [u(*base, dtype=t), scale(), zero(t)]
    return {"axis": axis}, inputs, 1, ()


@op("QLinearAveragePool")
def qlinear_average_pool(name):
    t = pick([np.uint8, np.int8])
    attrs = {"kernel_shape": [2, 3], "strides": pick([[1, 1], [2, 2]]), "pads": pick([[0, 0, 0, 0], [1, 1, 0, 1]]),
             "ceil_mode": pick([0, 1]), "count_include_pad": pick([0, 1]), "channels_last": pick([0, 1])}
    x = u(2, 6, 7, 3, dtype=t) if attrs["channels_last"] else u(2, 3, 6, 7, dtype=t)
    return attrs, [x, scale(), zero(t), scale(), zero(t)], 1, ()


@op("QLinearGlobalAveragePool")
def qlinear_global_average_pool(name):
    t = pick([np.uint8, np.int8])
    return {"channels_last": pick([0, 1])}, [u(2, 4, 3, 5, dtype=t), scale(), zero(t), scale(), zero(t)], 1, ()


@op("QLinearLeakyRelu", "QLinearSigmoid")
def qlinear_unary(name):
    t = pick([np.uint8, np.int8])
    attrs = {"alpha": 0.2} if name == "QLinearLeakyRelu" and pick([0, 1]) else {}
    return attrs, [u(*dims(), dtype=t), scale(), zero(t), scale(), zero(t)], 1, (1, 2, 3, 4)


@op("QLinearSoftmax")
def qlinear_softmax(name):
    t = pick([np.uint8, np.int8])
    x = u(*dims(3), dtype=t)
    return ({"axis": pick([0, 1, 2, -1]), "opset": pick([1, 11, 13])},
            [x, scale(), maybe(zero(t), 0.8), np.array(1 / 256, np.float32), np.array(np.iinfo(t).min, t)], 1, (1, 2, 3, 4))


@op("QLinearWhere")
def qlinear_where(name):
    t = pick([np.uint8, np.int8])
    a = dims(3)
    return {}, [rng.integers(0, 2, tuple(pick([1, d]) for d in a)).astype(bool), u(*a, dtype=t), scale(), zero(t),
                u(*a, dtype=t), scale(), zero(t), scale(), zero(t)], 1, ()


@op("QLinearReduceMean")
def qlinear_reduce_mean(name):
    t = pick([np.uint8, np.int8])
    return ({"axes": pick([[0], [1, 2], [-1]]), "keepdims": pick([0, 1])},
            [u(*dims(3), dtype=t), scale(), zero(t), scale(), zero(t)], 1, ())


@op("QuantizeLinear")
def quantize(name):
    t = pick([np.uint8, np.int8, np.uint16, np.int16])
    x = f32(*dims(3), scale=5)
    axis = pick([None, 0, 1, 2])
    if axis is None:
        return {}, [x, scale(), zero(t)], 1, ()
    n = x.shape[axis]
    return {"axis": axis}, [x, rng.uniform(0.01, 0.1, n).astype(np.float32), np.array([zero(t)] * n)], 1, ()


@op("DequantizeLinear")
def dequantize(name):
    t = pick([np.uint8, np.int8, np.uint16, np.int16, np.int32])
    x = u(*dims(3), dtype=t)
    axis = pick([None, 0, 1, 2])
    zp = (lambda n=None: np.zeros(n or (), t)) if t == np.int32 else (lambda n=None: np.array([zero(t)] * n) if n else zero(t))
    if axis is None:
        return {}, [x, scale(), zp()], 1, ()
    n = x.shape[axis]
    return {"axis": axis}, [x, rng.uniform(0.01, 0.1, n).astype(np.float32), zp(n)], 1, ()


@op("DynamicQuantizeLSTM")
def dynamic_quantize_lstm(name):
    direction = pick(["forward", "reverse", "bidirectional"])
    d = 2 if direction == "bidirectional" else 1
    h, i, s, b = int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    t = pick([np.uint8, np.int8])
    per = pick([0, 1])
    shape = (d, 4 * h) if per else (d,)
    ws, rs = (rng.uniform(0.001, 0.02, shape).astype(np.float32) for _ in range(2))
    wz, rz = (np.full(shape, zero(t)) for _ in range(2))
    attrs = {"hidden_size": h, "direction": direction}
    if pick([0, 1]):
        attrs["input_forget"] = 1
    return attrs, [f32(s, b, i), u(d, i, 4 * h, dtype=t), u(d, h, 4 * h, dtype=t), maybe(f32(d, 8 * h)),
                   maybe(rng.integers(1, s + 1, b).astype(np.int32)), maybe(f32(d, b, h)), maybe(f32(d, b, h)),
                   maybe(f32(d, 3 * h)), ws, wz, rs, rz], 3, (1, 2, 8, 9, 10, 11)


# ---------------------------------------------------------------------------- normalizations
@op("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def skip_norm(name):
    b, s, h = dims(3)
    x = f32(b, s, h) if pick([0, 1]) else f32(b * s, h)
    skip = x.shape if x.ndim == 2 else pick([x.shape, x.shape, (s, h), (1, s, h)])
    inputs = [x, f32(*skip), f32(h)]
    if name == "SkipLayerNormalization":
        inputs.append(maybe(f32(h)))
    return {"epsilon": pick([1e-5, 1e-2])}, inputs + [maybe(f32(h))], pick([1, 4]), ()


@op("SimplifiedLayerNormalization")
def simplified_norm(name):
    t = pick([np.float32, np.float32, np.float64])
    x = of(t, *dims(3))
    axis = pick([-1, 1, 2, 0])
    attrs = {"axis": axis, "epsilon": pick([1e-5, 1e-2]), "stash_type": 1}
    return {k: v for k, v in attrs.items() if k != "stash_type" or pick([0, 1])}, [x, of(t, *x.shape[axis:])], pick([1, 2]), ()


@op("EmbedLayerNormalization")
def embed_norm(name):
    b, s, h = dims(3)
    segments = pick([0, 1])
    mask = maybe(rng.integers(0, 2, (b, s)).astype(np.int32))
    positions = maybe(rng.integers(0, 6, pick([(b, s), (1, s)])).astype(np.int32), 0.3)
    attrs = {"epsilon": pick([1e-12, 1e-3])}
    if pick([0, 1]):
        attrs["mask_index_type"] = pick([0, 1])
    return attrs, [rng.integers(0, 7, (b, s)).astype(np.int32),
                   rng.integers(0, 2, (b, s)).astype(np.int32) if segments else None, f32(7, h), f32(6, h),
                   f32(2, h) if segments else None, f32(h), f32(h), mask, positions], pick([1, 2, 3]), ()


# -------------------------------------------------------------------------------- attention
@op("RotaryEmbedding")
def rotary(name):
    b, s, n, h = dims(2) + (pick([1, 2]), pick([4, 8]))
    positions = pick([np.array([rng.integers(0, 3)], np.int64), rng.integers(0, 8, (b, s)).astype(np.int64)])
    attrs = {"interleaved": pick([0, 1]), "scale": 1.0}
    part = h
    if pick([0, 0, 1]):
        part = h // 2
        attrs.update(rotary_embedding_dim=part, num_heads=n)
    x = f32(b, s, n * h) if pick([0, 1]) else f32(b, n, s, h)
    return attrs, [x, positions, f32(8, part // 2), f32(8, part // 2)], 1, ()


@op("MultiHeadAttention")
def mha(name):
    b, n, h = pick([1, 2]), pick([1, 2, 3]), pick([2, 4])
    s, t, hv = int(rng.integers(1, 5)), int(rng.integers(1, 5)), pick([2, 4])
    attrs = {"num_heads": n}
    if pick([0, 0, 1]):
        attrs["scale"] = 0.7
    form = pick(["self", "cross", "packed_kv", "packed_qkv", "heads"])
    past = None
    if form == "packed_qkv":
        hv, t = h, s
        inputs = [f32(b, s, n, 3, h), None, None, None]
    elif form == "packed_kv":
        hv = h
        inputs = [f32(b, s, n * h), f32(b, t, n, 2, h), None, None]
    elif form == "heads":
        inputs = [f32(b, s, n * h), f32(b, n, t, h), f32(b, n, t, hv), None]
    else:
        t = s if form == "self" else t
        inputs = [f32(b, s, n * h), f32(b, t, n * h), f32(b, t, n * hv), maybe(f32(n * (h + h + hv)))]
        if form == "self" and pick([0, 1]):
            past = int(rng.integers(1, 4))
    total = t + (past or 0)
    mask = maybe(pick([rng.integers(0, total + 1, b).astype(np.int32) * 0 + rng.integers(1, total + 1, b).astype(np.int32),
                       rng.integers(0, 2, (b, total)).astype(np.int32)]), 0.3) if past is None else None
    if pick([0, 0, 1]) and form in ("self", "packed_qkv"):
        attrs["unidirectional"] = 1
    bias = maybe(f32(pick([1, b]), pick([1, n]), s, total), 0.3)
    inputs += [mask, bias]
    if past is not None:
        inputs += [f32(b, n, past, h), f32(b, n, past, hv)]
    return attrs, inputs, 3 if past is not None else 1, ()


@op("Attention")
def attention(name):
    b, s, n, h = pick([1, 2]), int(rng.integers(1, 5)), pick([1, 2]), pick([2, 4])
    i = int(rng.integers(2, 6))
    attrs = {"num_heads": n, "unidirectional": pick([0, 1])}
    hv = h
    if pick([0, 0, 1]):
        hv = pick([2, 3])
        attrs["qkv_hidden_sizes"] = [n * h, n * h, n * hv]
    past = maybe(int(rng.integers(1, 4)), 0.3) if hv == h else None
    total = s + (past or 0)
    mask = maybe(pick([rng.integers(1, total + 1, b).astype(np.int32), rng.integers(0, 2, (b, total)).astype(np.int32),
                       rng.integers(0, 2, (b, s, total)).astype(np.int32),
                       np.concatenate([rng.integers(1, total + 1, b), np.zeros(b)]).astype(np.int32)]))
    if pick([0, 0, 1]):
        attrs["scale"] = 0.6
    if pick([0, 0, 1]):
        attrs["mask_filter_value"] = -100.0
    bias = maybe(f32(pick([1, b]), pick([1, n]), s, total), 0.3)
    return attrs, [f32(b, s, i), f32(i, n * (2 * h + hv)), maybe(f32(n * (2 * h + hv)), 0.8), mask,
                   f32(2, b, n, past, h) if past else None, bias], 2 if past else pick([1, 1, 2]), (1,)


@op("QAttention")
def qattention(name):
    b, s, n, h, i = pick([1, 2]), int(rng.integers(1, 5)), pick([1, 2]), pick([2, 4]), int(rng.integers(2, 6))
    tw = pick([np.uint8, np.int8])
    attrs = {"num_heads": n, "unidirectional": pick([0, 1])}
    mask = maybe(pick([rng.integers(1, s + 1, b).astype(np.int32), rng.integers(0, 2, (b, s)).astype(np.int32)]))
    per = pick([0, 1])
    ws = rng.uniform(0.001, 0.02, 3 * n * h).astype(np.float32) if per else scale()
    wz = np.array([zero(tw)] * (3 * n * h)) if per else zero(tw)
    return attrs, [u(b, s, i), u(i, 3 * n * h, dtype=tw), f32(3 * n * h), scale(), ws, mask, zero(np.uint8), wz], 1, (1, 4, 7)


@op("GroupQueryAttention")
def gqa(name):
    b, kv, h = pick([1, 2]), pick([1, 2]), pick([8, 16])
    n = kv * pick([1, 2])
    past = int(rng.integers(0, 4))
    s = 1 if past and pick([0, 1]) else int(rng.integers(1, 5))
    if past and b > 1:
        s = 1
    total = past + s
    lengths = np.full(b, total - 1, np.int32)
    if b > 1 and s == 1 and past:
        lengths = rng.integers(0, total, b).astype(np.int32)
        lengths[0] = total - 1
    attrs = {"num_heads": n, "kv_num_heads": kv}
    if pick([0, 0, 1]):
        attrs["scale"] = 0.5
    if pick([0, 0, 1]):
        attrs["local_window_size"] = pick([2, 3])
    if pick([0, 0, 1]):
        attrs["softcap"] = 2.0
    rotary_tables = [None, None]
    if pick([0, 1]):
        attrs["do_rotary"] = 1
        attrs["rotary_interleaved"] = pick([0, 1])
        rotary_tables = [f32(16, h // 2), f32(16, h // 2)]
    if pick([0, 0, 0, 1]):
        attrs["smooth_softmax"] = 1
    packed = pick([0, 0, 1])
    q = [f32(b, s, (n + 2 * kv) * h), None, None] if packed else [f32(b, s, n * h), f32(b, s, kv * h), f32(b, s, kv * h)]
    cache = [f32(b, kv, past, h), f32(b, kv, past, h)] if past else pick([[None, None], [f32(b, kv, 0, h)] * 2])
    inputs = q + cache + [lengths, np.array(total, np.int32)] + rotary_tables
    if pick([0, 0, 1]):
        bias = maybe(f32(pick([1, b]), pick([1, n]), s, total))
        sink = maybe(f32(n)) if "smooth_softmax" not in attrs else None
        inputs += [None, bias, sink]
    return attrs, inputs, 3, ()


# ------------------------------------------------------------------------------------ text
@op("Tokenizer")
def tokenizer(name):
    words = ["hello world", "a,b;c d", "", " two  blanks ", "caf\u00e9 \u4f60\u597d", "x1y22z333"]
    x = np.array([pick(words) for _ in range(int(rng.integers(1, 4)))], object)
    if pick([0, 1]):
        x = x.reshape(1, -1)
    attrs = {"mark": pick([0, 1]), "pad_value": pick(["#", "<pad>"]), "mincharnum": pick([1, 2])}
    if pick([0, 1]):
        attrs["separators"] = pick([[" "], [" ", ","], [",", ";", " "], [""], ["[,;]", " +"]])
        if attrs["separators"] == [""]:
            attrs["mincharnum"] = 1
    else:
        attrs["tokenexp"] = pick(["[a-z]+", "[0-9]+|[a-z]", "\\S+", "."])
    return attrs, [x], 1, ()


def make_model(name, attrs, inputs, outputs, constants):
    domain = "" if name == "SimplifiedLayerNormalization" else MS
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    while names and not names[-1]:
        names.pop()
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(name, names, results, domain=domain, **attrs)
    info, fixed = [], []
    for n, (i, x) in zip(names, enumerate(inputs)):
        if not n:
            continue
        if i in constants:
            fixed.append(numpy_helper.from_array(x, n))
        else:
            info.append(helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape))
    graph = helper.make_graph([node], "g", info, [onnx.ValueInfoProto(name=r) for r in results], fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)], ir_version=10)


def write_case(folder, model, inputs, constants, results):
    data = os.path.join(folder, "test_data_set_0")
    os.makedirs(data, exist_ok=True)
    for output, result in zip(model.graph.output, results):
        output.CopyFrom(helper.make_tensor_value_info(
            output.name, helper.np_dtype_to_tensor_dtype(result.dtype), [None] * result.ndim))
    onnx.save(model, os.path.join(folder, "model.onnx"))
    fed = [x for i, x in enumerate(inputs) if x is not None and i not in constants]
    for kind, values in (("input", fed), ("output", results)):
        for i, x in enumerate(values):
            with open(os.path.join(data, f"{kind}_{i}.pb"), "wb") as file:
                file.write(numpy_helper.from_array(x).SerializeToString())


def run_apart(model, feeds):
    """Results of ONNX Runtime, in a process of its own: some inputs end it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            options = ort.SessionOptions()
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.log_severity_level = 4
            options.intra_op_num_threads = 1
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            answer = (session.run(None, feeds), "")
        except Exception as error:  # noqa: BLE001: a refusal is a result
            answer = (None, str(error))
        with os.fdopen(write, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    results, error = pickle.loads(data) if data else (None, "ONNX Runtime crashed")
    if error:
        raise RuntimeError(error)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnxtool")
    parser.add_argument("--op", action="append")
    parser.add_argument("--rounds", type=int, default=30, help="cases for each operator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="folder for the cases")
    parser.add_argument("--show", type=int, default=3, help="faults to print for each operator")
    parser.add_argument("--backend", default="reference")
    parser.add_argument("--rtol", default="1e-3")
    parser.add_argument("--atol", default="1e-5")
    args = parser.parse_args()
    bad = 0
    global rng
    table = json.loads(subprocess.run([args.onnxtool, "list", "ops", "--json"], capture_output=True, text=True).stdout)
    known = {row["operator"] for row in table if row["reference"] and (
        row["domain"] == MS or row["operator"] == "SimplifiedLayerNormalization")}
    for name in args.op or sorted(known & set(GENERATORS)):
        random.seed(f"{args.seed} {name}")
        rng = np.random.default_rng(random.getrandbits(60))
        refused = []
        with tempfile.TemporaryDirectory() as scratch:
            folder = os.path.join(args.keep or scratch, name)
            cases = []
            for i in range(args.rounds):
                attrs, inputs, outputs, constants = GENERATORS[name](name)
                model = make_model(name, attrs, inputs, outputs, constants)
                try:
                    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None and i not in constants}
                    results = run_apart(model.SerializeToString(), feeds)
                except RuntimeError as error:
                    refused.append((attrs, str(error)))
                    continue
                case = os.path.join(folder, str(i))
                write_case(case, model, inputs, constants, results)
                cases.append((case, attrs, [None if x is None else (str(x.dtype), x.shape) for x in inputs]))
            if not cases:
                print(f"{name:34} ONNX Runtime refuses all: {refused[0][1][:200]}")
                continue
            done = subprocess.run([args.onnxtool, "validate", "--json", "--backend", args.backend, "--rtol", args.rtol,
                                   "--atol", args.atol] + [c[0] for c in cases], capture_output=True, text=True)
            try:
                results = json.loads(done.stdout)["results"]
            except ValueError:
                print(f"{name:34} onnxtool ended with {done.returncode}: {done.stderr[-300:]}")
                bad += 1
                continue
            wrong = [(c, r) for c, r in zip(cases, results) if r["result"] != "passed"]
            bad += len(wrong)
            print(f"{name:34} {len(cases) - len(wrong):4} agree {len(wrong):4} differ {len(refused):4} refused by ONNX Runtime")
            for (case, attrs, shapes), result in wrong[:args.show]:
                print(f"    {os.path.basename(case)} {attrs} {shapes}: {result['why'][:300]}")
            for attrs, error in refused[:args.show if len(refused) * 2 > args.rounds else 0]:
                print(f"    refused: {attrs}: {error[:250]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
