"""A whole checkpoint, the newest in a directory, with nothing of Lockstep: python3 read_checkpoint.py DIRECTORY"""
import json, re, sys
from pathlib import Path
import numpy
from safetensors.numpy import load_file

def read_checkpoint(prefix):
    names = [(p, re.fullmatch(r"step-(\d{12})(?:-g(\d{8}))?", p.parent.name)) for p in Path(prefix).glob("*/manifest.json")]
    manifest = json.loads(max((int(m[2] or 0), int(m[1]), p) for p, m in names if m)[2].read_text())
    tensors = {}
    for shard in manifest["shards"]:
        tensors.update(load_file(Path(prefix) / shard["key"]))
    for whole in (w["name"] for w in manifest.get("sharded", [])):
        parts = sorted((int(n[len(whole) + 1:].split(":")[0]), n) for n in tensors if n.startswith(whole + "[") and n.endswith("]"))
        tensors[whole] = numpy.concatenate([tensors.pop(n) for _, n in parts])
    return manifest, tensors

if __name__ == "__main__":
    print({name: tensor.shape for name, tensor in read_checkpoint(sys.argv[1])[1].items()})
