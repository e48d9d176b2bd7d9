#!/usr/bin/env python3
"""kube_rate.py -- how fast operators turn jobs into Pods, side by side on one API server. Started by bench/kube.sh, which has the cluster.

    kube_rate.py --server URL --ca FILE --token T --jobs 200 --pods 8 --repeat 5 --out DIR  NAME=MANIFEST=PATH[=COMMAND...] ...

Each contestant is NAME, a job's manifest (JSON with @NAME@), the API path of its collection ("/apis/kubeflow.org/v2beta1/namespaces/bench/mpijobs"), and the commands of its
processes, each started anew for every round. A round: start the processes, wait for --settle seconds, note their memory at rest, create all jobs
as fast as the API server takes them, wait until the watch has shown every worker Pod, delete all, wait until all are gone. Rounds of the contestants alternate.

A job's time is from the answer to its creation until the watch shows its last worker Pod. CPU and memory (peak: VmHWM) are of the contestant's own
processes; what a controller of Kubernetes itself does for it (Jobs of a JobSet) is not counted, to the peer's advantage.
"""
import argparse
import collections
import concurrent.futures
import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

LIMIT_S = 900  # of one round


class Api:
    def __init__(self, server, ca, token):
        self.at = urllib.parse.urlparse(server)
        self.tls = ssl.create_default_context(cafile=ca)
        self.head = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
        self.local = threading.local()

    def connect(self, timeout=60):
        return http.client.HTTPSConnection(self.at.hostname, self.at.port, context=self.tls, timeout=timeout)

    def call(self, method, path, body=None):
        for again in range(3):
            c = getattr(self.local, "c", None)
            if c is None:
                c = self.local.c = self.connect()
            try:
                c.request(method, path, None if body is None else json.dumps(body), self.head)
                r = c.getresponse()
                return r.status, json.loads(r.read() or b"{}")
            except (OSError, http.client.HTTPException):
                c.close()
                self.local.c = None
        raise SystemExit(f"{method} {path}: no answer")

    def watch(self, path, version, on_event, stop):
        c = self.connect(timeout=5)
        while not stop.is_set():
            try:
                c.request("GET", f"{path}{'&' if '?' in path else '?'}watch=1&resourceVersion={version}", None, self.head)
                for line in c.getresponse():
                    e = json.loads(line)
                    version = e["object"].get("metadata", {}).get("resourceVersion", version)
                    on_event(e["type"], e["object"], time.monotonic())
                    if stop.is_set():
                        break
            except (OSError, http.client.HTTPException):
                pass
            c.close()


def proc(pid):
    with open(f"/proc/{pid}/stat") as f:
        t = f.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/status") as f:
        s = dict(line.split(":", 1) for line in f)
    return (int(t[11]) + int(t[12])) / os.sysconf("SC_CLK_TCK"), int(s["VmRSS"].split()[0]) / 1024, int(s["VmHWM"].split()[0]) / 1024


class Contestant:
    def __init__(self, text):
        self.name, manifest, self.path, *self.commands = text.split("=")
        with open(manifest) as f:
            self.manifest = f.read()
        self.processes = []

    def start(self, out):
        log = open(f"{out}/{self.name.replace(chr(47), chr(45))}.log", "ab")
        self.processes = [subprocess.Popen(c.split(), stdout=log, stderr=log, stdin=subprocess.DEVNULL) for c in self.commands]

    def stop(self):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def usage(self):
        dead = [p.args for p in self.processes if p.poll() is not None]
        if dead:
            raise SystemExit(f"{self.name}: ended by itself: {dead}; see its log")
        return [sum(x) for x in zip(*(proc(p.pid) for p in self.processes))]


