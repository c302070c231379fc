"""AUTH and -pass: who may send, and every way around it."""

import base64
import hashlib

from tests.helpers import support
from tests.helpers.secure import ACCOUNTS, ALICE, BOB, MESSAGE, WRONG, AccountsTestCase, cram, encoded, log_in, plain

USERNAME, PASSWORD = "VXNlcm5hbWU6", "UGFzc3dvcmQ6"


class ClosedDoorTest(AccountsTestCase):
    """Without AUTH nothing gets in, whatever the order."""

    aliases = "liste: alice, bob\n"

    def assert_closed(self, client):
        reply = client.expect("MAIL FROM:<alice@x.example>", 530)
        self.assertEqual(reply.text, "5.7.0 Authentication required")
        client.expect("RCPT TO:<%s>" % self.address("alice"), 530)
        client.expect("DATA", 530)

    def test_mail_needs_auth(self):
        client = self.greeted()
        self.assert_closed(client)
        client.expect("RSET", 250)
        self.assert_closed(client)
        client.expect("HELO client.example.org", 250)
        self.assert_closed(client)

    def test_helo_session(self):
        client = self.greeted("HELO client.example.org")
        self.assert_closed(client)
        self.assertEqual(client.expect("AUTH PLAIN " + plain("alice", ALICE), 503).text,
                         "5.5.1 AUTH command used when not advertised")
        self.assert_closed(client)

    def test_what_needs_no_auth(self):
        client = self.greeted()
        for command, code in (("NOOP", 250), ("HELP", 214), ("RSET", 250), ("QUIT", 221)):
            client.expect(command, code)

    def test_directory_needs_auth(self):
        client = self.greeted()
        client.expect("VRFY alice", 530)
        client.expect("EXPN liste", 530)
        log_in(client)
        client.expect("VRFY alice", 250)
        client.expect("EXPN liste", 250)

    def test_bdat_is_swallowed(self):
        """The chunk's octets are on their way whatever the reply is: they are no commands."""
        client = self.greeted()
        chunk = b"NOOP\r\nVRFY alice\r\nQUIT\r\n"
        client.write(b"BDAT %d LAST\r\n%sRSET\r\n" % (len(chunk), chunk))
        self.assertEqual(client.reply().code, 530)
        self.assertEqual(client.reply().text, "2.0.0 Reset OK")
        client.expect("NOOP", 250)

    def test_pipelined(self):
        client = self.greeted()
        client.write(b"MAIL FROM:<a@x.example>\r\nRCPT TO:<%s>\r\nDATA\r\nNOOP\r\n" % self.address("alice").encode())
        self.assertEqual([client.reply().code for _ in range(4)], [530, 530, 530, 250])
        self.assertEqual(self.server.messages("alice"), [])

    def test_pipelined_behind_a_failure(self):
        client = self.greeted()
        client.write(b"AUTH PLAIN %s\r\nMAIL FROM:<a@x.example>\r\nNOOP\r\n" % plain("alice", WRONG).encode())
        self.assertEqual([client.reply().code for _ in range(3)], [535, 530, 250])

    def test_pipelined_behind_a_success(self):
        client = self.greeted()
        client.write(b"AUTH PLAIN %s\r\nMAIL FROM:<a@x.example>\r\nRSET\r\n" % plain("alice", ALICE).encode())
        self.assertEqual([client.reply().code for _ in range(3)], [235, 250, 250])

    def test_login_stays(self):
        """RSET and a second EHLO (as mailutils sends it) end no authentication; QUIT does."""
        client = self.greeted()
        log_in(client)
        client.expect("RSET", 250)
        client.expect("EHLO client.example.org", 250)
        self.assertEqual(client.letter("a@x.example", self.address("bob"), MESSAGE).code, 250)
        client.expect("QUIT", 221)
        self.assert_closed(self.greeted())

    def test_starttls_is_not_there(self):
        client = self.greeted()
        client.expect("STARTTLS", 454)
        self.assert_closed(client)


