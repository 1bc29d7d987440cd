"""One HTTP port for everything: AWS calls, the Runtime API, function URLs and the control plane."""

import email.utils
import http.server
import select
import socket
import struct
import time

from . import function_url
from . import runtime as lambda_runtime
from .aws import Aws, Dropped
from .control import PREFIX, Control
from .runtime import Runtime
from .wire import Http


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise every small answer waits 40 ms for an acknowledgement
    held = None  # the invocation last handed out on this connection

    def handle_any(self):
        path, _, query = self.path.partition("?")
        request = Http(self.command, path, {k.lower(): v for k, v in self.headers.items()}, self.read_body())
        try:
            self.reply(self.route(request, query))
        except Dropped:
            self.cut()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_TRACE = do_QUERY = handle_any

    def route(self, request, query):
        if request.path.startswith(PREFIX):
            return self.server.control.handle(request, query)
        if lambda_runtime.PATH.fullmatch(request.path):
            answer, handed = self.server.runtime.handle(request, self.peer_is_there)
            self.held = handed or self.held
            if answer is None:
                raise Dropped
            return answer
        if function_url.PATH.match(request.path):
            return function_url.handle(self.server.runtime, request, query, self.client_address[0])
        return self.server.aws.handle(request)

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(iter(self.read_chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def read_chunk(self):
        size = int(self.rfile.readline().split(b";")[0], 16)
        chunk = self.rfile.read(size)
        line = self.rfile.readline()
        while not size and line not in (b"\r\n", b"\n", b""):  # trailers, by which the runtime tells errors in a stream
            line = self.rfile.readline()
        return chunk

    def reply(self, answer: Http):
        """Head and body in one write."""
        head = [f"HTTP/1.1 {answer.status} -"] + [f"{k}: {v}" for k, v in answer.headers.items()]
        head.append(f"Date: {email.utils.formatdate(time.time() + self.server.control.clock_ahead_s, usegmt=True)}")
        head.append(f"Content-Length: {len(answer.body)}")
        body = b"" if self.command == "HEAD" else answer.body
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)

    def cut(self):
        """End the connection with a reset, as a broken network would."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def peer_is_there(self):
        readable, _, _ = select.select([self.connection], [], [], 0)
        return not readable or bool(self.connection.recv(1, socket.MSG_PEEK))

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            pass  # the other side was killed; tests do that
        finally:
            if self.held is not None:
                lambda_runtime.poller_gone(self.held)

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.aws, self.runtime = Aws(), Runtime()
        self.control = Control(self.aws, self.runtime)

    def shutdown_request(self, request):
        """Plain close: the standard version's shutdown would send FIN before the reset of a cut connection."""
        self.close_request(request)
