"""netcat-traditional: where it is found, and how it is fetched."""

import os
import shutil
import textwrap
import unittest

from tests.helpers import support
from tests.helpers.client import PATIENCE
from tests.helpers.launcher import LauncherTestCase, path_without, write_program


class NetcatPackageTest(LauncherTestCase):
    """The machine has no nc.traditional; apt-get and dpkg are stand-ins unless a test says otherwise."""

    def setUp(self):
        self.path = path_without(self, "nc.traditional")
        self.calls = self.path / "calls"

    def server(self, **arguments) -> support.Server:
        return self.make_server(environment={"PATH": str(self.path), **arguments.pop("environment", {})}, **arguments)

    def stand_in(self, name: str, text: str):
        (self.path / name).unlink()
        write_program(self.path / name, "#!/bin/sh\ncd %s\n%s" % (self.path, textwrap.dedent(text)))

    def serves(self, server: support.Server):
        with server.client() as client:
            client.expect("QUIT", 221)
        self.assertEqual(server.stop(), 0)

    @support.needs_root
    def test_root_installs_it(self):
        """With empty lists the first installation fails; the second, after an update, works."""
        self.stand_in("apt-get", """\
            echo "$@" >>calls
            case $* in
            *update) touch updated ;;
            *install*) [ -e updated ] && ln -s %s nc.traditional ;;
            esac
            """ % shutil.which("nc.traditional"))
        server = self.server().start()
        self.assertIn("netcat n'est pas installé", server.output())
        self.serves(server)
        calls = [line.split()[-1] for line in self.calls.read_text().splitlines()]
        self.assertEqual(calls, ["netcat-traditional", "update", "netcat-traditional"])

    @support.needs_root
    def test_cannot_be_had(self):
        """Root, or a user, is told why, what an administrator types, and that prefork needs none."""
        for user in (None, support.NOBODY):
            for line, reason in (("W: Temporary failure resolving 'depot.example'", "n'est pas joignable"),
                                 ("E: Unable to locate package netcat-traditional", "aucun dépôt de cette machine"),
                                 ("E: Out of cheese", "« E: Out of cheese »"),
                                 ("nothing of note", "apt-get a échoué ;")):
                with self.subTest(line, user=user):
                    self.stand_in("apt-get", 'echo "%s" >&2\nexit 100' % line)
                    server = self.server(run_as=user)
                    self.assertEqual(server.launch().wait(PATIENCE), 1)
                    self.assertEqual((server.processes(), len(server.output().splitlines())), ({}, 2))
                    for words in (reason, "apt-get install netcat-traditional", "./serveur.sh -listen prefork"):
                        self.assertIn(words, server.output().splitlines()[-1])

    @support.needs_root
    def test_what_is_done_is_said_first(self):
        """And where the program lies, since no shell would find it there."""
        os.mkfifo(self.path / "fetched", 0o666)
        (self.path / "fetched").chmod(0o666)
        self.stand_in("apt-get", "read line <fetched")
        self.stand_in("dpkg", 'mkdir -p "$3/usr/bin" && cp %s "$3/usr/bin"' % shutil.which("nc.traditional"))
        server = self.server(run_as=support.NOBODY)
        server.launch()
        netcat = server.spool / "netcat"
        support.wait_for(lambda: "téléchargement du paquet netcat-traditional dans %s" % netcat in server.output(),
                         "the news")
        (self.path / "fetched").write_text("done\n")
        line = "netcat : %s\n" % (netcat / "usr" / "bin" / "nc.traditional")
        support.wait_for(lambda: "telnet" in server.output(), "the announcement")
        self.assertIn(line, server.output())
        self.serves(server)

    @support.needs_root
    def test_stopped_meanwhile(self):
        """An installation may take minutes; Ctrl-C or TERM ends it with the launcher."""
        self.stand_in("apt-get", "touch calls\nsleep 600\nsleep 600\n")
        server = self.server()
        server.launch()
        support.wait_for(self.calls.exists, "the installation")
        server.process.terminate()
        self.assertEqual(server.process.wait(PATIENCE), 0, server.output())
        self.assertEqual(server.processes(), {})

    @support.needs_root
    def test_user_fetches_it(self):
        """The real apt-get and dpkg, as a user who finds the machine's lists empty; and once is enough."""
        empty = self.path / "lists"
        (empty / "partial").mkdir(parents=True)
        (self.path / "apt.conf").write_text('Dir::State::lists "%s";\n' % empty)
        server = self.server(run_as=support.NOBODY, environment={"APT_CONFIG": str(self.path / "apt.conf")})
        server.launch()
        support.wait_for(lambda: support.listeners(server.port) or server.process.poll() is not None, "a listener", 120)
        if server.process.poll() == 1 and "apt-get install" in server.output():
            self.skipTest("le dépôt Debian n'est pas joignable")
        self.serves(server)
        (self.path / "apt-get").unlink()
        self.serves(server.start())
        self.assertEqual(server.output().count("netcat n'est pas installé"), 1)


if __name__ == "__main__":
    unittest.main()
