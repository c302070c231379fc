"""As root the program is served from a copy that each start lays: the checkout may lie where nobody else can go."""

import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import time
import unittest

from tests.helpers import support
from tests.helpers.secure import ALICE, log_in, start_tls
from tests.lab import namespace
from tests.helpers.launcher import LETTER, LauncherTestCase, copy_tree, kill_together, set_constant, write_program
from tests.lab.lmtp_sink import LmtpSink

HOMES = (pathlib.Path("/run"), pathlib.Path("/var/lib"))
ELSEWHERE = "x@tpmail.info.unicaen.fr"
NOBODY_THERE = "tpmail.info.unicaen.fr=127.0.0.1:9"         # whatever network the tests run in


def served_from(server: support.Server) -> pathlib.Path:
    """The folder that this server's relay, and with it everything, runs from."""
    def find():
        commands = (command.split() for command in server.processes().values())
        return next((pathlib.Path(words[2]).parent for words in commands if words[2:]
                     and words[2].endswith("/relay.py")), None)
    return support.wait_for(find, "the relay")


def all_below(folder: pathlib.Path):
    """What lies in `folder`, at any depth, what stands in a __pycache__ aside."""
    return [path for path in folder.rglob("*") if "__pycache__" not in path.parts]


def modules_without_code(folder: pathlib.Path):
    """The modules in `folder` that Python would have to compile."""
    return [path for path in all_below(folder) if path.suffix == ".py"
            and not list(path.parent.glob("__pycache__/%s.*.pyc" % path.stem))]


@contextlib.contextmanager
def file_mode_mask(mask: int):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@support.needs_root
class CopyTestCase(LauncherTestCase):
    listener = "netcat"

    def make_server(self, *options, **arguments):
        return super().make_server("-listen", self.listener, *options, **arguments)

    def stop(self, server: support.Server) -> None:
        folder = served_from(server)
        self.assertEqual(server.stop(), 0, server.output())
        self.assertFalse(folder.exists())

    def start_after(self, server: support.Server, *mounts: str) -> None:
        """Have `server` started in a mount namespace of its own, after these mount commands."""
        inside = " && ".join([*("mount " + mount for mount in mounts),
                              'exec %s "$@"' % shlex.quote(str(server.script))])
        server.script = write_program(server.folder / "elsewhere.sh", "#!/bin/sh\nexec %s sh -c %s sh \"$@\"\n" % (
            " ".join(namespace.UNSHARE), shlex.quote(inside)))


def tmpfs(folder: str, options: str) -> str:
    """What start_after takes."""
    return "-t tmpfs -o %s tmpfs %s" % (options, folder)


class ClosedCheckoutTest(CopyTestCase):
    """The checkout is in a folder that only root may enter."""

    def closed_tree(self) -> pathlib.Path:
        tree = copy_tree(self)
        tree.parent.chmod(0o700)
        return tree

    def test_each_kind_of_session(self):
        server = self.make_server("-tls", "auto", "-pass", "accounts", "-relay", NOBODY_THERE)
        (server.folder / "accounts").write_text("alice:%s\n" % ALICE)
        (server.folder / "accounts").chmod(0o600)
        tree = self.closed_tree()
        server.script = tree / "serveur.sh"
        with file_mode_mask(0o077):
            server.start()
        with server.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<>", 530)
            client.expect("QUIT", 221)
        with server.client() as client:
            start_tls(client)
            log_in(client, "alice", ALICE)
            recipients = ["alice@" + server.domain, ELSEWHERE]
            self.assertEqual(client.letter("alice@" + server.domain, recipients, LETTER).code, 250)
        self.assertEqual(len(server.messages("alice")), 1)
        server.wait_log("== " + ELSEWHERE)
        self.stop(server)

    def test_before_an_lmtp_server(self):
        """Sessions, and the relay with what was put off."""
        answers = ["450 busy"]
        with LmtpSink({"dot": lambda *_: answers.pop() if answers else "250 Saved"}) as sink:
            server = self.make_server("-store", sink.store, "-relay", NOBODY_THERE, accounts=None)
            server.script = self.closed_tree() / "serveur.sh"
            server.start()
            reply = server.send(["alice@" + server.domain, "bob@" + server.domain], LETTER)
            self.assertEqual(reply.code, 250, server.log())
            sink.wait_messages(2)
            self.stop(server)

    def test_without_accounts(self):
        server = self.make_server()
        server.script = self.closed_tree() / "serveur.sh"
        server.start()
        for command in ("EXPN team", "VRFY alice", "VRFY postmaster", "HELP"):
            with server.client() as client:
                client.expect("EHLO client.example.org", 250)
                self.assertNotEqual(client.ask(command).code, 421)
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.stop(server)


    def test_of_another(self):
        """Root leaves nothing of its own in it."""
        server, tree = self.make_server(), self.closed_tree()
        shutil.rmtree(tree / "__pycache__", ignore_errors=True)
        for path in (tree.parent, *tree.parent.rglob("*")):
            os.chown(path, support.NOBODY, support.NOBODY)
        server.script = tree / "serveur.sh"
        server.start()
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.stop(server)
        self.assertEqual([path for path in tree.rglob("*") if path.stat().st_uid != support.NOBODY], [])

    @namespace.needed
    def test_read_only(self):
        server, tree = self.make_server(), self.closed_tree()
        server.script = tree / "serveur.sh"
        self.start_after(server, "--bind %s %s" % (tree, tree), "-o remount,bind,ro %s" % tree)
        server.start()
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.stop(server)


