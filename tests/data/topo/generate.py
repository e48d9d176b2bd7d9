#!/usr/bin/env python3
"""Write the machines of this folder as hwloc 2 XML. They are modelled on real ones by their main facts (below), not
recorded from them. `python3 generate.py` rewrites the *.xml beside it.

CPUs are numbered as Linux does: first one hardware thread of every core, then the second ones. A device tree is a list
of (what, NUMA index or None for the machine, tree): "switch" holds devices that share one PCI switch, "plain" those on
one host bridge; a device is (busid, kind, OS device names, or a GPU's model).
"""
import os

KINDS = {"gpu": ("0302", "10de"), "igpu": ("0300", "8086"), "ib": ("0207", "15b3"), "eth": ("0200", "8086"),
         "roce": ("0200", "15b3"), "wifi": ("0280", "8086"), "nvme": ("0108", "144d"), "nvswitch": ("0680", "10de")}
MIB = 1 << 20


def pair(gpu, gpu_name, nic, names):
    return [(nic, "ib", names), (gpu, "gpu", gpu_name)]


def dgx_a100():
    """Like a DGX A100: 2 AMD EPYC 7742, NPS4; two GPUs and two HCAs behind each of four switches. Bus numbers and NUMA domains as in a dump of
    NCCL's (https://github.com/NVIDIA/nccl/issues/1505); `nvidia-smi topo -m` of another one has the same pairs, and the storage HCAs (mlx5_4, 5
    and 10, 11) in domains that no GPU is in."""
    groups = [(3, "07:00.0 0f:00.0", "0c:00.0 12:00.0", 0), (1, "47:00.0 4e:00.0", "4b:00.0 54:00.0", 2),
              (7, "87:00.0 90:00.0", "8d:00.0 94:00.0", 6), (5, "b7:00.0 bd:00.0", "ba:00.0 cc:00.0", 8)]
    tree = []
    for numa, gpus, nics, first in groups:
        devices = [(g, "gpu", "A100-SXM4-80GB") for g in gpus.split()]
        devices += [(n, "ib", f"mlx5_{first + i} ibp{first + i}") for i, n in enumerate(nics.split())]
        tree.append(("switch", numa, devices))
    tree.append(("plain", 0, [("61:00.0", "roce", "mlx5_4 enp97s0f0"), ("61:00.1", "roce", "mlx5_5 enp97s0f1")]))
    tree.append(("plain", 4, [("e1:00.0", "roce", "mlx5_10 enp225s0f0"), ("e1:00.1", "roce", "mlx5_11 enp225s0f1"), ("e2:00.0", "eth", "enp226s0")]))
    return dict(packages=2, numas=4, cores=16, threads=2, l3=4, l3_mib=16, gib=128, cpu="AMD EPYC 7742", tree=tree)


def dgx_h100():
    """Like a DGX H100: 2 Xeon 8480C; every GPU behind a switch with an HCA of its own. The GPUs' bus numbers are those of nvidia-smi there."""
    rows = [(0, "1b", "18", 0), (0, "43", "40", 3), (0, "52", "4f", 4), (0, "61", "5e", 5),
            (1, "9d", "9a", 6), (1, "c3", "c0", 9), (1, "d1", "ce", 10), (1, "df", "dc", 11)]
    tree = [("switch", numa, pair(f"{gpu}:00.0", "H100 80GB HBM3", f"{nic}:00.0", f"mlx5_{i} ibp{i}"))
            for numa, gpu, nic, i in rows]
    tree += [("plain", 0, [("29:00.0", "roce", "mlx5_1 ens6f0"), ("29:00.1", "roce", "mlx5_2 ens6f1"),
                           ("07:00.0", "nvswitch", ""), ("0a:00.0", "eth", "eno3")]),
             ("plain", 1, [("aa:00.0", "roce", "mlx5_7 ens4f0"), ("aa:00.1", "roce", "mlx5_8 ens4f1")])]
    return dict(packages=2, numas=1, cores=56, threads=2, l3=1, l3_mib=105, gib=1024, cpu="Intel Xeon Platinum 8480C", tree=tree)


