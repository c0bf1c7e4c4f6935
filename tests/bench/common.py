# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this folder share: inputs of models, sessions of the peers, clocks."""
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

try:
    import openvino as ov
except ImportError:
    ov = None

ort.set_default_logger_severity(4)
NUMPY = {"float": "f4", "double": "f8", "float16": "f2"}
LEVELS = ort.GraphOptimizationLevel

# Writes what ONNX Runtime makes of a model at a level: its arguments are IN, OUT, LEVEL.
OFFLINE = """import onnxruntime as o, sys
s = o.SessionOptions()
s.graph_optimization_level = getattr(o.GraphOptimizationLevel, sys.argv[3])
s.optimized_model_filepath = sys.argv[2]
s.log_severity_level = 4
o.InferenceSession(sys.argv[1], s, providers=["CPUExecutionProvider"])"""


def offline(source, out, level):
    return [sys.executable, "-c", OFFLINE, source, out, level]


def session(path, threads=0, level=LEVELS.ORT_ENABLE_ALL):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = level
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def random_inputs(path):
    rng, feeds = np.random.default_rng(0), {}
    for i in session(path, level=LEVELS.ORT_DISABLE_ALL).get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in i.shape]
        name = i.type[7:-1]
        if name == "string":
            feeds[i.name] = np.full(shape, "a", object)
        elif name in NUMPY:
            feeds[i.name] = rng.standard_normal(shape).astype(NUMPY[name])
        else:
            feeds[i.name] = rng.integers(0, 2, shape).astype("bool" if name == "bool" else name)
    return feeds


def inputs_of(path):
    """By name: from MODEL.npz (keys in:NAME, or NAME) beside the model, else random."""
    npz = os.path.splitext(path)[0] + ".npz"
    if not os.path.exists(npz):
        return random_inputs(path)
    z = np.load(npz, allow_pickle=True)
    named = {k[3:]: z[k] for k in z.files if k.startswith("in:")}
    return named or {k: z[k] for k in z.files}


def onnxruntime(path, feeds, threads=0, level=LEVELS.ORT_ENABLE_ALL):
    """A call that runs the model once."""
    s = session(path, threads, level)
    known = {i.name for i in s.get_inputs()}
    feeds = {k: v for k, v in feeds.items() if k in known}
    return lambda: s.run(None, feeds)


def openvino(path, feeds, threads=0, exact=False):
    """exact: activations are not quantized unless the model says so, where a last bit would become a step."""
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if exact:
        config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
    compiled = ov.Core().compile_model(path, "CPU", config)
    request = compiled.create_infer_request()
    port = {name: i for i, p in enumerate(compiled.inputs) for name in p.get_names()}
    feeds = {port[k]: v for k, v in feeds.items() if k in port}

    def run():
        request.infer(feeds, share_inputs=True, share_outputs=True)
        return [request.get_output_tensor(i).data for i in range(len(compiled.outputs))]

    return run


def seconds_of(run, seconds, least=1):
    """Of each call, for that long."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def measure(run, seconds, statistic="median"):
    """Milliseconds of a call."""
    run()
    times = seconds_of(run, seconds, 3)
    return (min(times) if statistic == "min" else statistics.median(times)) * 1e3


def bench(tool, path, npz, threads, seconds, statistic="median"):
    """Milliseconds of a call in onnxtool; what it said where it failed."""
    command = [tool, "bench", path, "--inputs", npz, "--threads", str(threads), "--duration", str(seconds), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return math.nan, done.stderr.strip()[-300:]
    return json.loads(done.stdout)["latency_ms"]["min" if statistic == "min" else "p50"], ""


def process(command, limit):
    """Seconds, peak MiB and what went wrong (""). GNU time between: a child starts with its parent's peak."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        try:
            p = subprocess.run(
                ["/usr/bin/time", "-f", "%M", "-o", f"{folder}/peak", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return limit, 0, f"over {limit} s"
        seconds = time.perf_counter() - start
        with open(f"{folder}/peak") as f:
            peak = int(f.read().split()[-1]) / 1024
    said = p.stderr.decode(errors="replace").strip().splitlines()
    return seconds, peak, "" if p.returncode == 0 else (said or [f"status {p.returncode}"])[-1][-160:]


def geomean(values):
    values = list(values)
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan
