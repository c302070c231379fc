"""The files that the settings name, opened with the rights of whoever may change where their paths lead."""
import posix

from common.ownership import ANYBODY, open_list, open_regular, stranger_on
from common.privileges import acting_as_user
from mailstore.aliases import parse, text_of
from mailstore.direct import named_files
from mailstore.files import stamp_of
from mailstore.targets import INCLUDE, INCLUDE_WORD, targets_of


class NamedFiles:
    """For who has kept root. settings: a Settings."""

    def __init__(self, settings):
        self._paths = named_files(settings)
        self._included = None, frozenset()      # the stamp of the aliases, and the paths that they include

    def open(self, name):
        """A descriptor to read the file by that the settings name so. Raises OSError."""
        return open_named(self._paths[name])

    def include(self, path):
        """A descriptor to read a file by that the aliases include. Raises OSError.

        Whoever asks may have been taken over, so the aliases are looked at anew: they must name that very path. The
        file is opened with its owner's rights, or with those of who keeps the aliases, if that isn't root: what he
        could not read, nobody reads for him.
        """
        if not self._is_included(path):
            raise PermissionError(1, "the aliases do not include it", path)
        keeper = stranger_on(self._paths["aliases"], (0,))
        owner = posix.stat(path).st_uid
        with acting_as_user(keeper[1] if keeper else owner):
            return open_list(path, owner)

    def _is_included(self, path):
        with open(self.open("aliases"), "rb") as file:
            stamp = stamp_of(file.fileno())
            if self._included[0] != stamp:
                self._included = stamp, frozenset(_included_paths(file.read()))
        return path in self._included[1]


def _included_paths(octets):
    """Yield the paths that aliases (bytes) include."""
    for text in parse(text_of(octets)).values():
        if INCLUDE_WORD in text:
            yield from (target.value for target in targets_of(text) if target.kind == INCLUDE)


def open_named(path):
    """A descriptor to read the file at `path` by, for root, who follows no path that another could lead elsewhere: then
    it is opened as he would open it. Raises OSError."""
    found = stranger_on(path, (0,))
    if not found:
        return open_regular(path)
    if found[1] == ANYBODY:
        raise PermissionError(13, f"anybody may write {found[0]}", path)
    with acting_as_user(found[1]):
        return open_regular(path)
