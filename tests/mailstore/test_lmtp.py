"""-store lmtp: before a scripted LMTP server: who is asked, each recipient's fate, and servers that are slow, silent or
gone.  tests/whole/test_lmtp_servers.py has the real ones."""

import json
import threading
import typing
import unittest

from tests.helpers import faults, harness, support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter
from tests.helpers.terminals import TEXT, PseudoTerminal
from tests.lab import asking
from tests.lab.lmtp_sink import DROP, LmtpSink, fates
from tests.lab.sink import SILENCE

WIRE = b"Subject: x\r\nReturn-path: <forged@x.example>\r\n\r\n..dot\r\nlast\r\n.\r\n"
SENDER = "sender@client.example"
SOON = {"smtp_client.bounds.LmtpLimits.%s" % step: 1 for step in ("command", "data", "end_of_data", "greeting")}
NEVER_THERE = "lmtp:127.0.0.1:1"
ALIASES = """\
list: alice, bob, carol
abroad: alice, x@relay.example
hole: :blackhole:
boss: alice
"""


class LmtpCase(unittest.TestCase):
    aliases = ALIASES

    def serve(self, script=None, patch=None, store="", **sink) -> harness.Handlers:
        """Handlers before an LmtpSink, which is self.sink then."""
        self.sink = enter(self.addCleanup, LmtpSink(script, **sink))
        server = harness.Handlers({"SMTP_STORE": store or self.sink.store, "SMTP_RELAY": "relay.example=127.0.0.1:9"},
                                  patch, accounts=None, aliases=self.aliases)
        self.addCleanup(server.destroy)
        self.server = server
        return server

    def address(self, name: str) -> str:
        return "%s@%s" % (name, self.server.domain)

    def begin(self, *commands: str):
        client = self.server.client()
        self.addCleanup(client.close)
        client.expect("EHLO client.example", 250)
        for command in commands:
            client.expect(command, 250)
        return client

    def send(self, *names: str, wire: bytes = WIRE):
        return self.server.send([self.address(name) for name in names], wire, SENDER)

    def queued(self) -> typing.List[dict]:
        return [json.loads(path.read_text()) for path in sorted(self.server.spool.glob("queue/*.envelope"))]

    def assert_nothing_kept(self):
        self.assertEqual([path for path in self.server.spool.rglob("*") if path.is_file()
                          and path.parent.name in ("queue", "tmp")], [])

    def taken_by(self) -> typing.List[str]:
        return [message.recipients[0] for message in self.sink.messages]


