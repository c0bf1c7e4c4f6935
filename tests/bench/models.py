#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Latency of whole models against ONNX Runtime and OpenVINO (fp32), interleaved in rounds on the same inputs.

usage: tests/bench/models.py --tool ONNXTOOL [--threads N] [--rounds R] [--seconds S] [--statistic median|min] MODEL.onnx...

MODEL.npz beside a model holds its inputs under the keys in:NAME, or NAME. A figure is the lowest, over the rounds, of
a round's median (or minimum: what to take on a machine that others use). The last column is the better peer's time
divided by ours. Ends with status 1 when the geometric mean is below 1.
"""
import argparse
import math
import os
import sys

import common

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
    ratios = []
    print(f"{'model':40s} {'onnxtool':>8s} {'ort':>8s} {'openvino':>8s}  better peer / onnxtool")
    for path in a.models:
        peers, feeds = {}, common.inputs_of(path)
        for name, make in (("ort", common.onnxruntime), ("openvino", common.openvino)):
            try:
                run = make(path, feeds, a.threads)
                run()
                peers[name] = run
            except Exception:  # a peer that cannot run the model is no bar
                pass
        best = {"tool": math.inf, "ort": math.inf, "openvino": math.inf}
        for _ in range(a.rounds):
            ms, _ = common.bench(a.tool, path, os.path.splitext(path)[0] + ".npz", a.threads, a.seconds, a.statistic)
            best["tool"] = min(best["tool"], ms)
            for name, run in peers.items():
                best[name] = min(best[name], common.measure(run, a.seconds, a.statistic))
        bar = min(best["ort"], best["openvino"])
        ratio = bar / best["tool"]
        line = f"{os.path.basename(path)[:-5]:40s} {text(best['tool'])} {text(best['ort'])} {text(best['openvino'])}"
        if math.isfinite(ratio):
            ratios.append(ratio)
            line += f"  {ratio:5.2f}"
        print(line, flush=True)
    mean = common.geomean(ratios)
    below = sum(r < 1 for r in ratios)
    print(f"geometric mean {mean:.3f} over {len(ratios)} models, {below} below 1, {sum(r < 0.9 for r in ratios)} below 0.9")
    return 0 if mean >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
