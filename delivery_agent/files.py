"""The files that the settings name, opened with the rights of whoever may change where their paths lead."""
from common.ownership import ANYBODY, open_regular, stranger_on
from common.privileges import acting_as_user
from mailstore.direct import named_files


class NamedFiles:
    """For who has kept root. settings: a Settings."""

    def __init__(self, settings):
        self._paths = named_files(settings)

    def open(self, name):
        """A descriptor to read the file by that the settings name so. Raises OSError."""
        return open_named(self._paths[name])


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
