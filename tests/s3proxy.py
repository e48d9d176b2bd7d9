#!/usr/bin/env python3
"""s3proxy.py -- stands between an S3 client and a real server, and breaks what its rules say.

    tests/s3proxy.py http://127.0.0.1:PORT [RULES]     prints its own URL, then works until it is killed
    curl URL/__rules --data-binary @RULES              new rules from here on, their counts and the log at zero
    curl URL/__log                                     [{"method", "path", "range", "status", "server", "action"}, …] in order of arrival

RULES has a JSON object a line. The first rule that matches and fires decides; without one the request passes unchanged, with
its Host header, so that signatures hold.

    match    "method": "PUT"; "path", "query": regular expressions, searched for as the client spelled them
    fires    each time; or "nth": 2, "every": 3, "first": 2, counted over what this rule matched
    "action"
      answer       "status": 503, "code": "SlowDown" (an S3 error in XML; status 200 too), "retry_after": seconds,
                   "date_offset": seconds by which the Date header is off, "early": true to answer before the body was read
      reset        RST; with "at": N after N bytes of the reply's body
      stall        silence for "seconds", then the end of the connection; with "at": N after N bytes of the reply's body
      truncate     the end of the connection after "at" bytes of the reply's body
      corrupt      one bit of the reply's body, in byte "at", is flipped
      corrupt_body one bit of the request's body, in byte "at", is flipped
      delay        the request reaches the server only after "seconds", also when the client is gone by then
    "applied": true    with answer, reset, stall: the server does what was asked, but its answer is lost

In the log, "status" is what the client was told and "server" what the server said, 0 for nothing; both are there before the client
sees the answer.
Invariant: bodies are streamed, in pieces of at most 256 KiB (delay keeps large ones on disk).
Not here: TLS, HTTP/2, HTTP/1.0.
"""
import email.utils
import json
import re
import select
import socket
import struct
import sys
import tempfile
import threading
import time

PIECE = 256 << 10
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 412: "Precondition Failed",
           429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}
CODES = {403: "RequestTimeTooSkewed", 409: "ConditionalRequestConflict", 429: "TooManyRequests", 503: "SlowDown"}


class Lost(Exception):
    """The other end went away in the middle of something."""


class Reset(Exception):
    """This exchange is to end with a RST."""


