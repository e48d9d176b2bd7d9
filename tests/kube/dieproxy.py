"""dieproxy -- between a client and the API server: kills the client right before or right after its n-th call has taken effect.

Invariant: the call that kills "before" never reaches the server; after one that kills "after", the server has answered, and the client never knows.
"""
import http.client
import http.server
import re
import signal
import ssl
import subprocess
import threading
import urllib.parse

HOP = {"connection", "transfer-encoding", "keep-alive"}


class Upstream:
    """The API server that a kubeconfig of tests/kube/cluster names."""

    def __init__(self, kubeconfig):
        with open(kubeconfig) as f:
            self.text = f.read()
        self.url = re.search(r'server: "(.*?)"', self.text)[1]
        self.token = re.search(r"token: ([^}]*)", self.text)[1]
        self.trust = ssl.create_default_context(cafile=re.search(r"certificate-authority: ([^,}]*)", self.text)[1])

    def request(self, method, path, body, headers):
        where = urllib.parse.urlsplit(self.url)
        server = http.client.HTTPSConnection(where.hostname, where.port or 443, context=self.trust, timeout=None)
        server.request(method, path, body, headers)
        return server.getresponse()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def give_back(self, answer):
        """Chunked, as it comes: a watch never ends by itself."""
        self.send_response(answer.status, answer.reason)
        for k, v in answer.getheaders():
            if k.lower() not in HOP and k.lower() != "content-length":
                self.send_header(k, v)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            part = answer.read1(65536)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
            if not part:
                return

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy = self.server.proxy
        when = proxy.count(f"{self.command} {self.path}")
        if when == "before":
            proxy.victim.kill()
        answer = None
        if when != "before":
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP and k.lower() != "host"}
            answer = proxy.upstream.request(self.command, self.path, body, headers)
        if when == "after":
            if "watch=" not in self.path:
                answer.read()
            proxy.victim.kill()
        if when:
            self.close_connection = True
            return
        try:
            self.give_back(answer)
        except OSError:  # the client is gone
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_call


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):  # connections of the dead
        pass


class Proxy:
    """Serves TLS on a free loopback port; the file `kubeconfig` leads there."""

    def __init__(self, upstream, cert, key, kubeconfig):
        self.upstream, self.kubeconfig, self.lock = upstream, kubeconfig, threading.Lock()
        self.calls, self.n, self.when, self.victim = [], 0, "", None
        server = Server(("127.0.0.1", 0), Handler)
        server.proxy = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        # The handshake happens in the connection's thread, lest one that says nothing stops all.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        with open(kubeconfig, "w") as f:
            f.write(upstream.text.replace(upstream.url, f"https://127.0.0.1:{server.server_port}"))
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def start(self, command, log, n=0, when=""):
        """A client that will die at its n-th call; 0: it will not."""
        with self.lock:  # its first call waits until we know whom to kill
            self.calls, self.n, self.when = [], n, when
            self.victim = subprocess.Popen(command, stderr=log)

    def count(self, what):
        """Returns "before" or "after" if this call is the one."""
        with self.lock:
            self.calls.append(what)
            return self.when if len(self.calls) == self.n else ""

    def end(self):
        self.victim.send_signal(signal.SIGKILL)
        self.victim.wait()
