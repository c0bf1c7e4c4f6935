#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether ONNX Runtime and OpenVINO are faster with what `optimize` makes: latency with it against the original's.

usage: tests/bench/latency.py --tool ONNXTOOL [--threads N] [--seconds S] MODEL.onnx...

ONNX Runtime (all its optimizations on) runs the original, the results for the default target and for --target ort, and
the file that it writes itself at its highest level; OpenVINO runs the original and the first result. All take turns on
the same inputs (MODEL.npz, else random); a figure is the least of its calls, a column one over another: below 1 is
faster. A fifth column is the original's a second time, the noise. With one thread the clock is the process's time, in
which what else the machine does counts little. Ends with status 1 when a geometric mean is above 1.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
import time

import common

COLUMNS = {
    "default": ("default", "original"),
    "ort": ("ort", "original"),
    "ort/offline": ("ort", "offline"),
    "openvino": ("ov default", "ov original"),
    "(noise)": ("again", "original"),
}


def variants(path, folder, a):
    """What runs each variant, as far as a runtime takes it."""
    feeds, files = common.inputs_of(path), {"original": path, "again": path}
    commands = {
        "default": [a.tool, "optimize", path, "-q", "--no-verify", "-o", "OUT"],
        "ort": [a.tool, "optimize", path, "-q", "--no-verify", "--target", "ort", "-o", "OUT"],
        "offline": common.offline(path, "OUT", "ORT_ENABLE_ALL"),
    }
    for name, command in commands.items():
        files[name] = f"{folder}/{name}.onnx"
        command = [files[name] if w == "OUT" else w for w in command]
        subprocess.run(command, stderr=subprocess.DEVNULL, timeout=600, check=False)
    made = {}
    for name, file in files.items():
        runtimes = {name: common.onnxruntime}
        if common.ov and name in ("original", "default"):
            runtimes["ov " + name] = common.openvino
        for key, runtime in runtimes.items():
            try:
                run = runtime(file, feeds, a.threads)
                run()
                made[key] = run
            except Exception as e:  # a runtime that cannot run a model says nothing about it
                if name in ("default", "ort") and (key == name or "ov original" in made):
                    print(f"  # {key}: {str(e).strip()[:200]}")
    return made


def take_turns(runs, seconds, clock):
    """The least milliseconds of each; a turn is some calls as one, in another order each round."""
    calls = {}
    for name, run in runs.items():
        run()
        calls[name] = max(1, min(1000, int(0.002 / min(common.seconds_of(run, 0, 3)))))
    best, names, order = dict.fromkeys(runs, float("inf")), list(runs), random.Random(0)
    end = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < end or float("inf") in best.values():
        order.shuffle(names)  # what ran before leaves its caches behind
        for name in names:
            start = clock()
            for _ in range(calls[name]):
                runs[name]()
            best[name] = min(best[name], (clock() - start) / calls[name])
    return {name: 1e3 * s for name, s in best.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1, help="for each variant of a model")
    a = parser.parse_args()
    ratios = {c: [] for c in COLUMNS}
    clock = time.process_time if a.threads == 1 else time.perf_counter
    print(f"{'model':40s} {'ms':>9s} " + " ".join(f"{c:>11s}" for c in COLUMNS))
    for path in map(os.path.abspath, a.models):
        with tempfile.TemporaryDirectory() as folder:
            best = take_turns(variants(path, folder, a), a.seconds, clock)
        line = f"{os.path.basename(path)[:-5]:40s} {best.get('original', float('nan')):9.3f}"
        for column, (ours, theirs) in COLUMNS.items():
            if ours in best and theirs in best:
                ratios[column].append(best[ours] / best[theirs])
                line += f" {ratios[column][-1]:11.3f}"
            else:
                line += f" {'-':>11s}"
        print(line, flush=True)
    means = {c: common.geomean(r) for c, r in ratios.items()}
    print(f"{'geometric mean':50s}" + " ".join(f"{m:11.3f}" for m in means.values()))
    print(f"{'models':50s}" + " ".join(f"{len(r):11d}" for r in ratios.values()))
    return 1 if any(m > 1 for c, m in means.items() if c != "(noise)") else 0


if __name__ == "__main__":
    sys.exit(main())
