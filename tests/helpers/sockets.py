"""The kernel's TCP sockets at a port: who listens, who is connected, what waits to be read.

Asked through sock_diag(7), where the kernel looks no further than at the listeners if those are meant.  /proc/net/tcp
shows the same, but goes through the table of all connections that the machine could have, which takes milliseconds; it
is read where a kernel has no sock_diag.
"""

import pathlib
import socket
import struct
import typing

SOCK_DIAG = 4                           # linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
BY_FAMILY, ERROR, DONE = 20, 2, 3
REQUEST, DUMP = 0x1, 0x300
HEADER = struct.Struct("=LHHLL")        # of any message: its length, its type, flags ...
QUESTION = struct.Struct("=BBBxL2s46x")     # family, protocol, extensions, states, local port
ANSWER = struct.Struct("=BBxx2s2s48xL8xL")      # family, state, local port, remote port, octets to read, inode

TIME_WAIT, LISTEN = 6, 10               # net/tcp_states.h
CONNECTED = 0xfff & ~(1 << LISTEN | 1 << TIME_WAIT)


class Socket(typing.NamedTuple):
    peer: int                           # the remote port
    unread: int                         # octets
    inode: int


def listeners(port: int) -> int:
    """How many sockets listen on the TCP port (IPv4): nobody is disturbed."""
    return len(_sockets(socket.AF_INET, port, 1 << LISTEN))


def connected(port: int) -> typing.List[Socket]:
    """The server's end of each connection to the TCP port."""
    return [found for family in (socket.AF_INET, socket.AF_INET6) for found in _sockets(family, port, CONNECTED)]


def _sockets(family: int, port: int, states: int) -> typing.List[Socket]:
    try:
        return list(_asked(family, port, states))
    except OSError:
        return list(_read("/proc/net/tcp" if family == socket.AF_INET else "/proc/net/tcp6", port, states))


def _asked(family: int, port: int, states: int) -> typing.Iterator[Socket]:
    question = QUESTION.pack(family, socket.IPPROTO_TCP, 0, states, port.to_bytes(2, "big"))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        kernel.send(HEADER.pack(HEADER.size + len(question), BY_FAMILY, REQUEST | DUMP, 0, 0) + question)
        while True:
            answers, at = kernel.recv(1 << 16), 0
            while at < len(answers):
                length, kind, *_ = HEADER.unpack_from(answers, at)
                if kind == DONE:
                    return
                if kind == ERROR:
                    raise OSError("sock_diag")
                _, _, _, peer, unread, inode = ANSWER.unpack_from(answers, at + HEADER.size)
                yield Socket(int.from_bytes(peer, "big"), unread, inode)
                at += length + 3 & ~3


def _read(table: str, port: int, states: int) -> typing.Iterator[Socket]:
    if not pathlib.Path(table).exists():        # no IPv6
        return
    for row in pathlib.Path(table).read_text().splitlines()[1:]:
        _, local, remote, state, queues, _, _, _, _, inode = row.split()[:10]
        if _last(local) == port and 1 << int(state, 16) & states:
            yield Socket(_last(remote), _last(queues), int(inode))


def _last(field: str) -> int:
    """What is behind the colon."""
    return int(field.rpartition(":")[2], 16)
