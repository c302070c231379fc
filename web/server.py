"""The page's process: `serveur.sh -web` runs it beside the listeners.

SMTP_WEB says where it listens, SMTP_WEB_TOKEN who may look: whoever has the address that the launcher printed, which
holds the token, or the cookie it was exchanged for.
"""
import sys
sys.path[0] = __file__.rpartition("/web/")[0]      # run as a script, it finds only its own room there

import os
import signal
import socket
import socketserver
import threading
import time
from http.server import ThreadingHTTPServer

from common import settings as configuration
from common.privileges import become_service
from web.pages import Pages
from web.watcher import Watcher

MOST_REQUESTS = 64          # at once
HEAD_SECONDS = 10           # that a request's first octet to its last may take
NICENESS = 10               # mail comes first


class Server(ThreadingHTTPServer):
    """token: text; watcher: a Watcher. Bound, but not listening yet."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address, port, token, watcher):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.token = token
        self.watcher = watcher
        self._heads = {}            # connections whose request has not come whole: since when
        self._places = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__((address, port), Pages, bind_and_activate=False)
        self.server_bind()

    def server_bind(self):
        # Not HTTPServer's, which asks a name server what we are called.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request, client_address):
        if not self.take_place():
            self.shutdown_request(request)
            return
        self._heads[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:        # the system has no thread more
            self._leave(request)
            self.shutdown_request(request)

    def take_place(self):
        """Take a place for a request. Whether there was one."""
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def _leave(self, request):
        self.head_is_read(request)
        self._places.release()

    def head_is_read(self, request):
        """What `request`, a socket, asks for is known."""
        self._heads.pop(request, None)

    def service_actions(self):
        """Called every half second: who sends a request octet by octet is cut off."""
        now = time.monotonic()
        for request, since in [*self._heads.items()]:
            if now - since > HEAD_SECONDS:
                self.head_is_read(request)
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def handle_error(self, request, client_address):
        """A browser that goes is no error; anything else is the launcher's user's to see."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    """Serve until TERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    settings = configuration.from_environ()
    address, _, port = settings.web.rpartition(":")
    try:
        # A privileged port needs root, and nothing else does.
        server = Server(address, int(port), os.environ["SMTP_WEB_TOKEN"], Watcher(settings))
    except OSError as error:
        print(f"serveur.sh: -web {settings.web} : {error.strerror}", file=sys.stderr)
        return 1
    become_service()
    os.nice(NICENESS)
    server.server_activate()
    server.watcher.start()
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
