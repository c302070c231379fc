"""File systems without room, without inodes, or read-only, for as long as a test wants them. Root only."""

import contextlib
import os
import pathlib
import subprocess
import unittest


@contextlib.contextmanager
def full_disk(path: pathlib.Path, size: str = "4m", inodes: int = 0):
    """A file system of `size` at `path`, owned as that was, with room for so many files and folders (0: any number)."""
    state = path.stat()
    options = "size=%s,nr_inodes=%d,uid=%d,gid=%d,mode=%o" % (
        size, inodes and inodes + 1, state.st_uid, state.st_gid, state.st_mode & 0o7777)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True)
    if mount.returncode:
        raise unittest.SkipTest("pas de droit de monter : " + mount.stderr.decode())
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def read_only_disk(path: pathlib.Path, *folders: str):
    """A file system at `path` with these folders in it, to which nothing can be written."""
    state = path.stat()
    with full_disk(path):
        for folder in folders:
            (path / folder).mkdir(parents=True)
            os.chown(path / folder, state.st_uid, state.st_gid)
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
        yield path