class Wire:
    """One connection; what has been received and not yet used is in `left`."""

    def __init__(self, sock):
        self.sock, self.left = sock, b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self):
        try:
            return self.sock.recv(PIECE)
        except OSError as e:
            raise Lost from e

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Lost from e

    def until(self, mark):
        """Bytes up to and with `mark`; None if the connection ended before the first."""
        while mark not in self.left:
            more = self.receive()
            if not more:
                if self.left:
                    raise Lost
                return None
            self.left += more
        head, _, self.left = self.left.partition(mark)
        return head + mark

    def some(self, limit):
        if not self.left:
            self.left = self.receive()
            if not self.left:
                raise Lost
        piece, self.left = self.left[:limit], self.left[limit:]
        return piece

    def exactly(self, n):
        while n:
            piece = self.some(n)
            n -= len(piece)
            yield piece

    def readable(self):
        return bool(select.select([self.sock], [], [], 0)[0])

    def hear_out(self):
        """No more will be said; what is still coming is dropped. A plain close would make the kernel answer it with a RST,
        which can overtake the reply."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as e:
            raise Lost from e
        while self.receive():
            pass

    def end(self, reset):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Message:
    """The head of a request or reply: its bytes as they came, and its headers by name."""

    def __init__(self, raw):
        self.raw = raw
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.first = first.split(" ", 2)
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self.last = "close" in self.headers.get("connection", "").lower()

    def body(self, wire):
        """The pieces of its body, without the framing of chunks."""
        if not self.chunked:
            yield from wire.exactly(int(self.headers.get("content-length", 0)))
            return
        while n := int(wire.until(b"\r\n").split(b";")[0], 16):
            yield from wire.exactly(n)
            wire.until(b"\r\n")
        while wire.until(b"\r\n") != b"\r\n":
            pass

    def frame(self, pieces, whole=True):
        for piece in pieces:
            if piece:
                yield b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece
        if self.chunked and whole:
            yield b"0\r\n\r\n"


class Rules:
    """The script, its counts, and the log: what all connections share."""

    def __init__(self):
        self.lock, self.rules, self.log = threading.Lock(), [], []

    def load(self, text):
        rules = [json.loads(line) for line in text.splitlines() if line.strip()]
        for rule in rules:
            if rule["action"] not in ("answer", "reset", "stall", "truncate", "corrupt", "corrupt_body", "delay"):
                raise ValueError(f"no action {rule['action']}")
            rule["seen"] = 0
        with self.lock:
            self.rules, self.log = rules, []

    def choose(self, method, target):
        path, _, query = target.partition("?")
        with self.lock:
            for rule in self.rules:
                if rule.get("method", method) != method or not re.search(rule.get("path", ""), path) or \
                        not re.search(rule.get("query", ""), query):
                    continue
                rule["seen"] += 1
                n = rule["seen"]
                if n == rule.get("nth", n) and n % rule.get("every", 1) == 0 and n <= rule.get("first", n):
                    return rule
        return {"action": "pass"}

    def note(self, request, action):
        entry = {"method": request.first[0], "path": request.first[1], "range": request.headers.get("range"), "status": 0,
                 "server": 0, "action": action}
        with self.lock:
            self.log.append(entry)
        return entry

    def dump(self):
        with self.lock:
            return json.dumps(self.log)


def flipped(pieces, at):
    for piece in pieces:
        if 0 <= at < len(piece):
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1:]
        at -= len(piece)
        yield piece


def before(pieces, n):
    """The first n bytes."""
    for piece in pieces:
        if n <= len(piece):
            yield piece[:n]
            return
        n -= len(piece)
        yield piece


def kept(pieces):
    """All pieces, received before the first is handed on."""
    spool = tempfile.SpooledTemporaryFile(max_size=PIECE)
    for piece in pieces:
        spool.write(piece)
    spool.seek(0)
    return iter(lambda: spool.read(PIECE), b"")


def drain(pieces):
    for _ in pieces:
        pass


class Exchange:
    """One request and what becomes of it."""

    def __init__(self, link, request, rule):
        self.link, self.client, self.request, self.rule = link, link.client, request, rule
        self.entry = link.rules.note(request, rule["action"])

    def run(self):
        """False when the connection ends with it."""
        rule = self.rule
        if rule["action"] not in ("answer", "reset", "stall") or "at" in rule:
            return self.relay(self.forward())
        if rule.get("applied"):
            drain(self.reply_body(self.forward()))
        elif rule["action"] == "answer" and not rule.get("early"):
            drain(self.link.body(self.request))
        if rule["action"] == "answer":
            return self.answer()
        if rule["action"] == "stall":
            time.sleep(rule["seconds"])
            return False
        raise Reset

    def forward(self):
        """Send the request on; its reply's head. A server that answers early gets no more of the body."""
        rule, pieces = self.rule, self.link.body(self.request)
        if rule["action"] == "corrupt_body":
            pieces = flipped(pieces, rule["at"])
        if rule["action"] == "delay":
            pieces = kept(pieces)
            time.sleep(rule["seconds"])
        server = self.link.server_wire()
        server.send(self.request.raw)
        for piece in self.request.frame(pieces):
            if server.readable() and (reply := self.final_head(server)):
                self.request.last = True
                return reply
            server.send(piece)
        while not (reply := self.final_head(server)):
            pass
        return reply

    def final_head(self, server):
        """The head of the server's answer; None for a 100 Continue, which the client has had from us."""
        raw = server.until(b"\r\n\r\n")
        if raw is None:
            raise Lost
        reply = Message(raw)
        self.entry["server"] = int(reply.first[1])
        return reply if self.entry["server"] >= 200 else None

    def reply_body(self, reply):
        if self.request.first[0] == "HEAD" or reply.first[1] in ("204", "304"):
            reply.chunked = False
            return iter(())
        return reply.body(self.link.server)

    def relay(self, reply):
        action, at = self.rule["action"], self.rule.get("at")
        self.entry["status"] = self.entry["server"]
        self.client.send(reply.raw)
        pieces = self.reply_body(reply)
        if action == "corrupt":
            pieces = flipped(pieces, at)
        cut = action in ("truncate", "reset", "stall")
        for piece in reply.frame(before(pieces, at) if cut else pieces, not cut):
            self.client.send(piece)
        if action == "reset":
            raise Reset
        if action == "stall":
            time.sleep(self.rule["seconds"])
        return not (cut or reply.last or self.request.last)

    def answer(self):
        rule, status = self.rule, self.rule["status"]
        early = bool(rule.get("early") and not rule.get("applied"))
        self.entry["status"] = status
        headers = {"Date": email.utils.formatdate(time.time() + rule.get("date_offset", 0), usegmt=True)}
        if "retry_after" in rule:
            headers["Retry-After"] = rule["retry_after"]
        if early:
            headers["Connection"] = "close"
        code = rule.get("code", CODES.get(status, "InternalError"))
        self.link.reply(self.request, status, "application/xml", '<?xml version="1.0" encoding="UTF-8"?>\n'
                        f"<Error><Code>{code}</Code><Message>injected</Message></Error>", headers)
        return not (early or self.request.last)


