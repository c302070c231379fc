"""The report's screenshots, made of a Thunderbird that sends through the real serveur.sh:

    python3 -m tests.thunderbird.captures       writes rapport/captures/thunderbird-*.png

They are in French when thunderbird-l10n-fr is installed. Port 4567, which they show, has to be free.
"""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time
import typing

from tests.helpers import secure, support
from tests.helpers.secure import WRONG
from tests.thunderbird.program import NORMAL_PASSWORD, PATIENCE, STARTTLS, Thunderbird

FOLDER = support.ROOT / "rapport" / "captures"
PORT = 4567
LOGIN, PASSWORD = "alice", "sésame"
SUBJECT = "Réunion de rentrée"
BODY = """Bonjour Alice,

Voici l'emploi du temps. À jeudi, 14 h, salle S3-102 ?

Hélène
"""
ATTACHMENT_NAME = "horaires.txt"
SETTLED = 0.5                       # seconds without a change, after which a window is taken to be drawn


def main() -> None:
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="captures-")))
        certificate = secure.Certificate()
        stack.callback(certificate.destroy)
        server = stack.enter_context(start_server(folder, certificate))
        thunderbird = Thunderbird(scale=2)
        stack.callback(thunderbird.destroy)
        thunderbird.start().configure(PORT, STARTTLS, NORMAL_PASSWORD, LOGIN, trusted=certificate)
        capture_settings(thunderbird)
        capture_message(thunderbird, "alice@" + server.domain, folder / ATTACHMENT_NAME)
        capture_refusal(thunderbird)
        support.wait_for(lambda: server.messages("alice"), "the message in the mailbox")


def start_server(folder: pathlib.Path, certificate: secure.Certificate) -> support.Server:
    """A server on the usual port, where only LOGIN may send."""
    accounts = folder / "login_pass.txt"
    accounts.write_text("%s:%s\n" % (LOGIN, PASSWORD), encoding="utf-8")
    accounts.chmod(0o600)
    return support.Server(("-port", PORT, "-pass", accounts, "-tls", certificate.option)).start()


def capture_settings(thunderbird: Thunderbird) -> None:
    """The dialog in which the outgoing server is set up."""
    thunderbird.do("openSettings")
    thunderbird.wait("editServer")
    save(thunderbird, "thunderbird-serveur.png", "editServer")
    thunderbird.do("closeSettings")


def capture_message(thunderbird: Thunderbird, to: str, attachment: pathlib.Path) -> None:
    """A message that is about to be sent."""
    attachment.write_text("lundi 8 h : réseaux\njeudi 14 h : réunion\n", encoding="utf-8")
    thunderbird.compose(to, SUBJECT, BODY, attachment)
    thunderbird.wait("resize", 760, 400)
    save(thunderbird, "thunderbird-message.png", "composeFrame")


def capture_refusal(thunderbird: Thunderbird) -> None:
    """What a wrong password leads to; with the right one the message goes out."""
    thunderbird.send()
    thunderbird.wait_dialog()
    thunderbird.answer("accept", WRONG)
    thunderbird.wait_dialog()
    save(thunderbird, "thunderbird-mot-de-passe.png", "dialogFrame")
    thunderbird.answer("extra1")
    thunderbird.wait_dialog()
    thunderbird.answer("accept", PASSWORD)
    thunderbird.wait_sent()


def save(thunderbird: Thunderbird, name: str, frame: str) -> None:
    """Write the part of the screen that a function of chrome.js names, once nothing changes there any more."""
    image = drawn(thunderbird, thunderbird.do(frame))
    (FOLDER / name).write_bytes(image)
    print(name, len(image), "octets")


def drawn(thunderbird: Thunderbird, frame: typing.Sequence[int]) -> bytes:
    """Two pictures in a row that are the same: nothing announces that X has been given the last of a window."""
    deadline = time.monotonic() + PATIENCE
    image, previous = picture(thunderbird, frame), b""
    while image != previous:
        if time.monotonic() > deadline:
            raise AssertionError("what is at %r never stops changing" % (frame,))
        time.sleep(SETTLED)
        image, previous = picture(thunderbird, frame), image
    return image


def picture(thunderbird: Thunderbird, frame: typing.Sequence[int]) -> bytes:
    """A part of the screen as a PNG, with few colours and nothing but the picture in it."""
    left, top, width, height = frame
    part = "%dx%d+%d+%d" % (width, height, left, top)
    return subprocess.run(
        ["import", "-display", thunderbird.display, "-window", "root", "-crop", part, "+repage",
         "-strip", "+dither", "-colors", "128", "png8:-"],
        env={**os.environ, "HOME": str(thunderbird.folder)}, check=True, capture_output=True).stdout


if __name__ == "__main__":
    main()
