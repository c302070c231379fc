"""Hosts that take no 8-bit text: bodies are encoded part by part (RFC 6152 §3, RFC 2045 §6), and nothing else is
changed."""

import email
import email.policy
import unittest

from tests.helpers import processes, support
from tests.helpers.mime_messages import Maker, structure
from tests.lab.relay import SENDER, TEXT, Relay
from tests.lab.sink import MAILHOG, MAILPIT, Sink

HEAD = TEXT.partition(b"\n\n")[0] + b"\n"
MIME = HEAD + b"MIME-Version: 1.0\n"
MIXED = MIME + b"Content-Type: multipart/mixed; boundary=b\n\n"
DENSE = "\u6f22\u5b57\n\u6f22\u5b57\n".encode()
DENSE_BASE64 = b"5ryi5a2XDQrmvKLlrZcNCg==\n"         # its lines end in CRLF
RANDOM = 300 if support.LONG else 30


def sent(texts, extensions=("SIZE",)):
    """{name: the Received message} of `texts`, {name: text}, sent to one host in one run of the relay."""
    with Sink(extensions=extensions) as sink, Relay({"s.example": sink.port}) as relay:
        for name, text in texts.items():
            relay.enqueue("%s@s.example" % name, text=text)
        relay.start()
        relay.wait_empty()
        if "Traceback" in relay.log():
            raise AssertionError(relay.log())
        return {message.recipients[0][4:-len("@s.example>")]: message for message in sink.messages}


