"""The real safetensors package reads what our writer wrote, and our reader what the package wrote; whole checkpoints, too.

    PYTHON tests/run/ckpt_python.py [BUILD/tests/test_safetensors [BUILD/lockstep]]

PYTHON needs the packages safetensors and numpy. BF16 has no numpy type: it is compared as bytes.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy
import safetensors
import safetensors.numpy

TOOL = sys.argv[1] if len(sys.argv) > 1 else "build/tests/test_safetensors"
LOCKSTEP = sys.argv[2] if len(sys.argv) > 2 else "build/lockstep"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples"))
from read_checkpoint import read_checkpoint  # noqa: E402

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


def save(prefix, generation, step, ranks, sharded):
    """A checkpoint as docs/checkpoint-format.md has it; ranks: one {name: array} each."""
    folder = "step-%012d-g%08d" % (step, generation)
    os.makedirs(os.path.join(prefix, folder))
    shards = []
    for rank, tensors in enumerate(ranks):
        key = "%s/rank-%05d.safetensors" % (folder, rank)
        safetensors.numpy.save_file(tensors, os.path.join(prefix, key))
        with open(os.path.join(prefix, key), "rb") as file:
            raw = file.read()
        shards.append({"key": key, "bytes": len(raw), "crc32c": crc32c(raw)})
    manifest = {"format": "lockstep-checkpoint/1", "job": "j", "attempt": 0, "step": step, "generation": generation,
                "worldSize": len(ranks), "time": "2026-01-31T12:00:00Z",
                "sampler": {"seed": "1", "epoch": 0, "epochSamples": 0}, "versions": {}, "shards": shards, "sharded": sharded}
    with open(os.path.join(prefix, folder, "manifest.json"), "w") as file:
        json.dump(manifest, file)
    return os.path.join(prefix, folder)


def lockstep(*words):
    done = subprocess.run([LOCKSTEP, "ckpt", *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def same(got, want, says):
    check(set(got) == set(want), "%s: %s" % (says, sorted(got)))
    for name in want:
        check(name in got and got[name].dtype == want[name].dtype and numpy.array_equal(got[name], want[name]),
              "%s: %r" % (says, name))


def whole_checkpoints(directory):
    rng = numpy.random.default_rng(8)
    m, w, i = rng.random((10, 3)).astype("f4"), rng.random((4, 5)), rng.integers(0, 9, 7).astype("i4")
    sharded = [{"name": "m", "dtype": "F32", "shape": [10, 3]}, {"name": "i", "dtype": "I32", "shape": [7]},
               {"name": "none", "dtype": "U8", "shape": [0, 2]}]
    prefix, out = os.path.join(directory, "ck"), os.path.join(directory, "model.safetensors")
    none = numpy.zeros((0, 2), "u1")
    ranks = [{"m[0:4]": m[:4], "w": w, "i[0:0]": i[:0], "none[0:0]": none},
             {"m[4:8]": m[4:8], "i[0:7]": i, "x[0:2]": w[:2], "rank-00001/rng": i},
             {"m[8:10]": m[8:], "scalar": numpy.array(3.5)}]
    save(prefix, 1, 900, [{"w": w + 1}], [])
    save(prefix, 2, 100, ranks, sharded)
    want = {"m": m, "i": i, "none": none, "w": w, "x[0:2]": w[:2], "scalar": numpy.array(3.5)}
    same(read_checkpoint(prefix)[1], dict(want, **{"rank-00001/rng": i}), "examples/read_checkpoint.py")
    check(lockstep("verify", prefix)[0] == 0, "what Python saved verifies")
    code, said = lockstep("export", prefix, "-o", out)
    check(code == 0 and "left out rank-00001/rng" in said, "export: %s" % said)
    same(safetensors.numpy.load_file(out), want, "the exported file")
    check(lockstep("export", prefix, "-o", out)[0] == 1, "a file that is there is not replaced")
    check(lockstep("export", prefix, "--step", "900", "-o", out, "--force")[0] == 0, "unless it is forced")
    same(safetensors.numpy.load_file(out), {"w": w + 1}, "an older one, forced")
    check(lockstep("import", out, prefix, "--step", "7")[0] == 0, "import")
    manifest, tensors = read_checkpoint(prefix)
    same(tensors, {"w": w + 1}, "what was imported is the newest")
    check((manifest["generation"], manifest["step"], manifest["worldSize"]) == (3, 7, 1), "its manifest: %s" % manifest)
    for bad, says in (({"m[0:4]": m[:4], "m[3:10]": m[3:]}, "rows that are there twice"), ({"m[0:9]": m[:9]}, "missing rows"),
                      ({"m[0:10]": m[:, :2].copy()}, "another width"), ({}, "no part at all")):
        prefix = os.path.join(directory, says)
        save(prefix, 1, 1, [bad], sharded[:1])
        code, said = lockstep("export", prefix, "-o", out + ".bad")
        check(code == 1 and " m" in said and not [n for n in os.listdir(directory) if "bad" in n], "%s: %s" % (says, said))
    prefix = os.path.join(directory, "flipped")
    with open(os.path.join(save(prefix, 1, 1, [{"w": w}], []), "rank-00000.safetensors"), "r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    code, said = lockstep("export", prefix, "-o", out + ".bad")
    check(code == 1 and "crc32c" in said and not os.path.exists(out + ".bad"), "a flipped byte: %s" % said)


with tempfile.TemporaryDirectory() as directory:
    whole_checkpoints(directory)
    theirs_reads_ours(os.path.join(directory, "ours.safetensors"))
    ours_reads_theirs(os.path.join(directory, "theirs.safetensors"))
    ours_reads_bf16(os.path.join(directory, "bf16.safetensors"))
print("ckpt_python: %s (safetensors %s, numpy %s)" % ("%d failures" % len(failures) if failures else "ok",
                                                      safetensors.__version__, numpy.__version__))
sys.exit(bool(failures))