class Link:
    """A client's connection, and beside it one to the server."""

    def __init__(self, sock, upstream, rules):
        self.client, self.upstream, self.rules, self.server = Wire(sock), upstream, rules, None

    def server_wire(self):
        # Readable while nothing was asked: the server has closed it, as it may.
        if self.server and self.server.readable():
            self.server.end(False)
            self.server = None
        if not self.server:
            try:
                self.server = Wire(socket.create_connection(self.upstream))
            except OSError as e:
                raise Lost from e
        return self.server

    def body(self, request):
        if "100-continue" in request.headers.get("expect", "").lower():
            self.client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request.body(self.client)

    def reply(self, request, status, kind, text, headers):
        head = {"Content-Type": kind, "Content-Length": len(text), **headers}
        self.client.send("\r\n".join([f"HTTP/1.1 {status} {REASONS.get(status, 'Injected')}",
                                      *(f"{name}: {value}" for name, value in head.items()), "",
                                      text if request.first[0] != "HEAD" else ""]).encode())

    def control(self, request):
        text = b"".join(self.body(request)).decode()
        status, kind, answer = 404, "text/plain", "POST /__rules or GET /__log\n"
        if request.first[1] == "/__log":
            status, kind, answer = 200, "application/json", self.rules.dump()
        elif request.first[1] == "/__rules":
            try:
                self.rules.load(text)
                status, answer = 200, ""
            except (ValueError, KeyError, re.error) as e:
                status, answer = 400, f"{e!r}\n"
        self.reply(request, status, kind, answer, {})
        return not request.last

    def one(self):
        """The next request; False when there is to be no other."""
        raw = self.client.until(b"\r\n\r\n")
        if raw is None:
            return False
        request = Message(raw)
        if request.first[1].startswith("/__"):
            return self.control(request)
        return Exchange(self, request, self.rules.choose(*request.first[:2])).run()

    def serve(self):
        reset = False
        try:
            while self.one():
                pass
            self.client.hear_out()
        except (Lost, Reset):
            reset = True
        finally:
            for wire in (self.client, self.server):
                if wire:
                    wire.end(reset)


def main():
    if len(sys.argv) not in (2, 3) or not (url := re.fullmatch(r"http://([^:/]+):(\d+)/?", sys.argv[1])):
        sys.exit(__doc__)
    rules = Rules()
    if len(sys.argv) == 3:
        with open(sys.argv[2]) as f:
            rules.load(f.read())
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=Link(sock, (url[1], int(url[2])), rules).serve, daemon=True).start()


main()
