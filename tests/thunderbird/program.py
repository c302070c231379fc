"""Xvfb and Thunderbird as processes, and what a user does with Thunderbird as methods."""

import atexit
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing

from tests.helpers import secure, support
from tests.thunderbird import profile
from tests.thunderbird.marionette import Marionette

PATIENCE = 60                       # seconds for whatever Thunderbird does; its start takes a few
SCREEN = 1100, 820
CHROME = (pathlib.Path(__file__).parent / "chrome.js").read_text(encoding="utf-8")

# nsMsgSocketType and nsMsgAuthMethod, as the settings of an outgoing server store them
CLEAR, STARTTLS, IMPLICIT_TLS = 0, 2, 3
NO_AUTHENTICATION, NORMAL_PASSWORD, ENCRYPTED_PASSWORD = 1, 3, 4

needed = support.needs_program("thunderbird", "Xvfb")


class Dialog(typing.NamedTuple):
    title: str
    text: str
    password: bool                  # it asks for one


class Thunderbird:
    """A Thunderbird with a profile of its own on a screen of its own; `destroy` ends both, whatever they do.

    scale   how many pixels of the screen make one of the program's
    """

    def __init__(self, scale: int = 1):
        self.scale = scale
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="thunderbird-essai-"))
        self._mark = "THUNDERBIRD_ESSAI=" + self.folder.name
        self._processes: typing.List[subprocess.Popen] = []
        self._remote: typing.Optional[Marionette] = None
        self.display = ""
        atexit.register(self.destroy)               # should the tests be interrupted

    def start(self) -> "Thunderbird":
        """Come back when it can be used; AssertionError with what it wrote if it can't be."""
        self.display = self._start_screen()
        profile_folder = self.folder / "profile"
        profile_folder.mkdir()
        profile.write(profile_folder)
        program = self._launch(["thunderbird", "--marionette", "--remote-allow-system-access", "--no-remote",
                                "--profile", str(profile_folder)])
        support.wait_for(lambda: profile.marionette_port(profile_folder) or program.poll() is not None,
                         "Thunderbird's remote control", PATIENCE)
        if program.poll() is not None:
            raise AssertionError("Thunderbird ended with %d:\n%s" % (program.returncode, self.output()))
        self._remote = Marionette(profile.marionette_port(profile_folder), PATIENCE)
        self.wait("ready")
        return self

    def _start_screen(self) -> str:
        """Start Xvfb, which chooses a free display and says which."""
        read_end, write_end = os.pipe()
        size = "%dx%dx24" % (SCREEN[0] * self.scale, SCREEN[1] * self.scale)
        with open(read_end, encoding="ascii") as number:
            self._launch(["Xvfb", "-displayfd", str(write_end), "-screen", "0", size, "-nolisten", "tcp"],
                         pass_fds=(write_end,))
            os.close(write_end)
            display = number.readline().strip()
        if not display:
            raise AssertionError("Xvfb ended:\n" + self.output())
        return ":" + display

    def _launch(self, command: typing.List[str], **more) -> subprocess.Popen:
        environment = support.marked_environment(
            self._mark, HOME=str(self.folder), DISPLAY=self.display, LANG="C.UTF-8", TZ="Europe/Paris",
            GDK_SCALE=str(self.scale), GTK_USE_PORTAL="0", NO_AT_BRIDGE="1", MOZ_CRASHREPORTER_DISABLE="1")
        with open(self.folder / "output", "ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env=environment, start_new_session=True, **more)
        self._processes.append(process)
        return process

    def output(self) -> str:
        """What Xvfb and Thunderbird wrote to their terminal so far."""
        return (self.folder / "output").read_text("utf-8", "replace")

    def destroy(self) -> None:
        """End both programs and remove the folder. Never fails; safe to repeat."""
        if self._remote:
            self._remote.close()
        if self._processes:                         # Xvfb, asked to end, removes its lock from /tmp
            self._processes[0].terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._processes[0].wait(PATIENCE)
        support.end_marked(self._mark)
        for process in self._processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what a user does --

    def do(self, action: str, *arguments: typing.Any) -> typing.Any:
        """Run one function of chrome.js."""
        assert self._remote
        return self._remote.run(CHROME, action, list(arguments))

    def wait(self, action: str, *arguments: typing.Any) -> typing.Any:
        """Run one function of chrome.js until what it returns is true, and return that."""
        return support.wait_for(lambda: self.do(action, *arguments), "Thunderbird: %s" % action, PATIENCE)

    def configure(self, port: int, security: int = CLEAR, method: int = NO_AUTHENTICATION, username: str = "",
                  password: typing.Optional[str] = None, trusted: typing.Optional[secure.Certificate] = None) -> None:
        """Set up the outgoing server as if for the first time.

        password   the one it remembers; without it, it asks
        trusted    a certificate for which an exception was confirmed before
        """
        self.do("configure", port, security, method, username)
        if password is not None:
            self.do("remember", password)
        if trusted:
            self.do("trust", "".join(trusted.certificate.read_text().splitlines()[1:-1]))

    def compose(self, to: str, subject: str, body: str, attachment: typing.Optional[pathlib.Path] = None) -> None:
        """Write a message; its window stays open."""
        self.do("compose", to, subject, body, str(attachment) if attachment else None)
        self.wait("composing")

    def send(self) -> None:
        """Click "Send"; whether it was sent is to be waited for."""
        self.wait("send")

    def wait_sent(self) -> None:
        """Its window closes once the server has accepted the message; AssertionError with what is said if not."""
        dialog = support.wait_for(lambda: self.do("dialog") or not self.do("composing"), "the message's end", PATIENCE)
        if dialog is not True:
            raise AssertionError("Thunderbird says: %(title)s: %(text)s" % dialog)

    def wait_dialog(self) -> Dialog:
        """The dialog that waits for an answer."""
        return Dialog(**self.wait("dialog"))

    def answer(self, button: str, password: typing.Optional[str] = None) -> None:
        """Answer it: `button` is accept, cancel or extra1; `password` is typed first."""
        self.do("answer", button, password)

    def confirm_exception(self) -> None:
        """In the window that asks whether to trust a certificate nonetheless, confirm."""
        self.wait("confirmException")
        self.wait("trusted")
