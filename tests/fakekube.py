#!/usr/bin/env python3
"""fakekube.py PORTFILE -- as much of an API server as tests of the commands need: objects by path, lists, watches, logs; over HTTP.

    PUT    /set/PATH    the test sets an object (JSON), or a Pod's log (text, at PATH/log; it grows by further PUTs)
    DELETE /set/PATH    removes it
    GET    /requests    what was asked: "METHOD PATH?QUERY BODY" lines

Collections exist when an object below them was ever set or when their name is in KINDS. Server-side apply replaces; a field manager "other" in
metadata.annotations makes it a conflict."""
import http.server, json, sys, threading, urllib.parse

KINDS = ("trainingjobs", "pods", "events")
lock = threading.Condition()
objects, logs, asked, gone, version = {}, {}, [], [], 0


def store(path, obj):
    global version
    version += 1
    meta = obj.setdefault("metadata", {})
    meta["resourceVersion"] = str(version)
    meta.setdefault("uid", "uid-" + path.split("/")[-1])
    meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
    objects[path] = obj
    lock.notify_all()


def remove(path):
    global version
    if objects.pop(path, None):
        version += 1
        gone.append((version, path))
    lock.notify_all()


def merge(into, patch):
    for k, v in patch.items():
        if isinstance(v, dict):
            merge(into.setdefault(k, {}), v)
        else:
            into[k] = v


def selected(obj, query):
    labels = obj["metadata"].get("labels", {})
    wanted = [w.split("=") for w in query.get("labelSelector", [""])[0].split(",") if w]
    field = query.get("fieldSelector", [""])[0].split("=")
    return all(labels.get(k) == v for k, v in wanted) and not (field[0] == "metadata.name" and obj["metadata"]["name"] != field[1])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, code, body, kind="application/json"):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, code, reason, message, **more):
        self.answer(code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, **more})

    def stream(self, pieces):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def watch(self, path, query):
        """Changes since resourceVersion, until the client goes."""
        seen = int(query["resourceVersion"][0])
        while True:
            with lock:
                while version == seen:
                    if not lock.wait(30):
                        return
                events = [("DELETED", {"metadata": {"name": p.split("/")[-1], "resourceVersion": str(v)}}) for v, p in gone if v > seen and p.startswith(path + "/")]
                events += [("MODIFIED", o) for p, o in objects.items() if p.startswith(path + "/") and int(o["metadata"]["resourceVersion"]) > seen]
                seen = version
                lines = [json.dumps({"type": t, "object": o}) + "\n" for t, o in events if selected(o, query)]
            for line in lines:
                yield line.encode()

    def log(self, path, query):
        sent = 0
        while True:
            with lock:
                while len(text := logs.get(path, "")) == sent and "follow" in query and self.running(path):
                    lock.wait(30)
            if len(text) == sent:
                return
            yield text[sent:].encode()
            sent = len(text)
            if "follow" not in query:
                return

    def running(self, path):
        status = objects.get(path[:-len("/log")], {}).get("status", {})
        return any("running" in c["state"] for c in status.get("containerStatuses", []))

    def handle_one(self, method):
        url = urllib.parse.urlparse(self.path)
        path, query = url.path, urllib.parse.parse_qs(url.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if path.startswith("/set/"):
            return self.control(method, path[4:], body)
        if path == "/requests":
            return self.answer(200, "\n".join(asked) + "\n")
        asked.append(f"{method} {self.path} {body}")
        if method == "GET" and query.get("watch"):
            return self.stream(self.watch(path, query))
        if method == "GET" and path.endswith("/log"):
            return self.stream(self.log(path, query)) if path in logs else self.refuse(404, "NotFound", "no log")
        with lock:
            return self.rest(method, path, query, body)

    def control(self, method, path, body):
        with lock:
            if method == "DELETE":
                remove(path)
                logs.pop(path, None)
            elif path.endswith("/log"):
                logs[path] = logs.get(path, "") + body
            else:
                store(path, json.loads(body))
            lock.notify_all()
        self.answer(200, "ok")

    def rest(self, method, path, query, body):
        name, obj = path.split("/")[-1], objects.get(path)
        if method == "GET" and name in KINDS:
            items = [o for p, o in objects.items() if f"/{name}/" in p and p.startswith(path.split("/" + name)[0]) and selected(o, query)]
            return self.answer(200, {"metadata": {"resourceVersion": str(version)}, "items": items})
        if method == "PATCH" and "apply-patch" in self.headers["Content-Type"]:
            if obj and "other" in obj["metadata"].get("annotations", {}):
                return self.refuse(409, "Conflict", 'Apply failed with 1 conflict: conflict with "other": .spec.workers.replicas')
            if "dryRun" not in query:
                new = {**json.loads(body), **({"status": obj.get("status", {})} if obj else {})}
                if obj and "deletionTimestamp" in obj["metadata"]:
                    new["metadata"] = {**obj["metadata"], **new["metadata"]}
                store(path, new)
            return self.answer(200 if obj else 201, objects.get(path, json.loads(body)))
        if not obj:
            return self.refuse(404, "NotFound", f'{path.split("/")[-2]} "{name}" not found', details={"name": name})
        if method == "PATCH":
            merge(obj, json.loads(body))
            store(path, obj)
        elif method == "DELETE" and "finalizers" in obj["metadata"]:
            store(path, {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
            obj = objects[path]
        elif method == "DELETE":
            remove(path)
        return self.answer(200, obj)

    do_GET = lambda self: self.handle_one("GET")
    do_PUT = lambda self: self.handle_one("PUT")
    do_PATCH = lambda self: self.handle_one("PATCH")
    do_POST = lambda self: self.handle_one("POST")
    do_DELETE = lambda self: self.handle_one("DELETE")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(sys.argv[1], "w") as f:
    f.write(f"{server.server_port}\n")
server.serve_forever()
