"""Whose word it is where a path leads: each folder, link and file on the way has somebody who may change it."""
import posix
from stat import S_ISDIR, S_ISLNK, S_ISREG, S_ISVTX

MOST_LINKS = 40
ANYBODY = -1
OTHERS, GROUP = 0o002, 0o020
READ = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC


def stranger_on(path, trusted):
    """Who beside the uids `trusted` may change where `path` (absolute) leads: (the first such part of the way, his
    uid or ANYBODY), or None. Raises OSError.

    What is not there changes nothing. In a sticky folder only its owner and each entry's may change the entry; in
    one where nobody else may write a file's owner changes its content, but not what the name stands for.
    """
    steps = path.split("/")[::-1]
    here = ""
    links = 0
    is_shared = False           # whether others may make entries in the folder that we are in
    while steps:
        step = steps.pop()
        here = _joined(here, step)
        try:
            state = posix.lstat(here or "/")
        except FileNotFoundError:
            return None
        if state.st_uid not in trusted and (is_shared or S_ISDIR(state.st_mode)):
            return here or "/", state.st_uid
        if S_ISDIR(state.st_mode):
            is_shared = bool(state.st_mode & OTHERS or state.st_mode & GROUP and state.st_gid)
            if is_shared and not state.st_mode & S_ISVTX:
                return here or "/", ANYBODY
        elif S_ISLNK(state.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise OSError(40, "Too many levels of symbolic links", path)
            target = posix.readlink(here)
            here = "" if target.startswith("/") else parent(here)
            steps += target.split("/")[::-1]
    return None


def _joined(here, step):
    if step in ("", "."):
        return here
    return parent(here) if step == ".." else f"{here}/{step}"


def parent(here):
    return here.rpartition("/")[0]


def open_regular(path, flags=0):
    """A descriptor to read `path` by, which must be a regular file. Raises OSError; waits for nobody."""
    file = posix.open(path, READ | flags)
    if not S_ISREG(posix.fstat(file).st_mode):
        posix.close(file)
        raise OSError(22, "Not a regular file", path)
    return file


def open_owned(path, uid):
    """A descriptor to read `path` by: a regular file, no link, of `uid` or root, that nobody else may write. Raises
    OSError."""
    return _checked(open_regular(path, posix.O_NOFOLLOW), path, (0, uid))


def open_list(path, uid=ANYBODY):
    """A descriptor to read `path` by: a regular file, of `uid` if given, that only its owner and root may write or put
    another one in the place of. Raises OSError."""
    owner = posix.stat(path).st_uid if uid == ANYBODY else uid
    if found := stranger_on(path, (0, owner)):
        raise PermissionError(1, f"others may change where it leads, at {found[0]}", path)
    return _checked(open_regular(path), path, (owner,))


def _checked(file, path, owners):
    """`file`, which is open, if it is of one of `owners` and nobody else may write it. Raises PermissionError."""
    state = posix.fstat(file)
    if state.st_uid in owners and not state.st_mode & (GROUP | OTHERS):
        return file
    posix.close(file)
    raise PermissionError(1, "others may write it" if state.st_uid in owners else "it is another's", path)
