"""The corpus of nasty messages, carried to hosts with each combination of 8BITMIME and SMTPUTF8, and read there.

Each goes in one transaction to a mailbox here, whose copy is compared with Exim's in tests/mailstore/test_corpus.py,
and to all hosts.
"""

import re
import unittest

from tests.helpers import support
from tests.helpers.lasting import enter
from tests.helpers.mime_messages import Maker, structure
from tests.lab import corpus
from tests.lab.sink import EXIM, MAILHOG, MAILPIT, UTF8_ALONE, Sink
from tests.smtp_client.test_encoding import CHANGED, UNCHANGED

HOSTS = {"mailhog": MAILHOG, "mailpit": MAILPIT, "exim": EXIM, "utf8": UTF8_ALONE}
ID = re.compile(rb"\n\tid (\S+?);?\r?\n")
RANDOM = 100 if support.LONG else 10


def wires():
    """{name: the octets after the 354}."""
    found = {message.name: message.wire for message in corpus.all_messages()}
    # Python shows a base64 text that is none as it is; in this one octets that mean nothing were replaced.
    texts = {name: text for name, (text, _) in CHANGED.items() if name != "footer-behind-base64"}
    texts.update({name: text for name, text in UNCHANGED.items() if len(text) < 100000})
    texts.update({"random-%d" % seed: Maker(seed).message() for seed in range(RANDOM)})
    found.update({"parts-" + name: text.replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..") + b".\r\n"
                  for name, text in texts.items()})
    return found


class CorpusTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.sinks = {}
        for name, extensions in HOSTS.items():
            cls.sinks[name] = enter(cls.addClassCleanup, Sink(extensions=extensions))
        relays = [word for name, sink in cls.sinks.items()
                  for word in ("-relay", "%s.example=127.0.0.1:%d" % (name, sink.port))]
        cls.server = support.Server([*relays, "-listen", "prefork"])
        cls.addClassCleanup(cls.server.destroy)
        cls.server.start()
        cls.names = {}                  # {id: (name, whether SMTPUTF8 was asked for)}
        for utf8 in (False, True):
            cls.send_all(utf8)
        support.wait_for(lambda: not list(cls.server.spool.glob("queue/*.envelope")), "an empty queue",
                         3 * support.PATIENCE)
        cls.stored = by_id(message.content for message in cls.server.messages("alice"))
        cls.relayed = {name: by_id(message.data for message in sink.messages) for name, sink in cls.sinks.items()}

    @classmethod
    def send_all(cls, utf8):
        recipients = ["alice@" + support.DOMAIN, *("x@%s.example" % name for name in HOSTS)]
        for name, wire in wires().items():
            if utf8 and wire.partition(b"\r\n\r\n")[0].isascii():
                continue                            # it goes as without
            with cls.server.client() as client:     # what ends the text of one may end the session too
                client.expect("EHLO x", 250)
                client.expect("MAIL FROM:<bob@%s>%s" % (support.DOMAIN, " SMTPUTF8" if utf8 else ""), 250)
                for recipient in recipients:
                    client.expect("RCPT TO:<%s>" % recipient, 250)
                client.expect("DATA", 354)
                client.write(wire)
                reply = client.reply()
                if reply.code == 250:
                    cls.names[reply.text.rpartition("id=")[2].encode()] = name, utf8

    @classmethod
    def tearDownClass(cls):
        log = cls.server.log()
        if cls.server.stop() != 0 or "Traceback" in log:
            raise AssertionError(log + cls.server.output())

    def test_what_arrives(self):
        for message_id, (name, utf8) in self.names.items():
            stored = self.stored[message_id].replace(b"\n", b"\r\n")
            header_is_8bit = not stored.partition(b"\r\n\r\n")[0].isascii()
            for host, extensions in HOSTS.items():
                with self.subTest(name, utf8=utf8, host=host):
                    if utf8 and header_is_8bit and "SMTPUTF8" not in extensions:
                        self.assertNotIn(message_id, self.relayed[host])
                    else:
                        self.check(self.relayed[host][message_id], stored, "8BITMIME" in extensions)

    def check(self, relayed, stored, takes_8bit):
        """Octet for octet where 8-bit text is taken; else the same for a reader."""
        if takes_8bit:
            self.assertEqual(relayed, stored)
        else:
            self.assertEqual(structure(relayed), structure(stored))

    def test_one_bounce_where_smtputf8_is_missing(self):
        expected = {message_id for message_id, (_, utf8) in self.names.items()
                    if utf8 and not self.stored[message_id].partition(b"\n\n")[0].isascii()}
        bounces = [message.content for message in self.server.messages("bob")]
        self.assertEqual(len(bounces), len(expected))
        for bounce in bounces:
            failed = re.search(rb"\nX-Failed-Recipients: (\S+),\n  (\S+)\n", bounce)
            self.assertEqual(set(failed.groups()), {b"x@mailhog.example", b"x@exim.example"})
        log = self.server.log()
        for message_id in expected:
            self.assertEqual(log.count(" <= <> R=%s " % message_id.decode()), 1)

    def test_all_were_sent(self):
        self.assertGreater(len(self.names), 2 * 60)
        for host in HOSTS:
            self.assertEqual(len(self.sinks[host].messages), len(self.relayed[host]))


def by_id(contents):
    """{id: the message, from our Received field on}."""
    return {ID.search(content)[1]: content[content.index(b"Received: "):] for content in contents}
