"""Programs out of Debian packages that could not be installed beside others: of the servers of IMAP a machine may have
but one.  tests/run fetches these packages; here they are unpacked.
"""

import os
import pathlib
import subprocess
import typing

from tests.helpers import support

PACKAGES = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "serveur-smtp", "packages")


def version_of(package: str) -> str:
    """Of a package that is installed; "" if it is not."""
    told = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return told.stdout


def file_of(package: str, beside: str) -> typing.Optional[pathlib.Path]:
    """Where the package lies that tests/run fetched, of the same version as the one `beside` it that is installed."""
    version = version_of(beside).replace(":", "%3a")
    return next(PACKAGES.glob("%s_%s_*.deb" % (package, version)), None) if version else None


def needed(package: str, beside: str):
    """Decorator: skip the test or the class when the package is not there."""
    return support.unittest.skipUnless(support.IS_ROOT and file_of(package, beside),
                                       "il faut être root, et le paquet %s (tests/run -install)" % package)


def unpack(package: str, beside: str, folder: pathlib.Path) -> None:
    subprocess.run(["dpkg-deb", "-x", str(file_of(package, beside)), str(folder)], check=True)
