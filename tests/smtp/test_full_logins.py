"""A login given as a full address of ours, as many mail programs do."""

from tests.helpers import support
from tests.helpers.secure import ALICE, BOB, WRONG, AccountsTestCase, cram, encoded, log_in, plain

SPELLINGS = ("alice@%s" % support.DOMAIN, "alice@" + support.DOMAIN.upper(), "alice@LocalHost", "alice@[127.0.0.1]")


@support.both_listeners
class FullLoginTest(AccountsTestCase):
    text = "alice:%s\nbob:%s\nbob@localhost:another\ncarol@else.example:third\n" % (ALICE, BOB)
    more = ("-match-sender",)
    from_many_addresses = True

    def answer(self, *lines):
        """The code of the last answer; the answers before it are 334."""
        with self.client() as client:
            client.expect("EHLO client.example", 250)
            for line in lines[:-1]:
                client.expect(line, 334)
            return client.ask(lines[-1]).code

    def test_plain(self):
        for spelling in SPELLINGS:
            for authorization in ("", "alice", spelling, SPELLINGS[0]):
                response = plain(spelling, ALICE, authorization)
                self.assertEqual(self.answer("AUTH PLAIN " + response), 235, (spelling, authorization))

    def test_login(self):
        for spelling in SPELLINGS:
            self.assertEqual(self.answer("AUTH LOGIN", encoded(spelling), encoded(ALICE)), 235, spelling)

    def test_cram_md5(self):
        for spelling in SPELLINGS:
            with self.client() as client:
                client.expect("EHLO client.example", 250)
                challenge = client.expect("AUTH CRAM-MD5", 334).text
                client.expect(cram(challenge, spelling, ALICE), 235)

    def test_refused(self):
        for login, password, authorization in (
                (SPELLINGS[0], WRONG, ""), ("alice@else.example", ALICE, ""), ("carol@localhost", "third", ""),
                ("@localhost", ALICE, ""),
                (SPELLINGS[0], ALICE, "bob@localhost"), ("alice@b\udcff", ALICE, ""), ("Alice@localhost", ALICE, "")):
            response = encoded("\0".join((authorization, login, password)).encode("utf-8", "surrogateescape"))
            self.assertEqual(self.answer("AUTH PLAIN " + response), 535, (login, authorization))

    def test_login_of_that_very_name(self):
        self.assertEqual(self.answer("AUTH PLAIN " + plain("bob@localhost", BOB)), 535)
        self.assertEqual(self.answer("AUTH PLAIN " + plain("bob@localhost", "another")), 235)
        self.assertEqual(self.answer("AUTH PLAIN " + plain("carol@else.example", "third")), 235)

    def test_own_sender(self):
        """Under -match-sender, and in the log, it is the account."""
        with self.client() as client:
            log_in(client, SPELLINGS[1])
            client.expect("MAIL FROM:<bob@%s>" % support.DOMAIN, 553)
            client.expect("MAIL FROM:<Alice@localhost>", 250)
            client.expect("RCPT TO:<%s>" % self.address("alice"), 250)
            client.expect("DATA", 354)
            client.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
            self.assertEqual(client.reply().code, 250)
        self.assertIn(" A=plain:alice ", self.server.wait_log("<= Alice@localhost"))


if __name__ == "__main__":
    support.unittest.main()
