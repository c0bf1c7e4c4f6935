#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How `optimize` grows with a model: seconds and memory on generated graphs of more and more nodes, and on big weights.

usage: tests/bench/scale.py --tool ONNXTOOL [--nodes 25000,50000,100000] [--only SHAPE,...] [--gib N] [--folder DIR]

Shapes of graphs: a chain of Relu, Add and Mul; a value that all nodes read; chains of Reshape, of
Transpose, of layers; Ifs within Ifs; copies of one block (common subexpressions); shape arithmetic. --gib adds a model with external data of that size, in a sparse
file under DIR: once untouched, once with a scale to fold into each weight. Figures are the least of three runs: seconds,
how they grew against the nodes since the line above (1 is linear), memory.

Ends with status 1 when 100,000 nodes take 2 s or more, twice the nodes take over 2.5 times as long, memory is over 1.3
times the weights' (over 500 MB where they are untouched), or a run fails.
"""
import argparse
import os
import sys
import tempfile

import common
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h


def model(nodes, outputs, inits=(), shape=(8,)):
    graph = h.make_graph(
        nodes,
        "g",
        [h.make_tensor_value_info("x", T.FLOAT, shape)],
        [h.make_tensor_value_info(o, T.FLOAT, None) for o in outputs],
        list(inits),
    )
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9)


def chain(n):
    """Nothing in it goes away: a Relu after something that may be below zero."""
    inits = [onnx.numpy_helper.from_array(np.full(8, v, np.float32), k) for k, v in (("a", -0.5), ("m", 1.5))]
    nodes, x = [], "x"
    for i in range(n):
        kind = ("Relu", "Add", "Mul")[i % 3]
        nodes.append(h.make_node(kind, [x] if kind == "Relu" else [x, "a" if kind == "Add" else "m"], [f"v{i}"]))
        x = f"v{i}"
    return model(nodes, [x], inits)


def fan(n):
    """One value with n - 1 readers, all different, and one node that reads them all."""
    nodes = [h.make_node("LeakyRelu", ["x"], [f"v{i}"], alpha=i / n) for i in range(n - 1)]
    nodes.append(h.make_node("Concat", [f"v{i}" for i in range(n - 1)], ["y"], axis=0))
    return model(nodes, ["y"])


def reshapes(n):
    inits = [onnx.numpy_helper.from_array(np.array(s, np.int64), k) for k, s in (("r0", [2, 4]), ("r1", [4, 2]))]
    nodes = [h.make_node("Reshape", [f"v{i - 1}" if i else "x", f"r{i % 2}"], [f"v{i}"]) for i in range(n)]
    return model(nodes, [f"v{n - 1}"], inits)


def transposes(n):
    """Transposes that move through what is between them and cancel."""
    nodes, x = [], "x"
    for i in range(n):
        kind = ("Transpose", "Exp", "Transpose", "Neg")[i % 4]
        nodes.append(h.make_node(kind, [x], [f"v{i}"]))
        x = f"v{i}"
    return model(nodes, [x], shape=(4, 8))


def layers(n):
    """Products with a bias, a scale and an activation."""
    inits = [
        onnx.numpy_helper.from_array(np.full(s, v, np.float32), k)
        for k, s, v in (("w", (8, 8), 0.1), ("b", 8, 0.5), ("s", (), 0.25))
    ]
    nodes, x = [], "x"
    for i in range(n // 4):
        nodes += [
            h.make_node("MatMul", [x, "w"], [f"m{i}"]),
            h.make_node("Add", [f"m{i}", "b"], [f"a{i}"]),
            h.make_node("Mul", [f"a{i}", "s"], [f"s{i}"]),
            h.make_node("Relu", [f"s{i}"], [f"r{i}"]),
        ]
        x = f"r{i}"
    return model(nodes, [x], inits, shape=(4, 8))


def copies(n):
    """The same block of ten nodes again and again, all from x."""
    nodes, ends = [], []
    for k in range(n // 10):
        x = "x"
        for i in range(9):
            nodes.append(h.make_node(("Exp", "Neg", "Sigmoid")[i % 3], [x], [f"b{k}_{i}"]))
            x = f"b{k}_{i}"
        nodes.append(h.make_node("Add", [x, ends[-1] if ends else "x"], [f"s{k}"]))
        ends.append(f"s{k}")
    return model(nodes, [ends[-1]])


def shapes(n):
    """Blocks that take a shape apart and put it together again."""
    inits = [
        onnx.numpy_helper.from_array(np.array(0, np.int64), "i0"),
        onnx.numpy_helper.from_array(np.array(1, np.int64), "i1"),
        onnx.numpy_helper.from_array(np.array([0], np.int64), "ax"),
    ]
    nodes, x = [], "x"
    for k in range(n // 8):
        nodes += [
            h.make_node("Relu", [x], [f"r{k}"]),
            h.make_node("Shape", [f"r{k}"], [f"s{k}"]),
            h.make_node("Gather", [f"s{k}", "i0"], [f"g{k}"]),
            h.make_node("Gather", [f"s{k}", "i1"], [f"h{k}"]),
            h.make_node("Unsqueeze", [f"g{k}", "ax"], [f"gu{k}"]),
            h.make_node("Unsqueeze", [f"h{k}", "ax"], [f"hu{k}"]),
            h.make_node("Concat", [f"hu{k}", f"gu{k}"], [f"c{k}"], axis=0),
            h.make_node("Reshape", [f"r{k}", f"c{k}"], [f"v{k}"]),
        ]
        x = f"v{k}"
    return model(nodes, [x], inits, ("n", "m"))


def ifs(n, depth=30):
    """Ifs within Ifs, n nodes in all; conditions depend on x."""

    def body(level, x):
        name, nodes = f"d{level}", []
        per = n // (2 * depth)
        for i in range(per):
            nodes.append(h.make_node(("Exp", "Tanh")[i % 2], [x], [f"{name}_{i}"]))
            x = f"{name}_{i}"
        if level + 1 < depth:
            other = []
            y = x
            for i in range(per):
                other.append(h.make_node(("Neg", "Sin")[i % 2], [y], [f"{name}e_{i}"]))
                y = f"{name}e_{i}"
            out = h.make_tensor_value_info(y, T.FLOAT, None)
            inner, z = body(level + 1, x)
            then = h.make_graph(inner, f"t{level}", [], [h.make_tensor_value_info(z, T.FLOAT, None)])
            nodes.append(
                h.make_node("If", ["c"], [f"{name}_y"], then_branch=then, else_branch=h.make_graph(other, f"e{level}", [], [out]))
            )
            x = f"{name}_y"
        return nodes, x

    nodes, x = body(0, "x")
    head = [
        h.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        h.make_node("Cast", ["sum"], ["c"], to=T.BOOL),
    ]
    return model(head + nodes, [x])


SHAPES = {f.__name__: f for f in (chain, fan, reshapes, transposes, layers, copies, shapes, ifs)}


def external(path, gib, touched, k=4096):
    """Convolutions by 1x1 with weights of 64 MiB each in a sparse file; touched: a scale to fold into each."""
    nodes, inits, x = [], [onnx.numpy_helper.from_array(np.full((k, 1, 1), 0.5, np.float32), "scale")], "x"
    data = os.path.basename(path) + ".data"
    count = gib * 16
    for i in range(count):
        t = T(name=f"w{i}", data_type=T.FLOAT, dims=[k, k, 1, 1], data_location=T.EXTERNAL)
        for key, v in (("location", data), ("offset", str(i << 26)), ("length", str(1 << 26))):
            t.external_data.add(key=key, value=v)
        inits.append(t)
        nodes.append(h.make_node("Conv", [x, f"w{i}"], [f"m{i}"]))
        if touched:
            nodes.append(h.make_node("Mul", [f"m{i}", "scale"], [f"s{i}"]))
        nodes.append(h.make_node("Identity", [nodes[-1].output[0]], [f"i{i}"]))
        nodes.append(h.make_node("Relu", [f"i{i}"], [f"r{i}"]))
        x = f"r{i}"
    with open(os.path.join(os.path.dirname(path), data), "wb") as f:
        f.truncate(count << 26)
        for i in range(count):  # not all the same, or they are one weight
            f.seek((i << 26) + 4 * i)
            f.write(np.float32(i + 1).tobytes())
    onnx.save(model(nodes, [x], inits, ("n", k, 1, 1)), path)


def run(tool, path, out, rounds):
    """Least seconds and most MiB, nodes left, and what went wrong."""
    best, peak = float("inf"), 0.0
    for _ in range(rounds):
        seconds, mib, why = common.process([tool, "optimize", path, "-o", out, "-q", "--no-verify"], 600)
        if why:
            return best, peak, why
        best, peak = min(best, seconds), max(peak, mib)
    return best, peak, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--nodes", default="25000,50000,100000")
    parser.add_argument("--only", default=",".join(SHAPES))
    parser.add_argument("--gib", type=int, default=0)
    parser.add_argument("--folder")
    a = parser.parse_args()
    bad = []
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        path, out = f"{folder}/in.onnx", f"{folder}/out.onnx"
        for name in filter(None, a.only.split(",")):
            last = None
            for n in map(int, a.nodes.split(",")):
                onnx.save(SHAPES[name](n), path)
                seconds, mib, why = run(a.tool, path, out, 3)
                growth = f"{seconds / last[1] / (n / last[0]):5.2f}" if last else "     "
                print(f"{name:10s} {n:7d} nodes {seconds:7.3f} s {growth} {mib:6.0f} MiB  {why}", flush=True)
                if why or (n <= 100_000 and seconds >= 2):
                    bad.append(f"{name}, {n} nodes")
                if last and seconds / last[1] > 1.25 * n / last[0]:
                    bad.append(f"{name}, {n} nodes: not linear")
                last = n, seconds
        for touched in (False, True) if a.gib else ():
            external(path, a.gib, touched)
            seconds, mib, why = run(a.tool, path, out, 1)
            print(f"{a.gib} GiB, {'touched' if touched else 'untouched'}: {seconds:.1f} s {mib:.0f} MiB  {why}", flush=True)
            if why or mib > (1.3 * 1024 * a.gib if touched else 477):
                bad.append(f"{a.gib} GiB")
    for b in bad:
        print(f"fault: {b}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
