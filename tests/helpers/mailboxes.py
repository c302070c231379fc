"""Maildirs read back."""

import os
import pathlib
import typing


class StoredMessage(typing.NamedTuple):
    path: pathlib.Path
    content: bytes
    status: os.stat_result


def read_maildir(folder) -> typing.List[StoredMessage]:
    """All messages of a Maildir, those of new/ and cur/, oldest delivery first; [] when there is no Maildir."""
    folder = pathlib.Path(folder)
    paths = [path for part in ("new", "cur") if (folder / part).is_dir() for path in (folder / part).iterdir()]
    return [StoredMessage(path, path.read_bytes(), path.stat()) for path in sorted(paths, key=delivery_order)]


def delivery_order(path: pathlib.Path):
    """Sorts Maildir names by their seconds and microseconds (which aren't zero-padded)."""
    seconds, _, rest = path.name.partition(".M")
    digits = rest.partition("P")[0]
    return (int(seconds), int(digits)) if seconds.isdigit() and digits.isdigit() else (0, 0)
