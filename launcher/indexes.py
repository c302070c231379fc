"""The indexes of large files of names, made before the first client would wait for them.

What make() needs is imported from the start: once root is given up, the checkout may be closed to us.
"""
import os

import common.account_index     # noqa: F401
import mailstore.alias_index    # noqa: F401
from common.settings import Settings
from mailstore.aliases import AliasFile
from smtp.authentication import AccountFile


class Indexes:
    """settings: a Settings; files: what opens the files that they name. Made with the rights of who may read these;
    make() is for who will look names up."""

    def __init__(self, settings: Settings, files):
        self._settings = settings
        names = [name for name, path in (("aliases", settings.aliases), ("accounts", settings.accounts)) if path]
        self._files = {name: files.open(name) for name in names}

    def open(self, name):
        """As `files` does it, once more."""
        return os.dup(self._files[name])

    def make(self):
        """What cannot be made is made by the first session that needs it. Raises OSError."""
        spool = self._settings.spool
        for name, file in self._files.items():
            if name == "aliases":
                AliasFile(self, f"{spool}/aliases.index").current()
            else:
                AccountFile(self._settings.accounts, self, f"{spool}/accounts.index").current()
            os.close(file)