class ExchangeTest(AccountsTestCase):
    """The mechanisms over SMTP, and all that can go wrong in them."""

    from_many_addresses = True

    def assert_logged_in(self, client, reply):
        self.assertEqual((reply.code, reply.text), (235, "2.7.0 Authentication succeeded"))
        client.expect("MAIL FROM:<a@x.example>", 250)

    def assert_refused(self, client, *lines):
        """The last of `lines` is answered by the same 535, whatever was wrong."""
        for line in lines[:-1]:
            client.expect(line, 334)
        self.assertEqual(client.expect(lines[-1], 535).text, "5.7.8 Incorrect authentication data")
        client.expect("MAIL FROM:<a@x.example>", 530)

    def test_offer(self):
        lines = self.greeted().expect("EHLO x", 250).lines
        self.assertIn("AUTH PLAIN LOGIN CRAM-MD5", lines)
        self.assertNotIn("STARTTLS", lines)

    def test_plain(self):
        for name in ("AUTH PLAIN", "auth plain", "Auth Plain"):
            client = self.greeted()
            self.assert_logged_in(client, client.ask("%s %s" % (name, plain("alice", ALICE))))

    def test_plain_without_initial_response(self):
        client = self.greeted()
        self.assertEqual(client.expect("AUTH PLAIN", 334).raw, b"334 \r\n")     # curl waits for the blank
        self.assert_logged_in(client, client.ask(plain("bob", BOB)))

    def test_plain_with_authorization_id(self):
        client = self.greeted()         # as mutt sends it
        self.assert_logged_in(client, client.ask("AUTH PLAIN " + plain("alice", ALICE, "alice")))
        client = self.greeted()
        self.assert_refused(client, "AUTH PLAIN " + plain("alice", ALICE, "bob"))

    def test_login(self):
        for name in ("AUTH LOGIN", "auth login"):
            client = self.greeted()
            self.assertEqual(client.ask(name).raw, b"334 %s\r\n" % USERNAME.encode())
            self.assertEqual(client.ask(encoded("alice")).raw, b"334 %s\r\n" % PASSWORD.encode())
            self.assert_logged_in(client, client.ask(encoded(ALICE)))

    def test_login_with_initial_response(self):
        client = self.greeted()         # as aiosmtplib sends it
        self.assertEqual(client.expect("AUTH LOGIN " + encoded("bob"), 334).text, PASSWORD)
        self.assert_logged_in(client, client.ask(encoded(BOB)))

    def test_cram_md5(self):
        client = self.greeted()
        challenge = client.expect("AUTH CRAM-MD5", 334).text
        self.assertRegex(base64.b64decode(challenge), rb"\A<[^<>@ ]+@%s>\Z" % self.server.domain.encode())
        self.assert_logged_in(client, client.ask(cram(challenge, "alice", ALICE)))
        client = self.greeted()
        other = client.expect("AUTH cram-md5", 334).text
        self.assertNotEqual(challenge, other)
        self.assertEqual(client.expect(cram(challenge, "alice", ALICE), 535).code, 535)

    def test_cram_md5_takes_no_initial_response(self):
        self.greeted().expect("AUTH CRAM-MD5 " + encoded("alice"), 501)

    def test_same_answer_for_a_wrong_password_and_an_unknown_login(self):
        client = self.greeted()
        self.assert_refused(client, "AUTH PLAIN " + plain("alice", WRONG))
        self.assert_refused(client, "AUTH PLAIN " + plain("personne", WRONG))
        client = self.greeted()
        self.assert_refused(client, "AUTH LOGIN", encoded("alice"), encoded(WRONG))
        self.assert_refused(client, "AUTH LOGIN", encoded("personne"), encoded(WRONG))
        client = self.greeted()
        for login in ("alice", "personne"):
            challenge = client.expect("AUTH CRAM-MD5", 334).text
            self.assert_refused(client, cram(challenge, login, WRONG))

    def test_nothing_of_a_password_suffices(self):
        guesses = [plain("alice", password) for password in ("", ALICE[:-1], ALICE + " ", ALICE.upper())]
        malformed = ["=", encoded("\0\0"), encoded("alice"), encoded("\0alice\0%s\0" % ALICE)]
        for response in guesses + malformed:
            client = self.greeted()
            self.assert_refused(client, "AUTH PLAIN " + response)
            self.assert_refused(client, "AUTH LOGIN " + response, "")
            client.close()

    def test_an_empty_response(self):
        """`=` is an empty initial response (RFC 4954 §4), and nothing else; an empty line is an empty response."""
        client = self.greeted()
        self.assertEqual(client.expect("AUTH LOGIN =", 334).text, PASSWORD)
        client.expect("=", 501)
        client.expect("AUTH LOGIN", 334)
        client.expect("", 334)
        client.expect("", 535)

    def test_blanks_around_a_response(self):
        client = self.greeted()
        client.expect("AUTH LOGIN", 334)
        client.expect(encoded("bob") + "  ", 334)
        client.expect(" " + encoded(BOB) + "\t", 235)

    def test_cancelled(self):
        client = self.greeted()
        for lines in (("AUTH PLAIN",), ("AUTH LOGIN",), ("AUTH LOGIN", encoded("alice")), ("AUTH CRAM-MD5",)):
            for line in lines:
                client.expect(line, 334)
            self.assertEqual(client.expect("*", 501).text, "5.7.0 Authentication cancelled")
        client.expect("MAIL FROM:<a@x.example>", 530)
        self.assert_logged_in(client, client.ask("AUTH PLAIN " + plain("alice", ALICE)))

    def test_bad_base64(self):
        client = self.greeted()
        for bad in ("YWxpY2U", "YW x", "!!!!", "YWxpY2U=\0", "é", "YWxpY2U==", "=YWx"):
            with self.subTest(bad=bad):
                client.expect("AUTH LOGIN", 334)
                self.assertEqual(client.ask(bad).code, 501)
        self.assertEqual(client.expect("AUTH PLAIN !!!!", 501).text, "5.5.2 Invalid base64 data")

    def test_unknown_mechanism(self):
        client = self.greeted()
        for name in ("DIGEST-MD5", "XOAUTH2 abcd", "GSSAPI", "PLAINE", "é"):
            self.assertEqual(client.expect("AUTH " + name, 504).text, "5.5.4 Unknown authentication mechanism")
        client.expect("AUTH", 501)
        client.expect("AUTH ", 501)

    def test_out_of_place(self):
        client = self.client()
        self.addCleanup(client.close)
        client.expect("AUTH PLAIN " + plain("alice", ALICE), 503)      # before EHLO
        log_in(client)
        self.assertEqual(client.expect("AUTH PLAIN " + plain("bob", BOB), 503).text, "5.5.1 Already authenticated")
        client.expect("MAIL FROM:<a@x.example>", 250)
        client.expect("AUTH PLAIN " + plain("bob", BOB), 503)
        client.expect("RCPT TO:<%s>" % self.address("alice"), 250)     # nothing was lost

    def test_three_failures(self):
        client = self.greeted()
        for _ in range(2):
            client.expect("AUTH PLAIN " + plain("alice", WRONG), 535)
        self.assertEqual(client.expect("AUTH PLAIN " + plain("alice", WRONG), 421).text,
                         "4.7.0 %s too many failed authentications, closing connection" % self.server.domain)
        self.assertEqual(client.rest(), b"")

    def test_failures_are_logged_as_exim_does(self):
        """fail2ban's exim filter looks for these lines."""
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("mallory", WRONG), 535)
        self.server.wait_log("plain authenticator failed for (client.example.org) [%s]: "
                             "535 Incorrect authentication data (set_id=mallory)" % client.socket.getsockname()[0])

    def test_a_stranger_cannot_write_into_the_log(self):
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("eve\n2026-01-01 00:00:00 x", WRONG), 535)
        self.server.wait_log(r"(set_id=eve\n2026-01-01 00:00:00 x)")

    def test_long_response(self):
        """12288 octets a line (RFC 4954 §4), and what is longer hurts nobody."""
        client = self.greeted()
        client.expect("AUTH PLAIN", 334)
        longest = encoded("\0alice\0" + "x" * (12286 // 4 * 3 - 7))
        self.assertLessEqual(len(longest) + 2, 12288)
        client.expect(longest, 535)
        client.expect("AUTH PLAIN", 334)
        client.expect("A" * 20000, 500)
        client.expect("NOOP", 250)

    def test_client_leaves_in_the_middle(self):
        client = self.greeted("EHLO leaver.example")
        client.expect("AUTH LOGIN", 334)
        client.close()
        self.server.wait_log("(leaver.example)")
        self.greeted().expect("NOOP", 250)

    def test_parameter_of_mail(self):
        client = self.greeted()
        log_in(client)
        client.expect("MAIL FROM:<a@x.example> AUTH=<>", 250)
        client.expect("RSET", 250)
        client.expect("MAIL FROM:<a@x.example> AUTH=", 501)


def hashed(password):
    """`password` as `auth.py hash` writes it, but cheap."""
    salt = b"selselsel"
    digest = hashlib.scrypt(password.encode(), salt=salt, n=16, r=1, p=1, dklen=32)
    return "$scrypt$ln=4,r=1,p=1$%s$%s" % (encoded(salt).rstrip("="), encoded(digest).rstrip("="))


class MixedFileTest(AccountsTestCase):
    """One hashed password is enough to rule CRAM-MD5 out; a file is read anew each time."""

    from_many_addresses = True

    text = "alice:%s\nbob:%s\n" % (hashed(ALICE), BOB)

    def test_cram_md5_is_off(self):
        client = self.greeted()
        self.assertIn("AUTH PLAIN LOGIN", client.expect("EHLO x", 250).lines)
        client.expect("AUTH CRAM-MD5", 504)
        client.expect("AUTH PLAIN " + plain("bob", BOB), 235)

    def test_hashed_password(self):
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("alice", WRONG), 535)
        client.expect("AUTH PLAIN " + plain("alice", self.text.split(":")[1].split("\n")[0]), 535)
        client.expect("AUTH PLAIN " + plain("alice", ALICE), 235)

    def test_new_account_without_a_restart(self):
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("carole", "nouvelle"), 535)
        self.write_accounts(self.text + "carole:nouvelle\n")
        self.addCleanup(self.write_accounts, self.text)
        client.expect("AUTH PLAIN " + plain("carole", "nouvelle"), 235)

    def test_account_taken_away(self):
        self.write_accounts("alice:autre\n")
        self.addCleanup(self.write_accounts, self.text)
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("bob", BOB), 535)
        self.assertIn("AUTH PLAIN LOGIN CRAM-MD5", client.expect("EHLO x", 250).lines)

    def test_file_gone(self):
        """Nobody gets in, and whoever has got in stays."""
        old = self.greeted()
        log_in(old, "bob", BOB)
        self.file.unlink()
        self.addCleanup(self.write_accounts, self.text)
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("bob", BOB), 454)
        client.expect("MAIL FROM:<a@x.example>", 530)
        old.expect("MAIL FROM:<a@x.example>", 250)
        self.server.wait_log("accounts cannot be read: %s" % self.file)


