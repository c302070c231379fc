"""auth.py as a command: add, check, hash; on a terminal and without one."""

import concurrent.futures
import os
import pathlib
import pty
import resource
import select
import signal
import stat
import subprocess
import tempfile
import unittest

import auth
from tests.helpers import support

AUTH = str(support.ROOT / "auth.py")


def run_auth(*arguments, stdin=b"", **options):
    return subprocess.run([AUTH, *map(os.fsdecode, arguments)], input=stdin, capture_output=True,
                          timeout=support.PATIENCE, check=False, **options)


class Terminal:
    """auth.py on a terminal of its own."""

    def __init__(self, *arguments):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            try:
                os.execv(AUTH, [AUTH, *map(str, arguments)])
            finally:
                os._exit(127)
        self.shown = b""
        self.code = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)

    def read(self):
        if not select.select([self.descriptor], [], [], support.PATIENCE)[0]:
            raise AssertionError("nothing more shown, nor ended: %r" % self.shown)
        try:
            data = os.read(self.descriptor, 4096)
        except OSError:             # what Linux answers once the other side is closed
            data = b""
        self.shown += data
        return data

    def answer(self, prompt, text):
        """Wait for `prompt`, and until it is waited for the answer; then type `text`."""
        already = len(self.shown)
        while prompt.encode() not in self.shown[already:]:
            if not self.read():
                raise AssertionError("ended before it asked %r: %r" % (prompt, self.shown))
        status = pathlib.Path("/proc/%d/status" % self.pid)
        support.wait_for(lambda: "State:\tS" in status.read_text(), "auth.py reads")
        os.write(self.descriptor, text)

    def finish(self):
        """Read to the end; returns the exit code."""
        while self.read():
            pass
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code


class CommandTestCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "comptes.txt"

    def add(self, login, password, *options):
        done = run_auth("add", *options, self.path, login, stdin=password.encode() + b"\n")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done

    def mode(self):
        return stat.S_IMODE(self.path.stat().st_mode)

    def assertAccount(self, login, password):
        accounts = auth.read_accounts(str(self.path))
        self.assertEqual(accounts.problems, [])
        self.assertTrue(accounts.accept(login.encode(), password.encode()), (login, password))

    def assertTrouble(self, done, *words):
        """It failed with one clear line and left nothing behind."""
        message = done.stderr.decode()
        self.assertEqual((done.returncode, done.stdout), (2, b""), message)
        self.assertTrue(message.startswith("auth.py: ") and message.count("\n") == 1, message)
        for word in words:
            self.assertIn(word, message)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith(".")], [])


