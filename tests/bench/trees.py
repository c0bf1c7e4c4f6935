#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput of tree ensembles against ONNX Runtime: the same rows, whole calls in process, interleaved in rounds.

usage: tests/bench/trees.py --tool ONNXTOOL [--threads N] [--rounds R] [--batches 1,100,10000] MODEL.onnx...

MODEL.npz beside a model holds its inputs under the keys in:NAME; their rows are repeated up to each batch. A figure is
the lowest, over the rounds, of a round's median latency. Ends with status 1 when a batch's geometric mean is below 2.
"""
import argparse
import math
import os
import sys
import tempfile

import common
import numpy as np


def rows(path, batch):
    return {k: np.resize(v, (batch, *v.shape[1:])) for k, v in common.inputs_of(path).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--batches", default="1,100,10000")
    a = parser.parse_args()
    batches = [int(b) for b in a.batches.split(",")]
    ratios = {b: [] for b in batches}
    for path in a.models:
        line = f"{os.path.basename(path):34s}"
        for batch in batches:
            feeds = rows(path, batch)
            run = common.onnxruntime(path, feeds, a.threads)
            with tempfile.TemporaryDirectory() as folder:
                npz = os.path.join(folder, "in.npz")
                np.savez(npz, **feeds)
                ours, theirs = math.inf, math.inf
                for _ in range(a.rounds):
                    theirs = min(theirs, common.measure(run, a.seconds))
                    ms, why = common.bench(a.tool, path, npz, a.threads, a.seconds)
                    if why:
                        sys.exit(f"{path}: {why}")
                    ours = min(ours, ms)
            ratios[batch].append(theirs / ours)
            line += f"  {batch}: {theirs:.4f} / {ours:.4f} ms = {theirs / ours:5.2f}"
        print(line, flush=True)
    means = {b: common.geomean(r) for b, r in ratios.items()}
    print("onnxruntime / onnxtool, geometric mean: " + "  ".join(f"{b}: {m:.2f}" for b, m in means.items()))
    return 1 if min(means.values()) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
