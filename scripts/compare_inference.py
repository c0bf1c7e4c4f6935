#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the shapes that onnxtool infers with those of the onnx package (with data propagation).

    scripts/compare_inference.py ONNXTOOL MODEL|FOLDER... [--show N] [--faults]

A FOLDER stands for all *.onnx files below it (the official cases: build/*/node_cases). Both see the model without its value_info. For each model: values of the main graph, and how many have
an element type, a rank, and all sizes known, in onnxtool and in onnx; then "missed": what onnx
knows and onnxtool does not; "differ": where both know something and disagree. Exit status: 0; 1 where something
is missed or differs; 77 without the onnx package.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import onnx
    import onnx.shape_inference
except ImportError:
    print("compare_inference: the onnx package is not here: skipped")
    sys.exit(77)


def bare(path, folder):
    """A copy without value_info and without output shapes; external data is not read."""
    model = onnx.load(path, load_external_data=False)
    del model.graph.value_info[:]
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    out = os.path.join(folder, "bare.onnx")
    onnx.save(model, out)
    return model, out


def theirs(model):
    inferred = onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
    types = {}
    for value in list(inferred.graph.value_info) + list(inferred.graph.output):
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type"):
            continue
        dims = None
        if tensor.HasField("shape"):
            dims = [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim]
        dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        types[value.name] = ("undefined" if tensor.elem_type == 0 else dtype, dims)
    return types


def ours(tool, path):
    run = subprocess.run([tool, "inspect", "--nodes", "--json", path], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip()[:300])
    types = {}
    for node in json.loads(run.stdout)["graphs"][0]["nodes"]:
        for value in node["outputs"]:
            if value and value.get("name") and "dtype" in value:  # null: an output that is left out
                dims = value.get("shape")
                if dims is not None:
                    dims = [d if isinstance(d, int) else None for d in dims]
                types[value["name"]] = (value["dtype"], dims)
    return types


def levels(types, names):
    """How many have a type, a rank, all sizes."""
    known = [types[n] for n in names if n in types and types[n][0] not in ("undefined", "?")]
    return [len(known), sum(d is not None for _, d in known),
            sum(d is not None and None not in d for _, d in known)]


def models_below(folder):
    return sorted(os.path.join(where, f) for where, _, files in os.walk(folder) for f in files if f.endswith(".onnx"))


def label(path):
    """The file's name, or its folder's for CASE/model.onnx."""
    name = os.path.basename(path)
    return os.path.basename(os.path.dirname(os.path.abspath(path))) if name == "model.onnx" else name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnxtool")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--show", type=int, default=3, help="how many faults to print for each model")
    parser.add_argument("--faults", action="store_true", help="print only models with a fault")
    args = parser.parse_args()
    args.models = [p for m in args.models for p in (models_below(m) if os.path.isdir(m) else [m])]
    print(f"{'model':40} {'values':>6} {'onnxtool: type rank sizes':>26} {'onnx: type rank sizes':>24} missed differ")
    totals, values = [0, 0], [0] * 7
    for path in args.models:
        with tempfile.TemporaryDirectory() as folder:
            model, copy = bare(path, folder)
            try:
                want, got = theirs(model), ours(args.onnxtool, copy)
            except Exception as error:  # noqa: BLE001: one model must not end the table
                print(f"{label(path):40} {str(error)[:200]}")
                totals[1] += 1
                continue
        names = [o for n in model.graph.node for o in n.output if o]
        missed, differ = [], []
        for name in names:
            a, b = got.get(name, ("undefined", None)), want.get(name, ("undefined", None))
            if "undefined" not in (a[0], b[0]) and a[0] != b[0] or \
                    a[1] is not None and b[1] is not None and (
                        len(a[1]) != len(b[1]) or any(None not in p and p[0] != p[1] for p in zip(a[1], b[1]))):
                differ.append((name, a, b))
            elif (a[0] == "undefined" != b[0]) or (b[1] is not None and (
                    a[1] is None or any(x is None and y is not None for x, y in zip(a[1], b[1])))):
                missed.append((name, a, b))
        a, b = levels(got, names), levels(want, names)
        values = [x + y for x, y in zip(values, [len(names), *a, *b])]
        if args.faults and not missed and not differ:
            continue
        print(f"{label(path):40} {len(names):6} {a[0]:14} {a[1]:5} {a[2]:5} {b[0]:12} {b[1]:5} {b[2]:5} "
              f"{len(missed):6} {len(differ):6}")
        for what, faults in (("missed", missed), ("differs", differ)):
            for name, a, b in faults[:args.show]:
                producer = next(n.op_type for n in model.graph.node if name in n.output)
                print(f"    {what}: {name!r} ({producer}): onnxtool {a}, onnx {b}")
        totals[0] += len(missed)
        totals[1] += len(differ)
    print(f"{values[0]} values: type, rank, sizes known to onnxtool {values[1:4]}, to onnx {values[4:]}")
    print(f"missed {totals[0]}, differ {totals[1]}")
    return 1 if any(totals) else 0


if __name__ == "__main__":
    sys.exit(main())
