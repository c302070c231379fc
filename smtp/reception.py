"""DATA: the message's text comes in, and is answered for (RFC 5321 §4.1.1.4, §6.1)."""
from time import monotonic

from mailstore.delivery import Message
from mailstore.letter import HeaderTooBig, Letter
from mailstore.outcome import Later, NoRoom
from smtp import replies
from smtp.channel import Disconnected, TimedOut
from smtp.data import DataReader

IDLE_SECONDS = 300          # RFC 5321 §4.5.3.2.5 asks for 3 minutes
GRACE_SECONDS = 300
PRESSED_SECONDS = 30
LEAST_OCTETS_A_SECOND = 1024
MOST_RECEIVED = 100         # RFC 5321 §6.3


class TooSlow(Exception):
    """The data trickles."""


def data(session, _):
    """DATA: takes the text and hands the message to the mail store. Ends the transaction."""
    session.channel.send(replies.START_INPUT)
    message_id = session.service.clock.message_id()
    try:
        problem = _read_text(session)
        return problem or _accept(session, message_id)
    except TimedOut:
        return _abandon(session, "SMTP data timeout", replies.timed_out(session.domain))
    except TooSlow:
        return _abandon(session, "SMTP data too slow", replies.too_slow(session.domain))
    except Disconnected:
        session.journal.write(f"SMTP connection from {session.log_host()} lost while reading message data")
        raise
    finally:
        session.drop_transaction()


def _abandon(session, what, reply):
    session.journal.write(f"{what} (message abandoned) on connection from {session.log_host()} "
                          f"F=<{session.transaction.sender.text}>")
    return reply


def _read_text(session):
    """Read up to the end of data. Returns the Reply that refuses the text, or None.

    What comes after the text was found too long, or the disk full, is read and dropped.
    """
    channel = session.channel
    reader = DataReader(channel.crlf_seen)
    draft = session.transaction.draft
    started = monotonic()
    problem = None
    while not reader.ended:
        text = reader.feed(_read_some(session, started, reader.octets))
        if not problem:
            problem = _keep(session, draft, text, reader.octets)
    channel.crlf_seen = reader.crlf_seen
    channel.unread(reader.rest)
    if channel.transcript:
        channel.transcript.message(reader.octets)
    return problem


def _keep(session, draft, text, octets):
    if octets > session.settings.max_size:
        _log_rejected(session, f"message too big: read={octets} max={session.settings.max_size}")
        return replies.MESSAGE_TOO_BIG
    try:
        draft.write(text)
    except Later as error:
        _log_rejected(session, error.detail)
        return _later_reply(error)
    return None


def _read_some(session, started, octets):
    """The next octets. Raises TimedOut after silence, TooSlow when too few come."""
    waited_from = monotonic()
    while True:
        try:
            piece = session.channel.read_some(monotonic() + PRESSED_SECONDS)
            break
        except TimedOut:
            _check_rate(session, started, octets)
            if monotonic() - waited_from >= IDLE_SECONDS:
                raise
    _check_rate(session, started, octets)
    return piece


def _check_rate(session, started, octets):
    seconds = monotonic() - started
    if seconds < PRESSED_SECONDS or octets >= seconds * LEAST_OCTETS_A_SECOND:
        return
    if seconds >= GRACE_SECONDS or session.service.is_pressed():
        raise TooSlow


def _accept(session, message_id):
    """The Reply to a text that has come in whole."""
    transaction = session.transaction
    try:
        letter = Letter(transaction.draft)
    except HeaderTooBig:
        _log_rejected(session, "message header too big", message_id)
        return replies.HEADER_TOO_BIG
    if len(letter.values(b"received")) > MOST_RECEIVED:
        _log_rejected(session, 'Too many "Received" headers - suspected mail loop', message_id)
        return replies.MAIL_LOOP
    message = Message(letter, transaction.sender.text, transaction.recipients, session.origin(),
                      transaction.utf8)
    try:
        session.service.delivery.accept(message, message_id)
    except Later as error:
        _log_rejected(session, error.detail, message_id)
        return _later_reply(error)
    return replies.accepted(message_id)


def _later_reply(error):
    return replies.NO_ROOM if isinstance(error, NoRoom) else replies.not_stored(error.text)


def _log_rejected(session, why, message_id=""):
    how = "temporarily rejected" if why.startswith("defer") else "rejected"
    session.journal.write(f"H={session.log_host()} F=<{session.transaction.sender.text}> "
                          f"{how} after DATA: {why}", message_id)
