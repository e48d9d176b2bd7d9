"""Compiles what the shared-memory backend needs of ../core, ../collectives and ../worker into one library beside the package: `pip install
./python` in a clone. A C compiler is all that it takes: no MPI, none of the libraries that the rest of Lockstep is linked with."""
import glob
import os
import re
import shlex

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
NOT_HERE = re.compile(r"_mpi|_nccl|_cuda|/hier")
CORE = ["env", "safetensors", "status", "str", "io"]


def sources():
    collectives = [f for f in sorted(glob.glob(os.path.join(ROOT, "collectives", "*.c"))) if not NOT_HERE.search(f)]
    if not collectives:
        raise SystemExit(f"lockstep-ddp is built from a clone of Lockstep: {ROOT} has no collectives/")
    return collectives + [os.path.join(ROOT, "core", f"{name}.c") for name in CORE] + [os.path.join(ROOT, "worker", "comm.c")]


def version():
    with open(os.path.join(ROOT, "include", "lockstep", "lockstep.h")) as header:
        return re.search(r'^#define LOCKSTEP_VERSION "(.*)"', header.read(), re.M)[1]


class build_library(build_ext):
    """A plain shared library, for ctypes: nothing in it depends on the version of Python or PyTorch."""

    def build_extension(self, ext):
        out = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(out), exist_ok=True)
        self.spawn([*shlex.split(os.environ.get("CC", "cc")), *shlex.split(os.environ.get("CFLAGS", "-O2 -g")), "-std=gnu11", "-D_GNU_SOURCE",
                    "-D_FILE_OFFSET_BITS=64", "-DLS_WITHOUT_MPI", "-fPIC", "-fvisibility=hidden", "-pthread", "-I", ROOT,
                    "-I", os.path.join(ROOT, "include"), "-shared", "-Wl,-z,defs", "-o", out, *sources()])

    def get_ext_filename(self, name):
        return os.path.join(*name.split(".")) + ".so"


setup(version=version(), ext_modules=[Extension("lockstep_ddp.liblockstep_ddp", [])], cmdclass={"build_ext": build_library})
