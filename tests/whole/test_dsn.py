"""Delivery status notifications (RFC 3461): who is told what of which message, and what other hosts are told. What is
late is queue_manager/test_notifications.py's.

Each row of the table is a message of its own, known again by its ENVID.
"""

import contextlib
import pathlib
import re
import typing
import unittest

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter
from tests.helpers.reports import HEADERS, WHOLE, Told, reports
from tests.lab.sink import Sink

TEXT = b"Subject: essai\r\nMessage-ID: <essai@client>\r\n\r\nCorps.\r\n.\r\n"
PLAIN, AWARE, BAD = "plain.example", "aware.example", "bad.example"
ALIASES = "one: bob\nlist: bob, alice\nfar: x@%s\nfars: x@%s, y@%s\nbad: bob, x@%s, y@%s\nhole: :blackhole:\n" % (
    AWARE, PLAIN, AWARE, BAD, BAD)


class Row(typing.NamedTuple):
    """One message. to: its recipient; notify, ret: the parameters, "" without; told: the actions reported, one for each
    recipient that it leads to; returned: the form in which the message comes back with them."""
    to: str
    notify: str
    ret: str
    told: typing.Sequence[str]
    returned: str = HEADERS


HERE = support.DOMAIN
# RFC 3461 §5.2.1 to §5.2.7; what an address without NOTIFY hears is §4.1's choice: FAILURE and DELAY.
TABLE = [
    Row("bob@" + HERE, "", "", []),
    Row("bob@" + HERE, "NEVER", "FULL", []),
    Row("bob@" + HERE, "FAILURE,DELAY", "", []),
    Row("bob@" + HERE, "SUCCESS", "", ["delivered"]),
    Row("bob@" + HERE, "SUCCESS,FAILURE,DELAY", "FULL", ["delivered"]),     # what has arrived comes back as its header
    Row("one@" + HERE, "SUCCESS", "HDRS", ["delivered"]),
    Row("one@" + HERE, "NEVER", "", []),
    Row("hole@" + HERE, "SUCCESS", "", ["delivered"]),
    Row("list@" + HERE, "SUCCESS", "", ["expanded"]),
    Row("list@" + HERE, "FAILURE", "", []),
    Row("fars@" + HERE, "SUCCESS,FAILURE", "", ["expanded"]),
    Row("far@" + HERE, "SUCCESS,DELAY", "HDRS", []),                        # who takes it over reports
    Row("x@" + AWARE, "", "", []),
    Row("x@" + AWARE, "NEVER", "FULL", []),
    Row("x@" + AWARE, "SUCCESS,FAILURE", "HDRS", []),
    Row("x@" + PLAIN, "", "", []),
    Row("x@" + PLAIN, "NEVER", "", []),
    Row("x@" + PLAIN, "FAILURE", "", []),
    Row("x@" + PLAIN, "SUCCESS", "FULL", ["relayed"]),
    Row("x@" + PLAIN, "DELAY,SUCCESS", "", ["relayed"]),
    Row("x@" + BAD, "", "", ["failed"], WHOLE),
    Row("x@" + BAD, "", "HDRS", ["failed"]),
    Row("x@" + BAD, "FAILURE", "FULL", ["failed"], WHOLE),
    Row("x@" + BAD, "SUCCESS,FAILURE", "HDRS", ["failed"]),
    Row("x@" + BAD, "SUCCESS", "", []),
    Row("x@" + BAD, "DELAY", "FULL", []),
    Row("x@" + BAD, "NEVER", "", []),
    Row("bad@" + HERE, "SUCCESS", "", ["expanded"]),
    Row("bad@" + HERE, "SUCCESS,FAILURE", "HDRS", ["failed", "failed", "expanded"]),
    Row("bad@" + HERE, "NEVER", "", []),
    Row("bad@" + HERE, "", "", ["failed", "failed"], WHOLE),
]


def parameters(**values) -> str:
    return "".join(" %s=%s" % (keyword, value) for keyword, value in values.items() if value)


class Sinks:
    """The three hosts: one that offers DSN, one that does not, one that refuses everybody."""

    def __init__(self):
        self.aware = Sink(extensions=("SIZE", "8BITMIME", "DSN"))
        self.plain = Sink({"dot": "250 2.6.0 taken"})
        self.bad = Sink({"rcpt": "550 5.1.1 nobody"}, extensions=("DSN",))

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for sink in (self.aware, self.plain, self.bad):
                stack.enter_context(sink)
            self._close = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._close.close()

    def options(self):
        hosts = {AWARE: self.aware, PLAIN: self.plain, BAD: self.bad}
        return [word for domain, sink in hosts.items() for word in ("-relay", "%s=127.0.0.1:%d" % (domain, sink.port))]