class OwnAddressTest(AccountsTestCase):
    """-match-sender."""

    more = ("-match-sender",)
    text = ACCOUNTS + "jean@ailleurs.example:motdepasse\n"

    def check(self, client, senders, code):
        for sender in senders:
            with self.subTest(sender=sender):
                client.expect("MAIL FROM:<%s>" % sender, code)
                client.expect("RSET", 250)

    def test_own_address_only(self):
        client = self.greeted()
        log_in(client)
        own = self.address("alice")
        self.check(client, (own, own.upper(), ""), 250)
        self.check(client, (self.address("bob"), "alice@ailleurs.example", "x" + own, own + ".example"), 553)

    def test_login_that_is_an_address(self):
        client = self.greeted()
        log_in(client, "jean@ailleurs.example", "motdepasse")
        self.check(client, ("jean@ailleurs.example",), 250)
        self.check(client, (self.address("alice"), self.address("jean")), 553)


class NotOfferedTest(support.ServerTestCase):
    """Without -pass."""

    def test_auth(self):
        with self.client() as client:
            reply = client.expect("EHLO client.example.org", 250)
            self.assertFalse([line for line in reply.lines if line.startswith("AUTH")])
            client.expect("AUTH PLAIN " + plain("alice", ALICE), 503)
            client.expect("AUTH LOGIN", 503)
            client.expect("MAIL FROM:<a@x.example> AUTH=<>", 555)
            client.expect("MAIL FROM:<a@x.example>", 250)
