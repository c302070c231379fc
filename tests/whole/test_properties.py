"""Properties that hold for every input: of what is parsed, escaped, cut and put together again.

Hypothesis (Debian's python3-hypothesis) finds the inputs; it is a tool of the tests only.
"""

import pathlib
import tempfile
import types
import unittest

try:
    import hypothesis
    from hypothesis import strategies
except ImportError:
    raise unittest.SkipTest("paquet absent : python3-hypothesis") from None

from common.mainlog import printable
from mailstore import mbox
from mailstore.content import Content, field_name, split_header
from mailstore.delivery import MailObject
from mailstore.incoming import IncomingText
from queue_manager.queue_store import QueueStore
from smtp import replies
from smtp.data_reader import ChunkReader, DataReader
from smtp.syntax import Malformed, parse_address, parse_parameters, parse_path
from tests.helpers import support

hypothesis.settings.register_profile("here", max_examples=3000 if support.LONG else 150, deadline=None, database=None,
                                     derandomize=not support.LONG)
hypothesis.settings.load_profile("here")
given = hypothesis.given

ATOM = strategies.text("abcXYZ019!#$%&'*+-/=?^_`{|}~é", min_size=1, max_size=12)
LOCAL = strategies.lists(ATOM, min_size=1, max_size=4).map(".".join)
LABEL = strategies.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAIN = strategies.lists(LABEL, min_size=1, max_size=4).map(".".join)
ANY_LINE = strategies.binary(max_size=300).map(lambda octets: octets.decode("utf-8", "surrogateescape"))
NEARLY = strategies.text(alphabet='<>@:,;."\\ \t%!ab1[]-', max_size=40)
WIRE = strategies.lists(strategies.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\r\n.\r\n", b"\n.\n", b"From ",
                                                 b" "]),
                        max_size=40).map(b"".join)
STORED = strategies.lists(strategies.sampled_from([b"\n", b"\r", b" ", b"\t", b":", b"a", b"Subject: x\n", b"From ",
                                                   b"\nFrom ", b"\0"]),
                          max_size=40).map(b"".join)
CUTS = strategies.lists(strategies.integers(0, 100), max_size=8)


def pieces(data: bytes, cuts):
    """`data` in pieces, cut at these places."""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in zip(places, places[1:])] or [b""]


class SyntaxTest(unittest.TestCase):
    @given(LOCAL, DOMAIN)
    def test_good_addresses(self, local, domain):
        text = "%s@%s" % (local, domain)
        hypothesis.assume(len(text.encode()) <= 256)
        for path in ("<%s>" % text, text, " <%s> " % text, "<@a.example,@b.example:%s>" % text):
            address, rest = parse_path(path)
            self.assertEqual((address.local, address.domain, address.text, rest), (local, domain, text, ""))

    @given(strategies.text(strategies.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60), DOMAIN)
    def test_quoted_local_parts(self, local, domain):
        quoted = local.replace("\\", "\\\\").replace('"', '\\"')
        address, rest = parse_path('<"%s"@%s> SIZE=1' % (quoted, domain))
        self.assertEqual((address.local, address.domain, rest), (local, domain, "SIZE=1"))

    @given(strategies.one_of(ANY_LINE, NEARLY))
    def test_any_path(self, text):
        """Refused, or an address that can stand in a header and a log line, and that means the same when it is read
        again."""
        try:
            address, _ = parse_path(text)
        except Malformed:
            return
        self.assertTrue((address.local + address.domain + address.text).isprintable())
        self.assertLessEqual(len(address.text.encode()), 256)
        if address.text:
            again = parse_address(address.text)
            self.assertEqual((again.local, again.domain), (address.local, address.domain))
            self.assertEqual(parse_path("<%s>" % address.text)[0].text, address.text)

    @given(strategies.dictionaries(strategies.from_regex(r"[A-Z0-9][A-Z0-9-]{0,8}", fullmatch=True),
                                   strategies.one_of(strategies.none(),
                                                     strategies.from_regex(r"[!-<>-~]{1,9}", fullmatch=True))))
    def test_good_parameters(self, parameters):
        text = " ".join(name if value is None else "%s=%s" % (name, value) for name, value in parameters.items())
        self.assertEqual(parse_parameters(text.lower() if text.isupper() and "=" not in text else text), parameters)

    @given(strategies.one_of(ANY_LINE, NEARLY))
    def test_any_parameters(self, text):
        try:
            parameters = parse_parameters(text)
        except Malformed:
            return
        self.assertTrue(all(name.isascii() and name == name.upper() for name in parameters))


