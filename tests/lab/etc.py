"""A machine's /etc, to be changed: programs see ours in a mount namespace of their own. Root only.

    etc = Etc(folder)
    etc.write("msmtprc", "account default\\n")                       # a file of ours
    (etc.own("fail2ban") / "jail.d" / "smtp.conf").write_text("")    # a folder of ours, with what was in it
    namespace.command(etc.places, "sendmail", "etudiant")           # what sees them
"""

import pathlib
import shutil
import typing


class Etc:
    """Links to all that /etc has, until it is replaced. more: {a place: the folder or file to be seen there}."""

    def __init__(self, folder: pathlib.Path, more: typing.Optional[typing.Dict[str, str]] = None):
        self.ours, self.original = folder / "etc", folder / "etc-original"
        self.places = {str(self.original): "/etc", "/etc": str(self.ours), **(more or {})}
        for path in self.ours, self.original:
            path.mkdir()
        for path in pathlib.Path("/etc").iterdir():
            (self.ours / path.name).symlink_to(self.original / path.name)

    def write(self, name: str, text: str) -> None:
        """Have /etc/`name` be a file of this text."""
        path = self.ours / name
        if path.is_symlink():
            path.unlink()
        path.write_text(text)
        path.chmod(0o644)

    def own(self, name: str) -> pathlib.Path:
        """Have the folder /etc/`name` be a copy; returns where that is."""
        path = self.ours / name
        if path.is_symlink():
            path.unlink()
            shutil.copytree(pathlib.Path("/etc", name), path, symlinks=True)
        return path
