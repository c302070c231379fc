"""What the lab's servers have in common that take mail by LMTP and show it by IMAP (dovecot.py, cyrus.py)."""

import pathlib
import shutil
import subprocess
import typing

from tests.helpers import support


class ImapStore:
    """A subclass sets these, and has start()."""

    lmtp_port: int
    imap_port: int
    folder: pathlib.Path
    mark: str                   # of all that it starts (support.marked_environment)
    process: typing.Optional[subprocess.Popen]

    def _listening(self) -> bool:
        return bool(support.listeners(self.lmtp_port) and support.listeners(self.imap_port))

    def end(self) -> None:
        """End all of it; start() goes on with the same mail."""
        if self.process:
            self.process.terminate()
            self.process.wait()
            support.end_marked(self.mark)

    def stop(self) -> None:
        """End all of it and remove its folder.  Safe to repeat."""
        self.end()
        support.end_marked(self.mark)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
