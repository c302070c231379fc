"""The header with which a proxy tells who its client is: PROXY protocol 1 and 2 (haproxy.org, proxy-protocol.txt).

Imported only for connections from an address that -proxy names.
"""
import _socket

from smtp.channel import Disconnected, Interrupted, TimedOut

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"     # of version 2; SMTP takes it for errors and QUIT
V1 = b"PROXY "
V1_SHORTEST = 15            # octets: `PROXY UNKNOWN` and CRLF
V1_LONGEST = 107
V2_FIXED = 16               # octets of version 2 before what is variable
V2_LONGEST = 536
LOCAL, PROXY = 0x20, 0x21   # version and command
V1_FAMILIES = {b"TCP4": _socket.AF_INET, b"TCP6": _socket.AF_INET6}
V2_FAMILIES = {1: (_socket.AF_INET, 4), 2: (_socket.AF_INET6, 16)}
V2_STREAM = 1
V2_MOST = 3                 # no larger number of a family is defined; of a transport, 2


class Bad(Exception):
    """This is no header. `reason`: why, for the log."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Stranger:
    """Whoever a header that has not come yet is about: in a Session's place, should the server stop meanwhile.

    channel: the Channel that it is to come from.
    """

    def __init__(self, channel):
        self.terminate = channel.interrupt


def read_header(channel, deadline):
    """(the client's address, the one it connected to), both str, out of the header that `channel` begins with.

    None for a connection of the proxy's own, a health check. Nothing behind the header is read: it may be a handshake
    of TLS. deadline: monotonic seconds. Raises Bad.
    """
    data = b""
    try:
        while missing := octets_missing(data):
            data += channel.read_below_tls(missing, deadline)
    except TimedOut:
        raise Bad("not complete in time") from None
    except Interrupted:
        raise Bad("not complete when the server stopped") from None
    except Disconnected:
        raise Bad("connection closed before it was complete") from None
    return _parse_v1(data) if data.startswith(V1) else _parse_v2(data)


def octets_missing(data):
    """How many octets a header that begins with `data` still has at least; 0 for a whole one. Raises Bad."""
    if V1.startswith(data[:len(V1)]):
        return _missing_of_v1(data)
    if SIGNATURE.startswith(data[:len(SIGNATURE)]):
        return _missing_of_v2(data)
    raise Bad("malformed")


def _missing_of_v1(data):
    line, end, rest = data.partition(b"\r")
    if b"\n" in line or rest not in (b"", b"\n"):
        raise Bad("malformed")
    if rest:
        return 0
    missing = max(V1_SHORTEST - len(data), 1 if end else 2)
    if len(data) + missing > V1_LONGEST:
        raise Bad("too long")
    return missing


def _missing_of_v2(data):
    if len(data) < V2_FIXED:
        return V2_FIXED - len(data)
    if data[12] not in (LOCAL, PROXY):
        raise Bad("malformed")
    whole = V2_FIXED + int.from_bytes(data[14:16], "big")
    if whole > V2_LONGEST:
        raise Bad("too long")
    return whole - len(data)


def _parse_v1(data):
    name, _, rest = data[len(V1):-2].partition(b" ")
    if name == b"UNKNOWN":
        return None
    words = rest.split(b" ")
    if name not in V1_FAMILIES or len(words) != 4 or not all(map(_is_port, words[2:])):
        raise Bad("malformed")
    return tuple(_from_text(V1_FAMILIES[name], word) for word in words[:2])


def _is_port(word):
    return word.isdigit() and len(word) <= 5 and int(word) < 65536 and str(int(word)).encode() == word


def _from_text(family, word):
    try:
        return _canonical(family, _socket.inet_pton(family, word.decode("ascii")))
    except (OSError, ValueError):
        raise Bad("malformed") from None


def _parse_v2(data):
    family, transport = divmod(data[13], 16)
    if data[12] == LOCAL:
        return None
    if family > V2_MOST or transport >= V2_MOST:
        raise Bad("malformed")
    if transport != V2_STREAM or family not in V2_FAMILIES:
        return None             # nothing that a client of SMTP can be at
    family, size = V2_FAMILIES[family]
    block = data[V2_FIXED:V2_FIXED + 2 * size + 4]      # behind it stand TLVs, none of which concerns us
    if len(block) < 2 * size + 4:
        raise Bad("malformed")
    return _canonical(family, block[:size]), _canonical(family, block[size:2 * size])


def _canonical(family, octets):
    """The address as a socket's name has it; an IPv4 address in IPv6's clothes is an IPv4 address."""
    return _socket.inet_ntop(family, octets).removeprefix("::ffff:")