class DsnCase(support.ServerTestCase):
    sender = "alice@" + HERE

    @classmethod
    def setUpClass(cls):
        cls.sinks = enter(cls.addClassCleanup, Sinks())
        cls.options = (*cls.options, *cls.sinks.options())
        super().setUpClass()

    def told(self) -> typing.Dict[str, typing.List[Told]]:
        """{ENVID: what was reported}, once nothing is left to do; messages that are no reports are left out."""
        support.wait_for(lambda: not list(self.server.spool.glob("queue/*.envelope")), "an empty queue")
        found: typing.Dict[str, typing.List[Told]] = {}
        for message in self.sender_mailbox():
            if b"report-type=delivery-status" in message:
                envid, told = reports(message)
                found.setdefault(envid, []).extend(told)
        return found

    def sender_mailbox(self) -> typing.List[bytes]:
        return [message.content for message in self.server.messages("alice")]

    def send(self, recipients, ret="", envid="", sender=None, chunked=False):
        """One message; recipients: pairs of (address, its parameters)."""
        with self.client() as client:
            client.expect("EHLO client.example", 250)
            given = self.sender if sender is None else sender
            client.expect("MAIL FROM:<%s>%s" % (given, parameters(RET=ret, ENVID=envid)), 250)
            for address, words in recipients:
                self.assertIn(client.ask("RCPT TO:<%s>%s" % (address, words)).code, (250, 251))
            if chunked:
                client.expect(b"BDAT %d LAST\r\n%s" % (len(TEXT) - 3, TEXT[:-5]), 250)
            else:
                client.expect("DATA", 354)
                client.expect(TEXT[:-2], 250)

    def ask(self, row: Row, envid: str, chunked=False):
        words = parameters(NOTIFY=row.notify, ORCPT="rfc822;" + row.to)
        self.send([(row.to, words)], row.ret, envid, chunked=chunked)


