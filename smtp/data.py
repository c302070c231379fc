"""DATA and BDAT: the message's text comes in, and is answered for (RFC 5321 §4.1.1.4,
§6.1; RFC 3030)."""
from time import monotonic

from mailstore.content import Content, HeaderTooBig
from mailstore.delivery import MailObject
from mailstore.outcome import Later, Never, NoRoom, deferral
from smtp import limits, replies
from smtp.channel import Disconnected, TimedOut
from smtp.commands import authorised, has_recipient
from smtp.data_reader import ChunkReader, DataReader
from smtp.syntax import Malformed, parse_size

MOST_RECEIVED = 100         # RFC 5321 §6.3


class TooSlow(Exception):
    """The data trickles."""


def data(session, _):
    """DATA: takes the text and hands the message to the mail store. Ends the transaction."""
    session.channel.send(replies.START_INPUT)
    try:
        return _receiving(session, _read_text) or _accept(session)
    finally:
        session.drop_transaction()


def _receiving(session, read):
    """What read(session) returns: the Reply that refuses the text, or None. Deals with clients that stop."""
    try:
        return read(session)
    except TimedOut:
        return _abandon(session, "SMTP data timeout", replies.timed_out(session.domain))
    except TooSlow:
        return _abandon(session, "SMTP data too slow", replies.too_slow(session.domain))
    except Disconnected:
        raise Disconnected("while reading message data") from None


def _abandon(session, what, reply):
    sender = f" F=<{session.transaction.sender.text}>" if session.transaction else ""
    session.mainlog.write(f"{what} (message abandoned) on connection from {session.log_host()}{sender}")
    return reply


def _read_text(session):
    """Read up to the end of data. Returns the Reply that refuses the text, or None.

    What comes after the text was found too long, or the disk full, is read and dropped, but not for ever.
    """
    channel = session.channel
    reader = DataReader(channel.crlf_seen)
    incoming = session.transaction.incoming
    began = monotonic()
    problem = None
    while not reader.ended:
        piece = _read_some(session, began, reader.octets)
        text = reader.feed(piece)
        if not problem:
            _show(session, piece[:len(piece) - len(reader.rest)])
            problem = _keep(session, incoming, text, reader.octets)
        elif reader.octets > session.settings.max_size + limits.DROPPED_OCTETS:
            return problem.as_last()
    channel.crlf_seen = reader.crlf_seen
    channel.unread(reader.rest)
    if channel.transcript:
        channel.transcript.end_of_text(reader.octets)
    return problem


def _show(session, piece):
    """To whoever watches: octets of a text, as they came."""
    if session.channel.transcript:
        session.channel.transcript.text(piece)


def _keep(session, incoming, text, octets):
    if octets > session.settings.max_size:
        _log_too_big(session, octets)
        return replies.MESSAGE_TOO_BIG
    try:
        incoming.write(text)
    except Later as error:
        _log_rejected(session, error)
        return _later_reply(error)
    return None


def _read_some(session, began, octets):
    """The next octets of a text that began then, behind so many. Raises TimedOut after silence, TooSlow when the text
    takes too long."""
    waited_from = monotonic()
    piece = None
    while piece is None:
        try:
            piece = session.channel.read_some(monotonic() + limits.STRESS_SECONDS)
        except TimedOut:
            if monotonic() - waited_from >= limits.IDLE_SECONDS:
                raise
            session.backend.rest()
        if session.is_late(monotonic() - began, octets):
            raise TooSlow
        if piece is None and session.backend.is_under_stress():
            raise TimedOut
    return piece


def bdat(session, argument):
    """BDAT octets [LAST]: takes one chunk (RFC 3030 §2); the last one ends the transaction."""
    try:
        octets, is_last = _parse_chunk(argument)
    except Malformed:
        return replies.BAD_CHUNK
    refusal = _may_send_chunk(session) or _check_declared(session, octets)
    if refusal:
        return _refuse_chunk(session, octets, refusal)
    problem = _receiving(session, lambda _: _read_chunk(session, octets))
    if not problem and not is_last:
        session.idle_commands -= octets > 0
        return replies.chunk_received(octets)
    try:
        return problem or _finish_chunks(session)
    finally:
        session.drop_transaction()


def _check_declared(session, octets):
    """The Reply that refuses a chunk of so many octets, if they are too many, or None."""
    chunks = session.transaction.chunks
    total = octets + (chunks.octets if chunks else 0)
    if total <= session.settings.max_size:
        return None
    _log_too_big(session, total)
    return replies.MESSAGE_TOO_BIG