class RecipientsTest(LmtpCase):
    """RCPT and VRFY: the server's class of reply is ours."""

    def ask(self, reply, question="RCPT TO:<%s>"):
        self.serve({"rcpt": reply})
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        return client.ask(question % self.address("alice"))

    def test_accepted(self):
        self.assertEqual(self.ask("250 2.1.5 OK").raw, b"250 2.1.5 Recipient OK\r\n")

    def test_unknown(self):
        reply = self.ask("550 5.1.1 <alice> unknown")
        self.assertEqual(reply.raw, b"550 5.1.1 No such user here\r\n")
        self.server.wait_log("rejected RCPT <%s>: LMTP error after RCPT TO:<%s>: 550 5.1.1 <alice> unknown" % (
            self.address("alice"), self.address("alice")))

    def test_refused_for_another_reason(self):
        reply = self.ask("552 5.2.2 Mailbox is full")
        self.assertEqual(reply.code, 550)
        self.assertIn("552 5.2.2 Mailbox is full", reply.text)

    def test_put_off(self):
        for answer in ("450 4.2.0 busy", "452 4.2.2 Mailbox is full", "451 4.3.0 try again"):
            with self.subTest(answer):
                self.assertEqual(self.ask(answer).code, 450)
                self.server.wait_log("temporarily rejected RCPT <%s>: (-44) LMTP error after RCPT TO:<%s>: %s" % (
                    self.address("alice"), self.address("alice"), answer))

    def test_verify(self):
        for answer, code in (("250 OK", 250), ("550 5.1.1 no", 550), ("450 later", 450), (DROP, 451)):
            with self.subTest(answer):
                self.assertEqual(self.ask(answer, "VRFY %s").code, code)

    def test_no_server(self):
        self.serve(store=NEVER_THERE)
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        self.assertEqual(client.ask("RCPT TO:<%s>" % self.address("alice")).raw[:10], b"451 4.3.0 ")
        self.assertEqual(client.ask("RCPT TO:<x@relay.example>").code, 250, "others' mail needs no LMTP server")
        self.server.wait_log("(111) Connection refused: connecting to the LMTP server")

    def test_a_server_in_trouble(self):
        """Nothing of that is the recipient's fault, whatever the code."""
        self.serve()
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        for step, answer in (("connect", "554 5.3.2 no"), ("connect", "421 4.3.2 later"), ("connect", DROP),
                             ("connect", "nonsense"), ("ehlo", "500 what"), ("mail", "550 nobody may send"),
                             ("mail", "451 later"), ("rcpt", "421 bye"), ("rcpt", DROP), ("rcpt", "nonsense")):
            usual = self.sink.script[step] if step in self.sink.script else None
            self.sink.script[step] = answer
            with self.subTest(step, answer=answer):
                self.assertEqual(client.ask("RCPT TO:<%s>" % self.address("alice")).code, 451)
                self.assertEqual(client.ask("VRFY alice").code, 451)
            if usual is None:
                del self.sink.script[step]
            else:
                self.sink.script[step] = usual
        client.expect("RCPT TO:<%s>" % self.address("alice"), 250)

    def test_silence(self):
        """It is waited for once; those who come next are told at once."""
        self.serve({"connect": SILENCE}, SOON)
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        for name in ("alice", "bob", "carol"):
            self.assertEqual(client.ask("RCPT TO:<%s>" % self.address(name)).code, 451)
        self.server.wait_log("(110) Connection timed out: connecting to the LMTP server")
        self.assertEqual(self.sink.connections, 1)

    def test_endless_reply(self):
        self.serve({"rcpt": "\n".join(["250 more"] * 1000)})
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        self.assertEqual(client.ask("RCPT TO:<%s>" % self.address("alice")).code, 451)

    def test_aliases_come_first(self):
        self.serve({"rcpt": fates({"boss": "550 5.1.1 no", "list": "550 5.1.1 no"})})
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        for name in ("boss", "list", "hole", "abroad"):
            client.expect("RCPT TO:<%s>" % self.address(name), 250)
        asked = [command for command in self.sink.commands if command.startswith("RCPT")]
        self.assertEqual(asked, ["RCPT TO:<%s>" % self.address(name)
                                 for name in ("alice", "alice", "bob", "carol", "alice")])

    def test_a_list_takes_as_long_as_the_client_waits(self):
        self.serve(patch={"mailstore.lmtp.RESOLVE_SECONDS": -1})
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        client.expect("RCPT TO:<%s>" % self.address("list"), 451)
        self.assertEqual(self.sink.connections, 0)

    def test_members_are_told_without_asking(self):
        self.serve()
        reply = self.begin().ask("EXPN list")
        self.assertEqual(reply.lines, ["2.1.5 <%s>" % self.address(name) for name in ("alice", "bob", "carol")])
        self.assertEqual(self.sink.connections, 0)

    def test_what_it_is_told(self):
        """One address for all spellings, of the local domain; a tag is the server's to know."""
        self.serve()
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        for given in ("Alice@LOCALHOST", "alice+tag@[127.0.0.1]", '"al ice"@' + self.server.domain):
            client.expect("RCPT TO:<%s>" % given, 250)
        self.assertEqual(client.ask("RCPT TO:<a/b@localhost>").code, 550)
        asked = [command for command in self.sink.commands if command.startswith("RCPT")]
        self.assertEqual(asked, ["RCPT TO:<%s>" % self.address(name) for name in ("alice", "alice+tag", '"al ice"')])

    def test_postmaster_is_always_there(self):
        self.serve({"rcpt": "550 5.1.1 no"})
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        client.expect("RCPT TO:<Postmaster>", 250)


class CatchAllTest(LmtpCase):
    aliases = "*: alice\n"

    def test_whoever_the_server_does_not_know(self):
        self.serve({"rcpt": fates({"nobody": "550 5.1.1 no", "late": "450 later"})})
        client = self.begin("MAIL FROM:<%s>" % SENDER)
        client.expect("RCPT TO:<%s>" % self.address("nobody"), 250)
        client.expect("RCPT TO:<%s>" % self.address("late"), 450)


