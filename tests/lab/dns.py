"""A real name server (dnsmasq) on a free loopback port, for zones of a test's own.

    with NameServer({"one.example": [(10, "mx.one.example")]}, {"mx.one.example": "127.0.0.2"}) as names:
        ...  SMTP_DNS=names.server

It alone knows .example (an address may be a list of them); names below servfail.test get SERVFAIL, and those below
silent.test no answer at all.
"""

import pathlib
import socket
import subprocess
import tempfile
import threading
import typing

from tests.helpers import support


class NameServer:
    """mail_hosts: {domain: [(preference, host)]}, the host "." for a null MX; addresses: {host: IPv4 address};
    aliases: {name: the name that its CNAME record gives}."""

    def __init__(self, mail_hosts: typing.Dict[str, typing.Sequence],
                 addresses: typing.Dict[str, typing.Union[str, typing.List[str]]],
                 aliases: typing.Optional[typing.Dict[str, str]] = None):
        self._failing, self._silent = udp_socket(), udp_socket()
        self.port = support.free_port()
        self.server = "127.0.0.1#%d" % self.port
        self._folder = tempfile.TemporaryDirectory(prefix="dns-essai-")
        lines = ["port=%d" % self.port, "listen-address=127.0.0.1", "bind-interfaces", "no-resolv", "no-hosts",
                 "no-daemon", "user=", "pid-file=", "local=/example/",
                 "server=/servfail.test/127.0.0.1#%d" % self._failing.getsockname()[1],
                 "server=/silent.test/127.0.0.1#%d" % self._silent.getsockname()[1]]
        lines += ["mx-host=%s,%s,%d" % (domain, host, preference)
                  for domain, hosts in mail_hosts.items() for preference, host in hosts]
        lines += ["host-record=%s,%s" % (host, address) for host, found in addresses.items()
                  for address in ([found] if isinstance(found, str) else found)]
        lines += ["cname=%s,%s" % pair for pair in (aliases or {}).items()]
        self._configuration = pathlib.Path(self._folder.name, "dnsmasq.conf")
        self._configuration.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> "NameServer":
        threading.Thread(target=self._fail, daemon=True).start()
        self._process = subprocess.Popen([support.find_program("dnsmasq"), "-C", str(self._configuration)],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        support.wait_for(lambda: support.listeners(self.port) or self._process.poll() is not None, "dnsmasq listening")
        if self._process.poll() is not None:
            raise AssertionError("dnsmasq ended: %r" % self._process.stdout.read())
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._failing.sendto(b"", self._failing.getsockname())
        self._silent.close()
        self._folder.cleanup()

    def _fail(self) -> None:
        """Answer every question with SERVFAIL (RFC 1035 §4.1.1: response code 2), until an empty one comes."""
        with self._failing as connection:
            while True:
                question, client = connection.recvfrom(4096)
                if not question:
                    return
                connection.sendto(question[:2] + b"\x81\x82" + question[4:], client)


def udp_socket() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("127.0.0.1", 0))
    return found
