"""What the page's process answers: who may ask, and what each address gives. Only looking is possible."""
import json
import os
import select
import socket
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from web.dialogues import Unknown, shown

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/curves.js": ("curves.js", "text/javascript; charset=utf-8"),
    "/fates.js": ("fates.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                               "img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HEAD_OCTETS = 16384         # of a request
WRITE_SECONDS = 20          # that a browser may leave us waiting
LOOK_SECONDS = 1            # between looks whether a browser is still there
HEARTBEAT_LOOKS = 15        # after which a quiet stream says something, for what stands between to keep it
PLAIN = "text/plain; charset=utf-8"
REFUSALS = {
    400: "Requête illisible.\n",
    403: "Accès refusé : ouvrez l'adresse que serveur.sh a affichée en démarrant, jeton compris.\n",
    404: "Rien à cette adresse.\n",
    405: "Cette page se lit seulement (GET, HEAD).\n",
}


class BoundedReader:
    """A request's head, and no octet more than it may have."""

    def __init__(self, file):
        self._file = file
        self._left = HEAD_OCTETS

    def readline(self, most):
        line = self._file.readline(min(most, self._left))
        self._left -= len(line)
        return line

    def close(self):
        self._file.close()

    @property
    def closed(self):
        return self._file.closed


class Pages(BaseHTTPRequestHandler):
    """One request. HTTP/1.0: the connection ends with the answer, an event stream with its browser."""

    timeout = WRITE_SECONDS
    server_version = "serveur"
    sys_version = ""

    def setup(self):
        super().setup()
        self.rfile = BoundedReader(self.rfile)

    def log_message(self, *_):
        """What browsers ask for is nobody's business."""

    def parse_request(self):
        """As the base class; but any method comes as far as do_GET, which refuses with the same headers."""
        if not super().parse_request():
            return False
        self.server.head_is_read(self.connection)
        if self.command not in ("GET", "HEAD"):
            self._refuse(405)
            return False
        return True

    def send_error(self, code, message=None, explain=None):
        """What the base class finds wrong with a request."""
        self._refuse(400)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        try:
            address = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(address.query, max_num_fields=10).items()}
        except ValueError:
            self._refuse(400)
            return
        if not self._is_called_rightly() or not self._may_look(query):
            self._refuse(403)
        elif address.path in FILES:
            self._send_file(address.path)
        elif address.path == "/events":
            self._send_events()
        elif address.path == "/snapshot":
            self._send_json(self.server.watcher.snapshot())
        elif address.path == "/dialogue":
            self._send_dialogue(query)
        elif address.path == "/message":
            self._send_json(self.server.watcher.message(query.get("id", "")[:16]))
        else:
            self._refuse(404)

    # Who may ask

    def _is_called_rightly(self):
        """Whether Host is an address of ours: another page's name that was made to lead here is not (DNS rebinding)."""
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        return name.strip("[]").lower() in {"localhost", _plain(self.connection.getsockname()[0])}

    def _may_look(self, query):
        if "jeton" in query:
            return self._is_token(query["jeton"])
        return self._is_token(self._cookie())

    def _is_token(self, text):
        return compare_digest(text.encode("utf-8", "replace"), self.server.token.encode())

    def _cookie(self):
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie_name())
        except CookieError:
            return ""
        return morsel.value if morsel else ""

    def _cookie_name(self):
        """Cookies are a host's, whatever the port: two servers on one machine must not take each other's."""
        return f"jeton-{self.server.server_address[1]}"

    # What is given

    def _send_file(self, path):
        name, kind = FILES[path]
        with open(f"{HERE}/{name}", "rb") as file:
            self._send(200, kind, file.read())

    def _send_dialogue(self, query):
        first = query.get("from", "0")
        try:
            if not (first.isascii() and first.isdigit() and len(first) < 10):
                raise Unknown(first)
            self._send_json(shown(self.server.watcher.dialogue(query.get("name", "")), int(first)))
        except Unknown:
            self._refuse(404)

    def _send_json(self, value):
        self._send(200, "application/json", json.dumps(value).encode())

    def _refuse(self, code):
        self.close_connection = True
        self._send(code, PLAIN, REFUSALS[code].encode())

    def _send(self, code, kind, body):
        self._begin(code, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, code, kind):
        # HTTP/0.9 has no header, and no browser speaks it.
        self.request_version = "HTTP/1.0"
        self.send_response(code)
        self.send_header("Content-Type", kind)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if code == 200:
            cookie = f"{self._cookie_name()}={self.server.token}; Path=/; HttpOnly; SameSite=Strict"
            self.send_header("Set-Cookie", cookie)
        if code == 405:
            self.send_header("Allow", "GET, HEAD")

    def _send_events(self):
        """News for as long as the browser stays (server-sent events)."""
        self._begin(200, "text/event-stream; charset=utf-8")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
        subscriber = self.server.watcher.subscribe()
        quiet = 0
        try:
            while not self._has_gone():
                news = subscriber.next(LOOK_SECONDS)
                quiet = 0 if news else quiet + 1
                if news or quiet % HEARTBEAT_LOOKS == 0:
                    self.wfile.write(news or b":\n\n")
        except OSError:
            pass                # it went, or took nothing for too long
        finally:
            self.server.watcher.unsubscribe(subscriber)

    def _has_gone(self):
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1024)


def _plain(address):
    """An address without its zone; IPv4 ones of an IPv6 socket as IPv4."""
    return address.partition("%")[0].removeprefix("::ffff:").lower()
