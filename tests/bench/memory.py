#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of whole processes that load a model and run it, against ONNX Runtime and OpenVINO (fp32).

usage: tests/bench/memory.py --tool ONNXTOOL [--threads N] [--runs N] MODEL.onnx...

MODEL.npz beside a model holds its inputs under the keys in:NAME, or NAME. Of the peers' processes, what Python, numpy
and the inputs held before the peer was loaded is taken off. MiB; the last column is the leaner peer's figure divided
by ours. Ends with status 1 when a model is below 1. Needs GNU time.
"""
import argparse
import math
import os
import subprocess
import sys
import tempfile

import common

# Arguments: PEER MODEL NPZ THREADS RUNS. Prints the peak that the peer alone added, in KiB.
PEER = """import sys, numpy as np
peer, model, npz, threads, runs = sys.argv[1:]
z = np.load(npz, allow_pickle=True)
feeds = {k[3:]: z[k] for k in z.files if k.startswith("in:")} or {k: z[k] for k in z.files}
def status(key):
    return int(next(l for l in open("/proc/self/status") if l.startswith(key)).split()[1])
before = status("VmRSS")
if peer == "ort":
    import onnxruntime as o
    o.set_default_logger_severity(4)
    s = o.SessionOptions()
    s.intra_op_num_threads = int(threads)
    s = o.InferenceSession(model, s, providers=["CPUExecutionProvider"])
    known = {i.name for i in s.get_inputs()}
    feeds = {k: v for k, v in feeds.items() if k in known}
    for _ in range(int(runs)): s.run(None, feeds)
else:
    import openvino as o
    c = o.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": int(threads), "INFERENCE_PRECISION_HINT": "f32",
                                             "PERFORMANCE_HINT": "LATENCY"})
    port = {n: i for i, p in enumerate(c.inputs) for n in p.get_names()}
    feeds = {port[k]: v for k, v in feeds.items() if k in port}
    r = c.create_infer_request()
    for _ in range(int(runs)): r.infer(feeds)
print(status("VmHWM") - before)"""


def peer(name, path, npz, a):
    command = [sys.executable, "-c", PEER, name, path, npz, str(a.threads), str(a.runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1]) / 1024 if done.returncode == 0 else math.inf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    a = parser.parse_args()
    ratios = []
    print(f"{'model':40s} {'onnxtool':>8s} {'ort':>8s} {'openvino':>8s}  leaner peer / onnxtool")
    for path in a.models:
        npz = os.path.splitext(path)[0] + ".npz"
        with tempfile.TemporaryDirectory() as folder:
            if not os.path.exists(npz):
                npz = f"{folder}/inputs.npz"
                common.np.savez(npz, **common.random_inputs(path))
            command = [a.tool, "bench", path, "--inputs", npz, "--threads", str(a.threads)]
            _, ours, why = common.process([*command, "--warmup", "0", "--iterations", str(a.runs)], 600)
            peers = [peer(name, path, npz, a) for name in ("ort", "openvino")]
        line = f"{os.path.basename(path)[:-5]:40s} {ours:8.1f} {peers[0]:8.1f} {peers[1]:8.1f}"
        if why:
            line += f"  {why}"
        elif math.isfinite(min(peers)):
            ratios.append(min(peers) / ours)
            line += f"  {ratios[-1]:5.2f}"
        print(line, flush=True)
    print(f"geometric mean {common.geomean(ratios):.3f} over {len(ratios)} models, {sum(r < 1 for r in ratios)} below 1")
    return 0 if all(r >= 1 for r in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
