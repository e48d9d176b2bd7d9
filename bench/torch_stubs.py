"""torch_stubs.py -- stand-ins for the CUDA libraries that PyTorch's Linux wheel is linked with, so that it loads on a machine without them.

    PYTHON bench/torch_stubs.py        PYTHON: an interpreter that has torch, installed without its dependencies

Every library that a file of torch/lib needs and nobody has becomes one in torch/lib (which is on their RPATH) with the symbols wanted of it, at
the version wanted. Each function returns 100, in CUDA's words "no device". Needs gcc and binutils.
"""
import collections
import importlib.util
import os
import re
import subprocess
import tempfile

LIB = os.path.join(os.path.dirname(importlib.util.find_spec("torch").origin), "lib")


def tool(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def missing(path):
    """Names of libraries that the loader does not find for this one."""
    return re.findall(r"^\s*(\S+) => not found", tool("ldd", path), re.M)


def wanted(path):
    """[(symbol, version or "")] that a library leaves undefined, and {version: the library that it is of}."""
    owner, library = {}, None
    for line in tool("objdump", "-p", path).splitlines():
        of = re.match(r"\s+required from (\S+):", line)
        version = re.match(r"\s+0x[0-9a-f]+ 0x[0-9a-f]+ \d+ (\S+)", line)
        library = of[1] if of else library
        if version and library:
            owner[version[1]] = library
    undefined = re.findall(r"^ +U (\w+)(?:@(\S+))?$", tool("nm", "-D", "--undefined-only", path), re.M)
    return undefined, owner


def defined(paths):
    return {name for path in paths for name in re.findall(r" [^U w] (\w+)(?:@\S*)?$", tool("nm", "-D", "--defined-only", path), re.M)}


def build(library, symbols):
    """symbols: {version or None: {name}}"""
    with tempfile.TemporaryDirectory() as scratch:
        source, script = os.path.join(scratch, "stub.c"), os.path.join(scratch, "versions")
        names = set().union(*symbols.values())
        with open(source, "w") as f:
            f.writelines(f"int {name}(void) {{ return 100; }}\n" for name in sorted(names))
        with open(script, "w") as f:
            f.writelines(f"{version} {{ {' '.join(n + ';' for n in sorted(names))} }};\n" for version, names in symbols.items() if version)
        versions = [f"-Wl,--version-script={script}"] if os.path.getsize(script) else []
        subprocess.run(["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{library}", *versions, source,
                        "-o", os.path.join(LIB, library)], check=True)


def main():
    ours = [os.path.join(LIB, name) for name in sorted(os.listdir(LIB)) if ".so" in name]
    lacks = {path: missing(path) for path in ours}
    lost = sorted(set().union(*lacks.values()))
    stubs = {library: collections.defaultdict(set) for library in lost}
    here = defined(ours)
    for path in ours:
        undefined, owner = wanted(path)
        for name, version in undefined:
            if owner.get(version) in stubs:
                stubs[owner[version]][version].add(name)
            elif not version and name not in here and lacks[path]:
                stubs[lost[0]][None].add(name)  # the loader asks no particular library for it
    for library, symbols in stubs.items():
        build(library, symbols)
    print("stand-ins for " + " ".join(lost))


main()
