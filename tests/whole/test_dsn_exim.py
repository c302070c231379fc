"""Delivery status notifications beside a real Exim that offers DSN: the same reply to each parameter, the same fields
in the reports, the same words to the next host. Where we differ, the standard is why, and the row says so."""

import typing
import unittest

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter
from tests.helpers.reports import HEADERS, WHOLE, Told, reports
from tests.lab.exim import Exim, needs_model_exim
from tests.lab.sink import Sink

HERE = support.DOMAIN
USERS = "eximalice", "eximbob"
OPTIONS = "tls_advertise_hosts =\ndsn_advertise_hosts = *"
TEXT = "Subject: hi\r\nMessage-ID: <m@x>\r\n\r\nbody\r\n."

# Our code and Exim's for each form: where they differ, why.
OF_MAIL = {
    "RET=HDRS": (250, 250), "RET=full ENVID=a+2Bb": (250, 250), "ENVID=" + "x" * 100: (250, 250),
    "RET=X": (501, 501), "RET": (501, 501), "RET=FULL RET=FULL": (501, 501), "ENVID=a ENVID=b": (501, 501),
    "ENVID=a=b": (501, 501), "NOTIFY=NEVER": (555, 501),    # RFC 5321 §4.1.1.11: 555 for what is no parameter
    "RET=": (501, 250), "ENVID=": (501, 250),               # RFC 5321 §4.1.2: a value has a character
    "ENVID=a+": (501, 250), "ENVID=a+2b": (501, 250),       # RFC 3461 §4: two digits, in capitals
    "ENVID=a+0Ab": (501, 250), "ENVID=+E9": (501, 250),     # RFC 3461 §4.4: it could not stand in a report
    "ENVID=" + "x" * 101: (501, 250),                       # RFC 3461 §4.4: 100 characters
}
OF_RCPT = {
    "NOTIFY=NEVER": (250, 250), "NOTIFY=success,FAILURE,delay": (250, 250), "NOTIFY=SUCCESS,SUCCESS": (250, 250),
    "ORCPT=rfc822;a@b": (250, 250), "NOTIFY=NEVER ORCPT=rfc822;a+2Bb@c": (250, 250),
    "ORCPT=rfc822;" + "x" * 493: (250, 250),
    "NOTIFY=NEVER,SUCCESS": (501, 501), "NOTIFY=SUCCESS,NEVER": (501, 501), "NOTIFY=X": (501, 501),
    "NOTIFY": (501, 501), "NOTIFY=NEVER NOTIFY=NEVER": (501, 501), "ORCPT=rfc822;a ORCPT=rfc822;b": (501, 501),
    "RET=FULL": (555, 501),                                 # RFC 5321 §4.1.1.11
    "NOTIFY=": (501, 250), "ORCPT": (501, 250),             # RFC 5321 §4.1.2
    "NOTIFY=SUCCESS,": (501, 250),                          # RFC 3461 §4.1: each element is a word
    "ORCPT=a@b": (501, 250), "ORCPT=;a": (501, 250), "ORCPT=rfc822;": (501, 250),   # §4.2: type;address
    "ORCPT=rfc822;a+2b": (501, 250), "ORCPT=rfc822;a+0Ab": (501, 250), "ORCPT=rfc822;+E9@b": (501, 250),
    "ORCPT=rfc822;" + "x" * 494: (501, 250),                # §4.2: 500 characters
}


class Row(typing.NamedTuple):
    """One message. to: its recipient; notify; ret; action: in our report, "" for none; returned: what comes back."""
    to: str
    notify: str
    ret: str
    action: str
    returned: str = ""


ROWS = [
    Row("eximbob@" + HERE, "SUCCESS", "FULL", "delivered", HEADERS),
    Row("one@" + HERE, "SUCCESS,FAILURE", "", "delivered", HEADERS),
    Row("hole@" + HERE, "SUCCESS", "", "delivered", HEADERS),
    Row("eximbob@" + HERE, "FAILURE,DELAY", "", ""),
    Row("x@plain.example", "SUCCESS", "HDRS", "relayed", HEADERS),
    Row("x@plain.example", "NEVER", "HDRS", ""),
    Row("bad@plain.example", "", "", "failed", WHOLE),
    Row("bad@plain.example", "SUCCESS,FAILURE", "HDRS", "failed", HEADERS),
    Row("bad@plain.example", "NEVER", "FULL", ""),
    Row("bad@plain.example", "SUCCESS", "FULL", ""),
    Row("y@aware.example", "SUCCESS,FAILURE,DELAY", "FULL", ""),
    Row("y@aware.example", "NEVER", "HDRS", ""),
    Row("y@aware.example", "", "", ""),
]


def refuse_bad(argument, _):
    return "550 nobody" if "<bad@" in argument else "250 OK"


