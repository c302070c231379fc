"""The one place where a process changes user id.

Started as root, a process serves under the effective user `mail` and takes a recipient's uid, gid and
groups only for as long as it touches that recipient's mailbox. Root stays the *saved* user, which is
what allows the way back. Started by anyone else, nothing here changes anything.
"""
import posix
from time import monotonic

SERVICE_USER = "mail"
GROUPS_SECONDS = 60         # how long a user's groups are remembered; nscd keeps them for an hour
_service = None
_groups = {}


def become_service():
    """Give up root's effective id for the service user's. Does nothing unless root."""
    global _service
    if posix.geteuid() == 0:
        import pwd
        entry = pwd.getpwnam(SERVICE_USER)
        _service = (entry.pw_uid, entry.pw_gid)
        _take(entry.pw_uid, entry.pw_gid, [entry.pw_gid])


def leave_root():
    """Give root up for the service user without a way back. Does nothing unless started as root."""
    global _service
    if posix.getuid() == 0:
        import pwd
        entry = pwd.getpwnam(SERVICE_USER)
        posix.seteuid(0)
        posix.setgroups([entry.pw_gid])
        posix.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        posix.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        _service = None


def user_name(uid):
    """Who that is, for people: their login, or as `ls` does the number of one that no login has."""
    import pwd
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _take(uid, gid, groups):
    # Order matters: only root may set groups, so the user id goes last.
    posix.setgroups(groups)
    posix.setegid(gid)
    posix.seteuid(uid)


def _groups_of(user, gid):
    """The groups of `user`, a login. Looking them up asks every source of nsswitch.conf, which takes as long as
    writing a message, so they are remembered for a while."""
    expiry, groups = _groups.get((user, gid), (0, None))
    if monotonic() >= expiry:
        groups = posix.getgrouplist(user, gid)
        _groups[user, gid] = (monotonic() + GROUPS_SECONDS, groups)
    return groups


def as_administrator():
    """A context in which a file that the administrator named is read, with the rights it was checked with
    before the server started: it may lie in a folder that only root may enter."""
    return acting_as(0, 0)


class acting_as:
    """A context in which files are touched as `uid`, `gid` and the groups of `user`.

    user: a login whose supplementary groups count, or "" for none but gid. Raises OSError from the
    kernel if an id is refused; a failed way back ends the process, since it would go on as somebody.
    """

    def __init__(self, uid, gid, user=""):
        self.uid = uid
        self.gid = gid
        self.user = user

    def __enter__(self):
        if not _service:
            return
        try:
            posix.seteuid(0)
            groups = _groups_of(self.user, self.gid) if self.user else [self.gid]
            _take(self.uid, self.gid, groups)
        except OSError:
            self.__exit__()
            raise

    def __exit__(self, *error):
        if _service:
            try:
                posix.seteuid(0)
                _take(*_service, [_service[1]])
            except OSError:
                posix._exit(1)
