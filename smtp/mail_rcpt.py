"""MAIL and RCPT: the envelope of one transaction (RFC 5321 §3.3, §4.1.1.2, §4.1.1.3)."""
from posix import statvfs

from common.settings import canonical
from mailstore.incoming import IncomingText
from mailstore.mailboxes import Resolution
from mailstore.outcome import Later, Never, Unavailable, refusal
from smtp import replies
from smtp.syntax import (MAIL_REQUESTS, RCPT_REQUESTS, Malformed, MalformedParameter, parse_parameters, parse_path,
                         parse_size, take_requests)

MOST_TARGETS = 10000        # that the recipients of one message may lead to
SPARE_OCTETS = 1 << 20      # what the disk must have left beyond the message itself


class Refused(Never):
    """A forward-path that this session may not have mail sent to. reply: the Reply that says so."""

    def __init__(self, text, reply):
        super().__init__(text)
        self.reply = reply


class NotActive(Later):
    """Somebody who is to have a message on a terminal, and has none that takes it."""


class Transaction:
    """From MAIL to the end of its data; RSET throws it away whole.

    sender: a syntax.Address; utf8: whether SMTPUTF8 was asked for; recipients: pairs of (the address as the client
    wrote it, its Resolution); located: {an address, however it is spelled: (its Resolution, the Reply to it)};
    sending: a Sending (send_soml_saml.py) if SEND, SOML or SAML opened it, or None;
    targets: how many mailboxes and addresses elsewhere these lead to; refused: how many RCPT were turned away;
    dsn: a dsn_requests.Requests, once one is made, or None; incoming: the text to come; chunks: the data.ChunkReader
    once BDAT has begun, or None; text_began: when that was (monotonic seconds).
    """

    def __init__(self, sender, utf8, incoming):
        self.sender = sender
        self.utf8 = utf8
        self.incoming = incoming
        self.recipients = []
        self.located = {}
        self.targets = 0
        self.refused = 0
        self.sending = None
        self.dsn = None
        self.chunks = None
        self.text_began = 0

    def requests(self):
        """Its dsn_requests.Requests, to be changed."""
        if not self.dsn:
            from mailstore.dsn_requests import Requests
            self.dsn = Requests(self.recipients)
        return self.dsn

    def close(self):
        self.incoming.close()


def mail(session, argument, verb="MAIL"):
    """MAIL FROM:<reverse-path> [parameters]: opens a transaction. verb: which command it is that does so."""
    if argument[:5].upper() != "FROM:":
        return replies.argument_needed(f"{verb} FROM:<reverse-path>")
    try:
        sender, _, parameters, requests = _parse(session, argument[5:], MAIL_REQUESTS)
    except MalformedParameter:
        return replies.BAD_PARAMETER
    except Malformed as error:
        return replies.bad_sender(error.reason)
    if sender.text and not sender.domain:
        return replies.bad_sender("address must contain a domain")
    if sender.needs_utf8 and "SMTPUTF8" not in parameters:
        return replies.UTF8_NOT_ANNOUNCED
    if reply := _check_parameters(session, parameters) or _check_owner(session, sender):
        return reply
    session.transaction = Transaction(sender, "SMTPUTF8" in parameters, IncomingText(f"{session.settings.spool}/tmp"))
    if any(requests):
        session.transaction.requests().of_message(*requests)
    return replies.SENDER_OK


def _parse(session, text, requests):
    """A path with parameters: (the Address, the text behind it, its parameters, what DSN asks by them). requests: those
    that a client may make here, once it has said EHLO. Raises Malformed, MalformedParameter."""
    address, rest = parse_path(text)
    parameters = parse_parameters(rest)
    return address, rest, parameters, take_requests(parameters, requests) if session.extended else ()


def _check_parameters(session, parameters):
    """The Reply that refuses MAIL's parameters, or None."""
    if parameters and not session.extended:
        return replies.UNKNOWN_PARAMETER
    for keyword, value in parameters.items():
        check = PARAMETERS.get(keyword)
        if reply := check(session, value) if check else replies.UNKNOWN_PARAMETER:
            return reply
    return None if "SIZE" in parameters else _check_room(session, 0)


def _check_owner(session, sender):
    """Under -match-sender, who authenticated writes in its own name only; <> is nobody's."""
    if not (session.settings.match_sender and session.login and sender.text):
        return None
    is_own = _folded(session, sender.text) == _folded(session, session.login_address)
    return None if is_own else replies.SENDER_NOT_YOURS


def _folded(session, address):
    """`address` (str) as addresses of ours are compared."""
    local, _, domain = address.rpartition("@")
    return local.lower(), session.domain if session.is_local(domain) else canonical(domain)


def _check_size(session, value):
    """RFC 1870 §6.1: refuse at once what is declared too big, or bigger than the room there is."""
    try:
        octets = parse_size(value)
    except MalformedParameter:
        return replies.BAD_PARAMETER
    if octets > session.settings.max_size:
        session.mainlog.write(f"rejected MAIL H={session.log_host()}: message too big: "
                              f"size={octets} max={session.settings.max_size}")
        return replies.MESSAGE_TOO_BIG
    return _check_room(session, octets)


def _check_room(session, octets):
    try:
        state = statvfs(session.settings.spool)
    except OSError:
        return None
    room = state.f_bavail * state.f_frsize
    return None if room >= octets + SPARE_OCTETS else replies.NO_ROOM


