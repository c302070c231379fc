"""A log that is renamed, by hand or by logrotate: everybody writes to the new one at once, nobody has to be told."""

import pathlib
import subprocess
import tempfile
import unittest

from tests.helpers import readme, support

LETTER = b"Subject: x\r\n\r\nx\r\n.\r\n"


def recipe(log: pathlib.Path, user: str) -> str:
    """README.txt's recipe for logrotate, for another log and another user."""
    return readme.replaced(readme.block(10, "Avec logrotate, dans"), {
        "/var/spool/serveur-smtp/mainlog": str(log), "mail mail": "%s %s" % (user, user)})


@support.both_listeners
class RotationTest(support.ServerTestCase):
    options = ("-relay", "relay.example=127.0.0.1:1")       # where nobody listens

    def send(self, client):
        return client.letter("a@b.example", "alice@" + self.server.domain, LETTER)

    def assert_logged(self, path, reply):
        message_id = reply.text.rpartition("id=")[2]
        self.assertIn(message_id + " Completed", path.read_text())

    def rename(self):
        old = self.server.log_path.with_name("mainlog.1")
        self.server.log_path.rename(old)
        return old

    def test_renamed_during_a_session(self):
        with self.client() as client:
            client.expect("EHLO x", 250)
            self.assert_logged(self.server.log_path, self.send(client))
            old = self.rename()
            size = old.stat().st_size
            reply = self.send(client)
            self.assert_logged(self.server.log_path, reply)
            self.assertEqual(old.stat().st_size, size)

    def test_renamed_between_sessions(self):
        """Workers that have written to the old one write to the new one; so does the relay."""
        for _ in range(5):
            with self.client() as client:
                client.expect("EHLO x", 250)
                self.send(client)
        old = self.rename()
        size = old.stat().st_size
        for _ in range(5):
            with self.client() as client:
                client.expect("EHLO x", 250)
                self.assert_logged(self.server.log_path, self.send(client))
                message_id = client.letter("a@b.example", "b@relay.example", LETTER).text.rpartition("id=")[2]
        self.server.wait_log(message_id + " == b@relay.example")
        self.assertEqual(old.stat().st_size, size)

    @support.needs_program("logrotate")
    def test_logrotate(self):
        """README's recipe, with the real one."""
        with self.client() as client, tempfile.TemporaryDirectory() as folder:
            client.expect("EHLO x", 250)
            self.send(client)
            configuration = pathlib.Path(folder, "recipe")
            configuration.write_text(recipe(self.server.log_path, "mail" if support.IS_ROOT else support.own_name()))
            configuration.chmod(0o644)
            for _ in range(2):
                subprocess.run(["logrotate", "-f", "-s", folder + "/state", str(configuration)], check=True,
                               capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
                self.assert_logged(self.server.log_path, self.send(client))
            self.assertTrue(self.server.log_path.with_name("mainlog.2.gz").exists())


@support.needs_root
class ClosedFolderTest(unittest.TestCase):
    """A log that can't be made anew: the renamed one goes on, and that is said once."""

    def test_it_goes_on(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            folder.chmod(0o777)
            log = folder / "log"
            with support.Server(("-log", log), run_as=support.NOBODY) as server:
                server.start()
                with server.client() as client:
                    client.expect("EHLO x", 250)
                    letter = ("a@b.example", "alice@" + server.domain, LETTER)
                    client.letter(*letter)
                    # One that begins later has none to go on with.
                    support.wait_for(lambda: "relay started" in log.read_text(), "the relay")
                    log.rename(folder / "old")
                    folder.chmod(0o755)
                    replies = [client.letter(*letter) for _ in range(3)]
                    for reply in replies:
                        self.assertIn(reply.text.rpartition("id=")[2] + " Completed", (folder / "old").read_text())
                    end = replies[-1].text.rpartition("id=")[2] + " Completed"
                    support.wait_for(lambda: end in server.output(), "the last of it on the terminal")
                    self.assertEqual(server.output().count("%s: Permission denied" % log), 1)
                self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