def snc4_4gpu():
    """One socket cut in four NUMA domains, its GPUs on two of them; one NIC with a link, one that no driver has."""
    tree = [("plain", 0, [("17:00.0", "gpu", "L40S"), ("18:00.0", "gpu", "L40S"), ("19:00.0", "eth", "ens1f0")]),
            ("plain", 2, [("65:00.0", "gpu", "L40S"), ("66:00.0", "gpu", "L40S"), ("67:00.0", "eth", "")])]
    return dict(packages=1, numas=4, cores=12, threads=2, l3=1, l3_mib=26, gib=64, cpu="Intel Xeon Gold 6542Y", tree=tree)


def server():
    """Two sockets of 32 cores, no GPU, a NIC on each."""
    tree = [("plain", 0, [("31:00.0", "eth", "eno1"), ("01:00.0", "nvme", "")]), ("plain", 1, [("b1:00.0", "roce", "mlx5_0 ens2")])]
    return dict(packages=2, numas=1, cores=32, threads=2, l3=1, l3_mib=48, gib=256, cpu="Intel Xeon Gold 6430", tree=tree)


def laptop():
    """Its graphics are no GPU for us."""
    tree = [("plain", 0, [("00:02.0", "igpu", ""), ("00:14.3", "wifi", "wlp0s20f3"), ("01:00.0", "nvme", "")])]
    return dict(packages=1, numas=1, cores=4, threads=2, l3=1, l3_mib=8, gib=16, cpu="Intel Core i7-1165G7", tree=tree)


def container():
    """The server with two GPUs per socket, seen from a container that may use 4 cores of NUMA 0 and 1 of NUMA 1: fewer
    cores than GPUs near two of its GPUs."""
    tree = [("plain", 0, [("17:00.0", "gpu", "A30"), ("18:00.0", "gpu", "A30"), ("31:00.0", "eth", "eno1")]),
            ("plain", 1, [("b3:00.0", "gpu", "A30"), ("b4:00.0", "gpu", "A30"), ("b1:00.0", "roce", "mlx5_0 ens2")])]
    return dict(server(), tree=tree, allowed={4, 5, 6, 7, 40, 68, 69, 70, 71, 104})


def far_gpu():
    """Two NUMA domains; one GPU near the first, one near the machine only, as firmware without locality tells it."""
    tree = [("plain", 0, [("17:00.0", "gpu", "T4")]), ("plain", None, [("b3:00.0", "gpu", "T4"), ("b5:00.0", "eth", "eth0")])]
    return dict(packages=2, numas=1, cores=8, threads=1, l3=1, l3_mib=16, gib=32, cpu="AMD EPYC 7262", tree=tree)


