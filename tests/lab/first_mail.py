"""A newcomer's first two mails, on a machine that has nothing but what Debian installs: tests/fresh runs this inside.

    python3 -m tests.lab.first_mail netcat|prefork

`./serveur.sh -tls auto` as README.txt has it, with another port; mail for who runs this, in clear and under STARTTLS;
both read back in ~/Maildir; Ctrl-C. Exit code 1, with what the server wrote, when anything of it fails.
"""

import os
import pathlib
import pwd
import signal
import smtplib
import ssl
import subprocess
import sys
import time
import typing

from tests.helpers import mailboxes, support

PATIENCE = 300                      # seconds: netcat's package may have to be fetched
START = "Le serveur écoute sur le port %d"


class Trial:
    """One start of the server behind `listener`, and the mail sent to it."""

    def __init__(self, listener: str):
        self.listener, self.port = listener, support.free_port()
        self.account = pwd.getpwuid(os.geteuid())
        self.output: typing.List[str] = []

    def run(self) -> None:
        """AssertionError, OSError or smtplib.SMTPException when something isn't as README.txt says."""
        with subprocess.Popen(["./serveur.sh", "-tls", "auto", "-port", str(self.port), "-listen", self.listener],
                              cwd=support.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) as server:
            try:
                self._wait_for_start(server)
                self._exchange(tls=False)
                self._exchange(tls=True)
            finally:
                server.send_signal(signal.SIGINT)
                self.output += server.communicate(timeout=support.PATIENCE)[0].splitlines(True)
        assert server.returncode == 0, "serveur.sh ended with %d" % server.returncode

    def _wait_for_start(self, server: subprocess.Popen) -> None:
        for line in server.stdout:
            self.output.append(line)
            if START % self.port in line:
                return
        raise AssertionError("serveur.sh ended before it listened")

    def _exchange(self, tls: bool) -> None:
        subject = "premier-essai-%d-%s-%s" % (time.time_ns(), self.listener, "tls" if tls else "clair")
        address = "%s@%s" % (self.account.pw_name, support.DOMAIN)
        with smtplib.SMTP("127.0.0.1", self.port, timeout=support.PATIENCE) as client:
            if tls:
                client.starttls(context=trusting_context())
            client.sendmail("prof@example.org", [address], "Subject: %s\r\n\r\nBonjour\r\n" % subject)
        stored = mailboxes.read_maildir(pathlib.Path(self.account.pw_dir) / "Maildir")
        found = [message for message in stored if b"Subject: %s\n" % subject.encode() in message.content]
        assert len(found) == 1, "%s: %d times in ~/Maildir" % (subject, len(found))
        assert found[0].status.st_uid == self.account.pw_uid, found[0].status


def trusting_context() -> ssl.SSLContext:
    """A client's context that takes the certificate which -tls auto has made."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main() -> int:
    signal.alarm(PATIENCE)
    # Started in the background we would ignore it, and so would serveur.sh, whom it is to end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trial = Trial(sys.argv[1])
    try:
        trial.run()
    except (AssertionError, OSError, smtplib.SMTPException) as error:
        print("premier courrier, %s : échec : %r\n%s" % (trial.listener, error, "".join(trial.output)), file=sys.stderr)
        return 1
    print("premier courrier, %s : lu dans ~/Maildir, en clair et sous STARTTLS" % trial.listener, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
