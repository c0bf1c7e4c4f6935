#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the operator schema tables of libonnxtool/ops from the onnx and onnxruntime packages.

    scripts/generate_schemas.py            writes both tables
    scripts/generate_schemas.py --check    compares them with what the packages say: exit status
                                           0 equal, 1 different, 77 no pinned package at hand

The tables hold facts (names, versions, parameters, attributes, types) of exactly these versions:
"""

import argparse
import ctypes
import difflib
import pathlib
import re
import struct
import sys
import textwrap

ONNX_VERSION = "1.23.2"
ORT_VERSION = "1.31.1"

ROOT = pathlib.Path(__file__).resolve().parent.parent
ONNX_FILE = "libonnxtool/ops/schema_onnx.cc"
CONTRIB_FILE = "libonnxtool/ops/schema_contrib.cc"

UNLIMITED = 2**31 - 1

# TensorProto.DataType, index = number.
ELEMENTS = (
    "undefined float uint8 int8 uint16 int16 int32 int64 string bool float16 double uint32 uint64 "
    "complex64 complex128 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz uint4 int4 "
    "float4e2m1 float8e8m0 uint2 int2 float6e2m3 float6e3m2"
).split()
FAMILIES = ("tensor({})", "seq(tensor({}))", "optional(tensor({}))", "optional(seq(tensor({})))")
KNOWN_TYPES = {
    family.format(element): (f, 1 << e)
    for f, family in enumerate(FAMILIES)
    for e, element in enumerate(ELEMENTS)
    if e > 0
}

ATTR_KINDS = {
    "FLOAT": "kFloat", "INT": "kInt", "STRING": "kString", "TENSOR": "kTensor", "GRAPH": "kGraph",
    "FLOATS": "kFloats", "INTS": "kInts", "STRINGS": "kStrings", "TENSORS": "kTensors",
    "GRAPHS": "kGraphs", "SPARSE_TENSOR": "kSparseTensor", "SPARSE_TENSORS": "kSparseTensors",
    "TYPE_PROTO": "kTypeProto", "TYPE_PROTOS": "kTypeProtos",
}  # fmt: skip

# The onnx package calls an operator non-deterministic also where it merely has a body. We record
# whether the operator itself draws random numbers; bodies are judged by what they contain.
ONLY_HAS_BODY = {"If", "Loop", "Scan", "SequenceMap", "AffineGrid"}
# onnxruntime does not say; these draw.
CONTRIB_RANDOM = {"BiasDropout", "BitmaskDropout", "BitmaskBiasDropout", "Sampling"}
# What onnxruntime puts into the default domain and other tools take for granted.
CONTRIB_DEFAULT_DOMAIN = {"SimplifiedLayerNormalization"}


# ------------------------------------------------------------------------------- reading packages
def varint(data, pos):
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, pos


def signed(value):
    return value - 2**64 if value >= 2**63 else value


def wire_fields(data):
    """(field number, value) pairs of a protobuf message; values as int or bytes."""
    pos = 0
    while pos < len(data):
        tag, pos = varint(data, pos)
        kind = tag & 7
        if kind == 0:
            value, pos = varint(data, pos)
        elif kind == 2:
            size, pos = varint(data, pos)
            value, pos = data[pos : pos + size], pos + size
        elif kind == 5:
            value, pos = data[pos : pos + 4], pos + 4
        else:
            raise ValueError(f"wire type {kind}")
        yield tag >> 3, value


def float_text(data):
    """Shortest decimal that reads back as the same float32."""
    (single,) = struct.unpack("<f", data)
    for digits in range(1, 18):
        text = f"{single:.{digits}g}"
        if ctypes.c_float(float(text)).value == single:
            return str(float(text))
    raise ValueError(data)


def floats_of(data):
    return [data[i : i + 4] for i in range(0, len(data), 4)]


def ints_of(value):
    if isinstance(value, int):
        return [signed(value)]
    out, pos = [], 0
    while pos < len(value):
        item, pos = varint(value, pos)
        out.append(signed(item))
    return out


def default_text(kind, data):
    """Text of the value of a serialized AttributeProto; None if it is empty: no default."""
    fields = list(wire_fields(data))
    if not any(number == 20 for number, _ in fields):
        return None
    got = {n: [v for m, v in fields if m == n] for n in (2, 3, 4, 7, 8, 9)}
    if kind == "FLOAT":
        return float_text(got[2][-1]) if got[2] else "0.0"
    if kind == "INT":
        return str(signed(got[3][-1])) if got[3] else "0"
    if kind == "STRING":
        return got[4][-1].decode() if got[4] else ""
    if kind == "FLOATS":
        return ",".join(float_text(f) for v in got[7] for f in floats_of(v))
    if kind == "INTS":
        return ",".join(str(i) for v in got[8] for i in ints_of(v))
    if kind == "STRINGS":
        parts = [v.decode() for v in got[9]]
        assert not any("," in p for p in parts), parts
        return ",".join(parts)
    raise ValueError(f"default of kind {kind}")


def packed(type_text):
    return type_text.replace(" ", "")


def type_set(strings):
    """Masks of the four families, then the remaining type strings."""
    masks, other = [0] * len(FAMILIES), []
    for text in map(packed, strings):
        if text in KNOWN_TYPES:
            family, bit = KNOWN_TYPES[text]
            masks[family] |= bit
        else:
            other.append(text)
    return (*masks, ",".join(sorted(other)) or None)


def param(p):
    """Name, type, option, homogeneous: the two packages spell their fields differently."""
    text = p.type_str if hasattr(p, "type_str") else p.typeStr
    same = p.is_homogeneous if hasattr(p, "is_homogeneous") else p.isHomogeneous
    option = next(o for o in ("Single", "Optional", "Variadic") if o in str(p.option))
    return p.name, packed(text) if "(" in text else text, "k" + option, same


class Op:
    """One schema in plain values."""

    def __init__(self, schema, deterministic, has_function):
        self.domain, self.name, self.since = schema.domain, schema.name, schema.since_version
        self.key = (self.domain, self.name, self.since)
        self.deprecated = schema.deprecated
        self.deterministic, self.has_function = deterministic, has_function
        self.inputs = [param(p) for p in schema.inputs]
        self.outputs = [param(p) for p in schema.outputs]
        self.arity = (schema.min_input, schema.max_input, schema.min_output, schema.max_output)
        self.types = [
            (t.type_param_str, type_set(t.allowed_type_strs)) for t in schema.type_constraints
        ]
        self.attrs = []
        for name, attr in sorted(schema.attributes.items()):
            kind = re.search(r"AttrType\.([A-Z_]+)", str(attr.type)).group(1)
            value = getattr(attr, "_default_value", None)  # serialized
            if value is None:
                value = attr.default_value.SerializeToString()
            self.attrs.append((name, ATTR_KINDS[kind], attr.required, default_text(kind, value)))
        self.verify()

    def verify(self):
        """What schema.h promises."""
        constraints = {t[0] for t in self.types}
        for params in (self.inputs, self.outputs):
            assert all(p[2] != "kVariadic" for p in params[:-1]), self.key
            assert all(p[1] in constraints or "(" in p[1] for p in params), self.key


def official():
    import onnx
    from onnx import defs

    data_types = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    assert [data_types[i] for i in range(len(data_types))] == ELEMENTS, data_types
    ops = []
    for s in defs.get_all_schemas_with_history():
        random = str(s.node_determinism).endswith("NonDeterministic")
        random = random and s.name not in ONLY_HAS_BODY
        ops.append(Op(s, not random, s.has_function or s.has_context_dependent_function))
    newest = {domain: last for domain, (_, last) in defs.C.schema_version_map().items()}
    return ops, newest


def contrib():
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    ops, newest = [], {}
    for s in state.get_all_operator_schema():
        default = s.domain == "" and s.name in CONTRIB_DEFAULT_DOMAIN
        if s.domain == "com.microsoft" or default:
            ops.append(Op(s, s.name not in CONTRIB_RANDOM, False))
            newest[s.domain] = max(s.since_version, newest.get(s.domain, 0))
    return ops, newest


# ------------------------------------------------------------------------------------- writing C++
def quote(text):
    if text is None:
        return "nullptr"
    assert re.fullmatch(r"[ !#-\[\]-~]*", text), text
    return f'"{text}"'


def boolean(value):
    return "true" if value else "false"


class Pool:
    """Rows of one array; equal runs of rows are stored once."""

    def __init__(self, runs):
        self.rows = []
        self.first = {}
        for run in sorted(set(runs), key=lambda r: (-len(r), r)):
            n = len(run)
            starts = range(len(self.rows) - n + 1)
            at = next((i for i in starts if tuple(self.rows[i : i + n]) == run), None)
            if at is None:
                at = len(self.rows)
                self.rows.extend(run)
            self.first[run] = at

    def span(self, letter, run):
        return f"{letter}({self.first[run]},{len(run)})" if run else "{}"


def param_row(p):
    return f"{{{quote(p[0])},{quote(p[1])},{p[2]},{boolean(p[3])}}}"


def attr_row(a):
    return f"{{{quote(a[0])},{a[1]},{boolean(a[2])},{quote(a[3])}}}"


def set_row(m):
    masks = ",".join(f"{bits:#x}" if bits else "0" for bits in m[:4])
    return f"{{{masks},{quote(m[4])}}}"


def array(kind, name, rows):
    text = " ".join(row.replace(" ", "~") + "," for row in rows)
    assert not any("~" in row for row in rows)
    lines = textwrap.wrap(text, 98, break_long_words=False, break_on_hyphens=False)
    return [
        f"constexpr {kind} {name}[] = {{",
        *("  " + line.replace("~", " ") for line in lines),
        "};",
    ]


def render(symbol, source, ops, newest):
    ops = sorted(ops, key=lambda op: op.key)
    assert len({op.key for op in ops}) == len(ops)
    sets = sorted({t[1] for op in ops for t in op.types}, key=lambda m: (*m[:4], m[4] or ""))
    set_index = {m: i for i, m in enumerate(sets)}

    inputs = [tuple(map(param_row, op.inputs)) for op in ops]
    outputs = [tuple(map(param_row, op.outputs)) for op in ops]
    attributes = [tuple(map(attr_row, op.attrs)) for op in ops]
    constraints = [
        tuple(f"{{{quote(name)},kSets[{set_index[m]}]}}" for name, m in op.types) for op in ops
    ]
    params, attrs, types = Pool(inputs + outputs), Pool(attributes), Pool(constraints)

    schemas = []
    for i, op in enumerate(ops):
        arity = ["kUnlimited" if n == UNLIMITED else str(n) for n in op.arity]
        cells = [
            quote(op.domain),
            quote(op.name),
            str(op.since),
            boolean(op.deprecated),
            boolean(op.deterministic),
            params.span("P", inputs[i]),
            params.span("P", outputs[i]),
            attrs.span("A", attributes[i]),
            types.span("T", constraints[i]),
            *arity,
            boolean(op.has_function),
        ]
        schemas.append("  {" + ",".join(cells) + "},")
    domains = []
    for domain in sorted(newest):
        at = [i for i, op in enumerate(ops) if op.domain == domain]
        domains.append(f"{{{quote(domain)},{newest[domain]},{at[0] if at else 0},{len(at)}}}")

    lines = [
        "// SPDX-License-Identifier: Apache-2.0",
        f"// Generated by scripts/generate_schemas.py from {source}. Do not edit.",
        f"// {len(ops)} schemas of {len({op.key[:2] for op in ops})} operators.",
        "// clang-format off",
        '#include "libonnxtool/ops/schema_table.h"',
        "",
        "namespace onnxtool::schema_table {",
        "namespace {",
        "",
        "using enum AttrType;",
        "using enum ParamOption;",
        "",
        *array("TypeSet", "kSets", [set_row(m) for m in sets]),
        *array("TypeConstraint", "kTypes", types.rows),
        *array("ParamSpec", "kParams", params.rows),
        *array("AttrSpec", "kAttrs", attrs.rows),
        "",
        "using Params = std::span<const ParamSpec>;",
        "using Attrs = std::span<const AttrSpec>;",
        "using Types = std::span<const TypeConstraint>;",
        "constexpr Params P(size_t first, size_t count) { return {kParams + first, count}; }",
        "constexpr Attrs A(size_t first, size_t count) { return {kAttrs + first, count}; }",
        "constexpr Types T(size_t first, size_t count) { return {kTypes + first, count}; }",
        "",
        "constexpr Schema kSchemas[] = {",
        *schemas,
        "};",
        *array("DomainRange", "kDomains", domains),
        "",
        "}  // namespace",
        "",
        f"constinit const Table {symbol} = {{kSchemas, kDomains}};",
        "",
        "}  // namespace onnxtool::schema_table",
        "",
    ]
    return "\n".join(lines)


def tables():
    """(path, text) of each table whose package is installed in the pinned version."""
    found = []
    wanted = (
        ("onnx", ONNX_VERSION, official, "kOnnx", ONNX_FILE),
        ("onnxruntime", ORT_VERSION, contrib, "kContrib", CONTRIB_FILE),
    )
    for package, version, read, symbol, path in wanted:
        try:
            have = __import__(package).__version__
        except ImportError:
            have = "none"
        if have == version:
            found.append((path, render(symbol, f"{package} {version}", *read())))
        else:
            print(f"{path} needs {package} {version}, found {have}", file=sys.stderr)
    return found


def compare(path, text):
    file = ROOT / path
    old = file.read_text() if file.exists() else ""
    if old == text:
        print(f"{path}: as the package says")
        return True
    diff = difflib.unified_diff(
        old.splitlines(), text.splitlines(), path, "the package", lineterm="", n=0
    )
    print("\n".join(line[:200] for line in list(diff)[:40]))
    return False


def main():
    parser = argparse.ArgumentParser(
        description=f"{__doc__}onnx {ONNX_VERSION}, onnxruntime {ORT_VERSION}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    args = parser.parse_args()
    found = tables()
    if args.check:
        if not found:
            return 77
        return 0 if all([compare(path, text) for path, text in found]) else 1
    for path, text in found:
        (ROOT / path).write_text(text)
    return 0 if len(found) == 2 else 1


if __name__ == "__main__":
    sys.exit(main())
