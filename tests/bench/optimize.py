#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What optimizers make of models, each as a whole process: nodes, bytes, seconds, peak memory, and whether outputs stay.

usage: tests/bench/optimize.py --tool ONNXTOOL [--only onnxtool,onnxslim,...] [--rounds N] [--cache FILE] MODEL.onnx...

The peers are those that this Python has: onnxslim, onnxsim, onnxoptimizer, and ONNX Runtime at its basic level, which
like the others keeps to standard operators. A result's error is that of its outputs against the original's, relative to
the largest of each output, both in ONNX Runtime with optimizations off; and, where OpenVINO takes the original, the
same in OpenVINO. Inputs are those of MODEL.npz (keys in:NAME), else random. Seconds are the lowest of the rounds, in
which the tools take turns; memory needs GNU time. --cache keeps the peers' figures for later calls with the same models.

Ends with status 1 when onnxtool changes outputs by more than 1e-5, is not idempotent, or fails.
"""
import argparse
import json
import math
import os
import sys
import tempfile

import common
import numpy as np
import onnx

OURS = {"onnxtool": [], "no-verify": ["--no-verify"]}


def commands(tool):
    bin_ = os.path.dirname(sys.executable)
    all_ = {name: [tool, "optimize", "IN", "-o", "OUT", "-q", *extra] for name, extra in OURS.items()}
    all_["onnxslim"] = [f"{bin_}/onnxslim", "IN", "OUT"]
    all_["onnxsim"] = [f"{bin_}/onnxsim", "IN", "OUT"]
    all_["onnxoptimizer"] = [f"{bin_}/onnxoptimizer", "IN", "OUT"]
    all_["ort-basic"] = common.offline("IN", "OUT", "ORT_ENABLE_BASIC")
    return {k: v for k, v in all_.items() if os.path.exists(v[0])}


def count(graph):
    n = len(graph.node)
    for node in graph.node:
        for a in node.attribute:
            n += count(a.g) if a.type == onnx.AttributeProto.GRAPH else 0
            n += sum(count(g) for g in a.graphs)
    return n


def size(path):
    """Bytes of the model with its external data."""
    total, folder = os.path.getsize(path), os.path.dirname(path)
    files = {
        e.value
        for t in onnx.load(path, load_external_data=False).graph.initializer
        for e in t.external_data
        if e.key == "location"
    }
    return total + sum(os.path.getsize(os.path.join(folder, f)) for f in files)


def error(want, got):
    """The largest difference relative to the largest number of its output; inf: not the same kind of result."""
    if len(want) != len(got):
        return math.inf
    worst = 0.0
    for a, b in zip(want, got):
        if not isinstance(a, np.ndarray) or a.dtype.kind not in "fiub":
            if str(a) != str(b):
                return math.inf
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return math.inf
        a, b = a.astype(np.float64), b.astype(np.float64)
        differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if not differ.any():
            continue
        d = np.abs(a - b)[differ]
        if not np.isfinite(d).all():
            return math.inf
        scale = np.abs(a[np.isfinite(a)]).max(initial=0)
        worst = max(worst, float(d.max() / scale) if scale else math.inf)
    return worst


class Originals:
    """Outputs of the original of a model, in each runtime that takes it."""

    def __init__(self, path):
        self.feeds, self.runtimes = {}, {}
        runtimes = {"ort": lambda p, feeds: common.onnxruntime(p, feeds, level=common.LEVELS.ORT_DISABLE_ALL)()}
        if common.ov:
            runtimes["openvino"] = lambda p, feeds: common.openvino(p, feeds, exact=True)()
        for name, run in runtimes.items():
            try:
                self.feeds = self.feeds or common.inputs_of(path)
                self.runtimes[name] = run, run(path, self.feeds)
            except Exception as e:  # whatever a runtime throws
                print(f"  # {name}: {(str(e).strip().splitlines() or [type(e)])[-1]!s:.120}")

    def errors(self, path):
        found = {}
        for name, (run, want) in self.runtimes.items():
            try:
                found[name] = error(want, run(path, self.feeds))
            except Exception:
                found[name] = math.inf
        return found


def one_model(path, tools, a, cache):
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        stem = os.path.basename(path)
        key = f"{stem}:{os.path.getsize(path)}"
        todo = {k: v for k, v in tools.items() if k in OURS or f"{k}:{key}" not in cache}
        for k in tools:
            if k not in todo:
                figures[k] = cache[f"{k}:{key}"]
        originals = Originals(os.path.abspath(path)) if todo and not a.no_outputs else None
        for _ in range(a.rounds):
            for k, command in todo.items():
                if figures.get(k, {}).get("failed"):
                    continue
                os.makedirs(f"{folder}/{k}", exist_ok=True)
                out = f"{folder}/{k}/{stem}"
                names = {"IN": os.path.abspath(path), "OUT": out}
                seconds, memory, why = common.process([names.get(w, w) for w in command], a.limit)
                f = figures.setdefault(k, {"seconds": math.inf, "memory": 0})
                f["seconds"], f["memory"] = min(f["seconds"], seconds), max(f["memory"], memory)
                if why or not os.path.exists(out):
                    f["failed"] = why or "no output"
        for k in todo:
            f = figures[k]
            if f.get("failed"):
                cache[f"{k}:{key}"] = f
                continue
            out = f"{folder}/{k}/{stem}"
            f["nodes"] = count(onnx.load(out, load_external_data=False).graph)
            f["bytes"] = size(out)
            f["errors"] = originals.errors(out) if originals else {}
            if k in OURS:
                common.process([a.tool, "optimize", out, "-o", out + ".2", "-q", "--no-verify"], a.limit)
                f["idempotent"] = os.path.exists(out + ".2") and open(out, "rb").read() == open(out + ".2", "rb").read()
            else:
                cache[f"{k}:{key}"] = f
    return figures


def summary(table, peers):
    print()
    done = [(m, f) for m, f in table.items() if "nodes" in f.get("no-verify", {})]
    least = {m: min((f[p]["nodes"] for p in peers if "nodes" in f.get(p, {})), default=None) for m, f in done}
    counted = [(m, f) for m, f in done if least[m] is not None]
    if counted:
        most = sum(f["no-verify"]["nodes"] <= least[m] for m, f in counted)
        ours, theirs = sum(f["no-verify"]["nodes"] for _, f in counted), sum(least[m] for m, _ in counted)
        print(f"nodes: at most the least peer's on {most} of {len(counted)} models; in total {ours}, least peers {theirs}")
        for m, f in counted:
            if f["no-verify"]["nodes"] > least[m]:
                print(f"  more nodes: {m}: {f['no-verify']['nodes']}, least peer {least[m]}")
    for mode in OURS:
        for p in peers:
            both = [(f[mode], f[p]) for _, f in done if "nodes" in f.get(mode, {}) and "nodes" in f.get(p, {})]
            if both:
                fast = [y["seconds"] / x["seconds"] for x, y in both]
                lean = [y["memory"] / x["memory"] for x, y in both]
                print(
                    f"{mode} against {p}, {len(both)} models: {common.geomean(fast):.1f} times as fast (least {min(fast):.1f}), "
                    f"{common.geomean(lean):.1f} times less memory (least {min(lean):.1f})"
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one process")
    parser.add_argument("--cache")
    parser.add_argument("--no-outputs", action="store_true", help="do not run the results")
    a = parser.parse_args()
    a.tool = os.path.abspath(a.tool)
    tools = commands(a.tool)
    if a.only:
        tools = {k: v for k, v in tools.items() if k in a.only.split(",")}
    cache = {}
    if a.cache and os.path.exists(a.cache):
        with open(a.cache) as f:
            cache = json.load(f)
    table, bad = {}, []
    for path in a.models:
        name = os.path.basename(path)
        before = count(onnx.load(path, load_external_data=False).graph)
        print(f"{name}: {before} nodes, {size(path)} bytes", flush=True)
        table[name] = one_model(path, tools, a, cache)
        for k, f in table[name].items():
            if f.get("failed"):
                print(f"  {k:13s} failed: {f['failed']}", flush=True)
            else:
                errors = "  ".join(f"{r} {e:.1e}" for r, e in f["errors"].items())
                print(
                    f"  {k:13s} {f['nodes']:6d} nodes {f['bytes']:12d} bytes {f['seconds']:8.3f} s {f['memory']:6.0f} MiB"
                    f"  {errors}{'' if f.get('idempotent', True) else '  not idempotent'}",
                    flush=True,
                )
            if k in OURS and (
                f.get("failed") or not f["idempotent"] or any(e > 1e-5 for e in f["errors"].values())
            ):
                bad.append(f"{name} ({k})")
        if a.cache:
            with open(a.cache + ".new", "w") as f:
                json.dump(cache, f)
            os.replace(a.cache + ".new", a.cache)
    summary(table, [k for k in tools if k not in OURS])
    for b in bad:
        print(f"fault: {b}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
