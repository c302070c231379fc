"""Who has mail here: accounts, aliases, lists. The only place where a name becomes a path."""
import posix
from errno import EFBIG, ENAMETOOLONG
from stat import S_ISDIR

from common.settings import canonical
from mailstore.aliases import POSTMASTER, AliasFile
from mailstore.outcome import UNUSABLE, Later, Never, Unavailable

SPOOL = "/var/mail"
PASSWD = "/etc/passwd"
FIRST_USER = 1000
LOCALHOST = "localhost"
MOST_CHARACTERS = 1 << 20   # of a file that is a list: 10000 members take less


def is_looked_up(name):
    """Whether a local part may be an account's name: what could leave its folder, or hide there, is nobody's."""
    return bool(name) and not name.startswith(".") and "/" not in name and name.isprintable()


def _check_sources(name):
    """Raise Later if `name`, which was not found, may be somebody in a source of accounts that cannot be asked now."""
    from common.nss import lookup_error
    if errno := lookup_error(name):
        raise Later("Account cannot be looked up now", errno=-1,
                    doing=f"a source of accounts (passwd in /etc/nsswitch.conf) is unavailable: "
                          f"looking up {name}: ({errno}) {posix.strerror(errno)}")


def _passwd_lines(word):
    """Yield the entries (of pwd) of the machine's own accounts that have `word` (lower case) in them. One at a time:
    getpwall would have a hundred thousand in memory, and ask directories that others keep for all that they know."""
    import pwd
    with open(PASSWD, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            fields = line.rstrip("\n").split(":") if word in line.lower() or "&" in line else []
            if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit():
                yield pwd.struct_passwd((*fields[:2], int(fields[2]), int(fields[3]), *fields[4:]))


def read_list(file, path):
    """The text of the list that is open as descriptor `file`, which is closed. Raises OSError, with this `path`, for
    more than MOST_CHARACTERS."""
    with open(file, encoding="utf-8", errors="surrogateescape") as stream:
        text = stream.read(MOST_CHARACTERS + 1)
    if len(text) > MOST_CHARACTERS:
        raise OSError(EFBIG, "File too large", path)
    return text


class Mailbox:
    """One account's mail. user: its name; uid, gid: who owns it; home: its folder; path: the Maildir or
    the mbox file; is_mbox: which of both; full_name: from the password database, or ""; login: whose groups
    count, or ""; is_ours: whether home is the server's to make too."""

    __slots__ = ("user", "uid", "gid", "home", "path", "is_mbox", "full_name", "login", "is_ours")

    def __init__(self, user, uid, gid, home, path, is_mbox=False, full_name="", login="", is_ours=False):
        self.user = user
        self.uid = uid
        self.gid = gid
        self.home = home
        self.path = path
        self.is_mbox = is_mbox
        self.full_name = full_name
        self.login = login
        self.is_ours = is_ours

    @property
    def transport(self):
        """Exim's name for this kind of delivery, as the log has it."""
        return "mail_spool" if self.is_mbox else "maildir_home"

    @property
    def folders(self):
        """The three of a Maildir (maildir(5))."""
        return tuple(f"{self.path}/{name}" for name in ("tmp", "new", "cur"))


class Resolution:
    """Where mail for one address goes. mailboxes: {path: (Mailbox, how many aliases deep)}; remote: addresses
    (str) in other domains; unknown_local: addresses of ours, named by an alias, that nobody has; dropped: the words of
    aliases that throw mail away; is_alias: whether an alias led here; forwarded: the Mailboxes whose owners have their
    mail sent on.

    Each is equal to itself alone, and so may be a key: in one transaction the same one stands behind an address,
    however often and in whichever case that is given."""

    def __init__(self):
        self.mailboxes = {}
        self.remote = []
        self.unknown_local = []
        self.dropped = []
        self.is_alias = False
        self.forwarded = []

    def add(self, mailbox, depth=0):
        """Let a copy go into `mailbox`, which may be named several times; the deepest counts."""
        known = self.mailboxes.get(mailbox.path)
        if not known or known[1] < depth:
            self.mailboxes[mailbox.path] = (mailbox, depth)

    def size(self):
        """How many there are to deliver to."""
        return len(self.mailboxes) + len(self.remote) + len(self.unknown_local) + len(self.dropped)

    def without(self, users):
        """The same without the mailboxes of `users` (a set)."""
        rest = Resolution()
        rest.__dict__.update(self.__dict__)
        rest.mailboxes = {path: entry for path, entry in self.mailboxes.items() if entry[0].user not in users}
        return rest

    def has_moved(self):
        """Whether an alias says that who is meant has one address elsewhere. Where people have their own mail sent on
        is nobody else's business."""
        is_elsewhere = self.is_alias and len(self.remote) == 1
        return is_elsewhere and not (self.mailboxes or self.forwarded or self.dropped)

    def leads_anywhere(self):
        """Whether there is somebody, or an alias that throws mail away."""
        return bool(self.mailboxes or self.remote or self.dropped)


def mailboxes_of(settings, access):
    """The Mailboxes of a server with these Settings."""
    if settings.lmtp:
        from mailstore.lmtp import LmtpMailboxes
        return LmtpMailboxes(settings, access)
    return Mailboxes(settings, access)


class Mailboxes:
    """settings: a Settings, for its store, domain, aliases and tag; access: what reads the aliases, and writes the
    mailboxes (mailstore/direct.py, mailstore/agent_client.py). tell: called with each line for the log."""

    tell = str

    def __init__(self, settings, access):
        self.store = settings.store
        self.domain = settings.domain
        self.tag = settings.tag
        self._aliases_path = settings.aliases
        self._access = access
        self._aliases = AliasFile(access, f"{settings.spool}/aliases.index") if settings.aliases else None

    # Names

    @property
    def aliases(self):
        """{name in lower case: targets' text}, as it is now; an unreadable file is Later, for it may name anybody."""
        if not self._aliases:
            return {}
        try:
            return self._aliases.current()
        except OSError as error:
            if isinstance(error.__cause__, Unavailable):
                raise error.__cause__ from None
            raise Later("Aliases cannot be read now", error.errno or 0, self._aliases_path) from error

    def is_local(self, domain, ask_own_address=str):
        """Whether `domain` (str) is ours: the local one, localhost, or a literal of an address of this host.

        ask_own_address: a function that returns one, or "".
        """
        domain = canonical(domain)
        if domain in (self.domain, LOCALHOST):
            return True
        literal = domain[1:-1].removeprefix("ipv6:") if domain.startswith("[") else ""
        return bool(literal) and (literal.startswith("127.") or literal in ("::1", ask_own_address()))

    def resolve(self, local):
        """The Resolution for a local part. Raises Never (nobody here, or `:fail:`) and Later (`:defer:`, or an alias
        that leads to more than targets.MOST_TARGETS)."""
        resolution = Resolution()
        if mailbox := self._found_at_once(local):
            resolution.add(mailbox)
            return resolution
        from mailstore.expansion import Expansion
        Expansion(self, resolution).follow(local)
        if not resolution.leads_anywhere() and local.lower() == POSTMASTER:
            Expansion(self, resolution).follow_account(self._postmaster())
        if not resolution.leads_anywhere():
            raise self.nobody()
        return resolution

    def nobody(self):
        """The outcome of looking for somebody in vain."""
        return Never("No such user here", doing="Unrouteable address")

    def _found_at_once(self, local):
        """The Mailbox of an account that no alias and no .forward has a word in; None if it takes more to know."""
        name = local.lower()
        mailbox = None if name in self.aliases or name == POSTMASTER else self.account(name)
        return mailbox if mailbox and not self.forward(mailbox) else None

    # What people have written into files

    def included(self, path):
        """The text of a file that the aliases include. Raises OSError."""
        return read_list(self._access.include(path), path)

    def forward(self, mailbox):
        """The text of an account's ~/.forward, "" if there is none. Raises Later if it can't be read now."""
        file = self._access.forward(mailbox) if mailbox.login else None
        path = f"{mailbox.home}/.forward"
        try:
            return "" if file is None else read_list(file, path)
        except OSError as error:
            raise Later(UNUSABLE, errno=error.errno, doing=path) from error

    def named(self, words):
        """The accounts whose full name has `words` in it (RFC 821 §3.3), without case; of more than two, two."""
        wanted = set(words.lower().split())
        if self.store.startswith("/") or not wanted:
            return []
        found = []
        for entry in _passwd_lines(max(wanted, key=len)):
            mailbox = self._system_mailbox(entry)
            if mailbox and wanted <= set(mailbox.full_name.lower().split()):
                found.append(mailbox)
            if len(found) == 2:
                break
        return found

    # Accounts

    def account(self, name):
        """The Mailbox of the account called `name` (lower case), or None. Raises Later if nobody can tell now."""
        if not is_looked_up(name):
            return None
        if self.store.startswith("/"):
            return self._folder_mailbox(name)
        import pwd
        try:
            return self._system_mailbox(pwd.getpwnam(name))
        except UnicodeEncodeError:
            return None
        except KeyError:
            _check_sources(name)
            return None

    def shown(self, name):
        """The Mailbox of an account that a list names, for what is told of it; or None."""
        return self.account(name)

    def _system_mailbox(self, entry):
        if not entry.pw_dir or 0 < entry.pw_uid < FIRST_USER:
            return None
        return self._as_mailbox(entry)

    def _as_mailbox(self, entry):
        is_mbox = self.store == "mbox"
        path = f"{SPOOL}/{entry.pw_name}" if is_mbox else f"{entry.pw_dir}/Maildir"
        # The spool's group may make lock files and mailboxes there, the user's own may not.
        gid = posix.stat(SPOOL).st_gid if is_mbox else entry.pw_gid
        full_name = entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize())
        return Mailbox(entry.pw_name, entry.pw_uid, gid, entry.pw_dir, path, is_mbox,
                       full_name, entry.pw_name)

    def _folder_mailbox(self, name):
        home = f"{self.store}/{name}"
        try:
            state = posix.lstat(home)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            if error.errno == ENAMETOOLONG:
                return None
            raise Later("Account cannot be looked up now", errno=error.errno, doing=home) from error
        if not S_ISDIR(state.st_mode):
            return None
        return Mailbox(name, state.st_uid, state.st_gid, home, f"{home}/Maildir")

    def _postmaster(self):
        """RFC 5321 §4.5.1: postmaster is always there: root if we can, else whoever runs the server."""
        import pwd
        uid = self._access.uid
        try:
            runner = pwd.getpwuid(uid)
        except KeyError:
            runner = None
        if self.store.startswith("/"):
            found = [self.account(name) for name in ("root", *([runner.pw_name] if runner else []))]
            return next(filter(None, found), None) or self._own_folder()
        if not runner:
            raise Later("Postmaster has no mailbox now", doing=f"uid {uid} has no account")
        return self._as_mailbox(runner)

    def _own_folder(self):
        """The postmaster's own account in a store of folders, made when it is first written to."""
        owner = posix.stat(self.store)
        home = f"{self.store}/{POSTMASTER}"
        return Mailbox(POSTMASTER, owner.st_uid, owner.st_gid, home, f"{home}/Maildir", is_ours=True)

    def check(self, mailbox):
        """Raise Later if mail could not be stored in `mailbox` now, for a reason one can see."""
        self._access.check(mailbox)

    def rest(self):
        """Nobody asks anything for a while."""

    def named_by_us(self, user):
        """The Mailbox whose `user` this is: an account's, or the postmaster's own. None if there is none any more."""
        is_own = user == POSTMASTER and self.store.startswith("/")
        return self.account(user) or (self._own_folder() if is_own else None)
