"""The listening sockets of listener/prefork.py, and how long one waits there."""
import _socket as socket
import posix
import sys

BACKLOG = 1024
LOOK_SECONDS = 0.01         # for which sessions are counted that begin
WAIT_SECONDS = 0.05         # nobody notices
FIRST_PASSED = 3            # systemd's first descriptor, sd_listen_fds(3)


def open_sockets(settings):
    """The listening sockets: systemd's if it passed some, else one for each address and port."""
    if posix.environ.get(b"LISTEN_PID") == b"%d" % posix.getpid():
        count = int(posix.environ.get(b"LISTEN_FDS", 0))
        return [socket.socket(fileno=FIRST_PASSED + i) for i in range(count)]
    addresses = settings.bind.split() or [_every_address()]
    return [_bind(address, port, only_ipv6=bool(settings.bind)) for address in addresses
            for port in settings.ports + settings.smtps]


def _every_address():
    """`::` takes IPv4's clients as well; a kernel may be without IPv6."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return "0.0.0.0"
    return "::"


def _bind(address, port, only_ipv6):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
    listener.bind((address, port))
    listener.listen(BACKLOG)
    return listener


def count_waiting(sockets):
    """How many wait to be accepted: of a listening socket, TCP_INFO's tcpi_unacked (tcp(7), linux/tcp.h)."""
    return sum(int.from_bytes(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24:], sys.byteorder)
               for listener in sockets)


def is_wait_long(waiting, begun):
    """Whether whoever comes behind so many might wait for more than WAIT_SECONDS. begun: sessions, in the last
    LOOK_SECONDS."""
    return (waiting + 1) * LOOK_SECONDS > begun * WAIT_SECONDS