class AddTest(CommandTestCase):
    def test_new_file_is_hashed_and_private(self):
        done = self.add("alice", "été: 1")
        self.assertAccount("alice", "été: 1")
        self.assertEqual(self.mode(), 0o600)
        self.assertTrue(self.path.read_bytes().startswith(b"alice:$scrypt$ln=14,r=8,p=1$"))
        self.assertIn("« alice »", done.stdout.decode())
        self.assertEqual(done.stderr, b"")
        self.assertEqual(os.listdir(self.folder), [self.path.name])

    def test_hashed_from_the_start(self):
        self.assertNotIn("CRAM-MD5", self.add("alice", "x").stdout.decode())

    def test_clear(self):
        done = self.add("alice", "été: 1", "-clair")
        self.assertEqual(self.path.read_bytes(), "alice:été: 1\n".encode())
        self.assertIn("CRAM-MD5", done.stdout.decode())
        text = self.add("bob", "x").stdout.decode()
        self.assertIn("mécanismes : PLAIN, LOGIN\n", text)
        self.assertIn("CRAM-MD5 n'est plus offert", text)
        self.assertIn("./auth.py add -clair %s bob" % self.path, text)
        self.assertNotIn("CRAM-MD5", self.add("carol", "x").stdout.decode())        # nothing was taken away
        self.assertNotIn("n'est plus", self.add("bob", "x", "-clair").stdout.decode())

    def test_the_rest_stays(self):
        for before, after in (
                (b"# t\n\nbob x y\n", b"# t\n\nbob x y\nalice:p\n"),
                (b"bob:x", b"bob:x\nalice:p\n"),
                (b"# t\r\nbob:x\r\n", b"# t\r\nbob:x\r\nalice:p\r\n"),
                (b"bob:x\r\n# t", b"bob:x\r\n# t\r\nalice:p\r\n"),
                (b"\xef\xbb\xbfbob:x\n", b"\xef\xbb\xbfbob:x\nalice:p\n"),
                (b"\xef\xbb\xbfalice:x\nbob:x\n", b"\xef\xbb\xbfalice:p\nbob:x\n"),
                (b"a:1\n  alice \told\n#alice:x\nalice2:3", b"a:1\nalice:p\n#alice:x\nalice2:3\n"),
                (b"alice:1\nbob:x\nalice:2\n", b"alice:p\nbob:x\n"),
                (b"bob:x\rz\n", b"bob:x\rz\nalice:p\n")):
            with self.subTest(before=before):
                self.path.write_bytes(before)
                self.add("alice", "p", "-clair")
                self.assertEqual(self.path.read_bytes(), after)

    def test_mode_is_kept(self):
        self.path.write_bytes(b"bob:x\n")
        self.path.chmod(0o640)
        self.add("alice", "p")
        self.assertEqual(self.mode(), 0o640)

    @support.needs_root
    def test_owner_is_kept(self):
        self.path.write_bytes(b"bob:x\n")
        os.chown(self.path, support.NOBODY, 8)
        self.add("alice", "p")
        status = self.path.stat()
        self.assertEqual((status.st_uid, status.st_gid), (support.NOBODY, 8))

    def test_symbolic_link_stays(self):
        target = self.folder / "ailleurs.txt"
        self.path.symlink_to(target.name)
        for login in ("alice", "bob"):
            self.add(login, "p")
            self.assertTrue(self.path.is_symlink())
            self.assertIn(login, target.read_text())

    def test_relative_path(self):
        done = run_auth("add", "-clair", self.path.name, "alice", stdin=b"p\n", cwd=self.folder)
        self.assertEqual((done.returncode, self.path.read_bytes()), (0, b"alice:p\n"))

    def test_readable_by_all_is_told(self):
        self.path.write_bytes(b"bob:x\n")
        self.path.chmod(0o644)
        self.assertIn("chmod 600", self.add("alice", "p").stderr.decode())

    def test_at_once(self):
        logins = ["u%d" % number for number in range(6)]
        with concurrent.futures.ThreadPoolExecutor(len(logins)) as pool:
            list(pool.map(lambda login: self.add(login, "p", "-clair"), logins))
        self.assertEqual(sorted(self.path.read_text().split()), [login + ":p" for login in logins])

    def test_failed_write_changes_nothing(self):
        self.path.write_bytes(b"bob:x\n" * 20)

        def no_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        done = run_auth("add", self.path, "alice", stdin=b"p\n", preexec_fn=no_room)
        self.assertTrouble(done, str(self.path), "rien n'est changé")
        self.assertEqual(self.path.read_bytes(), b"bob:x\n" * 20)

    def test_refused_logins(self):
        for login in ("", "#a", "a b", "a:b", "a\tb", "a\nb", "a\x7f", b"\xff"):
            with self.subTest(login=login):
                self.assertTrouble(run_auth("add", self.path, login, stdin=b"p\n"), "login")
                self.assertFalse(self.path.exists())

    def test_refused_passwords(self):
        for password in (b"", b"\n", b"\r\n", b" \t\n", b"a\0b\n", b"a\x1bb\n", b"a\rb\n", b"\xe9\n"):
            with self.subTest(password=password):
                self.assertTrouble(run_auth("add", self.path, "alice", stdin=password))
                self.assertFalse(self.path.exists())
        self.assertTrouble(run_auth("add", "-clair", self.path, "alice", stdin=b"$scrypt$x\n"), "$scrypt$")

    def test_impossible_places(self):
        for path in (self.folder, self.folder / "absent" / "x", "/dev/null"):
            with self.subTest(path=path):
                self.assertTrouble(run_auth("add", path, "alice", stdin=b"p\n"), str(path))