def round_of(api, c, o, number):
    created, last, seen, names = {}, {}, collections.defaultdict(dict), {}
    pods_path = "/api/v1/namespaces/bench/pods"
    done, stop = threading.Event(), threading.Event()

    def job_of(pod):
        labels = pod["metadata"].get("labels", {})
        for key in ("lockstep.dev/job", "training.kubeflow.org/job-name", "jobset.sigs.k8s.io/jobset-name"):
            if key in labels:
                role = labels.get("lockstep.dev/role") or labels.get("training.kubeflow.org/job-role") or "worker"
                return labels[key] if role == "worker" else None
        return None

    def on_event(kind, pod, at):
        job = job_of(pod) if kind == "ADDED" else None
        if job in names and pod["metadata"]["uid"] not in seen[job]:
            seen[job][pod["metadata"]["uid"]] = at
            if len(seen[job]) == o.pods:
                last[job] = at
                if len(last) == o.jobs:
                    done.set()

    # A peer that does not give its lease back when it ends would make its successor wait.
    api.call("DELETE", "/apis/coordination.k8s.io/v1/namespaces/mpi-operator/leases")
    c.start(o.out)
    time.sleep(o.settle)
    rest = c.usage()
    _, pods = api.call("GET", pods_path + "?limit=1")
    watcher = threading.Thread(target=api.watch, args=(pods_path, pods["metadata"]["resourceVersion"], on_event, stop), daemon=True)
    watcher.start()
    time.sleep(0.5)
    for i in range(o.jobs):
        names[f"j{number}-{i}"] = i
    begun = time.monotonic()

    def create(name):
        status, reply = api.call("POST", c.path, json.loads(c.manifest.replace("@NAME@", name)))
        if status != 201:
            raise SystemExit(f"{c.name}: {name} was refused: {reply.get('message')}")
        created[name] = time.monotonic()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(create, names))
    submitted = time.monotonic() - begun
    whole = done.wait(LIMIT_S)
    took = (max(last.values()) if last else time.monotonic()) - begun
    cpu, _, peak = c.usage()
    stop.set()
    twice = sum(max(0, len(v) - o.pods) for v in seen.values())
    api.call("DELETE", c.path + "?propagationPolicy=Background")
    end = time.monotonic() + 300
    while time.monotonic() < end:
        _, jobs = api.call("GET", c.path + "?limit=1")
        _, pods = api.call("GET", pods_path + "?limit=1")
        if not jobs["items"] and not pods["items"]:
            break
        time.sleep(0.5)
    c.stop()
    watcher.join(10)
    times = sorted(last[j] - created[j] for j in last)
    pick = lambda q: times[min(len(times) - 1, int(q * len(times)))] if times else float("nan")
    r = dict(name=c.name, round=number, whole=whole, jobs=len(last), submit_s=submitted, took_s=took, jobs_per_s=len(last) / took, median_s=pick(0.5), p99_s=pick(0.99),
             cpu_s=cpu - rest[0], rest_mb=rest[1], peak_mb=peak, twice=twice)
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in r.items()}), flush=True)
    return r


def main():
    a = argparse.ArgumentParser()
    for name in ("server", "ca", "token", "out"):
        a.add_argument("--" + name, required=True)
    a.add_argument("--jobs", type=int, default=200)
    a.add_argument("--pods", type=int, default=8)
    a.add_argument("--repeat", type=int, default=5)
    a.add_argument("--settle", type=float, default=5)
    a.add_argument("contestant", nargs="+")
    o = a.parse_args()
    api = Api(o.server, o.ca, o.token)
    contestants = [Contestant(t) for t in o.contestant]
    results = collections.defaultdict(list)
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "bench"}})
    for i in range(o.repeat):
        for c in contestants:
            results[c.name].append(round_of(api, c, o, i))
    print(f"\n{o.jobs} jobs x {o.pods} Pods, {o.repeat} rounds each in turn; median (min-max)")
    columns = ("took_s", "jobs_per_s", "median_s", "p99_s", "cpu_s", "rest_mb", "peak_mb")
    print(f"{'':12}" + "".join(f"{c:>24}" for c in columns) + "   incomplete, Pods twice")
    for name, rows in results.items():
        cells = []
        for c in columns:
            v = [r[c] for r in rows]
            cells.append(f"{statistics.median(v):.3g} ({min(v):.3g}-{max(v):.3g})")
        print(f"{name:12}" + "".join(f"{c:>24}" for c in cells) + f"   {sum(not r['whole'] for r in rows)}, {sum(r['twice'] for r in rows)}")
    return 0 if all(r["whole"] for rows in results.values() for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
