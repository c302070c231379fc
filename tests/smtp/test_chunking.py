"""CHUNKING (RFC 3030): messages in chunks cut anywhere, stored octet for octet; chunks that are refused are no
commands."""

import itertools
import unittest

from smtp.data_reader import ChunkReader
from tests.helpers import support
from tests.lab.corpus import DEFAULT_ENVELOPE
from tests.lab.exim import Exim, needs_model_exim
from tests.mailstore import test_corpus

# What an end of data, a stuffed dot or half a line end could be taken for.
NASTY = b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\r\n\n.\n\r\n.\r\nQUIT\r\n\r.\r"
TEXTS = {
    "plain": b"Subject: x\r\n\r\nx\r\n",
    "nasty": NASTY,
    "no-line-end": b"Subject: x\r\n\r\nx",
    "cr-at-end": b"Subject: x\r\n\r\nx\r",
    "header-only": b"Subject: x\r\n",
    "header-without-line-end": b"Subject: x",
    "empty": b"",
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\n...\r\n.x\r\n",
    "lf-lines": b"Subject: x\n\nx\n.\ny\n",
    "eight-bit": "Subject: x\r\n\r\né\r\n".encode(),
    "nul": b"Subject: x\r\n\r\na\0b\r\n",
}


def stored_body(content: bytes) -> bytes:
    """A stored message below the header lines that the server added."""
    return content[content.index(b"Subject:"):]


def bdat(*chunks: bytes) -> bytes:
    """The BDAT commands that send these chunks, the last one as such."""
    return b"".join(b"BDAT %d%s\r\n%s" % (len(chunk), b" LAST" if number == len(chunks) else b"", chunk)
                    for number, chunk in enumerate(chunks, 1))


class ReaderTest(unittest.TestCase):
    """The reader alone: where its input is cut makes no difference."""

    def read(self, *pieces):
        reader = ChunkReader()
        text = b"".join([reader.feed(piece) for piece in pieces]) + reader.finish()
        self.assertEqual(reader.octets, sum(map(len, pieces)))
        return text

    def test_every_cut(self):
        for name, text in TEXTS.items():
            whole = self.read(text)
            for first, second in itertools.combinations_with_replacement(range(len(text) + 1), 2):
                pieces = text[:first], text[first:second], text[second:]
                self.assertEqual(self.read(*pieces), whole, "%s: %r" % (name, pieces))

    def test_line_ends(self):
        """CRLF becomes LF; what is no line end of the protocol is CR; a missing last line end is added."""
        self.assertEqual(self.read(b"a\r\nb\nc\rd\r\r\n.\r\n"), b"a\nb\rc\rd\r\n.\n")
        self.assertEqual(self.read(b"a\r\nb"), b"a\nb\n")
        self.assertEqual(self.read(b"a\r\nb\r"), b"a\nb\n")
        self.assertEqual(self.read(b"a\r\nb\r\r"), b"a\nb\r\n")
        self.assertEqual(self.read(b""), b"")


