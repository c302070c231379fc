"""Every parser of what others wrote is linear: sixteen times its worst input takes some sixteen times as long (256
times, were it a square).

The one timing that decides a test; it is the processor's, and the best of several.
"""

import os
import socket
import tempfile
import time
import types
import typing
import unittest

from common import mainlog, xtext
from common import logins
from common.settings import from_environ
from mailstore import aliases, delivery, mbox
from mailstore import targets as list_targets
from mailstore.content import Content, HeaderTooBig
from mailstore.direct import Direct
from mailstore.incoming import IncomingText
from mailstore.mailboxes import Mailboxes
from mailstore.outcome import Later, Never
from mailstore.terminals import is_harmless
from mailstore.trace import Origin
from queue_manager import bounce as report
from queue_manager.queue_store import QueueStore
from smtp import replies, syntax
from smtp.channel import Channel
from smtp.data_reader import ChunkReader, DataReader
from smtp.console import Console
from smtp.terminal_text import terminal_text
from smtp_client import connection, dns, encoding as wire
from tests.helpers import support

TIMES, MOST = 16, 64
TRIES = 2
LEAST_SECONDS = 0.002           # that are measured at a time


def filled(unit, size: int):
    """`unit` again and again, `size` octets or characters in all."""
    return (unit * (size // len(unit) + 1))[:size]


def octet_by_octet(text: bytes):
    return [text[at:at + 1] for at in range(len(text))]


# -- what reads ------------------------------------------------------------------------------------------

def letter(text: bytes) -> Content:
    draft = IncomingText("/nowhere")
    draft.write(text)
    return Content(draft)


def header(text: bytes) -> None:
    try:
        read = letter(text)
        read.values(b"received")
        read.complete("1xVkyz-0002Ae-0G", "a@b.example", "b.example")
    except HeaderTooBig:
        pass


def identity(text: bytes) -> None:
    delivery.message_identity(letter(b"Message-ID: " + text + b"\n\n"))


def draft(text: bytes) -> None:
    kept = IncomingText("/nowhere")
    for piece in octet_by_octet(text):
        kept.write(piece)
    kept.beginning()


def data(text: bytes) -> None:
    for seen in (True, False):
        reader = DataReader(seen)
        for piece in octet_by_octet(text):
            reader.feed(piece)
        DataReader(seen).feed(text)


def chunks(text: bytes) -> None:
    reader = ChunkReader()
    for piece in octet_by_octet(text):
        reader.feed(piece)
    ChunkReader().feed(text)


def shown(text: bytes) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    terminal = Console(nothing)
    for piece in octet_by_octet(text):
        terminal.text(piece)
    os.close(nothing)


def on_a_terminal(text: bytes) -> None:
    for octets in (b"\n" + text, b"Subject: " + text.replace(b"\n", b"") + b"\n\n"):
        message = delivery.MailObject(letter(octets), "a@b.example", [], Origin("192.0.2.1", "x", "smtp"))
        is_harmless(terminal_text(message, 0)[0])


def path(text: str) -> None:
    for parse in (syntax.parse_path, syntax.parse_address, syntax.check_domain):
        try:
            parse(text)
        except syntax.Malformed:
            pass


def parameters(text: str) -> None:
    try:
        syntax.parse_parameters(text)
    except syntax.Malformed:
        pass


def requests(text: str) -> None:
    for readers in (syntax.MAIL_REQUESTS, syntax.RCPT_REQUESTS):
        for keyword in readers:
            try:
                syntax.take_requests({keyword: text}, readers)
            except syntax.Malformed:
                pass
    try:
        xtext.decode(text)
    except ValueError:
        pass


def alias_file(text: str) -> None:
    for targets in aliases.parse(text).values():
        list_targets.targets_of(targets)
    list_targets.listed(text)


def alias(text: str) -> None:
    """The first address of an aliases file."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        try:
            settings = from_environ({b"SMTP_STORE": b"/nowhere", b"SMTP_DOMAIN": b"b.example",
                                     b"SMTP_ALIASES": file.name.encode()})
            Mailboxes(settings, Direct(settings, None)).resolve("a0")
        except (Never, Later):
            pass


def remote_reply(text: bytes) -> None:
    smtp = connection._Smtp(local_hostname="x")
    theirs, smtp.sock = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    smtp.reply_seconds = support.PATIENCE
    with theirs:
        theirs.sendall(text)
        theirs.shutdown(socket.SHUT_WR)
        try:
            reply = connection.Reply(smtp.getreply()[0], smtp.reply_lines)
        except OSError:
            return
        finally:
            smtp.close()
    report._readable(reply.text)


def parts(text: bytes) -> None:
    """A message on its way to a host that takes no 8-bit octets."""
    with tempfile.NamedTemporaryFile() as file:
        file.write("é: é\nContent-Type: multipart/mixed; boundary=x".encode() + text)
        file.flush()
        with wire.Message(file.name) as message:
            message.encode()
            list(message.on_the_wire())


def nested_parts(text: bytes) -> None:
    parts(b"\n\n--x\n"
          + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(len(text))))


def bounced(text: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        about = report.Original(None, file.name, 0)
        about.wants_no_notice()
        report._references(about)


def commands(text: bytes) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours.fileno(), ours.fileno())
    with ours, theirs:
        for start in range(0, len(text), 4096):
            theirs.sendall(text[start:start + 4096])
            for _ in range(text.count(b"\n", start, start + 4096)):
                channel.read_line(time.monotonic() + support.PATIENCE)


def dripping_command(text: bytes) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours.fileno(), ours.fileno())
    with ours, theirs:
        for octet in octet_by_octet(text):
            theirs.send(octet)
            channel._input += channel._receive(time.monotonic() + support.PATIENCE)
            channel._input.find(b"\n", len(channel._input) - 1)


def envelope(text: str) -> None:
    """A queued message for as many recipients as `text` has words."""
    with tempfile.TemporaryDirectory() as folder:
        store = QueueStore(folder + "/queue")
        message = types.SimpleNamespace(content=letter(b"\n"), sender=text, utf8=False, dsn=None)
        store.prepare("1xVkyz-0002Ae-0G", message, "", [(word, [word]) for word in text.split()]).commit()
        store.load("1xVkyz-0002Ae-0G")


class Place:
    """What of a Resolution is looked at here."""

    def __init__(self, mailbox, *remote: str):
        self.mailboxes, self.remote, self.unknown_local = {mailbox.path: (mailbox, 0)}, list(remote), []


def copies(text: str) -> None:
    """A message for as many recipients as `text` has words, all of them with the same mailbox."""
    mailbox = types.SimpleNamespace(path="x")
    place = Place(mailbox, "x@y")
    others = [Place(mailbox) for _ in text.split()]
    recipients = [(word, one) for word, other in zip(text.split(), others) for one in (place, other)]
    for copy in delivery.gather(recipients):
        ",\n ".join(copy.envelope_to)
    delivery.remote_recipients(recipients)


def accounts(text: bytes) -> None:
    known = logins.Accounts("x", text)
    known.mechanisms()
    logins._with_account(text, b"x", b"y")


class Case(typing.NamedTuple):
    """read: what reads it; units: what its worst inputs consist of; size: of the shorter one. (Where there is next to
    nothing to do, both are shorter than what the allocator keeps at hand, or both are longer.)"""
    read: typing.Callable
    units: typing.Sequence
    size: int = 1 << 15


CASES = {
    "header": Case(header, [b"a:\n", b"a: b\n", b"a:\n \n", b"a:" + b"\n" * 3, b"X: y\n\t", b" ", b"\r", b"a:\r", b"\0",
                            b":", b"(", b"a:\n\v"], 1800),
    "one field": Case(lambda text: header(b"X:" + text), [b"\n ", b" \n ", b"\r", b" ", b"\t\n\t", b"\n \n\t"]),
    "Message-ID": Case(identity, [b"()", b"(", b"( ) ", b"(()", b"()<", b"<", b'"', b" ", b"( \t", b")"], 7000),
    "text": Case(draft, [b"x"]),
    "DATA": Case(data, [b"\n", b"\r", b"\r\n", b".\r\n", b"\r\n.", b"\n.", b"\r\n.\r", b"\n\r\n", b"."], 1 << 11),
    "BDAT": Case(chunks, [b"\n", b"\r", b"\r\n", b"\n\r\n"], 1 << 11),
    "transcript": Case(shown, [b"x", b"\n", b"\0"], 1 << 12),
    "terminal": Case(on_a_terminal, [b"x", b"\n", b"\x1b", b"\xc2\x9b", "é".encode(), "日".encode(), b"\t", b"\xff",
                                     "\u0300".encode(), "\u00a0".encode()], 1 << 9),
    "path": Case(path, ["<", ">", '"', '"\\', "\\", "<@a,", "@a,", "@a:", "a.", "a@", "[", "<\"\" ", " ", "é",
                        "<a@b.c> ", "1."]),
    "parameters": Case(parameters, [" ", "\t", "=", "-", "a=b ", "a= "], 1 << 14),
    "different parameters": Case(lambda text: parameters(" ".join("K%d=x" % n for n in range(len(text)))), ["x"],
                                 1 << 12),
    "requests": Case(requests, ["+2B", "+", "x", "NEVER,", "SUCCESS,", ",", "utf-8;", ";", "é", "utf-8;é"]),
    "aliases": Case(alias_file,
                    ["a:\n b,", "a: b\n", "\n ", '"', '",', "a: \"\\", "a:,", ":", "#\n", "a: b,\n ", '"a":b\n']),
    "a list": Case(lambda text: alias("a0: " + ", ".join("m%d" % n for n in range(len(text)))), ["x"], 600),
    "lists in lists": Case(lambda text: alias("".join("a%d: a%d, a%d, a0\n" % (n, n + 1, n + 1)
                                                      for n in range(len(text)))), ["x"], 600),
    "lines with codes": Case(remote_reply, [b"250-\r\n", b"250-x\n", b"250-" + b"x" * 60 + b"\r\n", b"250-\xff\r\n"],
                             4000),
    "parts": Case(parts, [b"\n\n--x\n", b"\n--x--\n", b"\n\n\xe9\n", b"\n--x\n\n\xe9", b"\n a", b";a=\"", b";  ",
                          b";a=\"\\"], 1 << 12),
    "nested parts": Case(nested_parts, [b"x"], 256),
    "DNS answer": Case(dns._parse,
                       [";; ->>HEADER<<- status: NOERROR, \n", "a. 1 IN A 1.2.3.4\n", "\n", "a ", ";", "a. 1 IN MX "]),
    "bounced header": Case(bounced, [b"a:\n", b"References: ", b"a: b\n ", b"\n ", b"list-id"]),
    "commands": Case(commands, [b"\n", b"\r\n", b"NOOP\r\n", b"\0\n"]),
    "a dripping command": Case(dripping_command, [b"x"], 768),
    "envelope": Case(envelope, ["a ", "é ", "\0 "], 1 << 10),
    "copies": Case(copies, ["a ", "@ "], 1 << 9),
    "accounts": Case(accounts, [b"a:b\n", b"x:y\n", b"#\n", b":", b" ", b"\n", b"a \t", b"$scrypt$",
                                b"a:$scrypt$ln=,\n", b"\0"], 1 << 12),
    "different accounts": Case(lambda text: accounts(b"".join(b"a%d:b\n" % n for n in range(len(text)))), [b"x"],
                               1 << 11),
    "mbox": Case(lambda text: list(mbox.escaped(octet_by_octet(text))), [b"\n", b"\nFrom ", b"\nFrom"], 1 << 12),
    "log": Case(mainlog.printable, ["\0", "\n", "é", "\udcff"], 1 << 13),
    "reply": Case(lambda text: replies.members(["x <%s>" % part for part in text]).for_client(False).encode(),
                  ["é", "a"], 1 << 12),
}


class LinearTest(unittest.TestCase):
    def seconds(self, case: Case, unit, size: int) -> float:
        """Of the processor, to read the input of this size once: the best of some tries, each long enough for the
        clock."""
        text = filled(unit, size)
        best = float("inf")
        for _ in range(TRIES):
            begun, reads, taken = time.process_time(), 0, 0.0
            while taken < LEAST_SECONDS:
                case.read(text)
                reads += 1
                taken = time.process_time() - begun
            best = min(best, taken / reads)
        return best

    def check(self, case: Case, unit):
        once = self.seconds(case, unit, case.size)
        self.assertLess(self.seconds(case, unit, TIMES * case.size) / once, MOST, "%r..." % unit)


def add_tests(name: str, case: Case) -> None:
    def test(self):
        for unit in case.units:
            self.check(case, unit)
    setattr(LinearTest, "test_" + name.replace(" ", "_").replace("-", "_"), test)


for each in CASES.items():
    add_tests(*each)


if __name__ == "__main__":
    unittest.main()
