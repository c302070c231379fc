"""serveur.sh before and while it starts: options, what it says, what it refuses, where it may be started from, netcat's
package."""

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import textwrap
import unittest

from tests.helpers import support
from tests.helpers.client import PATIENCE

SCRIPT = support.ROOT / "serveur.sh"
OPTIONS = ("-port", "-smtps", "-bind", "-pass", "-match-sender", "-noms", "-domain", "-store", "-aliases", "-relay",
           "-tls", "-spool", "-log", "-max", "-size", "-rcpts", "-listen", "-v", "-help")
VALUELESS = ("-match-sender", "-v", "-help")
LETTER = b"Subject: x\r\n\r\nx\r\n.\r\n"
STRANGER = 61234                # a user id that no login has
NOT_OURS = "192.0.2.1"          # TEST-NET-1: no machine's address
PRIVILEGED = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 25


def copy_tree(case: unittest.TestCase, name: str = "serveur") -> pathlib.Path:
    """A copy of the program in a temporary folder that everyone may read, to be changed as a test likes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
    case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    shutil.copytree(support.ROOT, folder / name, ignore=shutil.ignore_patterns(".git", "tests"))
    return folder / name


def set_constant(script: pathlib.Path, file: str, line: str, value: str) -> None:
    """In the copy of the tree that `script` is in: give the constant which `line` defines another value."""
    path = script.parent / file
    before, found, after = path.read_text().partition("\n" + line)
    assert found and re.match(r"\d+ ", after), "%s: %s" % (file, line)
    path.write_text(before + found + value + " " + after.partition(" ")[2])


def write_program(path: pathlib.Path, text: str) -> pathlib.Path:
    """An executable file; the text may be indented."""
    path.write_text(textwrap.dedent(text))
    path.chmod(0o755)
    return path


def path_without(case: unittest.TestCase, missing: str) -> pathlib.Path:
    """A folder for PATH with links to all of this machine's programs, the one that is `missing` aside."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
    case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    for place in ("/bin", "/usr/bin", "/sbin", "/usr/sbin"):
        for program in pathlib.Path(place).iterdir():
            with contextlib.suppress(FileExistsError):
                (folder / program.name).symlink_to(program)
    (folder / missing).unlink()
    return folder