class CheckTest(CommandTestCase):
    def test_codes(self):
        self.path.write_bytes("alice:été\n".encode())
        self.path.chmod(0o600)
        for login, password, code in (("alice", "été\n", 0), ("alice", "été", 0), ("alice", "été\r\n", 0),
                                      ("alice", "ete\n", 1), ("alice", "\n", 1), ("alice", "", 1),
                                      ("bob", "été\n", 1), ("", "\n", 1)):
            with self.subTest(login=login, password=password):
                done = run_auth("check", self.path, login, stdin=password.encode())
                self.assertEqual((done.returncode, done.stderr), (code, b""))
                self.assertIn("faux" if code else "juste", done.stdout.decode())

    def test_no_file(self):
        self.assertTrouble(run_auth("check", self.path, "alice", stdin=b"p\n"), str(self.path), "n'existe pas")

    def test_problems_are_shown(self):
        self.path.write_bytes(b"alice:p\nalice:q\n")
        self.path.chmod(0o600)
        done = run_auth("check", self.path, "alice", stdin=b"p\n")
        self.assertEqual(done.returncode, 0)
        self.assertIn("ligne 2", done.stderr.decode())

    def test_standard_input_closed(self):
        self.path.write_bytes(b"alice:p\n")
        self.path.chmod(0o600)
        done = subprocess.run(["/bin/sh", "-c", '"$@" <&-', "sh", AUTH, "check", str(self.path), "alice"],
                              capture_output=True, timeout=support.PATIENCE, check=False)
        self.assertTrouble(done, "mot de passe")


class HashTest(CommandTestCase):
    def test_for_the_file(self):
        done = run_auth("hash", stdin=b"p q\n")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.path.write_bytes(b"alice:" + done.stdout)
        self.assertAccount("alice", "p q")


class TerminalTest(CommandTestCase):
    def test_add_asks_twice_and_shows_nothing(self):
        with Terminal("add", self.path, "alice") as terminal:
            terminal.answer("Mot de passe : ", "secrét\n".encode())
            terminal.answer("Encore une fois : ", "secrét\n".encode())
            self.assertEqual(terminal.finish(), 0, terminal.shown)
        self.assertNotIn(b"secr", terminal.shown)
        self.assertAccount("alice", "secrét")

    def test_two_different_passwords(self):
        with Terminal("add", self.path, "alice") as terminal:
            terminal.answer("Mot de passe : ", b"secret\n")
            terminal.answer("Encore une fois : ", b"secrets\n")
            self.assertEqual(terminal.finish(), 2)
        self.assertIn("diffèrent".encode(), terminal.shown)
        self.assertFalse(self.path.exists())

    def test_check_asks_once(self):
        self.path.write_bytes(b"alice:p\n")
        for password, code in ((b"p", 0), (b"q", 1)):
            with Terminal("check", self.path, "alice") as terminal:
                terminal.answer("Mot de passe : ", password + b"\n")
                self.assertEqual(terminal.finish(), code, terminal.shown)

    def test_end_of_file_interrupt_and_another_encoding(self):
        for key, code in ((b"\x04", 2), (b"\x03", 130), (b"\xe9\n", 2)):
            with Terminal("hash") as terminal:
                terminal.answer("Mot de passe : ", key)
                self.assertEqual(terminal.finish(), code, terminal.shown)
            self.assertNotIn(b"Traceback", terminal.shown)

    def test_nothing_is_asked_for_nothing(self):
        for arguments in (("add", self.path, "a:b"), ("add", self.folder, "alice"), ("check", self.path, "alice")):
            with Terminal(*arguments) as terminal:
                self.assertEqual(terminal.finish(), 2)
            self.assertNotIn(b"Mot de passe", terminal.shown)


class UsageTest(CommandTestCase):
    def test_errors(self):
        for arguments in ((), ("add",), ("add", self.path), ("add", self.path, "alice", "s3cret"), ("hash", "s3cret"),
                          ("check", self.path), ("check", "-clair", self.path, "alice"), ("hash", "-clair"),
                          ("remove", self.path, "alice"), ("add", "-x", self.path, "alice"), ("-clair",)):
            with self.subTest(arguments=arguments):
                done = run_auth(*arguments, stdin=b"p\n")
                self.assertEqual((done.returncode, done.stdout), (2, b""))
                self.assertIn(b"usage : auth.py", done.stderr)
                self.assertNotIn(b"s3cret", done.stderr)
                self.assertFalse(self.path.exists())

    def test_help(self):
        for option in ("-help", "--help", "-h"):
            done = run_auth(option)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"usage : auth.py add", done.stdout)

    def test_any_locale(self):
        for locale in ("C", "POSIX", "C.UTF-8", "fr_FR.ISO-8859-1"):
            done = run_auth("-help", env={"LC_ALL": locale})
            self.assertEqual((done.returncode, done.stderr), (0, b""), locale)