class Server:
    """Exim or ours, with both hosts and the sender's, which only takes reports."""

    def __init__(self, case: unittest.TestCase):
        self.plain, self.aware, self.back = Sink({"rcpt": refuse_bad}), Sink(extensions=("SIZE", "DSN")), Sink()
        for sink in (self.plain, self.aware, self.back):
            enter(case.addClassCleanup, sink)
        self.routes = {"plain.example": self.plain.port, "aware.example": self.aware.port,
                       "back.example": self.back.port}
        self.told: typing.Dict[str, typing.List[Told]] = {}
        self.running: typing.Any = None

    def run(self, running) -> None:
        self.running = running
        for number, row in enumerate(ROWS):
            self.send(row, "row%d" % number)

    def send(self, row: Row, envid: str) -> None:
        with self.running.client() as client:
            client.expect("EHLO client.example", 250)
            client.expect("MAIL FROM:<me@back.example> ENVID=%s%s" % (envid, row.ret and " RET=" + row.ret), 250)
            client.expect("RCPT TO:<%s> ORCPT=rfc822;%s%s" % (
                row.to, row.to, row.notify and " NOTIFY=" + row.notify), 250)
            client.expect("DATA", 354)
            client.expect(TEXT, 250)

    def read(self) -> None:
        wanted = sum(bool(row.action) for row in ROWS)
        self.back.wait(lambda sink: len(sink.messages) >= wanted, "%d reports" % wanted)
        self.aware.wait(lambda sink: len(sink.messages) >= 3, "the mail of the host with DSN")
        for message in self.back.messages:
            envid, told = reports(b"Return-path: <>\n" + message.data.replace(b"\r\n", b"\n"))
            self.told[envid] = told

    def said(self) -> typing.List[typing.Tuple[typing.List[str], typing.List[str]]]:
        """What the host with DSN was told of each message, without sizes: the parameters of MAIL and of RCPT."""
        return sorted((sorted(word for word in message.sender.split()[1:] if not word.startswith("SIZE=")),
                       sorted(message.recipients[0].split()[1:])) for message in self.aware.messages)


@needs_model_exim
class EximTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        enter(cls.addClassCleanup, system_users(*USERS))
        cls.ours, cls.theirs = Server(cls), Server(cls)
        aliases = "one: eximalice\nhole: :blackhole:\n"
        relays = [word for domain, port in cls.ours.routes.items()
                  for word in ("-relay", "%s=127.0.0.1:%d" % (domain, port))]
        ours = support.Server(["-store", "maildir", *relays], accounts=None, aliases=aliases)
        theirs = Exim(aliases=aliases, routes=cls.theirs.routes, options=OPTIONS)
        cls.addClassCleanup(ours.destroy)
        cls.addClassCleanup(theirs.stop)
        cls.ours.run(ours.start())
        cls.theirs.run(theirs.start())
        cls.ours.read()
        cls.theirs.read()

    def codes(self, server: Server, command: str, *before: str) -> int:
        with server.running.client() as client:
            for line in ("EHLO client.example", *before):
                client.expect(line, 250)
            return client.ask(command).code

    def test_replies(self):
        mail, rcpt = "MAIL FROM:<me@back.example>", "RCPT TO:<eximbob@%s>" % HERE
        for forms, command, before in ((OF_MAIL, mail, ()), (OF_RCPT, rcpt, (mail,))):
            for form, wanted in forms.items():
                with self.subTest(form=form[:40]):
                    found = [self.codes(server, "%s %s" % (command, form), *before)
                             for server in (self.ours, self.theirs)]
                    self.assertEqual(tuple(found), wanted)

    def test_reports(self):
        """The same fields, but for what RFC 3461 wants otherwise: Exim says "delivered" of what it only relayed (§5.2.2
        (b)), makes up its Diagnostic-Code of a success (§6.3 (i)), where ours is the host's own, and none without one,
        and forgets an ORCPT that comes without NOTIFY (§6.3 (d))."""
        self.assertEqual(set(self.ours.told), {"row%d" % number for number, row in enumerate(ROWS) if row.action})
        self.assertEqual(set(self.theirs.told), set(self.ours.told))
        for envid, (ours,) in self.ours.told.items():
            row, (theirs,) = ROWS[int(envid[3:])], self.theirs.told[envid]
            with self.subTest(row=row):
                self.assertEqual((ours.action, ours.returned), (row.action, row.returned))
                self.assertEqual(theirs.action, "delivered" if row.action == "relayed" else row.action)
                self.assertEqual(theirs.original, ours.original if row.notify else "")
                same = theirs._replace(action=ours.action, original="rfc822;" + row.to)
                if row.action != "failed":
                    self.assertIn("X-Exim" if row.action == "delivered" else "smtp; 250 Ok", theirs.diagnostic)
                    self.assertEqual(ours.diagnostic, {"relayed": "smtp; 250 queued as 12345"}.get(row.action, ""))
                    same = same._replace(diagnostic=ours.diagnostic)
                self.assertEqual(ours, same)

    def test_next_host(self):
        """ENVID, RET, NOTIFY and ORCPT as they came (RFC 3461 §5.2.1); Exim forgets an ORCPT without NOTIFY."""
        *ours, (mail, rcpt) = self.ours.said()
        self.assertEqual([*ours, (mail, [])], self.theirs.said())
        self.assertEqual((len(ours), mail, rcpt), (2, ["ENVID=row12"], ["ORCPT=rfc822;y@aware.example"]))

    def test_log_of_what_nobody_is_told(self):
        line = " bad@plain.example: error ignored: RFC 3461 DSN, failure notify not requested\n"
        for server in (self.ours, self.theirs):
            self.assertEqual(server.running.log().count(line), 2)


if __name__ == "__main__":
    unittest.main()