def user_name(uid: int) -> str:
    """As messages name a user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class LauncherTestCase(unittest.TestCase):
    def make_server(self, *options, **arguments) -> support.Server:
        server = support.Server(options, **arguments)
        self.addCleanup(server.destroy)
        return server

    def refused(self, server: support.Server, code: int) -> str:
        """Start a server that must end by itself with `code`, leaving nothing: the one line that it writes."""
        self.assertEqual(server.launch().wait(PATIENCE), code, server.output())
        self.assertEqual(server.processes(), {})
        lines = server.output().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith("serveur.sh: "), lines)
        return lines[0]


class OptionsTest(LauncherTestCase):
    def test_bad_options(self):
        for options, expected in (
                (["-porte", "4568"], "option inconnue : -porte"),
                (["4568"], "argument de trop : 4568"),
                (["-port", "65536"], "65536"),
                (["-port", "vingt-cinq"], "vingt-cinq"),
                (["-max", "0"], "-max"),
                (["-max", "1e3"], "1e3"),
                (["-size", "gros"], "gros"),
                (["-rcpts", "-3"], "valeur de l'option -rcpts"),
                (["-bind", "localhost"], "localhost"),
                (["-bind", "::1"], "-listen prefork"),
                (["-listen", "inetd"], "inetd"),
                (["-store", "nulle-part"], "nulle-part"),
                (["-pass", "absent.txt"], "absent.txt"),
                (["-noms", "absent.txt", "-domain", ""], "valeur de l'option -domain"),
                (["-smtps", "4465"], "-tls"),
                (["-port", "4568", "-port", "4568"], "4568 est donné deux fois"),
        ):
            with self.subTest(options):
                self.assertIn(expected, self.refused(self.make_server(*options), 2))

    def test_missing_value(self):
        cases = [[option] for option in OPTIONS if option not in VALUELESS]
        cases += [["-port", "-v"], ["-port", "–v"], ["-port", ""]]
        for case in cases:
            with self.subTest(case):
                self.assertIn("valeur de l'option %s" % case[0], self.refused(self.make_server(*case), 2))

    def test_pasted_dash(self):
        """A word processor makes “–pass” of “-pass”."""
        line = self.refused(self.make_server("–pass", "absent.txt"), 2)
        self.assertIn("absent.txt", line)

    def test_help_names_every_option(self):
        done = subprocess.run([SCRIPT, "-help"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        words = done.stdout.split()
        self.assertEqual([option for option in OPTIONS if option not in words], [])

    def test_environment_does_not_count(self):
        server = self.make_server(environment={"SMTP_PASS": "/nulle/part", "SMTP_STORE": "rien"}).start()
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.assertEqual(server.stop(), 0)

    def test_relative_paths(self):
        """They are those of the folder one is in, whoever runs later and wherever."""
        server = self.make_server("-store", "courrier", "-log", "journal", "-aliases", "alias", accounts=())
        (server.folder / "courrier" / "carol").mkdir(parents=True)
        (server.folder / "alias").write_text("chef: carol\n")
        if support.IS_ROOT:
            os.chown(server.folder / "courrier" / "carol", support.NOBODY, support.NOBODY)
        server.start()
        self.assertEqual(server.send("chef@" + server.domain, LETTER).code, 250)
        self.assertEqual(len(support.read_maildir(server.folder / "courrier" / "carol" / "Maildir")), 1)
        self.assertIn("<= sender@", (server.folder / "journal").read_text())
        self.assertEqual(server.stop(), 0)


class AnnouncementTest(LauncherTestCase):
    def test_what_a_user_reads(self):
        server = self.make_server().start()
        text = support.wait_for(lambda: "telnet" in server.output() and server.output(), "the announcement")
        for expected in ("Le serveur écoute sur le port %d (127.0.0.1)." % server.port,
                         "Domaine local : " + server.domain, str(server.mail / "compte" / "Maildir"),
                         str(server.log_path), "tout le monde", "telnet 127.0.0.1 %d" % server.port):
            self.assertIn(expected, text)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.output().splitlines()[-1], "Serveur arrêté.")

    def test_what_to_type(self):
        """One address, and one that can be called."""
        for bind, host in (((), "127.0.0.1"), (("-bind", "127.0.0.1", "-bind", "127.0.0.2"), "127.0.0.1"),
                           (("-bind", "127.0.0.2"), "127.0.0.2"), (("-bind", "0.0.0.0"), "127.0.0.1")):
            with self.subTest(bind), self.make_server() as server:
                at = server.arguments.index("-bind")
                server.arguments[at:at + 2] = bind
                server.launch()
                support.wait_for(lambda: "telnet" in server.output(), "the announcement")
                self.assertIn("telnet %s %d " % (host, server.port), server.output())
                server.process.terminate()
                self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_accounts(self):
        server = self.make_server("-pass", "comptes", "-store", "mbox")
        (server.folder / "comptes").write_text("alice:secret\n")
        (server.folder / "comptes").chmod(0o600)
        server.start()
        text = support.wait_for(lambda: "telnet" in server.output() and server.output(), "the announcement")
        self.assertIn("les comptes de %s, une fois authentifiés" % (server.folder / "comptes"), text)
        self.assertIn("/var/mail/compte", text)
        self.assertNotIn("secret", text)


class PortTest(LauncherTestCase):
    def on_port_of(self, server: support.Server, *bind: str) -> support.Server:
        """Another server, with a folder of its own, for the same port: on all addresses, or on those of `bind`."""
        other = self.make_server()
        other.port = server.port
        other.arguments[other.arguments.index("-port") + 1] = str(server.port)
        other.replace_option("-bind", *bind)
        return other

    def test_second_start(self):
        server = self.make_server().start()
        self.assertIn("un autre serveur.sh écoute déjà sur le port %d" % server.port,
                      self.refused(self.on_port_of(server, "-bind", "127.0.0.1"), 1))
        server.client().close()
        self.assertEqual(server.stop(), 0)

    def test_all_addresses_keep_out_one(self):
        server = self.on_port_of(self.make_server()).start()
        self.assertIn("un autre serveur.sh", self.refused(self.on_port_of(server, "-bind", "127.0.0.1"), 1))

    def test_one_address_keeps_out_all(self):
        server = self.make_server().start()
        self.assertIn("un autre serveur.sh", self.refused(self.on_port_of(server), 1))

    def test_two_addresses_one_port(self):
        server = self.make_server().start()
        other = self.on_port_of(server, "-bind", "127.0.0.2")
        other.launch()
        support.wait_for(lambda: "telnet 127.0.0.2" in other.output(), "the second server")
        with other.client(host="127.0.0.2"), server.client():
            pass
        other.process.terminate()
        self.assertEqual(other.process.wait(PATIENCE), 0)
        server.client().close()

    def test_port_taken(self):
        """By another program of the same user, also by one that would share the port."""
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with self.subTest(option), socket.socket() as taken:
                server = self.make_server()
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
                taken.bind(("127.0.0.1", server.port))
                taken.listen()
                self.assertIn("le port %d est déjà pris par %s (processus %d, utilisateur %s)" % (
                    server.port, pathlib.Path("/proc/self/comm").read_text().strip(), os.getpid(),
                    user_name(os.geteuid())), self.refused(server, 1))

    @support.needs_root
    def test_port_of_another_users_server(self):
        for listener in ("netcat", "prefork"):
            for owner, other in ((None, support.NOBODY), (support.NOBODY, None)):
                with self.subTest(listener=listener, owner=owner):
                    with self.make_server("-listen", listener, run_as=owner).start() as server:
                        second = self.make_server(run_as=other)
                        second.arguments[second.arguments.index("-port") + 1] = str(server.port)
                        self.assertRegex(self.refused(second, 1), r"le port %d est déjà pris par un autre serveur\.sh "
                                         r"\(processus \d+, utilisateur %s\)$" % (server.port, user_name(owner or 0)))

    def test_no_such_address(self):
        line = self.refused(self.make_server("-bind", NOT_OURS), 1)
        self.assertIn("l'adresse %s n'est pas de cette machine" % NOT_OURS, line)

    @support.needs_root
    @unittest.skipUnless(PRIVILEGED, "tout le monde peut ici écouter sur le port 25")
    def test_privileged_port(self):
        line = self.refused(self.make_server("-port", "25", run_as=support.NOBODY), 1)
        self.assertIn("le port 25 est réservé à root", line)

    def test_several_addresses_and_ports(self):
        more = support.free_port()
        server = self.make_server("-port", more, "-bind", "127.0.0.3").start()
        support.wait_for(lambda: "telnet" in server.output(), "the announcement")
        for host in ("127.0.0.1", "127.0.0.3"):
            for port in (server.port, more):
                with support.greeted_client(port, host=host) as client:
                    client.expect("QUIT", 221)
        self.assertEqual(server.stop(), 0)

    def test_listener_tells_its_handlers_what_it_is(self):
        secure = support.free_port()
        server = self.make_server("-smtps", secure, "-tls", "auto")
        server.script = copy_tree(self) / "serveur.sh"
        write_program(server.script.with_name("smtp_handler.py"), """\
            #!/bin/sh
            printf '220 %s %s %s\\r\\n' "$SMTP_PORT" "${SMTP_IMPLICIT_TLS:-clear}" "$SMTP_TERMINAL"
            """)
        server.start()
        support.wait_for(lambda: "telnet" in server.output(), "the announcement")
        for port, kind in ((server.port, "clear"), (secure, "1")):
            with support.Client(port) as client:
                self.assertEqual(client.reply().text, "%d %s 1" % (port, kind))
        self.assertIn("port %d (127.0.0.1), en TLS dès la connexion" % secure, server.output())


@unittest.skipUnless(socket.has_dualstack_ipv6(), "pas d'IPv6 ici")
class TwinTest(LauncherTestCase):
    """Clients told "localhost" try ::1 first. Beside a server that listens on IPv4 only, nobody else may listen
    there."""

    def server(self, *options, bind=()) -> support.Server:
        server = self.make_server(*options)
        at = server.arguments.index("-bind")
        server.arguments[at:at + 2] = bind
        return server

    def attack(self, port: int, address: str, *options) -> None:
        """Listen there as another user would."""
        with socket.socket(socket.AF_INET6) as taken:
            for option in options:
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            taken.bind((address, port))
            taken.listen()

    def test_nobody_else_gets_it(self):
        for options, bind in (((), ()), ((), ("-bind", "0.0.0.0")), ((), ("-bind", "127.0.0.1")),
                              (("-listen", "prefork"), ("-bind", "0.0.0.0"))):
            with self.subTest(options=options, bind=bind), self.server(*options, bind=bind).start() as server:
                support.wait_for(lambda: "telnet" in server.output(), "the announcement")
                support.wait_for(lambda: self.is_held(server.port), "the port's IPv6 twin to be held")
                for more in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,),
                             (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
                    with self.assertRaises(OSError):
                        self.attack(server.port, "::1", *more)
                with self.assertRaises(ConnectionRefusedError), socket.create_connection(("::1", server.port),
                                                                                         PATIENCE):
                    pass
                self.assertEqual(server.stop(), 0)
                self.attack(server.port, "::1")

    def is_held(self, port: int) -> bool:
        with contextlib.suppress(OSError):
            self.attack(port, "::1")
            return False
        return True

    def test_somebody_has_it(self):
        server = self.server()
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("::1", server.port))
            taken.listen()
            self.assertIn("le port %d est déjà pris par " % server.port, self.refused(server, 1))

    def test_both_kinds_of_address(self):
        """What is given twice, or stands for others that are given too, is bound once; and the server keeps no one
        out."""
        for bind, hosts in ((("0.0.0.0", "::"), ("127.0.0.1", "::1")), (("::1", "0.0.0.0"), ("127.0.0.1", "::1")),
                            (("127.0.0.1", "127.0.0.1", "::1"), ("127.0.0.1", "::1")),
                            (("127.0.0.1", "0.0.0.0"), ("127.0.0.1",))):
            with self.subTest(bind):
                options = [word for address in bind for word in ("-bind", address)]
                with self.server("-listen", "prefork", bind=options).start() as server:
                    for host in hosts:
                        with server.client(host=host) as client:
                            client.expect("QUIT", 221)
                    self.assertEqual(server.stop(), 0)
        with self.server(bind=("-bind", "127.0.0.1", "-bind", "0.0.0.0", "-bind", "127.0.0.1")).start() as server:
            server.client().close()
            self.assertEqual(server.stop(), 0)


class StateTest(LauncherTestCase):
    def test_second_server(self):
        for listener in ("netcat", "prefork"):
            with self.subTest(listener), self.make_server("-listen", listener).start() as server:
                other = self.make_server("-spool", server.spool)
                self.assertIn("il faut à celui-ci son propre dossier, -spool", self.refused(other, 2))
                self.assertEqual(server.stop(), 0)
                self.assertEqual(other.start().stop(), 0)


class LocksTest(LauncherTestCase):
    @support.needs_root
    def test_nobody_else_can_have_made_them(self):
        """In a folder that all may write, somebody else could forbid a user's server."""
        for shared in ("/run/lock", "/tmp"):
            taken = pathlib.Path(shared, "serveur-smtp-%d" % support.NOBODY)
            if not taken.exists():
                taken.mkdir()
                self.addCleanup(taken.rmdir)
                os.chown(taken, STRANGER, STRANGER)
        with self.make_server(run_as=support.NOBODY).start() as server:
            self.assertEqual(server.stop(), 0)

    @support.needs_root
    def test_found_whatever_the_spool(self):
        """Two starts at the same moment, where the port itself does not tell yet."""
        folder = pathlib.Path("/run/user/%d" % STRANGER)
        folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, folder)
        os.chown(folder, STRANGER, STRANGER)
        server, other = [self.make_server(run_as=STRANGER) for _ in range(2)]
        other.arguments[other.arguments.index("-port") + 1] = str(server.port)
        with server.start(), other:
            locks = folder / ("serveur-smtp-%d" % STRANGER)
            self.assertEqual(locks.stat().st_mode & 0o777, 0o700)
            self.assertIn("un autre serveur.sh écoute déjà sur le port %d (processus %d)"
                          % (server.port, server.process.pid), self.refused(other, 1))
            self.assertEqual(server.stop(), 0)

    @support.needs_root
    def test_links_are_not_followed(self):
        home = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
        self.addCleanup(shutil.rmtree, home)
        (home / "elsewhere").mkdir()
        (home / ("serveur-smtp-%d" % STRANGER)).symlink_to(home / "elsewhere")
        for path in (home, home / "elsewhere"):
            os.chown(path, STRANGER, STRANGER)
        with self.make_server(run_as=STRANGER, environment={"XDG_STATE_HOME": str(home)}).start() as server:
            self.assertEqual(list((home / "elsewhere").iterdir()), [])
            self.assertEqual(server.stop(), 0)


