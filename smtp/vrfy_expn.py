"""VRFY and EXPN: what the server tells about its users (RFC 5321 §3.5; RFC 6531 §3.7.4.2)."""
from mailstore.expansion import members
from mailstore.outcome import Later, Never
from mailstore.targets import ADDRESS
from smtp import replies
from smtp.mail_rcpt import check_mailboxes, locate, refusal_reply
from smtp.syntax import Malformed, parse_path


def verify(session, argument):
    """VRFY: whether a user, given as an address, a local part or words of a full name, can receive now."""
    user, takes_utf8 = _without_parameter(argument)
    reply = _verify(session, user).for_client(takes_utf8)
    # Where RCPT is silent on the address that it leads to, VRFY has nothing left to say.
    return replies.ADDRESS_NEEDS_UTF8 if reply is replies.RECIPIENT_OK else reply


def _without_parameter(argument):
    """(what stands before a parameter SMTPUTF8, whether there is one)."""
    rest, _, last = argument.rpartition(" ")
    return (rest.rstrip(" "), True) if rest and last.upper() == "SMTPUTF8" else (argument, False)


def _verify(session, argument):
    try:
        address, rest = parse_path(_with_domain(session, argument))
        if rest or not address.text:
            raise Malformed("one user name or address expected")
    except Malformed:
        return _verify_name(session, argument)
    try:
        return _verify_address(session, address)
    except (Later, Never) as error:
        named = session.backend.mailboxes.named(argument) if isinstance(error, Never) else []
        return _choose(session, named) if named else refusal_reply(error)


def _with_domain(session, argument):
    text = argument if argument.startswith("<") else f"<{argument}>"
    return text if "@" in text else f"{text[:-1]}@{session.domain}>"


def _verify_address(session, address):
    resolution, reply = locate(session, address)
    check_mailboxes(session, resolution)
    mailboxes = [mailbox for mailbox, _ in resolution.mailboxes.values()]
    if resolution.is_alias and (mailboxes or resolution.forwarded or resolution.dropped):
        return replies.members([f"<{address.text}>"])
    if found := resolution.forwarded or mailboxes:
        return replies.members([_entry(session, found[0])])
    return reply if reply.code == 251 else replies.CANNOT_VERIFY


def _verify_name(session, argument):
    """RFC 821 §3.3: the argument may be somebody's name."""
    named = session.backend.mailboxes.named(argument)
    if named:
        return _choose(session, named)
    if all(character.isalpha() or character in " -'." for character in argument):
        return replies.NO_SUCH_USER
    return replies.bad_recipient("one user name or address expected")


def _choose(session, mailboxes):
    if len(mailboxes) > 1:
        return replies.AMBIGUOUS
    try:
        session.backend.mailboxes.check(mailboxes[0])
    except Later as error:
        return refusal_reply(error)
    return replies.members([_entry(session, mailboxes[0])])


def _entry(session, mailbox):
    address = f"<{mailbox.user}@{session.domain}>"
    return f"{mailbox.full_name} {address}" if mailbox.full_name else address


def expand(session, argument):
    """EXPN: the members of a list, one a line."""
    name, takes_utf8 = _without_parameter(argument)
    return _expand(session, name).for_client(takes_utf8)


def _expand(session, argument):
    mailboxes = session.backend.mailboxes
    try:
        address, rest = parse_path(_with_domain(session, argument))
        is_ours = not rest and session.is_local(address.domain)
        found = members(mailboxes, address.local.lower()) if is_ours else []
        shown = [_member(session, member) for member in found if member.kind == ADDRESS]
    except Malformed as error:
        return replies.bad_recipient(error.reason)
    except Later as error:
        return refusal_reply(error)
    return replies.members(shown) if shown else replies.NO_SUCH_LIST


def _member(session, target):
    if target.domain:
        return f"<{target.address}>"
    mailbox = session.backend.mailboxes.shown(target.local.lower())
    return _entry(session, mailbox) if mailbox else f"<{target.address}@{session.domain}>"