class FatesTest(LmtpCase):
    """The end of data: each recipient's fate is its own."""

    def test_all_taken(self):
        self.serve()
        reply = self.send("alice", "bob", "Alice")
        message_id = reply.text.rpartition("id=")[2]
        self.assertEqual(reply.code, 250)
        self.assertEqual(self.taken_by(), ["TO:<%s>" % self.address(name) for name in ("alice", "bob")])
        self.assertEqual(self.sink.messages[0].sender.split(" ")[0], "FROM:<%s>" % SENDER)
        received, _, rest = self.sink.messages[0].data.partition(b";\r\n")
        self.assertTrue(received.startswith(b"Received: from [127.0.0.1] (helo=client.example.org)\r\n\tby "), received)
        self.assertEqual(rest.split(b"\r\n", 1)[1], b"Subject: x\r\n\r\n.dot\r\nlast\r\n")
        self.server.wait_log('%s => bob <%s> R=local_user T=lmtp C="250 2.0.0 Saved"' % (
            message_id, self.address("bob")))
        self.server.wait_log("%s Completed" % message_id)
        self.assert_nothing_kept()

    def test_250_only_behind_the_servers_own(self):
        go_on = threading.Event()

        def hold(_, visit):
            visit.sink.note("held")
            self.assertTrue(go_on.wait(support.PATIENCE))
            return "250 2.0.0 Saved"

        self.serve({"dot": hold})
        client = self.begin("MAIL FROM:<%s>" % SENDER, "RCPT TO:<%s>" % self.address("alice"))
        client.expect("DATA", 354)
        client.write(WIRE)
        self.sink.wait(lambda sink: "held" in sink.commands, "the text at the server")
        self.assertNotIn("<=", self.server.log())
        go_on.set()
        self.assertEqual(client.reply().code, 250)

    def test_mixed(self):
        self.serve({"dot": fates({"bob": "452 4.2.2 Mailbox is full", "carol": "552 5.2.3 too \"big\""})})
        reply = self.send("alice", "bob", "carol")
        message_id = reply.text.rpartition("id=")[2]
        self.assertEqual((reply.code, self.taken_by()), (250, ["TO:<%s>" % self.address("alice")]))
        envelope, = self.queued()
        self.assertEqual(envelope["id"], message_id)
        self.assertEqual([(one["mailbox"], one["state"], one.get("refused", False), one["reply"])
                          for one in envelope["recipients"]],
                         [("bob", "waiting", False, "452 4.2.2 Mailbox is full"),
                          ("carol", "waiting", True, "552 5.2.3 too \"big\"")])
        self.server.wait_log("%s == %s R=local_user T=lmtp defer (-46): LMTP error after end of data: 452 4.2.2 " % (
            message_id, self.address("bob")))
        self.assertNotIn("Completed", self.server.log())

    def test_nobody_took_it(self):
        for answers, code, words in (({"alice": "552 5.2.2 full", "bob": "450 4.2.0 busy"}, 451, b"451 4.3.0 "),
                                     ({"alice": "552 5.2.2 full", "bob": "550 5.7.1 no"}, 554, b"554 5.2.0 ")):
            with self.subTest(code):
                self.serve({"dot": fates(answers)})
                reply = self.send("alice", "bob")
                self.assertEqual((reply.code, reply.raw[:10]), (code, words))
                self.assert_nothing_kept()
                self.assertNotIn("<=", self.server.log())
        self.assertIn("552 5.2.2 full", reply.text)
        self.assertIn("rejected after DATA: LMTP error after end of data: 552 5.2.2 full", self.server.log())

    def test_nobody_here_but_somebody_elsewhere(self):
        self.serve({"dot": "450 4.2.0 busy"})
        self.assertEqual(self.send("abroad").code, 250)
        envelope, = self.queued()
        self.assertEqual([(one["address"], one["mailbox"]) for one in envelope["recipients"]],
                         [("x@relay.example", None), (self.address("abroad"), "alice")])

    def test_thrown_away_counts_as_taken(self):
        self.serve({"dot": "552 5.2.2 full"})
        self.assertEqual(self.send("hole", "alice").code, 250)
        self.assertEqual(self.queued()[0]["recipients"][0]["refused"], True)

    def test_refused_as_a_whole(self):
        for step, answer, code in (("mail", "552 5.3.4 too big", 554), ("mail", "452 4.3.1 no room", 451),
                                   ("data", "554 5.5.1 no", 554), ("data", "451 4.3.0 later", 451)):
            with self.subTest(step, answer=answer):
                self.serve()
                client = self.begin("MAIL FROM:<%s>" % SENDER, "RCPT TO:<%s>" % self.address("alice"))
                self.sink.script[step] = answer
                client.expect("DATA", 354)
                client.write(WIRE)
                self.assertEqual(client.reply().code, code)
                self.assert_nothing_kept()

    def test_a_hundred_at_a_time(self):
        self.serve()
        names = ["user%d" % number for number in range(250)]
        (self.server.folder / "aliases").write_text("all: %s\n" % ", ".join(names))
        self.assertEqual(self.send("all").code, 250)
        self.assertEqual(sorted(self.taken_by()), sorted("TO:<%s>" % self.address(name) for name in names))
        self.assertEqual(self.sink.commands.count("DATA"), 3)
        self.assertEqual(self.sink.connections, 1)

    def test_no_room_for_the_text(self):
        self.serve(patch={"mailstore.lmtp.nameless_file": faults.fail_full})
        self.assertEqual(self.send("alice").code, 452)
        self.assertEqual(self.sink.messages, [])