class EscapingTest(unittest.TestCase):
    @given(ANY_LINE)
    def test_log(self, text):
        line = printable(text)
        self.assertTrue(line.isascii() and line.isprintable())

    @given(ANY_LINE)
    def test_replies(self, text):
        """Every reply that repeats something is SMTP, whatever that is."""
        for reply in (replies.hello("d", text, "::1"), replies.extensions("d", text, "::1", ["X"]),
                      replies.bad_sender(text), replies.bad_recipient(text), replies.will_forward(text),
                      replies.please_try(text), replies.recipient_refused(text), replies.recipient_later(text),
                      replies.not_stored(text), replies.members([text + " <a@b.example>"] * 2)):
            for line in reply.for_client(False).encode().splitlines(keepends=True):
                self.assertRegex(line, rb"\A\d{3}[ -][ -~]{0,506}\r\n\Z")
            for line in reply.encode().split(b"\r\n")[:-1]:
                self.assertLessEqual(len(line), 510)
                self.assertTrue(line.decode("utf-8").isprintable())


class ReadersTest(unittest.TestCase):
    """The readers of DATA and BDAT give the same for every way in which their input is cut."""

    @given(WIRE, CUTS, strategies.booleans())
    def test_data(self, wire, cuts, crlf_seen):
        self.assertEqual(self.read_data(pieces(wire, cuts), crlf_seen), self.read_data([wire], crlf_seen))

    @staticmethod
    def read_data(parts, crlf_seen):
        reader, text, parts = DataReader(crlf_seen), b"", [*parts, b"\r\n.\r\n"]
        while parts and not reader.ended:
            text += reader.feed(parts.pop(0))
        return text, reader.octets, reader.rest + b"".join(parts), reader.crlf_seen

    @given(WIRE, CUTS)
    def test_chunks(self, wire, cuts):
        self.assertEqual(self.read_chunks(pieces(wire, cuts)), self.read_chunks([wire]))

    @staticmethod
    def read_chunks(parts):
        reader = ChunkReader()
        return b"".join(map(reader.feed, parts)) + reader.finish(), reader.octets


class StoredTextTest(unittest.TestCase):
    @given(STORED, CUTS)
    def test_draft(self, text, cuts):
        """However it comes in, and whether it stays in memory or not, it is the same."""
        with tempfile.TemporaryDirectory() as folder:
            draft = IncomingText(folder)
            for piece in pieces(text, cuts):
                draft.write(piece)
            self.assertEqual(draft.beginning() + b"".join(draft.remainder()), text)
            self.assertEqual(draft.octets, len(text))
            self.assertEqual(list(pathlib.Path(folder).iterdir()), [])
            draft.close()

    @given(STORED)
    def test_split_header(self, text):
        """Fields are fields, nothing is invented, and what was split once is split again in the same way."""
        fields, start, first = split_header(text)
        for field in fields:
            name = field_name(field)
            self.assertTrue(field.partition(b":")[1])
            self.assertTrue(all(32 < octet < 127 for octet in name), name)
            self.assertNotIn(b"\n\n", field)
            self.assertNotIn(b"\r", field)
            self.assertTrue(all(line[:1] in (b" ", b"\t") for line in field.split(b"\n")[1:-1]), field)
        self.assertLessEqual(start, len(text))
        whole = [field if field.endswith(b"\n") else field + b"\n" for field in fields]
        again, behind, _ = split_header(b"".join(whole) + b"\n" + first + text[start:])
        self.assertEqual(again, whole)
        self.assertEqual((b"".join(whole) + b"\n" + first + text[start:])[behind:], first + text[start:])

    @given(STORED, CUTS)
    def test_mbox_escaping(self, text, cuts):
        """However it is cut: no line but the first begins a message, and taking the > away gives the text back."""
        text = b"From a\n" + text
        escaped = b"".join(mbox.escaped(pieces(text, cuts)))
        self.assertEqual(escaped, b"".join(mbox.escaped([text])))
        self.assertNotIn(b"\nFrom ", escaped)
        self.assertEqual(escaped.replace(b"\n>From ", b"\nFrom "), text.replace(b"\n>From ", b"\nFrom "))


class EnvelopeTest(unittest.TestCase):
    @given(ANY_LINE.filter(bool),
           strategies.lists(strategies.tuples(ANY_LINE, ANY_LINE), min_size=1, max_size=5, unique=True),
           strategies.booleans(), STORED)
    def test_round_trip(self, sender, addresses, utf8, text):
        """What is put into the queue is what the relay takes out of it, octet for octet."""
        with tempfile.TemporaryDirectory() as folder:
            draft = IncomingText(folder)
            draft.write(text)
            letter = Content(draft)
            origin = types.SimpleNamespace()
            message = MailObject(letter, sender, [], origin, utf8=utf8)
            store = QueueStore(folder + "/queue")
            distant = [(address, [given_as]) for address, given_as in addresses]
            store.prepare("1xVkyz-0002Ae-0G", message, "Received: x\n", distant).commit()
            envelope = store.load("1xVkyz-0002Ae-0G")
            self.assertEqual((envelope.sender, envelope.utf8), (sender, utf8))
            self.assertEqual([(one.address, one.envelope_to) for one in envelope.recipients], distant)
            content = pathlib.Path(store.message_path("1xVkyz-0002Ae-0G")).read_bytes()
            self.assertEqual(content, b"".join(letter.pieces(b"Received: x\n")))
            draft.close()


if __name__ == "__main__":
    unittest.main()
