"""SEND, SOML and SAML: messages for the terminals of people who are logged in (RFC 821 §3.4; RFC 5321, Appendix F.6).

    SEND    to a terminal; 450 to who has none that takes messages, 550 where there can be none
    SOML    to a terminal, else to the mailbox; elsewhere as MAIL
    SAML    to a terminal, if there is one, and to the mailbox; elsewhere as MAIL

Aliases lead to people as they lead to mailboxes; whose mail a .forward sends on sits here all the same. Of a list that
SEND is given, those are reached who are active. 250 behind a text means that each recipient was reached so. Terminals
come first: should storing fail then, or one of SEND's recipients have left, 451 makes the client come again, and a
terminal shows it twice.
"""
from time import monotonic, time

from mailstore.mailboxes import Mailboxes, Resolution
from mailstore.outcome import Later, Unavailable
from smtp import limits, replies
from smtp.mail_rcpt import NotActive, Refused, check_mailboxes, is_ours, locate, mail
from smtp.terminal_text import terminal_text


class People(Mailboxes):
    """Who has mail here, wherever they have it sent on."""

    def forward(self, _):
        return ""


def open_transaction(session, verb, argument):
    """SEND, SOML or SAML FROM:<reverse-path>: as MAIL."""
    reply = mail(session, argument, verb)
    if session.transaction:
        people = People(session.settings, session.backend.access)
        if verb == "SEND":      # else the backend's Mailboxes tell already
            people.tell = session.mainlog.write
        session.transaction.sending = Sending(verb, people)
    return reply


class Sending:
    """What is particular to such a transaction. verb: which of the three; people: a People."""

    def __init__(self, verb, people):
        self.verb = verb
        self._people = people
        self._found = {}            # {a recipient's Resolution: the Mailboxes of the people it stands for}

    def locate(self, session, address):
        """(Resolution, Reply) for a recipient, as mail_rcpt.locate has it."""
        if self.verb == "SEND":
            resolution, reply = self._locate_here(session, address)
            people = resolution
        else:
            resolution, reply = locate(session, address)
            people = self._people.resolve(address.local) if is_ours(session, address) else Resolution()
        self._found[resolution] = [mailbox for mailbox, _ in people.mailboxes.values()]
        return resolution, reply

    def _locate_here(self, session, address):
        resolution = self._people.resolve(address.local) if is_ours(session, address) else Resolution()
        if resolution.has_moved():
            raise Refused("user not local", replies.please_try(resolution.remote[0]))
        if not resolution.mailboxes:
            raise Refused("no terminal of this host", replies.NO_TERMINAL)
        return resolution, replies.RECIPIENT_OK

    def check(self, session, resolution, reply):
        """The Reply to a recipient who can be reached now. Raises Later for others."""
        people = self._found[resolution]
        active = (person.user for person in people if _is_active(session.backend.access, person))
        if self.verb == "SEND":
            if not any(active):
                raise NotActive("User not active now", doing="no terminal takes messages")
            return reply
        active = set(active)
        check_mailboxes(session, resolution, active if self.verb == "SOML" else ())
        return replies.WILL_MAIL if people and not active and reply is replies.RECIPIENT_OK else reply

    def show(self, session, message):
        """Write `message` (a MailObject) to the terminals, note in it where it stands, and leave to it the recipients
        who are to have mail. False, and nothing is done, if it is too long for SEND. Raises Later where a recipient
        of SEND is not reached."""
        text, is_whole = terminal_text(message, time())
        if self.verb == "SEND" and not is_whole:
            return False
        message.shown = self._write(session.backend.access, message.recipients, text)
        users = {user for user, _ in message.shown}
        if self.verb == "SEND":
            self._check_reached(message.recipients, users)
            message.recipients = []
        elif self.verb == "SOML" and is_whole:
            message.recipients = self._left(message.recipients, users)
        return True

    def _write(self, access, recipients, text):
        """[(user, address as given)] of whose terminals have it."""
        given = {}
        for address, resolution in recipients:
            for person in self._found[resolution]:
                given.setdefault(person.user, (person, address))
        deadline = monotonic() + limits.TERMINALS_SECONDS
        return [(user, address) for user, (person, address) in given.items()
                if monotonic() < deadline and _is_written(access, person, text)]

    def _check_reached(self, recipients, users):
        for address, resolution in recipients:
            if not any(person.user in users for person in self._found[resolution]):
                raise Later("User not active any more", doing=f"no terminal shows it to {address}")

    def _left(self, recipients, users):
        """Of `recipients`, pairs as MailObject has them, those who have it on no terminal."""
        left = {}
        for _, resolution in recipients:
            if resolution not in left:
                left[resolution] = self._rest(resolution, users)
        return [(address, left[resolution]) for address, resolution in recipients if left[resolution].size()]

    def _rest(self, resolution, users):
        """The Resolution of those whom `resolution` stands for, without `users`. What goes elsewhere goes there, unless
        it is a .forward's of the one person meant."""
        people = self._found[resolution]
        if people and not resolution.is_alias and users.issuperset(person.user for person in people):
            return Resolution()
        return resolution.without(users)


def _is_active(access, person):
    try:
        access.check_active(person)
    except Unavailable:
        raise
    except Later:
        return False
    return True


def _is_written(access, person, text):
    try:
        access.write(person, text)
    except Later:
        return False
    return True
