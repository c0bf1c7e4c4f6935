#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput of tree ensembles against ONNX Runtime: the same rows, whole calls in process, interleaved in rounds.

usage: tests/bench/trees.py --tool ONNXTOOL [--threads N] [--rounds R] [--batches 1,100,10000] MODEL.onnx...

MODEL.npz beside a model holds its inputs under the keys in:NAME; their rows are repeated up to each batch. A figure is
the lowest, over the rounds, of a round's median latency. Ends with status 1 when a batch's geometric mean is below 2.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort


def rows(path, batch):
    z = np.load(os.path.splitext(path)[0] + ".npz", allow_pickle=True)
    feeds = {k[3:]: z[k] for k in z.files if k.startswith("in:")}
    return {k: np.resize(v, (batch, *v.shape[1:])) for k, v in feeds.items()}


def peer_ms(session, feeds, seconds):
    session.run(None, feeds)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def tool_ms(tool, path, npz, threads, seconds):
    command = [tool, "bench", path, "--inputs", npz, "--threads", str(threads), "--duration", str(seconds), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{path}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)["latency_ms"]["p50"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--batches", default="1,100,10000")
    a = parser.parse_args()
    ort.set_default_logger_severity(4)
    batches = [int(b) for b in a.batches.split(",")]
    ratios = {b: [] for b in batches}
    for path in a.models:
        options = ort.SessionOptions()
        options.intra_op_num_threads = a.threads
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        line = f"{os.path.basename(path):34s}"
        for batch in batches:
            feeds = rows(path, batch)
            with tempfile.TemporaryDirectory() as folder:
                npz = os.path.join(folder, "in.npz")
                np.savez(npz, **feeds)
                ours, theirs = math.inf, math.inf
                for _ in range(a.rounds):
                    theirs = min(theirs, peer_ms(session, feeds, a.seconds))
                    ours = min(ours, tool_ms(a.tool, path, npz, a.threads, a.seconds))
            ratios[batch].append(theirs / ours)
            line += f"  {batch}: {theirs:.4f} / {ours:.4f} ms = {theirs / ours:5.2f}"
        print(line, flush=True)
    means = {b: math.exp(statistics.fmean(map(math.log, r))) for b, r in ratios.items()}
    print("onnxruntime / onnxtool, geometric mean: " + "  ".join(f"{b}: {m:.2f}" for b, m in means.items()))
    return 1 if min(means.values()) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