class TransactionTest(support.ServerTestCase):
    def greeted(self):
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO client.example.org", 250)
        return client

    def begun(self, client=None, sender="a@x.example"):
        """A client with an open transaction for alice."""
        client = client or self.greeted()
        client.expect("MAIL FROM:<%s>" % sender, 250)
        client.expect("RCPT TO:<%s>" % self.address("alice"), 250)
        return client

    def newest(self):
        return self.server.messages("alice")[-1].content

    def test_offered_and_logged(self):
        client = self.greeted()
        self.assertIn("CHUNKING", client.expect("EHLO client.example.org", 250).lines)
        self.begun(client)
        client.write(bdat(TEXTS["plain"]))
        reply = client.reply()
        self.assertEqual(reply.code, 250)
        self.assertIn(" P=esmtp K S=", self.server.wait_log(reply.text[-16:] + " <= "))

    def test_every_cut_between_chunks(self):
        """Each pair of chunks that the text can be cut into, and octet by octet."""
        client = self.greeted()
        stored = set()
        cuts = [[NASTY[:cut], NASTY[cut:]] for cut in range(len(NASTY) + 1)] + [[bytes([octet]) for octet in NASTY]]
        for chunks in cuts:
            self.begun(client)
            client.write(bdat(*chunks))
            replies = [client.reply() for _ in chunks]
            self.assertEqual([reply.code for reply in replies], [250] * len(chunks))
            self.assertEqual([reply.text for reply in replies[:-1]],
                             ["2.0.0 %d octets received" % len(chunk) for chunk in chunks[:-1]])
            stored.add(stored_body(self.newest()))
        self.assertEqual(stored, {b"Subject: x\n\n.\n..\n.a\n\n\n.\n\n.\nQUIT\n\n.\n"})

    def test_one_segment(self):
        """As Exim sends: envelope, chunk, message and QUIT at once."""
        client = self.greeted()
        client.write(b"MAIL FROM:<a@x.example> SIZE=50\r\nRCPT TO:<%s>\r\n%sQUIT\r\n"
                     % (self.address("alice").encode(), bdat(TEXTS["dots"])))
        self.assertEqual([client.reply().code for _ in range(4)], [250, 250, 250, 221])
        self.assertEqual(stored_body(self.newest()), TEXTS["dots"].replace(b"\r\n", b"\n"))

    def test_one_segment_with_a_refused_recipient(self):
        """The message that comes behind is read and dropped."""
        client = self.greeted()
        client.write(b"MAIL FROM:<a@x.example>\r\nRCPT TO:<nobody@%s>\r\n%sNOOP\r\nQUIT\r\n"
                     % (self.server.domain.encode(), bdat(b"NOOP\r\nRSET\r\nDATA\r\n")))
        self.assertEqual([client.reply().code for _ in range(5)], [250, 550, 554, 250, 221])

    def test_one_octet_a_segment(self):
        client = self.begun()
        for octet in bdat(NASTY[:20], NASTY[20:]):
            client.write(bytes([octet]))
        self.assertEqual([client.reply().code for _ in range(2)], [250, 250])
        self.assertIn(b"\nQUIT\n", self.newest())

    def test_between_chunks(self):
        client = self.begun()
        client.write(b"BDAT 14\r\nSubject: x\r\n\r\n")
        self.assertEqual(client.reply().code, 250)
        for command, code in (("NOOP", 250), ("VRFY alice", 250), ("DATA", 503), ("MAIL FROM:<b@x.example>", 503),
                              ("RCPT TO:<%s>" % self.address("bob"), 503)):
            client.expect(command, code)
        client.write(b"BDAT 3 LAST\r\nx\r\n")
        self.assertEqual(client.reply().code, 250)
        self.assertEqual(stored_body(self.newest()), b"Subject: x\n\nx\n")

    def test_reset_between_chunks(self):
        for command in ("RSET", "EHLO client.example.org", "HELO client.example.org"):
            client = self.begun()
            before = len(self.server.messages("alice"))
            client.write(b"BDAT 5\r\nabcd\n")
            self.assertEqual(client.reply().code, 250)
            client.expect(command, 250)
            client.write(b"BDAT 6 LAST\r\nNOOP\r\n")
            self.assertEqual(client.reply().code, 503)
            client.expect("NOOP", 250)
            self.assertEqual(len(self.server.messages("alice")), before)
            client.close()

    def test_data_and_chunks_in_one_session(self):
        client = self.greeted()
        for _ in range(2):
            self.begun(client)
            client.write(bdat(b"Subject: chunk\r\n\r\n.\r\n"))
            self.assertEqual(client.reply().code, 250)
            self.assertEqual(client.letter("a@x.example", self.address("alice"),
                                           b"Subject: data\r\n\r\n..\r\n.\r\n").code, 250)
        self.assertEqual([stored_body(message.content) for message in self.server.messages("alice")[-4:]],
                         [b"Subject: chunk\n\n.\n", b"Subject: data\n\n.\n"] * 2)

    def test_syntax(self):
        client = self.begun()
        for argument in ("", " x", " -1", " +1", " 1.5", " 0x10", " 1 FIRST", " 1 LAST LAST", " LAST", " 1LAST",
                         " 123456789012345678901"):
            self.assertEqual(client.expect("BDAT" + argument, 501).text, "5.5.4 Syntax: BDAT octets [LAST]")
        client.write(b"bdat 3 last\r\nx\r\n")
        self.assertEqual(client.reply().code, 250)

    def test_binary_is_not_offered(self):
        client = self.greeted()
        client.expect("MAIL FROM:<a@x.example> BODY=BINARYMIME", 501)

    def test_client_leaves_inside_a_chunk(self):
        client = self.begun(sender="leaver@x.example")
        before = len(self.server.messages("alice"))
        client.write(b"BDAT 1000 LAST\r\nSubject: half\r\n")
        client.close()
        self.server.wait_log("SMTP connection from (client.example.org) [127.0.0.1] lost while reading message data")
        self.assertEqual(len(self.server.messages("alice")), before)

    def test_large(self):
        """Five million octets in chunks of odd sizes."""
        lines = b"".join(b"%06d %s\r\n" % (number, b"." * (number % 70)) for number in range(110000))
        text = b"Subject: large\r\n\r\n" + lines
        client = self.begun()
        client.write(bdat(text[:1], text[1:1 << 20], text[1 << 20:(1 << 20) + 65537], text[(1 << 20) + 65537:]))
        self.assertEqual([client.reply().code for _ in range(4)], [250] * 4)
        self.assertEqual(stored_body(self.newest()), text.replace(b"\r\n", b"\n"))


