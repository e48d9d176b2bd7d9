#!/usr/bin/env python3
"""lives -- a TrainingJob's life, once for each call to the API that the operator makes in it: killed there, and another operator goes on.

    lives.py CLUSTER LANES COMMAND...   CLUSTER: the folder .kube of tests/kube/cluster, whose nodes are simulated; run it in the cluster's network

COMMAND is the operator's; @KUBECONFIG@ and @NAMESPACE@ are replaced in it. Lives run in LANES namespaces at once, each with an operator of its own. This
program plays the launchers: one that "runs" has succeeded. Prints "killed WHEN: CALLS BAD..." for before and after: how many calls there were, and those after
which the job did not succeed, a Pod was created twice, the job was charged, or something stayed; and why, in lines before.
"""
import json
import os
import re
import sys
import threading
import time
import traceback

import dieproxy

WAIT = 60     # seconds
MOST = 200    # calls
ENOUGH = 5    # bad lives
OBJECTS = ("api/v1", "pods"), ("api/v1", "services"), ("api/v1", "secrets"), ("apis/networking.k8s.io/v1", "networkpolicies")
JOBS = "apis/lockstep.dev/v1alpha1"


class Wrong(Exception):
    """What should not have been."""


class Lane:
    def __init__(self, cluster, name, command):
        self.cluster, self.name = cluster, name
        self.upstream = dieproxy.Upstream(cluster + "/admin.kubeconfig")
        self.proxy = dieproxy.Proxy(self.upstream, cluster + "/pki/api.crt", cluster + "/pki/api.key", f"{name}.kubeconfig")
        places = {"@KUBECONFIG@": self.proxy.kubeconfig, "@NAMESPACE@": name}
        self.command = [places.get(word, word) for word in command]
        self.log = open(f"{name}.log", "w")
        self.api("POST", "api/v1/namespaces", {"metadata": {"name": name}})

    def api(self, method, path, body=None, missing=None):
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self.upstream.request(method, "/" + path, json.dumps(body) if body else None,
                                       {"Authorization": "Bearer " + self.upstream.token, "Content-Type": kind})
        text = answer.read()
        if answer.status == 404 and missing is not None:
            return missing
        if answer.status >= 300:
            raise Wrong(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def within(self, group, rest, method="GET", body=None, missing=None):
        return self.api(method, f"{group}/namespaces/{self.name}/{rest}", body, missing)

    # --- a job ------------------------------------------------------------------------------------------------------

    def pods(self, labels):
        return self.within("api/v1", "pods?labelSelector=" + labels)["items"]

    def play_launchers(self, job):
        for pod in self.pods(f"lockstep.dev/job={job},lockstep.dev/role=launcher"):
            if pod["status"].get("phase") != "Running":
                continue
            report = {"serial": int(pod["metadata"]["labels"]["lockstep.dev/serial"]), "state": "Succeeded", "exitCode": 0, "message": "", "attempt": 0,
                      "worldSize": {"requested": 2, "actual": 2}}
            ended = {"exitCode": 0, "reason": "Completed", "message": json.dumps(report)}
            self.within("api/v1", f"pods/{pod['metadata']['name']}/status", "PATCH", {"status": {"phase": "Succeeded", "containerStatuses": [
                {"name": "launcher", "image": "none", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": ended}}]}}, {})

    def status(self, job):
        return self.within(JOBS, "trainingjobs/" + job).get("status", {})

    def over(self, job):
        self.play_launchers(job)
        conditions = {c["type"]: c["status"] for c in self.status(job).get("conditions", [])}
        return conditions.get("Succeeded") == "True" and not self.pods(f"lockstep.dev/job={job},lockstep.dev/role=worker")

    def wait(self, what, condition):
        until = time.monotonic() + WAIT
        while not condition():
            if time.monotonic() > until:
                raise Wrong(f"no {what} in {WAIT} s")
            time.sleep(0.05)

    def until(self, what, condition):
        """Also if the operator dies; then another one goes on. Returns whether it did."""
        self.wait(what, lambda: self.proxy.victim.poll() is not None or condition())
        if self.proxy.victim.poll() is None:
            return False
        if self.proxy.victim.returncode != -9:
            raise Wrong(f"the operator ended by itself, with {self.proxy.victim.returncode}")
        self.proxy.start(self.command, self.log)
        self.wait(what + " with the next operator", condition)
        return True

    def created(self, job):
        """Without serials: a Pod of which the next operator does not know whether it was made gets another name."""
        found = []
        with open(self.cluster + "/log/audit") as f:
            for line in f:
                call = json.loads(line) if f'"{job}-' in line else None
                if call and call["objectRef"]["namespace"] == self.name and call["responseStatus"]["code"] == 201:
                    found += re.findall(rf"^{job}-(worker-[01]|launcher)", call["objectRef"].get("name", ""))
        return sorted(found)

    def life(self, job, n, when):
        """Returns whether the operator was killed."""
        container = {"name": "train", "image": "none", "command": ["true"], "resources": {"limits": {"cpu": "1"}}}
        self.within(JOBS, "trainingjobs", "POST", {"apiVersion": "lockstep.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": job}, "spec": {
            "workers": {"replicas": 2, "ranksPerWorker": 1, "template": {"spec": {"containers": [container]}}}}})
        self.proxy.start(self.command, self.log, n, when)
        dead = self.until("success", lambda: self.over(job))
        if self.created(job) != ["launcher", "worker-0", "worker-1"]:
            raise Wrong(f"created: {self.created(job)}")
        status = self.status(job)
        if status.get("failures") or status.get("launcherLosses"):
            raise Wrong(f"charged: {status}")
        self.within(JOBS, "trainingjobs/" + job, "DELETE")
        return self.until("end of the job's object", lambda: not self.within(JOBS, "trainingjobs/" + job, missing={})) or dead

    def left(self):
        return [f"{kind}/{o['metadata']['name']}" for group, kind in OBJECTS for o in self.within(group, kind)["items"]]


class Lives:
    """Which call is next; all lanes ask."""

    def __init__(self, when):
        self.when, self.n, self.last, self.bad, self.lock = when, 0, MOST, [], threading.Lock()

    def next(self):
        with self.lock:
            if self.n >= self.last or len(self.bad) >= ENOUGH:
                return 0
            self.n += 1
            return self.n

    def not_reached(self, n):
        with self.lock:
            self.last = min(self.last, n)

    def run(self, lane):
        while n := self.next():
            job = f"{self.when}-{n}"
            try:
                if not lane.life(job, n, self.when):
                    self.not_reached(n)
            except Exception as e:  # also of the API: a life that cannot be told is a bad one
                call = lane.proxy.calls[n - 1] if len(lane.proxy.calls) >= n else ""
                why = str(e) if isinstance(e, Wrong) else traceback.format_exc()
                print(f"killed {self.when} call {n} in {lane.name}: {call} {why}", flush=True)
                self.bad.append(n)
                lane.within(JOBS, "trainingjobs/" + job, "DELETE", missing={})
            lane.proxy.end()


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    cluster, count, command = os.path.realpath(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    lanes = [Lane(cluster, f"lane-{i}", command) for i in range(count)]
    if lanes[0].life("undisturbed", 0, ""):
        sys.exit("an undisturbed life: the operator died")
    lanes[0].proxy.end()
    print(f"an undisturbed life: {len(lanes[0].proxy.calls)} calls", flush=True)
    for lives in Lives("before"), Lives("after"):
        threads = [threading.Thread(target=lives.run, args=(lane,)) for lane in lanes]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        print(f"killed {lives.when}:", lives.last - 1, *sorted(lives.bad), flush=True)
    for lane in lanes:
        try:
            lane.wait("end of all that was owned", lambda: not lane.left())
        except Wrong as e:
            sys.exit(f"{e}: {lane.left()}")


main()
