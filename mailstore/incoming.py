"""The text of a message while it comes in: in memory up to 1 MiB, in a nameless file past that.

The file loses its name as soon as it is made, so a client that leaves, or a crash, leaves nothing.
"""
import posix

from mailstore.files import COPY_OCTETS, nameless_file, outcome_of, write_all

MEMORY_OCTETS = 1 << 20
SMALL_OCTETS = 1024         # a piece below that is joined with the next: each alone takes a hundred octets more


class IncomingText:
    """`folder`: where the file is made if one is needed."""

    def __init__(self, folder):
        self.folder = folder
        self.octets = 0
        self._pieces = []
        self._file = -1

    def write(self, text):
        """Add `text` (bytes). Raises NoRoom or Later when the file cannot take it."""
        if self.octets + len(text) <= MEMORY_OCTETS:
            self._keep(text)
        else:
            self._spill(text)
        self.octets += len(text)

    def _keep(self, text):
        if self._pieces and len(self._pieces[-1]) < SMALL_OCTETS:
            self._pieces[-1] += text
        else:
            self._pieces.append(text)

    def _spill(self, text):
        try:
            if self._file < 0:
                self._file = nameless_file(self.folder)
            write_all(self._file, text)
        except OSError as error:
            raise outcome_of(error, f"while writing to {self.folder}") from error

    def beginning(self):
        """The text's first part: all of it, unless `is_long`."""
        self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    @property
    def is_long(self):
        """Whether there is more than the beginning."""
        return self._file >= 0

    def remainder(self):
        """Yield what follows the beginning, in pieces of at most 256 KiB."""
        position = 0
        while self.is_long and (piece := posix.pread(self._file, COPY_OCTETS, position)):
            yield piece
            position += len(piece)

    def close(self):
        """Forget the text."""
        self._pieces = []
        if self._file >= 0:
            posix.close(self._file)
            self._file = -1