class ClosedCheckoutTestPrefork(ClosedCheckoutTest):
    listener = "prefork"


class WhatIsCopiedTest(CopyTestCase):
    def test_only_the_program_and_for_everyone(self):
        server = self.make_server()
        tree = copy_tree(self)
        (tree / "a-room").mkdir()
        (tree / "a-room" / "module.py").write_text("")
        (tree / "a-room" / ".#module.py").symlink_to("of-an-editor")
        (tree / "a-room" / "page.html").write_text("")
        (tree / "no-room").mkdir()
        (tree / "no-room" / "letter.txt").write_text("")
        server.script = tree / "serveur.sh"
        with file_mode_mask(0o077):
            server.start()
        folder = served_from(server)
        self.assertIn(folder.parent, HOMES)
        for path in (folder, *folder.rglob("*")):
            status = path.stat()
            self.assertEqual((status.st_uid, status.st_mode & 0o022), (0, 0), path)
            self.assertTrue(path.name == ".lock" or status.st_mode & 0o004, path)
        files = {str(path.relative_to(folder)) for path in all_below(folder) if path.is_file()}
        page = {"web/" + name for name in ("page.html", "page.css", "page.js", "curves.js", "fates.js", "icon.svg")}
        self.assertEqual({path for path in files if not path.endswith(".py")}, {".lock", "a-room/page.html"} | page)
        ours = {str(path.relative_to(tree)) for path in tree.rglob("*.py") if "rapport" not in path.parts
                and path.is_file()}
        self.assertEqual(ours - files, set())
        self.assertEqual(modules_without_code(folder), [])
        self.stop(server)

    def test_ordinary_user_has_none(self):
        server = self.make_server(run_as=support.NOBODY)
        tree = copy_tree(self)
        for path in (tree, *tree.rglob("*")):
            os.chown(path, support.NOBODY, support.NOBODY)
        server.script = tree / "serveur.sh"
        server.start()
        self.assertEqual(served_from(server), tree)
        self.assertEqual([path for path in modules_without_code(tree) if "rapport" not in path.parts], [])
        self.assertEqual(server.stop(), 0)


