"""Where an address leads by way of aliases, lists, tags and people's .forward files. Most lead to their account at once
and never need this.
"""
from mailstore import targets as kinds
from mailstore.aliases import CATCH_ALL, POSTMASTER
from mailstore.outcome import UNUSABLE, Later, Never

MOST_TOLD = 10              # mistakes in one list, in the log
SHOWN = 200                 # characters of each


class Step:
    """A name of ours to be followed. name: in lower case; address: as it was written; is_exact: whether aliases do not
    count; owner: the Mailbox whose .forward named it, or None."""

    __slots__ = ("name", "address", "is_exact", "owner")

    def __init__(self, name, address, is_exact=False, owner=None):
        self.name = name.lower()
        self.address = address
        self.is_exact = is_exact
        self.owner = owner


class Expansion:
    """One walk. mailboxes: the Mailboxes; resolution: the Resolution to fill.

    Each alias and each .forward is followed once, depth first. An alias that leads back to itself names the account of
    that name; a .forward that leads back to where mail came from keeps it, as Exim's check_ancestor has it.
    """

    def __init__(self, mailboxes, resolution):
        self._mailboxes = mailboxes
        self._resolution = resolution
        self._pending = []
        self._opened = {}           # what leads to what is at hand, the outermost first: an alias, or (an account,)
        self._followed = set()

    def follow(self, local):
        """Follow a local part. Raises Never (`:fail:`) and Later (`:defer:`, what can't be read now, too many)."""
        self._walk(Step(local, self._ours(local)))

    def follow_account(self, mailbox):
        """The same for an account, whoever shares its name."""
        self._add(mailbox)
        self._walk()

    def _walk(self, *steps):
        self._pending += steps
        while self._pending:
            step = self._pending.pop()
            if not step:
                self._opened.popitem()
                continue
            self._take(step)
            if self._resolution.size() + len(self._pending) > kinds.MOST_TARGETS:
                raise _too_many(step.address)

    def _ours(self, local):
        return f"{local}@{self._mailboxes.domain}"

    def _is_open(self, name):
        return name in self._opened or (name,) in self._opened

    def _take(self, step):
        if step.owner and self._is_open(step.name):
            self._resolution.add(step.owner, len(self._opened))
        elif not step.is_exact and step.name not in self._opened and step.name in self._mailboxes.aliases:
            self._follow_alias(step.name)
        else:
            self._take_account(step)

    def _take_account(self, step):
        mailbox = self._account(step.name)
        if mailbox:
            self._add(mailbox)
        elif base := self._untagged(step.name):
            self._pending.append(Step(base, step.address, step.is_exact, step.owner))
        elif CATCH_ALL in self._mailboxes.aliases and step.name != POSTMASTER and CATCH_ALL not in self._opened:
            self._follow_alias(CATCH_ALL)
        elif step.owner:
            raise _not_followed(step.owner, f"nobody is called {step.name[:SHOWN]}")
        elif step.name in self._mailboxes.aliases:
            # The queue would follow that alias once more; as for Exim, whom it leads to has a copy already.
            self._mailboxes.tell(f"alias {step.name}: skipped error: leads back to itself, and no account is called so")
        else:
            self._resolution.unknown_local.append(step.address)

    def _account(self, name):
        try:
            return self._mailboxes.account(name)
        except Later:
            if name != POSTMASTER:      # who is always there, and somebody else if need be
                raise
            return None

    def _untagged(self, name):
        """Whose name `name` with a tag is, or ""."""
        base, sign, _ = name.partition(self._mailboxes.tag) if self._mailboxes.tag else ("", "", "")
        return base if sign and base != name else ""

    def _open(self, key, steps):
        self._opened[key] = True
        self._followed.add(key)
        self._pending += [None, *reversed(steps)]

    # Aliases

    def _follow_alias(self, name):
        if name not in self._followed:
            self._resolution.is_alias = True
            self._open(name, self._steps(name))

    def _steps(self, name):
        """The Steps for an alias's targets that are ours; others go to `resolution`."""
        steps = []
        found = members(self._mailboxes, name)
        if any(target.kind == kinds.BLACKHOLE for target in found):
            self._resolution.dropped.append(":blackhole:")
            return []
        for target in found:
            if target.kind == kinds.FAIL:
                raise Never(target.value or "Address refused")
            if target.kind == kinds.DEFER:
                raise Later(target.value or "Address deferred")
            if target.kind == kinds.NULL:
                self._resolution.dropped.append("/dev/null")
            else:
                self._distribute(target, steps)
        return steps

    def _distribute(self, target, steps, owner=None):
        if target.domain and not self._mailboxes.is_local(target.domain):
            self._resolution.remote.append(target.address)
        else:
            address = target.address if target.domain else self._ours(target.address)
            steps.append(Step(target.local, address, target.is_exact, owner))

    # .forward

    def _add(self, mailbox):
        """Let a copy go to an account, or to where its owner has mail sent on."""
        key = (mailbox.user,)
        if key in self._opened:
            self._resolution.add(mailbox, len(self._opened))
        elif key not in self._followed:
            found = forwards(self._mailboxes, mailbox)
            if not found:
                self._resolution.add(mailbox, len(self._opened))
                return
            self._resolution.forwarded.append(mailbox)
            self._open(key, [])
            steps = []
            for target in found:
                self._distribute(target, steps, mailbox)
            self._pending += reversed(steps)


def _too_many(where):
    return Later("Alias leads to too many recipients", doing=f"{where}: more than {kinds.MOST_TARGETS} targets")


def members(mailboxes, name):
    """The Targets of the alias called `name`, those in files that it includes among them. Mistakes are told in the
    log, and left out. Raises Later if a file can't be read now."""
    found, mistakes = [], []
    for target in kinds.targets_of(mailboxes.aliases.get(name, "")):
        some = _included(mailboxes, name, target.value) if target.kind == kinds.INCLUDE else [target]
        for one in some:
            (mistakes if one.kind == kinds.MISTAKE else found).append(one)
    for mistake in mistakes[:MOST_TOLD]:
        mailboxes.tell(f'alias {name}: skipped error: {mistake.value} in "{mistake.text[:SHOWN]}"')
    if len(mistakes) > MOST_TOLD:
        mailboxes.tell(f"alias {name}: skipped {len(mistakes) - MOST_TOLD} further errors")
    return found


def _included(mailboxes, name, path):
    """The Targets in a file that is included."""
    try:
        found = kinds.listed(mailboxes.included(path))
    except OSError as error:
        raise Later("List cannot be read now", doing=f"alias {name}: {path}: {error.strerror}") from error
    if found is None:
        raise _too_many(f"alias {name}: {path}")
    return found


def forwards(mailboxes, mailbox):
    """The Targets, all of them addresses, of an account's .forward; [] if it has none, or an empty one. Raises Later
    for what it asks beyond that, and if it can't be read."""
    text = mailboxes.forward(mailbox)
    if not text:
        return []
    if text.startswith("#") and text[1:].lstrip().lower().startswith(("exim filter", "sieve filter")):
        raise _not_followed(mailbox, "filters are not followed")
    found = kinds.listed(text)
    if found is None:
        raise _not_followed(mailbox, f"more than {kinds.MOST_TARGETS} targets")
    for target in found:
        if target.kind != kinds.ADDRESS:
            raise _not_followed(mailbox, f'{target.value or "not followed"} in "{target.text[:SHOWN]}"')
    return found


def _not_followed(mailbox, why):
    return Later(UNUSABLE, errno=-1, doing=f"{mailbox.home}/.forward: {why}")