class PlaceTest(LauncherTestCase):
    def serves(self, server: support.Server):
        server.start()
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.assertEqual(len(server.messages("alice")), 1)
        self.assertEqual(server.stop(), 0)

    def test_folder_with_blanks_and_accents(self):
        server = self.make_server()
        server.script = copy_tree(self, "mon serveur d'été") / "serveur.sh"
        self.serves(server)

    def test_symbolic_link(self):
        server = self.make_server()
        server.script = server.folder / "serveur"
        server.script.symlink_to(SCRIPT)
        self.serves(server)

    @support.needs_root
    def test_ordinary_user(self):
        self.serves(self.make_server(run_as=support.NOBODY))

    @support.needs_root
    def test_user_id_without_a_login(self):
        """As containers have them: the server, its relay and the relay's command do without a name."""
        server = self.make_server(run_as=STRANGER)
        self.serves(server)
        command = [support.open_root() / "relay.py", "-spool", str(server.spool), "list"]
        done = subprocess.run(command, user=STRANGER, group=STRANGER, env={}, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("relay stopped", server.log())

    @support.needs_root
    def test_user_id_without_a_login_and_without_a_home(self):
        command = [support.open_root() / "serveur.sh", "-bind", "127.0.0.1", "-domain", "x.example"]
        done = subprocess.run(command, user=STRANGER, group=STRANGER, env={}, cwd="/", capture_output=True, text=True,
                              timeout=support.PATIENCE)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr,
                         r"\Aserveur.sh: -spool /.local/state/serveur-smtp : /.local : permission refusée ; [^\n]*\n\Z")

    def test_handler_not_executable(self):
        server = self.make_server()
        server.script = copy_tree(self) / "serveur.sh"
        server.script.with_name("smtp_handler.py").chmod(0o644)
        self.assertIn("n'est pas exécutable", self.refused(server, 1))


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