def _refuse_chunk(session, octets, refusal):
    """`refusal`, when the chunk has been dropped: its octets are on their way whatever the reply is, and must not be
    taken for commands. Of a chunk that would take for ever not even the end is awaited."""
    try:
        if octets > limits.DROPPED_OCTETS:
            return refusal.as_last()
        return _receiving(session, lambda _: _drop_chunk(session, octets)) or refusal
    finally:
        if refusal is replies.MESSAGE_TOO_BIG:
            session.drop_transaction()


def _parse_chunk(argument):
    """(the chunk's octets, whether it is the last one). Raises Malformed."""
    size, _, rest = argument.partition(" ")
    rest = rest.strip(" \t").upper()
    if rest not in ("", "LAST"):
        raise Malformed("LAST expected")
    return parse_size(size), bool(rest)


def _may_send_chunk(session):
    """The Reply that refuses BDAT in this state, or None."""
    return authorised(session) or has_recipient(session)


def _read_chunk(session, octets):
    """Read a chunk into the transaction. Returns the Reply that refuses the text, or None."""
    transaction = session.transaction
    if not transaction.chunks:
        transaction.chunks = ChunkReader()
        transaction.text_began = monotonic()
    reader = transaction.chunks
    problem = None
    for piece in _pieces(session, octets, transaction.text_began, reader.octets):
        text = reader.feed(piece)
        if not problem:
            _show(session, piece)
            problem = _keep(session, transaction.incoming, text, reader.octets)
    _show_end_of_chunk(session, octets)
    return problem


def _show_end_of_chunk(session, octets, dropped=False):
    if session.channel.transcript:
        session.channel.transcript.end_of_chunk(octets, dropped)


def _drop_chunk(session, octets):
    for _ in _pieces(session, octets, monotonic(), 0):
        pass
    _show_end_of_chunk(session, octets, dropped=True)


def _pieces(session, octets, began, before):
    """Yield the next `octets` octets as they come, of a text that began then and of which `before` have come."""
    left = octets
    while left:
        piece = _read_some(session, began, before + octets - left)
        session.channel.unread(piece[left:])
        piece = piece[:left]
        left -= len(piece)
        yield piece


def _finish_chunks(session):
    transaction = session.transaction
    if session.channel.transcript:
        session.channel.transcript.end_of_text(transaction.chunks.octets)
    return (_keep(session, transaction.incoming, transaction.chunks.finish(), transaction.chunks.octets)
            or _accept(session))


def _accept(session):
    """The Reply to a text that has come in whole."""
    message_id = session.backend.clock.message_id()
    try:
        content = Content(session.transaction.incoming)
    except HeaderTooBig:
        _log_rejected(session, "message header too big", message_id)
        return replies.HEADER_TOO_BIG
    if len(content.values(b"received")) > MOST_RECEIVED:
        _log_rejected(session, replies.MAIL_LOOP.texts[0], message_id)
        return replies.MAIL_LOOP
    if session.login:
        content.complete(message_id, session.transaction.sender.text or session.login_address, session.domain)
    return _store(session, content, message_id)


def _store(session, content, message_id):
    """The Reply to a text that was found good: shown on terminals, if it is for some, and put into mailboxes."""
    transaction = session.transaction
    message = MailObject(content, transaction.sender.text, transaction.recipients, session.origin(),
                         transaction.utf8, transaction.chunks is not None, transaction.dsn)
    try:
        if transaction.sending and not transaction.sending.show(session, message):
            _log_rejected(session, "message too long for a terminal", message_id)
            return replies.TOO_LONG_FOR_TERMINAL
        session.backend.delivery.accept(message, message_id)
    except Later as error:
        _log_rejected(session, error, message_id)
        session.backend.delivery.log_shown(message, message_id)
        return _later_reply(error)
    except Never as error:
        _log_rejected(session, error.cause, message_id)
        return replies.not_taken(error.text)
    session.idle_commands = 0
    session.last_message = monotonic()
    if session.channel.transcript:
        session.channel.transcript.accepted(message_id)
    return replies.accepted(message_id)


def _later_reply(error):
    return replies.NO_ROOM if isinstance(error, NoRoom) else replies.not_stored(error.text)


def _log_too_big(session, octets):
    _log_rejected(session, f"message too big: read={octets} max={session.settings.max_size}")


def _log_rejected(session, cause, message_id=""):
    """cause: a Later of the mail store, or why the text is refused for good (str)."""
    is_late = isinstance(cause, Later)
    how, why = ("temporarily rejected", deferral(cause)) if is_late else ("rejected", cause)
    session.mainlog.write(f"H={session.log_host()} F=<{session.transaction.sender.text}> "
                          f"{how} after DATA: {why}", message_id)
