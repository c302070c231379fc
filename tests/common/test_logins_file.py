"""The file of -pass: what serveur.sh says of it at the start, and whoever may read it."""

import pathlib
import tempfile
import unittest

from tests.helpers import support
from tests.helpers.secure import ACCOUNTS, MESSAGE, WRONG, AccountsTestCase, log_in, plain


class StartCase(unittest.TestCase):
    """A file of accounts for a serveur.sh that is yet to be started."""

    run_as = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="comptes-essai-")
        self.addCleanup(folder.cleanup)
        pathlib.Path(folder.name).chmod(0o755)
        self.path = pathlib.Path(folder.name) / "login_pass.txt"

    def write(self, content, mode=0o600):
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.path.chmod(mode)
        if self.run_as is not None:
            support.os.chown(self.path, self.run_as, self.run_as)

    def launched(self, *options):
        server = support.Server(("-pass", self.path, *options), run_as=self.run_as)
        self.addCleanup(server.destroy)
        return server

    def assert_refused(self, *words, options=()):
        server = self.launched(*options)
        self.assertEqual(server.launch().wait(support.PATIENCE), 2, server.output())
        for line in server.output().splitlines():
            self.assertTrue(line.startswith("serveur.sh: "), line)
        for word in words:
            self.assertIn(word, server.output())
        self.assertEqual(support.listeners(server.port), 0)


class StartTest(StartCase):
    """What serveur.sh says of a file that will not do. Nothing is started then."""

    def test_missing(self):
        self.assert_refused("serveur.sh: -pass %s : il n'existe pas\n" % self.path)

    def test_folder(self):
        self.path.mkdir()
        self.assert_refused(str(self.path), "ce n'est pas un fichier ordinaire")

    def test_bad_lines(self):
        self.write(b"alice:un\nbob\nalice:deux\n\xff\xfe:x\n:sans login\n")
        self.assert_refused("ligne 2 : le compte « bob » n'a pas de mot de passe",
                            "ligne 3 : le compte « alice » est déjà à la ligne 1",
                            "ligne 4 : ce n'est pas du texte en UTF-8", "ligne 5 : il manque le login",
                            "rien n'a été lancé")

    def test_readable_by_others(self):
        self.write(ACCOUNTS, 0o644)
        server = self.launched().start()
        self.assertIn("serveur.sh: attention : -pass %s : tout le monde peut le lire" % self.path, server.output())
        self.assertEqual(server.stop(), 0)

    def test_no_account(self):
        self.write("# personne\n")
        server = self.launched().start()
        self.assertIn("aucun compte, personne ne pourra envoyer", server.output())
        self.assertEqual(server.stop(), 0)

    def test_match_sender_alone(self):
        server = support.Server(("-match-sender",), run_as=self.run_as)
        self.addCleanup(server.destroy)
        self.assertEqual(server.launch().wait(support.PATIENCE), 2)
        self.assertIn("serveur.sh: -match-sender demande -pass", server.output())


@support.needs_root
class StartAsSomebodyTest(StartCase):
    """The same for an ordinary user, who can't read everything."""

    run_as = support.NOBODY

    def test_unreadable(self):
        self.write(ACCOUNTS, 0)
        self.assert_refused(str(self.path), "permission refusée")


@support.needs_root
class SomebodysServerTest(AccountsTestCase):
    """Started by an ordinary user, with a file of its own."""

    run_as = support.NOBODY

    def test_auth(self):
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("alice", WRONG), 535)
        log_in(client)
        self.assertEqual(client.letter("a@x.example", self.address("bob"), MESSAGE).code, 250)


@support.needs_root
class ClosedFolderTest(unittest.TestCase):
    """Root may keep the file where nobody else gets, whoever owns it."""

    def test_file_in_roots_own_folder(self):
        with tempfile.TemporaryDirectory(prefix="comptes-essai-") as folder:        # 0700
            path = pathlib.Path(folder) / "login_pass.txt"
            path.write_text(ACCOUNTS)
            path.chmod(0o600)
            support.os.chown(path, support.NOBODY, support.NOBODY)
            with support.Server(("-pass", path)) as server:
                server.start()
                with server.client() as client:
                    log_in(client)
                self.assertEqual(server.stop(), 0)