class GoneTest(LmtpCase):
    """A server that goes away, or is silent, in the middle."""

    def test_before_the_data(self):
        for step in ("mail", "rcpt", "data"):
            for answer in (DROP, SILENCE, "421 4.3.2 going down"):
                with self.subTest(step, answer=answer):
                    self.serve(patch=SOON)
                    client = self.begin("MAIL FROM:<%s>" % SENDER, "RCPT TO:<%s>" % self.address("alice"))
                    self.sink.script[step] = answer
                    client.expect("DATA", 354)
                    client.write(WIRE)
                    self.assertEqual(client.reply().code, 451)
                    self.assert_nothing_kept()

    def test_between_the_dot_and_its_replies(self):
        """Who has been answered for has it; who has not waits."""
        for answer in (DROP, SILENCE):
            with self.subTest(answer):
                self.serve({"dot": fates({"bob": answer})}, SOON)
                self.assertEqual(self.send("alice", "bob", "carol").code, 250)
                self.assertEqual(self.taken_by(), ["TO:<%s>" % self.address("alice")])
                envelope, = self.queued()
                self.assertEqual([(one["mailbox"], one.get("refused", False)) for one in envelope["recipients"]],
                                 [("bob", False), ("carol", False)])

    def test_between_two_messages(self):
        """A connection that was idle may be closed: the next message finds another one."""
        for answer in (DROP, "421 4.4.2 idle for too long"):
            with self.subTest(answer):
                answers = []
                self.serve({"rset": lambda *_, answers=answers: answers.pop() if answers else "250 OK"})
                client = self.begin()
                for count in (1, 2):
                    self.assertEqual(client.letter(SENDER, self.address("alice"), WIRE).code, 250)
                    self.assertEqual(len(self.sink.messages), count)
                    answers.append(answer)
                self.assertEqual(self.sink.connections, 2)

    def test_one_connection_for_a_session(self):
        self.serve()
        client = self.begin()
        for _ in range(3):
            client.letter(SENDER, [self.address("alice"), self.address("bob")], WIRE)
        self.assertEqual((self.sink.connections, self.sink.open_connections), (1, 1))
        client.expect("QUIT", 221)
        self.sink.wait(lambda sink: not sink.open_connections, "the connection's end")
        self.assertEqual(self.sink.commands[-1], "QUIT")

    def test_warm_workers_keep_none(self):
        """A worker of prefork serves many sessions; the connection is the session's."""
        with LmtpSink() as sink, support.Server(("-listen", "prefork", "-store", sink.store), accounts=None) as server:
            server.start()
            before = sink.connections           # the launcher's question
            for count in (1, 2, 3):
                server.send("alice@" + server.domain, WIRE, SENDER)
                sink.wait(lambda sink: not sink.open_connections, "the connection's end")
                self.assertEqual((sink.connections - before, len(sink.messages)), (count, count))
            self.assertEqual(server.stop(), 0)

    def test_a_silent_client_holds_no_connection(self):
        self.serve(patch={"smtp.limits.STRESS_SECONDS": 0.1})
        client = self.begin("MAIL FROM:<%s>" % SENDER, "RCPT TO:<%s>" % self.address("alice"))
        self.sink.wait(lambda sink: not sink.open_connections, "the connection's end")
        client.expect("DATA", 354)
        client.write(WIRE[:20])
        client.write(WIRE[20:])
        self.assertEqual(client.reply().code, 250)


@support.needs_root
class TerminalsTest(unittest.TestCase):
    """Terminals are those of the machine's accounts, mailboxes the LMTP server's, by the same names."""

    def test_both(self):
        with system_users("eximalice") as users, LmtpSink() as sink, \
                PseudoTerminal(users["eximalice"].pw_uid) as terminal, \
                support.Server(("-terminals", "-listen", "prefork", "-store", sink.store), accounts=None) as server:
            server.start()
            for verb, mailed in (("SAML", 1), ("SOML", 1), ("SEND", 1), ("MAIL", 2)):
                with server.client() as client:
                    client.expect("EHLO client.example", 250)
                    client.expect("%s FROM:<%s>" % (verb, SENDER), 250)
                    client.expect("RCPT TO:<eximalice@%s>" % server.domain, 250)
                    client.expect("DATA", 354)
                    client.write(TEXT)
                    self.assertEqual(client.reply().code, 250, verb)
                if verb != "MAIL":
                    self.assertTrue(terminal.shown())
                self.assertEqual(len(sink.messages), mailed, verb)
            self.assertEqual(server.stop(), 0)


class AgentTest(LmtpCase):
    @support.needs_root
    def test_writes_no_mailbox(self):
        """It still opens files, but nobody's mail is here."""
        self.serve()
        self.server.have_agent()
        socket = self.server.variables["SMTP_AGENT"]
        self.assertIsNone(asking.ask(socket, "check", "root"))
        self.assertIsNone(asking.ask(socket, "forward", "root"))
        self.assertEqual(asking.ask(socket, "open", "aliases"), ALIASES)


if __name__ == "__main__":
    unittest.main()
