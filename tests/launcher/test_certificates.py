"""Certificates: what serveur.sh says of one that will not do, and the one it makes itself."""

import hashlib
import os
import pathlib
import ssl
import subprocess
import tempfile
import unittest

from tests.helpers import secure, support
from tests.helpers.client import PATIENCE
from tests.helpers.secure import RUBBISH, Certificate, start_tls


class CertificateCase(unittest.TestCase):
    """Certificates for a serveur.sh that is yet to be started."""

    run_as = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="certificat-essai-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o777)
        self.own = self.certificate()

    def certificate(self, **arguments):
        made = Certificate(**arguments)
        self.addCleanup(made.destroy)
        if self.run_as is not None:
            made.give_to(self.run_as)
        return made

    def server(self, *options):
        server = support.Server(options, run_as=self.run_as)
        self.addCleanup(server.destroy)
        return server

    def assert_refused(self, option, *words):
        server = self.server("-tls", option)
        self.assertEqual(server.launch().wait(PATIENCE), 2, server.output())
        self.assertRegex(server.output(), r"\Aserveur\.sh: -tls : [^\n]+\n\Z")
        for word in words:
            self.assertIn(word, server.output())
        self.assertEqual(support.listeners(server.port), 0)

    def served_fingerprint(self, server):
        with server.client() as client:
            start_tls(client)
            der = client.socket.getpeercert(binary_form=True)
        digest = hashlib.sha256(der).hexdigest().upper()
        return ":".join(digest[i:i + 2] for i in range(0, 64, 2))