# name: (what is in the queue, what the host gets)
CHANGED = {
    "typed-by-hand": (HEAD + "\nÇa va bien ?\n".encode(), MIME + b"Content-Type: text/plain; charset=utf-8\n"
                      b"Content-Transfer-Encoding: quoted-printable\n\n=C3=87a va bien ?\n"),
    "typed-in-latin1": (HEAD + b"\nEt voil\xe0 tout\n", MIME + b"Content-Type: text/plain; charset=unknown-8bit\n"
                        b"Content-Transfer-Encoding: quoted-printable\n\nEt voil=E0 tout\n"),
    "label-replaced": (MIME + b"Content-Transfer-Encoding:\n 8BIT\nX-After: \xe9\nContent-Type: text/html\n\n"
                              b"a=b \xe9, \t\nthe end\n",
                       MIME + b"Content-Transfer-Encoding: quoted-printable\nX-After: \xe9\nContent-Type: text/html\n\n"
                       b"a=3Db =E9, =09\nthe end\n"),
    "dense": (MIME + b"Content-Type: text/plain; charset=utf-8\n\n" + DENSE,
              MIME + b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + DENSE_BASE64),
    "parts": (MIXED + b"--b\nContent-Type: text/plain\n\nplain\n--b\nContent-Disposition: attachment;\n"
                      b" filename=\"r\xc3\xa9sum\xc3\xa9\"\n\n" + DENSE
              + b"\n--b--\n",
              MIXED + b"--b\nContent-Type: text/plain\n\nplain\n--b\nContent-Disposition: attachment;\n"
                      b" filename=\"r\xc3\xa9sum\xc3\xa9\"\n"
              b"Content-Transfer-Encoding: base64\n\n" + DENSE_BASE64 + b"--b--\n"),
    "multipart-labelled": (MIME + b"Content-Transfer-Encoding: 8bit\nContent-Type: multipart/mixed; boundary=b\n\n"
                           b"--b\nContent-Transfer-Encoding: 8bit\n\nsome \xe9\n--b--\n",
                           MIME + b"Content-Transfer-Encoding: 7bit\nContent-Type: multipart/mixed; boundary=b\n\n"
                           b"--b\nContent-Transfer-Encoding: quoted-printable\n\nsome =E9\n--b--\n"),
    "multipart-with-8-bit-header": (
        MIME + b"Content-Transfer-Encoding: 8bit\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: \xe9\n\n"
               b"some \xe9\n--b--\n",
        MIME + b"Content-Transfer-Encoding: 8bit\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: \xe9\n"
        b"Content-Transfer-Encoding: quoted-printable\n\nsome =E9\n--b--\n"),
    "outside": (MIXED + b"\xe9 before\n--b\n\nx\n--b--\nbehind \xc3\xa9\n--b\nand more\xe9\n",
                MIXED + b"? before\n--b\n\nx\n--b--\nbehind ??\n--b\nand more?\n"),
    "footer-behind-base64": (MIXED + b"--b\nContent-Transfer-Encoding: base64\n\nQUJD\n__\nliste \xc3\xa9\n--b--\n",
                             MIXED + b"--b\nContent-Transfer-Encoding: base64\n\nQUJD\n__\nliste ??\n--b--\n"),
    "footer-behind-quoted": (MIME + b"Content-Transfer-Encoding: Quoted-Printable\n\na=3Db=\nc\n__\nliste \xe9\n",
                             MIME + b"Content-Transfer-Encoding: Quoted-Printable\n\na=3Db=\nc\n__\nliste =E9\n"),
    "message-in-message": (MIXED + b"--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n"
                                   b"Subject: x\n\nsome text \xc3\xa9\n--b--\n",
                           MIXED + b"--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: x\n"
                                   b"MIME-Version: 1.0\n"
                           b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
                           b"some text =C3=A9\n--b--\n"),
    "message-global": (MIXED + b"--b\nContent-Type: message/global\n\nMIME-Version: 1.0\nSubject: \xc3\xa9\n\n"
                               b"some text \xc3\xa9\n--b--\n",
                       MIXED + b"--b\nContent-Type: message/global\n\nMIME-Version: 1.0\nSubject: \xc3\xa9\n"
                       b"Content-Transfer-Encoding: quoted-printable\n\nsome text =C3=A9\n--b--\n"),
    "digest": (MIXED.replace(b"mixed", b"digest") + b"--b\n\nMIME-Version: 1.0\n\nsome \xe9\n--b--\n",
               MIXED.replace(b"mixed", b"digest")
               + b"--b\n\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nsome =E9\n--b--\n"),
    "inner-not-closed": (MIXED + b"--b\nContent-Type: multipart/mixed; boundary=\"c d\"\n\n--c d\n\nsome \xe9\n--b\n\n"
                                 b"more \xe9\n--b--\n",
                         MIXED + b"--b\nContent-Type: multipart/mixed; boundary=\"c d\"\n\n--c d\n"
                                 b"Content-Transfer-Encoding: quoted-printable\n\n"
                         b"some =E9\n--b\nContent-Transfer-Encoding: quoted-printable\n\nmore =E9\n--b--\n"),
    "no-empty-line": (MIXED + b"--b\nX: y\nnot a field \xe9\n--b--\n",
                      MIXED + b"--b\nX: y\nContent-Transfer-Encoding: quoted-printable\n\nnot a field =E9\n--b--\n"),
    "spaces-in-field": (MIME + b"Content-Type: multipart/mixed; name=\"; boundary=a\";\n\tBOUNDARY = \"b\\\"c\"\n\n"
                               b"--b\"c \t\n\nsome \xe9\n--b\"c--\n",
                        MIME + b"Content-Type: multipart/mixed; name=\"; boundary=a\";\n\tBOUNDARY = \"b\\\"c\"\n\n"
                               b"--b\"c \t\n"
                        b"Content-Transfer-Encoding: quoted-printable\n\nsome =E9\n--b\"c--\n"),
}

UNCHANGED = {
    "7-bit": TEXT,
    "header-alone": TEXT.replace(b"Subject: essai", "From: José Noël <jose@b.example>\nSubject: été".encode()),
    "odd-controls": TEXT.replace(b"Subject: essai", b"Subject: TP\x0cNote: 12\x0bx\x1cy\x85z\xe2\x80\xa8t"),
    "no-boundary": MIME + b"Content-Type: multipart/mixed\n\nsome \xe9\n",
    "boundary-that-never-comes": MIXED + b"some \xe9\n--c\n\nmore \xe9\n--c--\n",
    "same-boundary-inside": MIXED + b"--b\nContent-Type: multipart/mixed; boundary=b\n\nsome text\n--b--\n",
    "footer-in-7-bit": MIXED + b"--b\nContent-Transfer-Encoding: base64\n\nQUJD\n__\nliste\n--b--\n",
    "unknown-encoding": MIME + b"Content-Transfer-Encoding: x-uuencode\n\nbegin \xe9\n",
    "blanks-before-the-colon": MIME + b"Content-Type : multipart/mixed; boundary=b\n\n--b\n\nsome text \xe9\n--b--\n",
    "field-name-in-8-bit": HEAD + "Été: x\n\nun texte assez long, cet été\n".encode(),
    "signed": (MIXED.replace(b"mixed", b"signed")
               + b"--b\n\nsome \xe9\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n"),
    "delivery-status": MIXED + b"--b\nContent-Type: message/delivery-status\n\n"
                               b"Final-Recipient: utf-8;\xc3\xa9@x.example\n--b--\n",
    "endless-structure": MIXED + b"--b\n\nsome \xe9\n" * 40000,
}


class EncodingTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.long_line = b"\xe9 " + b"y" * 700000
        texts = {name: text for name, (text, _) in CHANGED.items()}
        texts.update(UNCHANGED)
        texts["long-line"] = MIME + b"Content-Type: text/plain; charset=iso-8859-1\n\n" + cls.long_line + b"\nx\n"
        cls.messages = sent(texts)

    def test_encoded(self):
        for name, (_, expected) in CHANGED.items():
            with self.subTest(name):
                self.assertEqual(self.messages[name].data, expected.replace(b"\n", b"\r\n"))

    def test_size_is_that_of_the_encoded_message(self):
        for message in self.messages.values():
            self.assertEqual(message.sender, "FROM:<%s> SIZE=%d" % (SENDER, len(message.data)))

    def test_left_as_it_is(self):
        """7-bit, or what encoding would make unreadable, or another message than was sent."""
        for name, text in UNCHANGED.items():
            with self.subTest(name):
                self.assertTrue(self.messages[name].data == text.replace(b"\n", b"\r\n"),
                                self.messages[name].data[:1000])

    def test_line_longer_than_what_is_read_at_once(self):
        data = self.messages["long-line"].data
        self.assertLessEqual(max(map(len, data.split(b"\r\n"))), 76)
        content = email.message_from_bytes(data, policy=email.policy.default).get_content()
        self.assertTrue(content.replace("\r\n", "\n") == self.long_line.decode("latin-1") + "\nx\n")

    def test_random_messages(self):
        """The reader sees the same, whatever the parts; bodies are 7-bit on the way."""
        texts = {"seed%d" % seed: Maker(seed).message() for seed in range(RANDOM)}
        for name, message in sent(texts).items():
            with self.subTest(name):
                self.assertEqual(structure(message.data), structure(texts[name].replace(b"\n", b"\r\n")))

    def test_host_with_8bitmime(self):
        """Nothing is changed."""
        texts = {name: text for name, (text, _) in CHANGED.items()}
        for name, message in sent(texts, MAILPIT).items():
            self.assertEqual(message.data, texts[name].replace(b"\n", b"\r\n"))
            self.assertIn(" BODY=8BITMIME", message.sender)


class MemoryTest(unittest.TestCase):
    """What encoding takes beside the idle relay: at most three times the message and 8 MiB, and never 64 MiB more than
    it."""

    TEXTS = {
        "two-octet-lines": HEAD + b"\n" + b"\xe9\n" * 2000000,
        "attachment": (MIXED + b"--b\n\nsome \xe9\n--b\nContent-Transfer-Encoding: base64\n\n"
                       + (b"QUJD" * 19 + b"\n") * 250000 + b"--b--\n"),
        "one-line": HEAD + b"\n" + b"\xe9" * 8000000 + b"\n",
        "nested": HEAD + b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (number, number)
                                  for number in range(12000))
        + b"\nsome \xe9\n",
    }

    def test_peak(self):
        for name, text in self.TEXTS.items():
            with self.subTest(name), Sink(extensions=MAILHOG) as sink, Relay({"s.example": sink.port}) as relay:
                relay.start()
                relay.enqueue("first@s.example")
                relay.wake()
                sink.wait_messages(1)
                idle = processes.peak_memory(relay.process.pid)
                relay.enqueue("big@s.example", text=text)
                relay.wake()
                sink.wait_messages(2, 3 * support.PATIENCE)
                used = processes.peak_memory(relay.process.pid) - idle
                self.assertLessEqual(used, min(3 * len(text) + (8 << 20), len(text) + (64 << 20)))
