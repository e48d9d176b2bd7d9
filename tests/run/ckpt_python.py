"""The real safetensors package reads what our writer wrote, and our reader what the package wrote.

    PYTHON tests/run/ckpt_python.py [BUILD/tests/test_safetensors]

PYTHON needs the packages safetensors and numpy. BF16 has no numpy type: it is compared as bytes.
"""
import os
import subprocess
import sys
import tempfile

import numpy
import safetensors
import safetensors.numpy

TOOL = sys.argv[1] if len(sys.argv) > 1 else "build/tests/test_safetensors"
ODD = 'a"\\\n\t/\x01 \u00e9 \U0001f600'
# name -> dtype, shape; the table `all` in test_safetensors.c
OURS = {
    "f64": ("F64", [3]), "i64": ("I64", [2, 2]), "scalar": ("F64", []), "f32": ("F32", [2, 1, 3]), "i32": ("I32", [5]),
    "empty": ("F32", [0, 4]), "f16": ("F16", [7]), "bf16": ("BF16", [3, 3]), "u8": ("U8", [11]),
    ODD: ("U8", [1] * 7 + [2]),
}
NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}
SIZE = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1}
failures = []


def check(ok, says):
    if not ok:
        failures.append(says)
        print("failed:", says)


def count(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 if crc & 1 else crc >> 1
    return "%08x" % (crc ^ 0xFFFFFFFF)


def theirs_reads_ours(path):
    subprocess.run([TOOL, "--write", path], check=True)
    with open(path, "rb") as file:
        raw = file.read()
    tensors = dict(safetensors.deserialize(raw))
    check(set(tensors) == set(OURS), "the package finds every tensor: %s" % sorted(tensors))
    at = 0  # the writer filled byte i of the data with i * 37 + 11
    for name, (dtype, shape) in OURS.items():
        length = count(shape) * SIZE[dtype]
        want = bytes((i * 37 + 11) & 255 for i in range(at, at + length))
        got = tensors.get(name, {"dtype": None, "shape": None, "data": b""})
        check((got["dtype"], list(got["shape"]), bytes(got["data"])) == (dtype, shape, want), "the package reads %r" % name)
        at += length
    with safetensors.safe_open(path, "numpy") as file:
        check(file.metadata() == {"step": "12", "note": 'a "quoted" = sign'}, "the package reads our metadata")
        for name, (dtype, shape) in OURS.items():
            if dtype in NUMPY:
                array = file.get_tensor(name)
                check(list(array.shape) == shape and array.dtype == numpy.dtype(NUMPY[dtype]), "numpy gets %r" % name)


def ours_reads(path, want, says):
    done = subprocess.run([TOOL, "--read", path], capture_output=True, text=True)
    check(done.returncode == 0, "%s: %s" % (says, done.stderr.strip()))
    got = {line.rsplit(" [", 1)[0]: line.rsplit(" [", 1)[1] for line in done.stdout.splitlines() if "__metadata__" not in line}
    for name, (dtype, shape, data) in want.items():
        line = got.get("%s %s" % (name, dtype))
        check(line == "%s %s" % (str(shape)[1:], crc32c(data)),
              "%s: %r is %s, got %s" % (says, name, (dtype, shape), line))
    check(len(got) == len(want), "%s: %d tensors" % (says, len(want)))
    return done.stdout


def ours_reads_theirs(path):
    rng = numpy.random.default_rng(7)
    arrays = {name.replace("\n", " "): rng.integers(0, 200, shape).astype(NUMPY[dtype]) for name, (dtype, shape) in OURS.items()
              if dtype in NUMPY}
    dtypes = {numpy.dtype(text): name for name, text in NUMPY.items()}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "np", "a": "b=c"})
    out = ours_reads(path, {n: (dtypes[a.dtype], list(a.shape), a.tobytes()) for n, a in arrays.items()}, "numpy's file")
    check("__metadata__ format=np" in out and "__metadata__ a=b=c" in out, "numpy's metadata")
    safetensors.numpy.save_file({}, path)
    ours_reads(path, {}, "an empty file")
    check(subprocess.run([TOOL, "--read", os.devnull], capture_output=True).returncode == 1, "no file at all is refused")


def ours_reads_bf16(path):
    data = bytes(range(18))
    tensor = {"bf16": {"dtype": "bfloat16", "shape": [3, 3], "data": data}}
    try:
        safetensors.serialize_file(tensor, path)
    except TypeError:  # newer packages want the data by its address
        array = numpy.frombuffer(data, dtype="u1")
        tensor["bf16"] = safetensors.TensorSpec(dtype="bfloat16", shape=[3, 3], data_ptr=array.ctypes.data, data_len=array.nbytes)
        safetensors.serialize_file(tensor, path)
    ours_reads(path, {"bf16": ("BF16", [3, 3], data)}, "a BF16 file")


with tempfile.TemporaryDirectory() as directory:
    theirs_reads_ours(os.path.join(directory, "ours.safetensors"))
    ours_reads_theirs(os.path.join(directory, "theirs.safetensors"))
    ours_reads_bf16(os.path.join(directory, "bf16.safetensors"))
print("ckpt_python: %s (safetensors %s, numpy %s)" % ("%d failures" % len(failures) if failures else "ok",
                                                      safetensors.__version__, numpy.__version__))
sys.exit(bool(failures))
