"""The one place where a process changes user id.

Started as root, every process that reads what strangers send gives root up for the user `mail`, for good. Only the
delivery agent (delivery_agent/) and what serveur.sh asks before anyone listens keep it, and take another's uid, gid
and groups for as long as they touch what is his. Started by anyone else, nothing here changes anything.
"""
import posix
from time import monotonic

SERVICE_USER = "mail"
GROUPS_SECONDS = 60         # how long a user's groups are remembered; nscd keeps them for an hour
_groups = {}


def become_service():
    """Give root up for the service user, without a way back. Does nothing unless root.

    The terminal is given up too: whoever has it as his own could type into root's shell (TIOCSTI).
    """
    if 0 not in posix.getresuid():
        return
    import pwd
    entry = pwd.getpwnam(SERVICE_USER)
    _leave_terminal()
    posix.setgroups([entry.pw_gid])
    posix.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    posix.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def _leave_terminal():
    try:
        terminal = posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError:
        return                  # there is none
    from fcntl import ioctl
    from termios import TIOCNOTTY
    ioctl(terminal, TIOCNOTTY)
    posix.close(terminal)


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


class acting_as:
    """A context in which files are touched as `uid`, `gid` and the groups of `user`. For who has kept root.

    user: a login whose supplementary groups count, or "" for none but gid. Raises OSError from the
    kernel if an id is refused; a failed way back ends the process, since it would go on as somebody.
    """

    def __init__(self, uid, gid, user=""):
        self.uid = uid
        self.gid = gid
        self.user = user

    def __enter__(self):
        try:
            groups = _groups_of(self.user, self.gid) if self.user else [self.gid]
            _take(self.uid, self.gid, groups)
        except OSError:
            self.__exit__()
            raise

    def __exit__(self, *error):
        try:
            posix.seteuid(0)
            _take(0, 0, [0])
        except OSError:
            posix._exit(1)


def acting_as_user(uid):
    """acting_as for who has this uid, with all that its login has."""
    import pwd
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return acting_as(uid, pwd.getpwnam("nobody").pw_gid)
    return acting_as(uid, entry.pw_gid, entry.pw_name)
