#!/usr/bin/env python3
"""peers_page.py DIR -- prints the page of results of bench/peers.sh, from what lies in DIR/results: NAME.json, as `lockstep bench --json` wrote it,
NAME.cmd, the command, SECTION.date; of the network also what iperf3 said. NAME-1.json, NAME-2.json … are rounds of one measurement.

A ratio is made in each round, between measurements that were taken one after the other; the page shows the median of the ratios, the least and
the largest. A goal is met where the median says so. Which peer is the best is decided by the medians of times, for each size anew."""
import glob
import json
import os
import platform
import re
import statistics
import sys

KIB, MIB = 1 << 10, 1 << 20
OURS = ("shm", "shm/user", "hier", "hier/user", "lockstep-mpi")
SECTIONS = {
    "latency": "Small messages", "sizes": "4 KiB to 256 MiB", "tensors": "All gradients of a model", "dtypes": "bf16 against f32",
    "oversubscribed": "4 ranks on 2 cores", "net": "Between two network namespaces", "malloc": "Malloc settings of `lockstep run`",
}


# --- what was measured --------------------------------------------------------------------------------------------------------------

class Results:
    """series[name][bytes][contender]: microseconds, one for each round."""

    def __init__(self, where):
        self.series, self.commands, self.contenders, self.lost = {}, {}, set(), []
        for path in sorted(glob.glob(f"{where}/*.json"), key=lambda p: [int(w) if w.isdigit() else w for w in re.split(r"(\d+)", p)]):
            file = os.path.basename(path)[:-5]
            if "-iperf" in file:
                continue
            name = re.sub(r"-\d+$", "", file)
            if os.path.exists(f"{where}/{file}.cmd"):
                self.commands.setdefault(name, plain(open(f"{where}/{file}.cmd").read().strip()))
            try:
                self.add(name, json.load(open(path)))
            except json.JSONDecodeError:
                self.lost.append(f"{file}: nothing was measured")

    def add(self, name, run):
        for c in run["contenders"]:
            self.contenders.add((c["name"], c["library"], plain(c["command"])))
            if "lost" in c:
                self.lost.append(f"{name}: {c['name']}: {c['lost']}")
        for row in run["rows"]:
            contenders = self.series.setdefault(name, {}).setdefault(row["size"], {})
            for c in row["results"]:
                contenders.setdefault(c["contender"], []).extend(c.get("rounds_us", []))
                if "unsupported" in c or c.get("wrong"):
                    why = c.get("unsupported") or f"{c['wrong']} wrong elements"
                    self.lost.append(f"{name}: {c['contender']}: {size(row['size'])}: {why}")

    def rows(self, *names):
        """(bytes, {contender: times}) of all these."""
        return sorted(((b, c) for n in names for b, c in self.series.get(n, {}).items()), key=lambda row: row[0])


def iperf(where, link, both_ways):
    """GB/s in each direction, one for each round."""
    rates = []
    for path in sorted(glob.glob(f"{where}/net-{link}-iperf-{'bidir-' if both_ways else ''}[0-9]*.json")):
        end = json.load(open(path))["end"]
        ways = [end[k]["bits_per_second"] for k in ("sum_received", "sum_received_bidir_reverse") if k in end]
        rates.append(statistics.mean(ways) / 8e9)
    return rates


# --- words -------------------------------------------------------------------------------------------------------------------------

def plain(command):
    """As one would type it in the repository, without what `lockstep bench` adds for itself."""
    command = re.sub(r"--dir=/\S+ |-x LOCKSTEP_BENCH_\w+ ", "", command.replace(os.getcwd() + "/", ""))
    return re.sub(r"/bin/sh -c '(?:exec )?(.*)'$", r"\1", command)


def size(n):
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if n >= unit:
            return f"{n / unit:.4g} {name}"
    return f"{n} B"


def number(v):
    return f"{v:.2f}" if v < 10 else f"{v:.1f}" if v < 100 else f"{v:,.0f}".replace(",", " ")