class Writer:
    def __init__(self, m):
        self.m, self.lines, self.depth, self.id = m, [], 1, 0
        self.total = m["packages"] * m["numas"] * m["cores"]

    def hexed(self, bits):
        value, words = sum(1 << b for b in bits), []
        while value or not words:
            words.insert(0, f"0x{value & 0xffffffff:08x}")
            value >>= 32
        return ",".join(words)

    def cpus(self, core, n=1):
        return [t * self.total + c for t in range(self.m["threads"]) for c in range(core, core + n)]

    def open(self, kind, inner="", close=False):
        self.id += 1
        self.lines.append("  " * self.depth + f'<object type="{kind}" gp_index="{self.id}"{inner}' + ("/>" if close else ">"))
        self.depth += not close

    def close(self):
        self.depth -= 1
        self.lines.append("  " * self.depth + "</object>")

    def info(self, name, value):
        self.lines.append("  " * self.depth + f'<info name="{name}" value="{value}"/>')

    def sets(self, cpus, nodes, index=None):
        c, n = self.hexed(cpus), self.hexed(nodes)
        number = "" if index is None else f' os_index="{index}"'
        return f'{number} cpuset="{c}" complete_cpuset="{c}" nodeset="{n}" complete_nodeset="{n}"'

    def pci(self, busid, kind, names):
        pci_class, vendor = KINDS[kind]
        self.open("PCIDev", f' pci_busid="0000:{busid}" pci_type="{pci_class} [{vendor}:0001] [0000:0000] 00" pci_link_speed="0.0"')
        if kind == "gpu":
            self.info("PCIDevice", names)
        elif names:
            for name in names.split():
                self.open("OSDev", f' name="{name}" osdev_type="{3 if name.startswith("mlx5") else 2}"', close=True)
        self.close()

    def bridge(self, depth, bus, last):
        """The root port (depth 1), or a switch's upstream (2) or downstream (3) port, of a bus."""
        self.open("Bridge", f' bridge_type="1-1" depth="{depth}" bridge_pci="0000:[{bus:02x}-{last:02x}]" '
                  f'pci_busid="0000:{bus - 1:02x}:{depth:02x}.0" pci_type="0604 [8086:0002] [0000:0000] 00" pci_link_speed="0.0"')

    def devices(self, numa):
        for what, where, tree in self.m["tree"]:
            if where != numa:
                continue
            buses = sorted(int(d[0][:2], 16) for d in tree)
            self.open("Bridge", f' bridge_type="0-1" depth="0" bridge_pci="0000:[{max(buses[0] - 3, 0):02x}-{buses[-1]:02x}]"')
            if what == "switch":
                self.bridge(1, buses[0] - 2, buses[-1])
                self.bridge(2, buses[0] - 1, buses[-1])
            for device in sorted(tree):
                bus = int(device[0][:2], 16)
                if what == "switch":
                    self.bridge(3, bus, bus)
                self.pci(*device)
                if what == "switch":
                    self.close()
            if what == "switch":
                self.close()
                self.close()
            self.close()

    def numa(self, index):
        m, first = self.m, index * self.m["cores"]
        sets = self.sets(self.cpus(first, m["cores"]), [index], index)
        if m["numas"] > 1:
            self.open("Group", self.sets(self.cpus(first, m["cores"]), [index]) + ' kind="1001" subkind="0"')
        self.open("NUMANode", sets + f' local_memory="{m["gib"] << 30}"', close=True)
        per_l3 = m["cores"] // m["l3"]
        for l3 in range(first, first + m["cores"], per_l3):
            self.open("L3Cache", self.sets(self.cpus(l3, per_l3), [index]) + f' cache_size="{m["l3_mib"] * MIB}" depth="3" '
                      'cache_linesize="64" cache_associativity="16" cache_type="0"')
            for core in range(l3, l3 + per_l3):
                self.open("Core", self.sets(self.cpus(core), [index], core))
                for pu in self.cpus(core):
                    self.open("PU", self.sets([pu], [index], pu), close=True)
                self.close()
            self.close()
        self.devices(index)
        if m["numas"] > 1:
            self.close()

    def machine(self):
        m, n_numas = self.m, self.m["packages"] * self.m["numas"]
        every, nodes = self.cpus(0, self.total), self.hexed(range(n_numas))
        self.open("Machine", self.sets(every, range(n_numas), 0) +
                  f' allowed_cpuset="{self.hexed(m.get("allowed", every))}" allowed_nodeset="{nodes}"')
        for package in range(m["packages"]):
            first = package * m["numas"]
            self.open("Package", self.sets(self.cpus(first * m["cores"], m["numas"] * m["cores"]),
                                           range(first, first + m["numas"]), package))
            self.info("CPUModel", m["cpu"])
            for numa in range(first, first + m["numas"]):
                self.numa(numa)
            self.close()
        self.devices(None)
        self.close()
        return ('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE topology SYSTEM "hwloc2.dtd">\n<topology version="2.0">\n' +
                "\n".join(self.lines) + "\n</topology>\n")


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    for make in (dgx_a100, dgx_h100, snc4_4gpu, server, laptop, container, far_gpu):
        with open(os.path.join(here, make.__name__.replace("_", "-") + ".xml"), "w") as f:
            f.write(Writer(make()).machine())