def _check_body(_, value):
    return None if (value or "").upper() in ("7BIT", "8BITMIME") else replies.BAD_PARAMETER


def _check_flag(_, value):
    return replies.BAD_PARAMETER if value else None


def _check_auth(session, value):
    """RFC 4954 §5: who a client says wrote it. Nobody here is trusted to say so, but it may."""
    if not session.auth_offered:
        return replies.UNKNOWN_PARAMETER
    return None if value else replies.BAD_PARAMETER


PARAMETERS = {"SIZE": _check_size, "BODY": _check_body, "SMTPUTF8": _check_flag, "AUTH": _check_auth}


def rcpt(session, argument):
    """RCPT TO:<forward-path>: adds a recipient."""
    if argument[:3].upper() != "TO:":
        return replies.argument_needed("RCPT TO:<forward-path>")
    try:
        address, rest, parameters, requests = _parse(session, argument[3:], RCPT_REQUESTS)
    except MalformedParameter:
        return replies.BAD_PARAMETER
    except Malformed as error:
        return replies.bad_recipient(error.reason)
    if not address.text or not (address.domain or address.local.lower() == "postmaster"):
        return replies.bad_recipient("address must contain a domain")
    if parameters:
        return replies.UNKNOWN_PARAMETER
    if address.needs_utf8 and not session.transaction.utf8:
        return replies.UTF8_NOT_ANNOUNCED
    if not (rest.isascii() or session.transaction.utf8):
        return replies.BAD_PARAMETER
    return _add_recipient(session, address, requests).for_client(session.transaction.utf8)


def _add_recipient(session, address, requests):
    transaction = session.transaction
    if len(transaction.recipients) >= session.settings.max_recipients:
        return _too_many_recipients(session)
    try:
        resolution, reply = _located(session, address)
    except (Later, Never) as error:
        transaction.refused += 1
        return _refuse(session, address, error)
    if not resolution:
        return reply
    given = address.text if address.domain else f"{address.text}@{session.domain}"
    if transaction.dsn or any(requests):
        transaction.requests().of_recipient(given, *requests)
    transaction.recipients.append((given, resolution))
    session.idle_commands -= 1
    return reply


def _located(session, address):
    """(Resolution, Reply) for a recipient who can receive now. What the transaction knows already is not looked up,
    checked and kept once more: a list may be given as often as it has members. Resolution is None if this makes too
    many. Raises Never and Later as locate()."""
    transaction = session.transaction
    located = transaction.located
    key = (address.local.lower(),) if is_ours(session, address) else (address.local, address.domain.lower())
    if key not in located:
        sending = transaction.sending
        resolution, reply = (sending.locate if sending else locate)(session, address)
        transaction.targets += resolution.size()
        if transaction.targets > max(MOST_TARGETS, session.settings.max_recipients):
            return None, _too_many_recipients(session)
        if sending:
            reply = sending.check(session, resolution, reply)
        else:
            check_mailboxes(session, resolution)
        located[key] = resolution, reply
    return located[key]


def check_mailboxes(session, resolution, others=()):
    """Raise Later if one of the mailboxes could not be written now; `others` are users who need none."""
    for mailbox, _ in resolution.mailboxes.values():
        if mailbox.user not in others:
            session.backend.mailboxes.check(mailbox)


def _too_many_recipients(session):
    session.mainlog.write(f"too many recipients: excess temporarily rejected: "
                          f"sender=<{session.transaction.sender.text}> H={session.log_host()}")
    return replies.TOO_MANY_RECIPIENTS


def is_ours(session, address):
    return not address.domain or session.is_local(address.domain)


def locate(session, address):
    """(Resolution, Reply) for a forward-path. Raises Never and Later: refusal_reply() answers RCPT or VRFY then."""
    if not is_ours(session, address):
        return _locate_remote(session, address.text, address.domain)
    resolution = session.backend.mailboxes.resolve(address.local)
    if resolution.has_moved():
        target = resolution.remote[0]
        if not session.backend.carries(target.rpartition("@")[2], session.login):
            raise Refused("user not local", replies.please_try(target))
        return resolution, replies.will_forward(target)
    return resolution, replies.RECIPIENT_OK


def _locate_remote(session, text, domain):
    if not session.backend.carries(domain, session.login):
        raise Refused("relay not permitted", replies.RELAY_REFUSED)
    resolution = Resolution()
    resolution.remote.append(text)
    return resolution, replies.RECIPIENT_OK


def refusal_reply(outcome):
    """The Reply that tells a client of `outcome`, a Never or Later met on the way to a mailbox."""
    if isinstance(outcome, Refused):
        return outcome.reply
    if isinstance(outcome, NotActive):
        return replies.NOT_ACTIVE
    if isinstance(outcome, Never):
        return replies.recipient_refused(outcome.text)
    if isinstance(outcome, Unavailable):
        return replies.not_stored(outcome.text)
    return replies.recipient_later(outcome.text)


def _refuse(session, address, outcome):
    how = "rejected" if isinstance(outcome, Never) else "temporarily rejected"
    session.mainlog.write(f"H={session.log_host()} F=<{session.transaction.sender.text}> "
                          f"{how} RCPT <{address.text}>: {refusal(outcome)}")
    return refusal_reply(outcome)