class WhoseCopyTest(CopyTestCase):
    def test_two_servers(self):
        first, second = self.make_server().start(), self.make_server().start()
        self.assertNotEqual(served_from(first), served_from(second))
        with first.client() as client:
            client.expect("EHLO client.example.org", 250)
            self.stop(second)
            self.assertEqual(client.letter("", "alice@" + first.domain, LETTER).code, 250)
        self.stop(first)

    def test_killed(self):
        """A new start leaves the copy to a session that outlives its launcher; a later one removes it."""
        killed = self.make_server().start()
        folder = served_from(killed)
        with killed.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<>", 250)
            ours = killed.process_of(client)
            # All but the agent, which the session needs; a keeper that lives on would tell the session to end.
            kill_together(killed, lambda pid, command: pid != ours and "/delivery_agent" not in command)
            another = self.make_server()
            another.script = copy_tree(self) / "serveur.sh"
            set_constant(another.script, "launcher/pool.sh", "GRACE", 60)      # however slow we are
            another.start()                             # tells the session to end after its transaction
            client.expect("RCPT TO:<alice@%s>" % killed.domain, 250)
            client.expect("DATA", 354)
            client.write(LETTER)
            self.assertEqual([client.reply().code, client.reply().code], [250, 421])
            self.stop(another)
        support.wait_for(lambda: not killed.processes(), "the session's end")
        self.stop(self.make_server().start())
        self.assertFalse(folder.exists())

    def test_killed_before_it_had_a_lock(self):
        """Its folder goes when it is old enough to be nobody's who is at it."""
        old, new = (home / (".serveur-smtp.%d-1" % number) for number, home in enumerate(HOMES))
        for folder, age in ((old, 300), (new, 0)):
            folder.mkdir(0o700)
            self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
            os.utime(folder, (time.time() - age,) * 2)
        self.stop(self.make_server().start())
        self.assertFalse(old.exists())
        self.assertTrue(new.exists())

    def test_failed_start(self):
        """It has left nothing, also when what fails comes after the copy."""
        server = self.make_server("-smtps", support.free_port(), "-tls", "auto")
        before = {path for home in HOMES for path in home.glob("serveur-smtp.*")}
        server.script = copy_tree(self) / "serveur.sh"
        pool = server.script.parent / "launcher" / "pool.sh"
        pool.write_text(pool.read_text() + "\ncompute_pool_size() { fail 3 'no pool'; }\n")
        self.assertEqual(server.launch().wait(support.PATIENCE), 3, server.output())
        after = {path for home in HOMES for path in home.glob("serveur-smtp.*")}
        self.assertEqual([path for path in after - before if path.name.endswith("-%d" % server.process.pid)], [])


@namespace.needed
class WhereItLiesTest(CopyTestCase):
    def test_run_executes_nothing(self):
        """As systemd mounts it."""
        server = self.make_server()
        self.start_after(server, tmpfs("/run", "noexec,mode=755"))
        server.start()
        self.assertEqual(served_from(server).parent, pathlib.Path("/var/lib"))
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.stop(server)

    def test_others_tidy_up(self):
        """Starts that have a /run of their own see each other's copies in /var/lib only: also one that is so new that
        its lock is not held yet."""
        tidy = subprocess.Popen(["bash", "-c", ". launcher/copy.sh; while :; do remove_left_copies /var/lib; done"],
                                env=dict(os.environ, HERE=str(support.ROOT)), cwd=support.ROOT)
        self.addCleanup(tidy.wait)
        self.addCleanup(tidy.kill)
        for _ in range(5):
            server = self.make_server()
            self.start_after(server, tmpfs("/run", "noexec,mode=755"))
            server.start()
            folder = served_from(server)
            self.assertEqual(server.stop(), 0, server.output())
            support.wait_for(lambda: not folder.exists(), "the end of what both remove")

    def test_run_is_full(self):
        server = self.make_server()
        self.start_after(server, tmpfs("/run", "size=512k,mode=755"))
        server.start()
        self.assertEqual(served_from(server).parent, pathlib.Path("/var/lib"))
        self.stop(server)

    def test_others_may_write_there(self):
        for mode in ("1777", "775"):
            with self.subTest(mode):
                server = self.make_server()
                self.start_after(server, tmpfs("/run", "mode=" + mode))
                server.start()
                self.assertEqual(served_from(server).parent, pathlib.Path("/var/lib"))
                self.stop(server)

    def test_nowhere(self):
        for options in ("mode=1777", "mode=755,uid=65534", "mode=755,ro", "mode=755,noexec"):
            with self.subTest(options):
                server = self.make_server()
                self.start_after(server, tmpfs("/var/lib", options), tmpfs("/run", "mode=1777"))
                line = self.refused(server, 1)
                self.assertIn("où nul autre n'écrit", line)


if __name__ == "__main__":
    unittest.main()
