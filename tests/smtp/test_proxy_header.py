"""The reader of PROXY headers (smtp/proxy_header.py): every cut, every octet that should not be there, and not one of
what follows."""

import socket
import struct
import unittest

from smtp import proxy_header
from smtp.channel import Disconnected

V1 = {
    b"PROXY TCP4 192.0.2.1 198.51.100.25 56324 25\r\n": ("192.0.2.1", "198.51.100.25"),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": ("255.255.255.255",) * 2,
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": ("0.0.0.0", "0.0.0.0"),
    b"PROXY TCP6 2001:DB8::1 2001:db8:0::25 56324 25\r\n": ("2001:db8::1", "2001:db8::25"),
    b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n": (":".join(["ffff"] * 8),) * 2,
    b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.25 1 2\r\n": ("192.0.2.1", "198.51.100.25"),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n": None,
    b"PROXY UNKNOWN \x00\xff\r\n": None,
}
FOUR = socket.inet_pton(socket.AF_INET, "192.0.2.1") + socket.inet_pton(socket.AF_INET, "198.51.100.25") + bytes(4)
SIX = b"".join(socket.inet_pton(socket.AF_INET6, text) for text in ("2001:db8::1", "2001:db8::25")) + bytes(4)
MAPPED = b"".join(bytes(10) + b"\xff\xff" + FOUR[start:start + 4] for start in (0, 4)) + bytes(4)


def v2(command: int, family: int, block: bytes) -> bytes:
    """A header of version 2."""
    return proxy_header.SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


V2 = {
    v2(0x21, 0x11, FOUR): ("192.0.2.1", "198.51.100.25"),
    v2(0x21, 0x11, FOUR + b"\x20\x00\x05later" + b"\xee\xff\xff"): ("192.0.2.1", "198.51.100.25"),
    v2(0x21, 0x11, FOUR.ljust(520, b"\r")): ("192.0.2.1", "198.51.100.25"),
    v2(0x21, 0x21, SIX): ("2001:db8::1", "2001:db8::25"),
    v2(0x21, 0x21, MAPPED): ("192.0.2.1", "198.51.100.25"),
    v2(0x21, 0x31, bytes(216)): None,
    v2(0x21, 0x12, FOUR): None,
    v2(0x21, 0x00, b""): None,
    v2(0x21, 0x10, b""): None,
    v2(0x20, 0x00, b""): None,
    v2(0x20, 0x11, FOUR): None,
    v2(0x20, 0xff, b"whatever"): None,
}
GOOD = {**V1, **V2}


CUT = "connection closed before it was complete"


class Pipe:
    """A channel whose octets come in pieces as long as asked for, or one by one."""

    def __init__(self, data: bytes, one_by_one: bool = False):
        self.left, self.one_by_one = data, one_by_one

    def read_below_tls(self, most: int, _: float) -> bytes:
        taken = self.left[:1 if self.one_by_one else most]
        if not taken:
            raise Disconnected
        self.left = self.left[len(taken):]
        return taken


def verdict(data: bytes, one_by_one: bool = False):
    """What read_header says of `data`, and what it leaves unread; (Bad, its reason) if that is no header."""
    pipe = Pipe(data, one_by_one)
    try:
        return proxy_header.read_header(pipe, 0), pipe.left
    except proxy_header.Bad as error:
        return proxy_header.Bad, error.reason


class GoodHeadersTest(unittest.TestCase):

    def test_whole_and_nothing_behind(self):
        for header, expected in GOOD.items():
            for behind in (b"", b"EHLO x\r\n", b"\r\n", b"\x16\x03\x01", header):
                for one_by_one in (False, True):
                    self.assertEqual(verdict(header + behind, one_by_one), (expected, behind), header)

    def test_every_cut(self):
        """A header that ends too early is none, wherever it is cut; and what misses is never overestimated."""
        for header in GOOD:
            for end in range(len(header)):
                self.assertEqual(verdict(header[:end]), (proxy_header.Bad, CUT), header[:end])
                self.assertLessEqual(end + proxy_header.octets_missing(header[:end]), len(header))


class BadHeadersTest(unittest.TestCase):

    def assert_bad(self, data: bytes):
        self.assertIs(verdict(data)[0], proxy_header.Bad, data)

    def test_every_octet_of_a_line(self):
        """In the octets of version 1 that leave no choice, another one is an error."""
        for header, expected in V1.items():
            digits = set(b"0123456789") | (set(b"abcdefABCDEF:.") if b"TCP6" in header else set())
            for place in range(len(header)):
                for octet in range(256):
                    changed = header[:place] + bytes([octet]) + header[place + 1:]
                    is_free = expected is None and place >= 14
                    may_be = is_free or octet in digits and header[place] in digits
                    if changed.upper() != header.upper() and not may_be:
                        self.assert_bad(changed)

    def test_every_octet_of_the_fixed_part(self):
        whole = v2(0x21, 0x11, FOUR)
        for place in range(14):
            for octet in range(256):
                if octet != whole[place]:
                    found = verdict(whole[:place] + bytes([octet]) + whole[place + 1:])
                    is_short = octet == 0x21        # IPv6, for which the block has too few octets
                    is_known = octet >> 4 < 4 and octet & 15 < 3 and not is_short
                    is_fine = place == 12 and octet == 0x20 or place == 13 and is_known
                    self.assertEqual(found[0] is proxy_header.Bad, not is_fine, (place, octet))

    def test_lines(self):
        for line in (b"PROXY", b"PROXY \r\n", b"PROXY TCP4\r\n", b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
                     b"proxy UNKNOWN\r\n",
                     b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
                     b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
                     b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
                     b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n",
                     b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
                     b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
                     b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n",
                     b"PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
                     b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", b"PROXY TCP4 192.0.2.1\r192.0.2.2 1 2\r\n",
                     b"PROXY TCP4 192.0.2.1\r\n", b"PROXY UNKNOWNX\r\n", b"EHLO client.example\r\n", b"QUIT\r\n",
                     b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.0\r\n", b"\r\n", b"\r\n\r\n\0\r\nQUIT\r\n"):
            self.assert_bad(line)

    def test_octets_that_are_bad_at_once(self):
        """Nobody waits for the rest of what is no header."""
        for data in (b"E", b"PROXX", b"PROXY TCP4 192.0.2.1\n", b"PROXY TCP4 192.0.2.1\r ", b"\r\n\r\n\0\r\nQUIX",
                     b"P" * 15, v2(0x31, 0x11, b"")[:16]):
            with self.assertRaises(proxy_header.Bad, msg=data):
                proxy_header.octets_missing(data)

    def test_lengths(self):
        longest = b"PROXY UNKNOWN ".ljust(105, b"x") + b"\r\n"
        self.assertEqual(verdict(longest), (None, b""))
        self.assertEqual(verdict(longest[:-2] + b"x\r\n"), (proxy_header.Bad, "too long"))
        self.assertEqual(verdict(v2(0x21, 0x11, FOUR.ljust(521, b"\0"))), (proxy_header.Bad, "too long"))
        self.assertEqual(verdict(v2(0x20, 0, bytes(65535))), (proxy_header.Bad, "too long"))
        for block in (FOUR[:-1], b"", SIX[:-1]):
            self.assert_bad(v2(0x21, 0x21 if block == SIX[:-1] else 0x11, block))


if __name__ == "__main__":
    unittest.main()
