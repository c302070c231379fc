"""auth.py: the SASL mechanisms."""

import hmac
import subprocess
import unittest
from unittest import mock

import auth
from tests.helpers import support

HASH = b"$scrypt$ln=4,r=1,p=1$c2FsdHNhbHQ$" + b"A" * 43        # of no password that is known


def accounts_of(text):
    return auth.read_accounts("comptes.txt", text)


class MechanismTest(unittest.TestCase):
    accounts = accounts_of(b"tim:tanstaaftanstaaf\nKurt:xipj3plmq\ntest:test\n")

    def run_exchange(self, mechanism, *responses, accounts=None):
        """The end of an exchange; every step before it must be a challenge."""
        exchange = auth.start(mechanism, accounts or self.accounts, "mail.example")
        for response in responses[:-1]:
            self.assertIsInstance(exchange.step(response), auth.Challenge)
        return exchange.step(responses[-1])

    def assertLogin(self, end, login):
        self.assertIsInstance(end, auth.Success, getattr(end, "reason", ""))
        self.assertEqual(end.login, login)

    def test_names(self):
        for name in ("plain", "Plain", "LOGIN", "login", "cram-md5", "CRAM-MD5"):
            self.assertEqual(auth.start(name, self.accounts, "x").mechanism, name.upper())
        for name in ("", "DIGEST-MD5", "PLAIN2", "EXTERNAL"):
            with self.subTest(name=name), self.assertRaises(auth.UnknownMechanism):
                auth.start(name, self.accounts, "x")

    def test_cram_md5_needs_clear_passwords(self):
        mixed = accounts_of(b"a:b\nc:" + HASH)
        self.assertEqual(self.accounts.mechanisms(), ["PLAIN", "LOGIN", "CRAM-MD5"])
        self.assertEqual(mixed.mechanisms(), ["PLAIN", "LOGIN"])
        with self.assertRaises(auth.UnknownMechanism):
            auth.start("CRAM-MD5", mixed, "x")

    def test_plain(self):
        message = b"\0tim\0tanstaaftanstaaf"         # RFC 4616 §4
        self.assertLogin(self.run_exchange("PLAIN", message), "tim")
        self.assertLogin(self.run_exchange("PLAIN", None, message), "tim")
        self.assertEqual(auth.start("PLAIN", self.accounts, "x").step(None).data, b"")

    def test_plain_authorization_id(self):
        self.assertLogin(self.run_exchange("PLAIN", b"tim\0tim\0tanstaaftanstaaf"), "tim")
        for other in (b"Ursel\0Kurt\0xipj3plmq", b"Tim\0tim\0tanstaaftanstaaf"):    # the first is RFC 4616's
            end = self.run_exchange("PLAIN", other)
            self.assertIs(type(end), auth.Failure)
            self.assertEqual(end.login, other.split(b"\0")[1].decode())

    def test_plain_malformed(self):
        for message in (b"", b"tim", b"tim\0tanstaaftanstaaf", b"\0\0", b"\0tim\0tanstaaftanstaaf\0", b"\0tim\0",
                        b"\0\0tanstaaftanstaaf", b"\0\xff\0\xff"):
            with self.subTest(message=message):
                self.assertIs(type(self.run_exchange("PLAIN", message)), auth.Failure)

    def test_login(self):
        exchange = auth.start("login", self.accounts, "x")
        self.assertEqual(exchange.step(None).data, b"Username:")
        self.assertEqual(exchange.step(b"test").data, b"Password:")
        self.assertLogin(exchange.step(b"test"), "test")

    def test_login_initial_response(self):
        exchange = auth.start("login", self.accounts, "x")
        self.assertEqual(exchange.step(b"test").data, b"Password:")
        self.assertLogin(exchange.step(b"test"), "test")
        for responses in ((b"", b"test"), (b"test", b""), (b"test", b"Test"), (b"test\0", b"test"), (b"\xe9", b"x")):
            with self.subTest(responses=responses):
                self.assertIs(type(self.run_exchange("LOGIN", *responses)), auth.Failure)

    def test_cram_md5_vector(self):
        challenge = b"<1896.697170952@postoffice.reston.mci.net>"       # RFC 2195 §2
        with mock.patch.object(auth, "_cram_challenge", return_value=challenge):
            exchange = auth.start("CRAM-MD5", self.accounts, "postoffice.reston.mci.net")
            self.assertEqual(exchange.step(None).data, challenge)
            self.assertLogin(exchange.step(b"tim b913a602c7eda7a495b4e6e7334d3890"), "tim")

    def cram(self, login, password, change=lambda answer: answer):
        exchange = auth.start("CRAM-MD5", self.accounts, "mail.example")
        digest = hmac.new(password, exchange.step(None).data, "md5").hexdigest().encode()
        return exchange.step(change(login + b" " + digest))

    def test_cram_md5(self):
        self.assertLogin(self.cram(b"tim", b"tanstaaftanstaaf"), "tim")
        self.assertLogin(self.cram(b"tim", b"tanstaaftanstaaf", lambda a: a[:4] + a[4:].upper()), "tim")
        for change in (lambda a: a[:-1], lambda a: a + b" ", lambda a: a[4:], lambda a: b"", lambda a: b"tim ",
                       lambda a: a.replace(b"tim", b"test"), lambda a: a[:-1] + b"\xff"):
            self.assertIs(type(self.cram(b"tim", b"tanstaaftanstaaf", change)), auth.Failure)

    def test_cram_md5_challenges_are_new_and_name_the_host(self):
        challenges = {auth.start("CRAM-MD5", self.accounts, "mail.example").step(None).data for _ in range(50)}
        self.assertEqual(len(challenges), 50)
        for challenge in challenges:
            self.assertRegex(challenge, rb"\A<[0-9]+\.[0-9]+@mail\.example>\Z")

    def test_cram_md5_takes_no_initial_response(self):
        for response in (b"", b"tim x"):
            self.assertIs(type(self.run_exchange("CRAM-MD5", response)), auth.Malformed)

    def test_same_end_for_wrong_password_and_unknown_login(self):
        accounts = accounts_of(b"known:secret\n")
        for mechanism, responses in (("PLAIN", (b"\0%b\0wrong",)), ("LOGIN", (b"%b", b"wrong")),
                                     ("CRAM-MD5", (None, b"%b " + b"0" * 32))):
            ends = []
            for login in (b"known", b"other"):
                exchange = auth.start(mechanism, accounts, "x")
                for response in responses:
                    end = exchange.step(response and response.replace(b"%b", login))
                self.assertEqual(end.login, login.decode())
                ends.append((type(end), end.reason))
            self.assertEqual(ends[0], ends[1], mechanism)


class ImportTest(unittest.TestCase):
    def test_reading_accounts_imports_little(self):
        """What only one mechanism or the command needs is left for then."""
        code = ("import sys; before = set(sys.modules); import auth; auth.read_accounts('x', b'a:b').mechanisms();"
                "print(*sorted(set(sys.modules) - before))")
        done = subprocess.run(["/usr/bin/python3", "-ES", "-c", code], cwd=support.ROOT, capture_output=True,
                              text=True, timeout=support.PATIENCE, check=True)
        self.assertLessEqual(set(done.stdout.split()), {"auth", "common", "common.logins", "binascii"})
