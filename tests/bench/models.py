#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Latency of whole models against ONNX Runtime and OpenVINO (fp32), interleaved in rounds on the same inputs.

usage: tests/bench/models.py --tool ONNXTOOL [--threads N] [--rounds R] [--seconds S] [--statistic median|min] MODEL.onnx...

MODEL.npz beside a model holds its inputs under the keys in:NAME, or NAME. A figure is the lowest, over the rounds, of
a round's median (or minimum: what to take on a machine that others use). The last column is the better peer's time
divided by ours. Ends with status 1 when the geometric mean is below 1.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime as ort

try:
    import openvino as ov
except ImportError:
    ov = None


def inputs(path, names):
    z = np.load(os.path.splitext(path)[0] + ".npz", allow_pickle=True)
    return {n: z["in:" + n] if "in:" + n in z.files else z[n] for n in names}


def measure(run, seconds, statistic):
    run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return (min(times) if statistic == "min" else statistics.median(times)) * 1e3


def onnxruntime(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = inputs(path, [i.name for i in session.get_inputs()])
    return lambda: session.run(None, feeds)


def openvino(path, threads):
    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(path, "CPU", config)
    request = compiled.create_infer_request()
    feeds = inputs(path, [i.get_any_name() for i in compiled.inputs])
    feeds = {k: v for k, v in feeds.items()}
    request.infer(feeds)
    return lambda: request.infer(feeds, share_inputs=True, share_outputs=True)


def onnxtool(tool, path, threads, seconds, statistic):
    npz = os.path.splitext(path)[0] + ".npz"
    command = [tool, "bench", path, "--inputs", npz, "--threads", str(threads), "--duration", str(seconds), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return math.nan
    return json.loads(done.stdout)["latency_ms"]["min" if statistic == "min" else "p50"]


def text(ms):
    return "       -" if math.isinf(ms) else f"{ms:8.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--statistic", choices=["median", "min"], default="median")
    a = parser.parse_args()
    ort.set_default_logger_severity(4)
    ratios = []
    print(f"{'model':40s} {'onnxtool':>8s} {'ort':>8s} {'openvino':>8s}  better peer / onnxtool")
    for path in a.models:
        peers = {}
        for name, make in (("ort", onnxruntime), ("openvino", openvino)):
            try:
                run = make(path, a.threads)
                run()
                peers[name] = run
            except Exception:  # a peer that cannot run the model is no bar
                pass
        best = {"tool": math.inf, "ort": math.inf, "openvino": math.inf}
        for _ in range(a.rounds):
            best["tool"] = min(best["tool"], onnxtool(a.tool, path, a.threads, a.seconds, a.statistic))
            for name, run in peers.items():
                best[name] = min(best[name], measure(run, a.seconds, a.statistic))
        bar = min(best["ort"], best["openvino"])
        ratio = bar / best["tool"]
        line = f"{os.path.basename(path)[:-5]:40s} {text(best['tool'])} {text(best['ort'])} {text(best['openvino'])}"
        if math.isfinite(ratio):
            ratios.append(ratio)
            line += f"  {ratio:5.2f}"
        print(line, flush=True)
    mean = math.exp(statistics.fmean(map(math.log, ratios))) if ratios else math.nan
    below = sum(r < 1 for r in ratios)
    print(f"geometric mean {mean:.3f} over {len(ratios)} models, {below} below 1, {sum(r < 0.9 for r in ratios)} below 0.9")
    return 0 if mean >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
