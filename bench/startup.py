#!/usr/bin/env python3
"""startup.py -- how long until a 2-rank hello has come and gone: lockstep run against mpirun and torchrun.

    bench/startup.py [BUILD] [REPEATS]

The commands alternate (A B C A B C ...), after one warm-up round, so that a busy machine hurts all alike. Each round gives one
ratio to Open MPI's mpirun; the median of the ratios counts, and the spread is their middle half. The hello is the same MPI program
everywhere; torchrun starts a Python line that prints its rank, since that is what its users wait for at least (no `import torch` in the
ranks). Losses are printed like wins.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
B = os.path.join(ROOT, sys.argv[1] if len(sys.argv) > 1 else "build")
REPEATS = int(sys.argv[2]) if len(sys.argv) > 2 else 11
HELLO = os.path.join(B, "examples", "hello")
root = ["--allow-run-as-root"] if os.geteuid() == 0 else []


def rows():
    ompi5 = os.path.join(ROOT, "build", "venv-ompi5", "bin", "mpirun")
    python = os.path.join(ROOT, "build", "venv-python", "bin", "python")
    yield "mpirun, Open MPI 4", ["mpirun", *root, "--oversubscribe", "-np", "2", HELLO]
    yield "lockstep run, Open MPI 4", [f"{B}/lockstep", "run", "-np", "2", HELLO]
    if os.path.exists(ompi5):
        yield "mpirun, Open MPI 5", [ompi5, *root, "--map-by", ":oversubscribe", "-np", "2", HELLO]
        yield "lockstep run, Open MPI 5", [f"{B}/lockstep", "run", "--mpirun", ompi5, "-np", "2", HELLO]
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0:
        # Without -r and -t the 1.13 launcher of Debian 12 fails on its Python 3.11.
        yield "torchrun", [python, "-m", "torch.distributed.run", "-r", "1", "-t", "1", "--log_dir", "torchrun", "--nproc_per_node", "2",
                           "--no_python", "sh", "-c", "echo hello from rank $RANK"]


def once(command, env):
    begun = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    took = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode()}")
    return took


def main():
    table = list(rows())
    times = {name: [] for name, _ in table}
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for n in range(REPEATS + 1):
            for name, command in table:
                env = dict(os.environ)
                if "mpirun, Open MPI 5" == name:  # what lockstep run sets by itself
                    env["LD_LIBRARY_PATH"] = os.path.join(os.path.dirname(os.path.dirname(command[0])), "lib")
                took = once(command, env)
                if n:
                    times[name].append(took)
        os.chdir(ROOT)
        shutil.rmtree(os.path.join(scratch, "lockstep-runs"), ignore_errors=True)
    print(f"2-rank hello, wall time in seconds, median of {REPEATS} alternating rounds, {os.cpu_count()} cores")
    print(f"{'':26} {'min':>7} {'median':>7} {'max':>7}   ratio to its own mpirun (middle half)")
    for name, t in times.items():
        base = times.get("mpirun, Open MPI 5" if "Open MPI 5" in name else "mpirun, Open MPI 4")
        ratio = sorted(a / b for a, b in zip(t, base))
        quarter = len(ratio) // 4
        print(f"{name:26} {min(t):7.3f} {statistics.median(t):7.3f} {max(t):7.3f}   {statistics.median(ratio):6.2f} "
              f"({ratio[quarter]:.2f}-{ratio[-1 - quarter]:.2f})")


main()
