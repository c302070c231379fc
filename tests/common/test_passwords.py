"""common/logins.py: the file of accounts, hashed passwords, and equal work for whoever asks."""

import hashlib
import hmac
import importlib
import os
import pathlib
import random
import tempfile
import unittest
from unittest import mock

from common import logins
from tests.helpers import support

FILE = "comptes.txt"

# RFC 7914 §12: "pleaseletmein", "SodiumChloride", N=16384, r=8, p=1
RFC_7914 = logins.Hashed((14, 8, 1), b"SodiumChloride", bytes.fromhex(
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"))
# passlib's documentation: "password"
PASSLIB_LINE = b"$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"


def accounts_of(text):
    return logins.Accounts(FILE, text if isinstance(text, bytes) else text.encode())


def hashed(password, cost=(4, 1, 1)):
    """A cheap hash, written as in the file."""
    salt = b"saltsalt"
    digest = hashlib.scrypt(password, salt=salt, n=1 << cost[0], r=cost[1], p=cost[2], dklen=32)
    return logins.Hashed(cost, salt, digest).written()


class ParsingTest(unittest.TestCase):
    def assertAccounts(self, text, *expected):
        accounts = accounts_of(text)
        self.assertEqual(accounts.problems, [])
        for login, password in expected:
            self.assertTrue(accounts.accept(login.encode(), password.encode()), (login, password))
        return accounts

    def assertProblem(self, text, *words):
        accounts = accounts_of(text)
        self.assertEqual(len(accounts.problems), 1, accounts.problems)
        for word in (FILE, *words):
            self.assertIn(word, accounts.problems[0])
        return accounts

    def test_first_colon_or_blank_parts(self):
        self.assertAccounts("a:b\nc d\ne\tf\ng:h:i j\nk l:m n\no \t p\n",
                            ("a", "b"), ("c", "d"), ("e", "f"), ("g", "h:i j"), ("k", "l:m n"), ("o", "p"))

    def test_comments_and_empty_lines(self):
        accounts = self.assertAccounts("# x:y\n\n  \t\n  # z:t\n  a:#b\n", ("a", "#b"))
        for login, password in ((b"x", b"y"), (b"#", b"x:y"), (b"z", b"t"), (b"", b"")):
            self.assertFalse(accounts.accept(login, password), login)

    def test_crlf_byte_order_mark_and_no_last_line_end(self):
        self.assertAccounts("\ufeffa:b\r\n\r\n# c\r\nd e\r\nf:g", ("a", "b"), ("d", "e"), ("f", "g"))

    def test_only_line_feed_ends_a_line(self):
        self.assertAccounts("a:b\u2028c\nd:e\x0bf\n", ("a", "b\u2028c"), ("d", "e\x0bf"))

    def test_accents_and_case(self):
        accounts = self.assertAccounts("élise:été\n", ("élise", "été"))
        for login, password in (("ÉLISE", "été"), ("élise", "Été"), ("e\u0301lise", "été")):
            self.assertFalse(accounts.accept(login.encode(), password.encode()), (login, password))

    def test_any_account_reads_back(self):
        chance = random.Random(4954)
        for _ in range(300):
            login = "".join(chance.choices("abé@.-_$\\'\"#", k=chance.randint(1, 8))).lstrip("#") or "x"
            password = "".join(chance.choices("abé:# \t$\\'\"€", k=chance.randint(1, 12))) + "!"
            line_end = chance.choice(["\n", "\r\n", ""])
            accounts = self.assertAccounts(f"{login}:{password}{line_end}", (login, password))
            self.assertFalse(accounts.accept(login.encode(), password.encode() + b" "))
            self.assertFalse(accounts.accept(login.encode(), password.encode()[:-1]))

    def test_problems(self):
        for text, words in (("a:b\n\na:c\n", ("ligne 3", "« a »", "ligne 1")),
                            ("a:b\nc:\n", ("ligne 2", "« c »", "mot de passe")),
                            ("a:  \r\n", ("ligne 1", "« a »")),
                            ("a\n", ("ligne 1", "« a »")),
                            ("a:b\n:c\n", ("ligne 2", "login")),
                            (b"a:b\nc:\xe9t\xe9\n", ("ligne 2", "UTF-8")),
                            (b"a\0:\0b\0", ("ligne 1", "nul"))):
            with self.subTest(text=text):
                self.assertProblem(text, *words)

    def test_line_with_a_problem_is_no_account(self):
        accounts = accounts_of("a:first\na:second\nb:\n")
        self.assertTrue(accounts.accept(b"a", b"first"))
        self.assertFalse(accounts.accept(b"a", b"second"))
        self.assertFalse(accounts.accept(b"b", b""))

    def test_no_message_shows_a_password(self):
        accounts = accounts_of(b"a:secret1\na:secret2\nb: secret3 \nc:$scrypt$secret4\nd:secret5\xff\n:secret6\n")
        self.assertEqual(len(accounts.problems), 4)
        self.assertEqual(len(accounts.warnings), 1)
        self.assertNotIn("secret", "".join(accounts.problems + accounts.warnings))

    def test_doubtful_blanks_are_kept_and_told(self):
        for text, password in (("a: b", b" b"), ("a:b ", b"b "), ("a : b", b": b")):
            with self.subTest(text=text):
                accounts = accounts_of(text)
                self.assertTrue(accounts.accept(b"a", password))
                self.assertIn("« a »", accounts.warnings[0])
        self.assertEqual(accounts_of("a:b c").warnings, [])

    def test_no_account_is_a_warning(self):
        accounts = accounts_of("# rien\n")
        self.assertEqual((accounts.problems, len(accounts.warnings)), ([], 1))
        self.assertFalse(accounts.accept(b"", b""))

    def test_example_file(self):
        accounts = logins.read_accounts(str(support.ROOT / "login_pass.txt"))
        self.assertEqual(accounts.problems, [])
        self.assertEqual(accounts.mechanisms(), ["PLAIN", "LOGIN", "CRAM-MD5"])
        self.assertTrue(accounts.accept(b"alice", b"secret1"))
        self.assertTrue(accounts.accept(b"bruno", b"secret2"))
        self.assertEqual(sorted(logins.PUBLIC), [b"alice", b"bruno"])
        self.assertEqual(accounts.public(), ["alice", "bruno"])

    def test_blanks_and_separators(self):
        accounts = accounts_of("alice:mot de passe inventé\nbruno inventé:aussi\n")
        self.assertEqual((accounts.problems, accounts.warnings), ([], []))
        self.assertTrue(accounts.accept(b"alice", "mot de passe inventé".encode()))
        self.assertTrue(accounts.accept(b"bruno", "inventé:aussi".encode()))


class HashTest(unittest.TestCase):
    def test_known_hashes(self):
        for line, password in ((RFC_7914.written(), b"pleaseletmein"), (PASSLIB_LINE, b"password")):
            with self.subTest(line=line):
                record = logins.Hashed.parse(line)
                self.assertTrue(record.matches(password))
                self.assertFalse(record.matches(password + b"x"))
                self.assertEqual(record.written(), line)

    def test_new_hashes_differ_and_match(self):
        one, two = logins.Hashed.of(b"p"), logins.Hashed.of(b"p")
        self.assertNotEqual(one.written(), two.written())
        self.assertTrue(logins.Hashed.parse(one.written()).matches(b"p"))

    def test_hash_in_a_file(self):
        for text in (b"a:%b", b"a %b", b"a: %b ", b"a:%b=\r\n"):
            with self.subTest(text=text):
                accounts = accounts_of(text % hashed(b"p"))
                self.assertEqual((accounts.problems, accounts.warnings), ([], []))
                self.assertTrue(accounts.accept(b"a", b"p"))

    def test_the_written_hash_is_no_password(self):
        accounts = accounts_of(b"a:" + hashed(b"p"))
        self.assertFalse(accounts.accept(b"a", hashed(b"p")))

    def test_damaged_or_unreasonable(self):
        cost, tail = b"ln=14,r=8,p=1", b"$c2FsdHNhbHQ$" + b"A" * 43
        self.assertEqual(accounts_of(b"a:$scrypt$" + cost + tail).problems, [])
        bad = [name + tail for name in (
            b"", b"ln=14", b"ln=14,r=8,p=1,x=1", b"r=8,ln=14,p=1", b"ln=x,r=8,p=1", b"ln=14=1,r=8,p=1",
            b"ln=0,r=8,p=1", b"ln=-1,r=8,p=1", b"ln=14,r=0,p=1", b"ln=14,r=8,p=0", b"ln=16,r=1,p=1",
            b"ln=17,r=8,p=1", b"ln=20,r=8,p=1", b"ln=14,r=1000,p=1", b"ln=10,r=8,p=1000", b"ln=1,r=1,p=10000000",
            b"ln=" + b"9" * 5000 + b",r=8,p=1", b"ln=14,r=" + b"9" * 100 + b",p=1")]
        bad += [cost + b"$c2FsdHNhbHQ", cost + b"$c2Fs" + tail[-44:], cost + b"$c2FsdHNhbHQ$AAAA",
                cost + b"$c2FsdHNhbHQ!" + tail[-44:], cost + tail + b"$", cost + tail + b"*", cost + tail + b"A" * 80]
        for rest in bad:
            with self.subTest(rest=rest), mock.patch("hashlib.scrypt") as scrypt:
                accounts = accounts_of(b"a:$scrypt$" + rest)
                self.assertEqual(len(accounts.problems), 1)
                self.assertIn("« a »", accounts.problems[0])
                self.assertFalse(accounts.accept(b"a", b"p"))
                scrypt.assert_not_called()

    def test_every_cost_let_in_can_be_computed(self):
        for cost in ((1, 1, 1), (15, 1, 32), (16, 8, 1), (1, 8192, 1), (1, 1, 1 << 19), (14, 8, 8)):
            with self.subTest(cost=cost):
                text = b"$scrypt$ln=%d,r=%d,p=%d$c2FsdHNhbHQ$" % cost + b"A" * 43
                self.assertFalse(logins.Hashed.parse(text).matches(b"p"))


class ReadingTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / FILE

    def write(self, text, mode=0o600):
        self.path.write_bytes(text)
        self.path.chmod(mode)

    def test_unreadable(self):
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        for path in (self.path, self.folder, fifo, self.path / "x"):
            with self.subTest(path=path), self.assertRaises(logins.Unreadable) as caught:
                logins.read_accounts(str(path))
            self.assertIn(str(path), caught.exception.text)

    @unittest.skipUnless(support.IS_ROOT, "il faut être root")
    def test_refused_but_already_read(self):
        self.write(b"a:b\n")
        self.folder.chmod(0o711)
        importlib.import_module("common.french")       # what says why, while we may still enter the checkout
        os.seteuid(support.NOBODY)
        self.addCleanup(os.seteuid, 0)
        with self.assertRaises(logins.Unreadable) as caught:
            logins.read_accounts(str(self.path))
        self.assertIn("permission refusée", caught.exception.text)
        accounts = logins.read_accounts(str(self.path), b"a:b\n")
        self.assertTrue(accounts.accept(b"a", b"b"))
        self.assertEqual(accounts.warnings, [])

    def test_public_passwords_are_a_warning(self):
        """One line says it, whatever else is in the file; who may read it matters once something in it is secret."""
        for text, mode, words in ((b"alice:secret1\nbruno:secret2\n", 0o644, ["(alice, bruno)"]),
                                  (b"alice secret1\n", 0o644, ["(alice)"]),
                                  (b"alice:secret1\ncarole:x\n", 0o600, ["(alice)"]),
                                  (b"alice:secret1\ncarole:x\n", 0o644, ["(alice)", "chmod 600"]),
                                  (b"alice:secret2\nbruno:secret1\n", 0o600, [])):
            with self.subTest(text=text, mode=oct(mode)):
                self.write(text, mode)
                warnings = logins.read_accounts(str(self.path)).warnings
                self.assertEqual(len(warnings), len(words), warnings)
                for warning, word in zip(warnings, words):
                    self.assertIn(word, warning)

    def test_open_to_all_is_a_warning(self):
        for mode, warnings in ((0o600, 0), (0o640, 0), (0o660, 0), (0o644, 1), (0o602, 1)):
            with self.subTest(mode=oct(mode)):
                self.write(b"a:b\n", mode)
                accounts = logins.read_accounts(str(self.path))
                self.assertEqual((len(accounts.warnings), accounts.problems), (warnings, []))

    def test_text_given_for_a_file_out_of_sight(self):
        self.assertTrue(logins.read_accounts(str(self.path), b"a:b\n").accept(b"a", b"b"))


class SameAnswerTest(unittest.TestCase):
    """Nothing that a client can see, nor the work done, depends on whether a login exists."""

    HASH = hashed(b"p")
    OTHER = hashed(b"p", (5, 2, 1))
    FILES = {"clear": b"clear:p\n", "hashed": b"hashed:" + HASH + b"\nhashed2:" + HASH,
             "mixed": b"clear:p\nhashed:" + HASH + b"\nother:" + OTHER}

    def work(self, text, login, password):
        """Which costly or comparing calls one attempt makes, and whether it succeeds."""
        accounts = accounts_of(text)
        calls = []
        scrypt, compare = hashlib.scrypt, hmac.compare_digest

        def noting_scrypt(*arguments, **options):
            calls.append(("scrypt", options["n"], options["r"], options["p"], options["dklen"], len(options["salt"])))
            return scrypt(*arguments, **options)

        def noting_compare(one, other):
            calls.append(("compare", len(one), len(other)))
            return compare(one, other)

        with mock.patch("hashlib.scrypt", noting_scrypt), mock.patch("hmac.compare_digest", noting_compare):
            return calls, accounts.accept(login, password)

    def test_same_work(self):
        for name, text in self.FILES.items():
            expected, accepted = self.work(text, b"nobody", b"wrong")
            self.assertFalse(accepted)
            for login in (b"clear", b"hashed", b"other", b"nobody", b""):
                for password in (b"p", b"wrong", b"longer than any password of these"):
                    with self.subTest(file=name, login=login, password=password):
                        calls, accepted = self.work(text, login, password)
                        self.assertEqual(calls, expected)
                        self.assertEqual(accepted, login + b":" in text and login != b"" and password == b"p")

    def test_a_decoy_lets_nobody_in(self):
        guessed = b"0123456789abcdef"
        with mock.patch("posix.urandom", return_value=guessed):
            accounts = accounts_of("a:b\n")
            answer = hmac.new(guessed, b"challenge", "md5").hexdigest().encode()
            self.assertFalse(accounts.accept(b"nobody", guessed))
            self.assertFalse(accounts.accept_cram_md5(b"nobody", b"challenge", answer))

    def test_one_hash_of_each_cost(self):
        for name, count in (("clear", 0), ("hashed", 1), ("mixed", 2)):
            calls, _ = self.work(self.FILES[name], b"nobody", b"p")
            self.assertEqual(sum(call[0] == "scrypt" for call in calls), count, name)
