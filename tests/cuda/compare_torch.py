#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Latency on a CUDA device beside PyTorch's, in float16: models with random weights are exported, and runs of
PyTorch (eager, torch.compile) and of `onnxtool bench` take turns. scripts/test-cuda calls it.

usage: compare_torch.py ONNXTOOL [--rounds N] [MODEL...]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import torch
import torchvision


def image(model):
    return model().eval(), (torch.randn(1, 3, 224, 224),)


def text(kind, **config):
    import transformers

    made = getattr(transformers, kind + "Config")(**config, attn_implementation="eager")
    model = getattr(transformers, kind + "Model")(made).eval()

    class First(torch.nn.Module):  # one tensor in, one out
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids):
            return self.model(input_ids=ids, return_dict=False)[0]

    return First().eval(), (torch.randint(0, 1000, (1, 128)),)


MODELS = {
    "resnet50": lambda: image(torchvision.models.resnet50),
    "mobilenet_v2": lambda: image(torchvision.models.mobilenet_v2),
    "vit_b_16": lambda: image(torchvision.models.vit_b_16),
    "bert_base": lambda: text("Bert"),
    "gpt2": lambda: text("GPT2", use_cache=False),
}


def to_half(x):
    return x.half() if x.is_floating_point() else x


def seconds(run, least=0.3):
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    times, start = [], time.perf_counter()
    while len(times) < 10 or time.perf_counter() - start < least:
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def ours(tool, path, inputs):
    done = subprocess.run([tool, "bench", path, "--inputs", inputs, "--device", "cuda", "--duration", "0.5", "--json"],
                          stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    result = result[0] if isinstance(result, list) else result
    return result["latency_ms"]["p50"] / 1000, result["device_copies"]


def compare(tool, name, folder, rounds):
    import numpy

    model, arguments = MODELS[name]()
    path, inputs = os.path.join(folder, name + ".onnx"), os.path.join(folder, name + ".npz")
    model = model.half().cuda()
    arguments = tuple(to_half(x).cuda() for x in arguments)
    with torch.no_grad():
        torch.onnx.export(model, arguments, path, input_names=["x"], output_names=["y"], opset_version=18, dynamo=False)
        want = model(*arguments)
        numpy.savez(inputs, x=arguments[0].cpu().numpy(), y=want.cpu().numpy())
        compiled = torch.compile(model)
        compiled(*arguments)
        eager_s, compiled_s, ours_s, copies = [], [], [], 0
        for _ in range(rounds):
            eager_s.append(seconds(lambda: model(*arguments)))
            compiled_s.append(seconds(lambda: compiled(*arguments)))
            mine, copies = ours(tool, path, inputs)
            ours_s.append(mine)
    eager, graph, mine = (1000 * min(s) for s in (eager_s, compiled_s, ours_s))
    print(f"{name:14} eager {eager:.3f} ms, compiled {graph:.3f} ms, onnxtool {mine:.3f} ms with {copies} copies: "
          f"{eager / mine:.2f} and {graph / mine:.2f} times as fast", flush=True)


def main():
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("tool")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("models", nargs="*", default=list(MODELS))
    options = options.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models or MODELS:
            try:
                compare(options.tool, name, folder, options.rounds)
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    print(f"{len(options.models or MODELS) - failed} of {len(options.models or MODELS)} models compared")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