def spread(values, unit=""):
    if not values:
        return "-"
    return f"{number(statistics.median(values))}{unit} ({number(min(values))}–{number(max(values))})"


def table(head, rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def times(rows):
    """Contenders down, sizes across."""
    names = list(dict.fromkeys(n for _, c in rows for n in c))
    return table(["µs"] + [size(b) for b, _ in rows], [[n] + [spread(c.get(n)) for _, c in rows] for n in names])


# --- goals -------------------------------------------------------------------------------------------------------------------------

def as_it_comes(name):
    return name in ("ompi4", "ompi5", "mpich4", "mpich5", "impi", "torch", "mpi")


def any_setting(name):
    return name not in OURS and name != "floor"


class Goals:
    def __init__(self):
        self.list = []

    def note(self, what, where, ratios, want, against=""):
        """`ratios`: how many times as good as what it is compared with; at least `want` is the goal."""
        if ratios:
            met = "met" if statistics.median(ratios) >= want else "**not met**"
            sure = "" if min(ratios) >= want or max(ratios) < want else ", in some rounds " + ("not" if met == "met" else "met")
            self.list.append([what, where, against, f"{want:g}×", spread(ratios, "×"), met + sure])

    def faster(self, what, rows, ours, among, want):
        """At every size, than the best of these peers."""
        for bytes_, c in rows:
            peers = {n: t for n, t in c.items() if among(n) and t}
            if peers and c.get(ours):
                best = min(peers, key=lambda n: statistics.median(peers[n]))
                self.note(f"{what}: {ours}", size(bytes_), [p / o for p, o in zip(peers[best], c[ours])], want, best)

    def show(self):
        met = sum(g[-1].startswith("met") for g in self.list)
        head = ["goal", "at", "the best of them", "wanted", "measured: median (least–most)", ""]
        return f"{met} of {len(self.list)} met.\n\n" + table(head, self.list)


def between(rows, low, high):
    return [row for row in rows if low <= row[0] <= high]


def goals_one_node(g, r):
    sizes = r.rows("sizes-medium", "sizes-large")
    for ours in ("shm", "shm/user"):
        g.faster("latency, best peer as it comes", r.rows("latency"), ours, as_it_comes, 1)
    for ours in ("shm", "shm/user"):
        g.faster("best peer as it comes", between(sizes, 4 * KIB, 4 * MIB), ours, as_it_comes, 2)
        g.faster("best peer as it comes", between(sizes, 64 * MIB, 256 * MIB), ours, as_it_comes, 5)
    g.faster("best peer, any setting", between(sizes, 4 * KIB, MIB), "shm/user", any_setting, 2)
    g.faster("best peer, any setting", between(sizes, MIB + 1, 1 << 40), "shm/user", any_setting, 1.1)
    g.faster("best peer, any setting", between(sizes, 16 * KIB, 8 * MIB), "shm", any_setting, 4)
    g.faster("best peer, any setting", between(sizes, 8 * MIB + 1, 1 << 40), "shm", any_setting, 2)
    g.faster("memory floor", between(sizes, 64 * MIB, 1 << 40), "shm", lambda n: n == "floor", 1 / 1.15)


def goals_tensors(g, r):
    for model in ("resnet50", "gpt2"):
        for how in ("single", "fused"):
            g.faster(f"gradients of {model}, {how}", r.rows(f"tensors-{model}-{how}"), "shm", any_setting, 2)


def goals_dtypes(g, r):
    for bytes_, c in r.rows("dtypes-f32"):
        half = r.series.get("dtypes-bf16", {}).get(bytes_ // 2, {})
        for ours in ("shm", "shm/user"):
            ratios = [f / h for f, h in zip(c.get(ours, []), half.get(ours, []))]
            g.note(f"bf16, elements per second: {ours}", f"{size(bytes_ // 4).replace('B', '')} elements", ratios, 1.7, "f32")


def goals_net(g, r, where):
    for link in ("plain", "limited"):
        small, large = r.rows(f"net-{link}-small"), r.rows(f"net-{link}-large")
        both = statistics.median(iperf(where, link, True) or [0])
        for ours in ("hier", "lockstep-mpi"):
            g.faster(f"{link} link, latency", between(small, 0, KIB), ours, lambda n: n == "mpi", 1)
            g.faster(f"{link} link", between(small + large, KIB + 1, 1 << 40), ours, any_setting, 1)
            if both and large:
                rates = [large[-1][0] / us / 1e3 for us in large[-1][1].get(ours, [])]
                g.note(f"{link} link, part of iperf3 --bidir: {ours}", size(large[-1][0]), [v / both for v in rates], 0.9, "iperf3")


# --- the page ----------------------------------------------------------------------------------------------------------------------

def first(path, pattern):
    found = re.search(pattern, open(path).read(), re.M)
    return found.group(1).strip() if found else "unknown"


def machine(where):
    huge = first("/sys/kernel/mm/transparent_hugepage/enabled", r"\[(\w+)\]") if os.path.exists("/sys/kernel/mm/transparent_hugepage") else "none"
    memory = int(first("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / MIB
    dates = sorted({open(p).read().strip() for p in glob.glob(f"{where}/*.date")})
    return (f"{first('/proc/cpuinfo', '^model name.*: (.*)')}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; Linux {platform.release()}, "
            f"glibc {platform.libc_ver()[1]}, transparent huge pages: {huge}. Measured {', '.join(dates)}.\n")


def missing(top):
    for path in sorted(glob.glob(f"{top}/*.missing")):
        yield f"- {os.path.basename(path)[:-8]}: {open(path).read().strip()}"


def commands(r, section):
    return "".join(f"{cmd}\n" for name, cmd in r.commands.items() if name.split("-")[0] == section)


def link_rates(where):
    rows = [[link, spread(iperf(where, link, False)), spread(iperf(where, link, True))] for link in ("plain", "limited")]
    return table(["iperf3, GB/s", "one way", "each of both ways at once"], rows)


def main():
    top = sys.argv[1]
    where = f"{top}/results"
    r, g = Results(where), Goals()
    goals_one_node(g, r)
    goals_tensors(g, r)
    goals_dtypes(g, r)
    g.faster("oversubscribed, best Open MPI", r.rows("oversubscribed"), "shm", any_setting, 1)
    g.faster("oversubscribed, best Open MPI", r.rows("oversubscribed"), "shm/user", any_setting, 1)
    goals_net(g, r, where)
    for kind in ("default", "ring"):
        for bytes_, c in r.rows(f"malloc-{kind}"):
            g.note(f"malloc settings, Open MPI {kind}", size(bytes_), [a / b for a, b in zip(c.get("off", []), c.get("on", []))], 1, "without them")

    print("# The collectives against the peers\n\nWritten by `make bench-peers` (bench/peers.sh). All-reduce, sum, f32 unless said, in place, every "
          "payload written before\nand compared after each operation; contenders take turns in one run (docs/benchmarks.md). `shm`: buffers from the "
          "library,\n`shm/user`: the program's own.\n")
    print(machine(where))
    if left_out := list(missing(top)):
        print("Not measured, since they could not be had:\n\n" + "\n".join(left_out) + "\n")
    if r.lost:
        print("What went wrong:\n\n" + "\n".join(f"- {text}" for text in dict.fromkeys(r.lost)) + "\n")
    print("## Goals\n\n" + g.show())
    for section, title in SECTIONS.items():
        names = [n for n in r.series if n.split("-")[0] == section]
        if names:
            print(f"## {title}\n")
        if section == "net" and names:
            print(link_rates(where))
        for name in names:
            print(f"### {name}\n\n{times(r.rows(name))}")
        if names and commands(r, section):
            print(f"```\n{commands(r, section)}```\n")
    print("## Contenders\n\n" + table(["", "library", "command"], [[n, lib, f"`{cmd}`"] for n, lib, cmd in sorted(r.contenders)]))


main()