@support.both_listeners
class TableTest(DsnCase):
    aliases = ALIASES

    def test_who_is_told_what(self):
        for number, row in enumerate(TABLE):
            self.ask(row, "row+2B%d" % number, chunked=number % 2 == 1)
        told = self.told()
        for number, row in enumerate(TABLE):
            with self.subTest(row=row):
                found = told.pop("row+%d" % number, [])
                self.assertEqual(sorted(one.action for one in found), sorted(row.told))
                self.assertEqual({(one.original, one.final) for one in found},
                                 {("rfc822;" + row.to, "rfc822;" + row.to)} if row.told else set())
                if "expanded" not in row.told:
                    self.assertEqual({one.returned for one in found}, {row.returned} if row.told else set())
                for one in found:
                    self.check_fields(one)
        self.assertEqual([envid for envid in told if envid.startswith("row")], [])
        self.check_what_hosts_are_told()

    def check_fields(self, one: Told):
        remote, diagnostic = {"failed": ("dns; 127.0.0.1", "smtp; 550 5.1.1 nobody"),
                              "relayed": ("dns; 127.0.0.1", "smtp; 250 2.6.0 taken")}.get(one.action, ("", ""))
        self.assertEqual((one.remote, one.diagnostic), (remote, diagnostic))
        self.assertEqual(one.status, {"failed": "5.1.1", "relayed": "2.6.0"}.get(one.action, "2.0.0"))

    def check_what_hosts_are_told(self):
        """RFC 3461 §5.2.1, §5.2.7.2, §5.2.7.3 (c)."""
        asked = {}
        for message in self.sinks.aware.messages:
            envid = re.search(r"ENVID=row\+2B(\d+)", message.sender)
            asked[int(envid[1])] = (re.findall(r"RET=\w+", message.sender), message.recipients[0].split()[1:])
        for number, (ret, words) in asked.items():
            row = TABLE[number]
            notify = {"SUCCESS,FAILURE": "FAILURE"}.get(row.notify, row.notify) if row.to[:4] == "fars" else row.notify
            self.assertEqual(ret, ["RET=" + row.ret] if row.ret else [])
            self.assertEqual(words, parameters(NOTIFY=notify, ORCPT="rfc822;" + row.to).split())
        self.assertEqual(len(asked), sum(AWARE in row.to or row.to[:3] == "far" for row in TABLE))
        said = " ".join(self.sinks.plain.commands)
        self.assertFalse([word for word in ("RET=", "ENVID=", "NOTIFY=", "ORCPT=") if word in said], said)

    def test_several_recipients_in_one_report(self):
        self.send([("bob@" + HERE, parameters(NOTIFY="SUCCESS")), ("one@" + HERE, parameters(NOTIFY="SUCCESS")),
                   ("alice@" + HERE, ""), ("list@" + HERE, parameters(NOTIFY="SUCCESS,FAILURE"))], envid="several")
        self.assertEqual([(one.action, one.original, one.final) for one in self.told()["several"]],
                         [("delivered", "", "rfc822;bob@" + HERE), ("delivered", "", "rfc822;one@" + HERE),
                          ("expanded", "", "rfc822;list@" + HERE)])

    def test_one_recipient_several_times(self):
        """Nobody hears less than one of the requests asked; and nobody hears it twice."""
        self.send([("x@" + BAD, parameters(NOTIFY="NEVER")), ("X@".lower() + BAD.upper(), parameters(NOTIFY="FAILURE")),
                   ("bob@" + HERE, ""), ("BOB@" + HERE, parameters(NOTIFY="SUCCESS", ORCPT="rfc822;b")),
                   ("y@" + BAD, ""), ("y@" + BAD, parameters(NOTIFY="NEVER"))], envid="twice")
        self.assertEqual(sorted((one.action, one.original, one.final[7]) for one in self.told()["twice"]),
                         [("delivered", "rfc822;b", "b"), ("failed", "", "x"), ("failed", "", "y")])

    def test_nobody_is_told_of_what_nobody_sent(self):
        """RFC 3461 §5.2: a message from <> brings no report, whatever it asks for."""
        before = len(self.server.messages("alice"))
        self.send([(to, parameters(NOTIFY="SUCCESS")) for to in ("bob@" + HERE, "bob@" + HERE, "x@" + PLAIN)],
                  envid="nobody", sender="")
        self.told()
        self.assertEqual(len(self.server.messages("alice")), before)

    def test_log(self):
        """The session tells of the delivery, the relay of the report: one message, and its report."""
        before = len(self.server.log())
        self.send([("bob@" + HERE, parameters(NOTIFY="SUCCESS"))], envid="log")
        self.told()
        lines = [line[20:] for line in self.server.log()[before:].splitlines() if "-" in line[20:36]]
        message = lines[0][:16]
        self.assertEqual([line[17:] for line in lines if line.startswith(message)][1:],
                         ["=> bob <bob@%s> R=local_user T=maildir_home" % HERE, "Completed"])
        self.assertEqual(sum(" <= <> R=" + message in line for line in lines), 1)


@support.needs_root
class MboxTest(DsnCase):
    """The same for /var/mail, and through .forward."""

    accounts = None
    options = ("-store", "mbox")
    sender = "essaiann@" + HERE

    @classmethod
    def setUpClass(cls):
        cls.people = enter(cls.addClassCleanup, system_users("essaiann", "essaiben", "essaicid"))
        pathlib.Path(cls.people["essaicid"].pw_dir, ".forward").write_text("x@%s\n" % AWARE)
        super().setUpClass()

    def sender_mailbox(self):
        text = pathlib.Path("/var/mail/essaiann").read_bytes()
        return [part.partition(b"\n")[2] for part in text.split(b"\n\nFrom ")]

    def test_who_is_told_what(self):
        rows = {"ben": Row("essaiben@" + HERE, "SUCCESS", "", ["delivered"]),
                "never": Row("essaiben@" + HERE, "NEVER", "", []),
                "forward": Row("essaicid@" + HERE, "SUCCESS,DELAY", "FULL", [])}
        for envid, row in rows.items():
            self.ask(row, envid)
        told = self.told()
        for envid, row in rows.items():
            self.assertEqual([one.action for one in told.get(envid, [])], row.told)
        message, = self.sinks.aware.messages
        self.assertIn(" RET=FULL ENVID=forward", message.sender)
        self.assertEqual(message.recipients,
                         ["TO:<x@%s> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;essaicid@%s" % (AWARE, HERE)])


if __name__ == "__main__":
    unittest.main()