class SizeTest(support.ServerTestCase):
    options = ("-size", "1024")

    def test_too_big(self):
        """All chunks of a message that is too big are read; the session goes on in step."""
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO x", 250)
        for chunks, codes in (((b"x" * 1025,), [552]), ((b"x" * 600, b"x" * 425), [250, 552]),
                              ((b"x" * 1025, b"NOOP\r\n"), [552, 503]), ((b"x" * 1024,), [250])):
            client.expect("MAIL FROM:<a@x.example>", 250)
            client.expect("RCPT TO:<%s>" % self.address("alice"), 250)
            client.write(bdat(*chunks))
            self.assertEqual([client.reply().code for _ in chunks], codes)
            client.expect("NOOP", 250)
        self.assertEqual(len(self.server.messages("alice")), 1)

    def test_a_chunk_beyond_all_bounds(self):
        """It is answered at once, whether it ever comes or not; none of it is a command."""
        for text in (b"", b"NOOP\r\n" * 1333333 + b".."):
            client = self.client()
            self.addCleanup(client.close)
            client.expect("EHLO x", 250)
            client.write(b"BDAT 8000000 LAST\r\n" + text)
            self.assertEqual((client.reply().code, client.rest()), (503, b""))


@needs_model_exim
class AgainstEximTest(test_corpus.StoreCase):
    """What Exim stores of chunks, we store."""

    store = "maildir"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.exim = cls.enter(Exim(cls.store))

    def converse(self, client, chunks):
        with client:
            for command in DEFAULT_ENVELOPE:
                client.expect(command, 250)
            client.write(bdat(*chunks))
            replies = [client.reply() for _ in chunks]
        self.assertEqual([reply.code for reply in replies], [250] * len(chunks))
        return replies[-1].text.rpartition("id=")[2]

    def test_texts(self):
        for name, text in TEXTS.items():
            if name in ("nasty", "lf-lines"):           # Exim answers a bare LF with 552
                continue
            for chunks in ((text,), (text, b""), (text[:13], text[13:]), (text[:11], text[11:])):
                with self.subTest(name, chunks=chunks):
                    self.exim.wait_completed(self.converse(self.exim.client(), chunks))
                    theirs = self.take()
                    self.converse(self.client(), chunks)
                    self.assert_same_copies(self.take(), theirs)