class CertificateTest(CertificateCase):
    """What serveur.sh says of a certificate that will not do, and how it makes its own."""

    def test_missing(self):
        self.assert_refused("%s,%s" % (self.folder / "absent.pem", self.own.key), "absent.pem est introuvable")
        self.assert_refused("%s,%s" % (self.own.certificate, self.folder / "absent.key"), "absent.key est introuvable")

    def test_folder(self):
        self.assert_refused(str(self.folder), "ne peut pas être lu")

    def test_rubbish(self):
        (self.folder / "x.pem").write_bytes(RUBBISH)
        self.assert_refused("%s,%s" % (self.folder / "x.pem", self.own.key), "fichier PEM")
        self.assert_refused("%s,%s" % (self.own.certificate, self.folder / "x.pem"), "fichier PEM")

    def test_key_missing_in_the_same_file(self):
        self.assert_refused(str(self.own.certificate), "fichier PEM")

    def test_key_of_another(self):
        self.assert_refused("%s,%s" % (self.own.certificate, self.certificate().key), "n'est pas celle du certificat")

    def test_key_under_a_password(self):
        locked = self.folder / "locked.key"
        secure.run_openssl("pkey", "-in", str(self.own.key), "-aes256", "-passout", "pass:secret", "-out", str(locked))
        locked.chmod(0o644)
        self.assert_refused("%s,%s" % (self.own.certificate, locked), "sans mot de passe")

    def test_expired(self):
        self.assert_refused(self.certificate(days=-1).option, "a expiré")

    def test_smtps_without_certificate(self):
        server = self.server("-smtps", support.free_port())
        self.assertEqual(server.launch().wait(PATIENCE), 2)
        self.assertIn("serveur.sh: -smtps demande un certificat", server.output())

    def test_one_file_for_both(self):
        server = self.server("-tls", self.own.both).start()
        with server.client() as client:
            start_tls(client)
        self.assertEqual(server.stop(), 0)

    def test_expires_while_the_server_runs(self):
        """A certificate that has become unusable: 454, and the session goes on."""
        server = self.server("-tls", self.own.both).start()
        with server.client() as client:
            client.expect("EHLO x", 250)
            self.own.both.unlink()
            self.assertEqual(client.expect("STARTTLS", 454).text, "4.7.0 TLS not available")
            client.expect("MAIL FROM:<a@x.example>", 250)
        server.wait_log("TLS cannot be used: No such file or directory")
        self.assertEqual(server.stop(), 0)

    def test_key_that_goes_while_the_server_runs(self):
        """However often a client asks, nothing that was opened for it stays open."""
        server = self.server("-tls", self.own.option).start()
        with server.client() as client:
            client.expect("EHLO x", 250)
            self.own.key.unlink()
            files = pathlib.Path("/proc/%d/fd" % server.process_of(client))
            counts = []
            for _ in range(3):
                client.expect("STARTTLS", 454)
                counts.append(len(list(files.iterdir())))
        self.assertEqual(counts, counts[:1] * 3)
        self.assertEqual(server.stop(), 0)

    def test_auto(self):
        """The certificate stays the same from start to start, and its fingerprint is shown so that a user can
        compare."""
        server = self.server("-tls", "auto")
        for count in (1, 2):
            server.start()
            shown = "empreinte SHA-256 : %s\n" % self.served_fingerprint(server)
            support.wait_for(lambda: server.output().count(shown) == count, shown)
            self.assertEqual(server.stop(), 0)
        key, = server.spool.glob("*.key")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)

    def test_auto_names_what_clients_call_this_host(self):
        """A client that trusts the certificate, and no other, may connect by any of this host's names and addresses."""
        server = self.server("-tls", "auto").start()
        made, = server.spool.glob("*.pem")
        self.assertEqual(server.stop(), 0)
        addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
        for host in (server.domain, "localhost", os.uname().nodename):
            self.assert_verifies(made, "-verify_hostname", host)
        for address in ("127.0.0.1", "::1", *addresses):
            self.assert_verifies(made, "-verify_ip", address)

    def assert_verifies(self, made, *name):
        secure.run_openssl("verify", "-CAfile", str(made), *name, str(made))

    def prepared(self, server, *names):
        """Put a certificate with these names where `server` keeps its own; returns its fingerprint."""
        server.spool.mkdir(mode=0o755)
        made, key = (server.spool / (server.domain + ending) for ending in (".pem", ".key"))
        secure.run_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                           "2", "-subj", "/CN=x", "-addext", "subjectAltName=" + ",".join(names), "-keyout", str(key),
                           "-out", str(made))
        if support.IS_ROOT:
            for path in (server.spool, made, key):
                support.shutil.chown(path, "mail", "mail")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(made.read_text())).hexdigest().upper()

    def all_names(self, server):
        full = subprocess.run(["hostname", "-f"], capture_output=True, text=True).stdout.strip()
        return ["DNS:" + name for name in filter(None, (server.domain, "localhost", os.uname().nodename, full))]

    def test_auto_is_made_anew_when_the_names_change(self):
        server = self.server("-tls", "auto")
        old = self.prepared(server, "DNS:" + server.domain, "IP:127.0.0.1", "IP:::1")
        server.start()
        self.assertNotEqual(self.served_fingerprint(server).replace(":", ""), old)
        self.assertRegex(server.output(), "le certificat a été refait, car il ne nommait pas localhost")
        self.assertEqual(server.stop(), 0)

    def test_auto_is_kept_when_only_an_address_is_new(self):
        server = self.server("-tls", "auto")
        old = self.prepared(server, *self.all_names(server), "IP:127.0.0.1")
        server.start()
        self.assertEqual(self.served_fingerprint(server).replace(":", ""), old)
        self.assertRegex(server.output(), "ne nomme pas l'adresse ::1")
        self.assertEqual(server.stop(), 0)

    def test_auto_is_made_anew_when_it_is_spoilt(self):
        server = self.server("-tls", "auto").start()
        first = self.served_fingerprint(server)
        self.assertEqual(server.stop(), 0)
        for path in server.spool.glob("*.pem"):
            path.write_text("")
        server.start()
        self.assertNotEqual(self.served_fingerprint(server), first)
        self.assertIn("le certificat a été refait : ", server.output())
        self.assertEqual(server.stop(), 0)


@support.needs_root
class CertificateOfSomebodyTest(CertificateCase):
    """The same for an ordinary user, who can't read everything."""

    run_as = support.NOBODY

    def test_unreadable(self):
        self.own.key.chmod(0)
        self.assert_refused(self.own.option, "c.key ne peut pas être lu")

    test_auto = CertificateTest.test_auto


@support.needs_root
class ClosedFolderTest(unittest.TestCase):
    """Root may keep certificate and key where nobody else gets, whoever owns them."""

    def test_files_in_roots_own_folder(self):
        with tempfile.TemporaryDirectory(prefix="certificat-essai-") as folder:         # 0700
            both = pathlib.Path(folder) / "both.pem"
            own = Certificate()
            self.addCleanup(own.destroy)
            both.write_text(own.both.read_text())
            both.chmod(0o600)
            os.chown(both, support.NOBODY, support.NOBODY)
            with support.Server(("-tls", both)) as server:
                server.start()
                with server.client() as client:
                    start_tls(client)
                self.assertEqual(server.stop(), 0)
