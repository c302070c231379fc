"""AUTH at another host (RFC 4954): PLAIN, LOGIN or CRAM-MD5, whichever it offers; only ever under verified TLS.

smtplib's own takes ASCII alone, and names the command, the password in it, in what it raises.
"""
import binascii
import hmac

from smtp_client.result import AUTH_FAILED, LATER, Undeliverable

CHALLENGE = 334
NOT_THIS_ONE = (504, 534)   # RFC 4954 §6: the mechanism is unknown, or too weak, for this login
SHORTEST_SECRET = 3         # octets of what is looked for in the host's replies


def log_in(connection, login, password):
    """Authenticate over `connection`, a Connection; the name of the mechanism, lower case, as the log has it.

    What goes wrong keeps the mail waiting, whatever the host says: it is the login's trouble, and no message's.
    Raises Undeliverable.
    """
    offered = connection.mechanisms()
    known = [name for name in MECHANISMS if name in offered]
    reply = None
    for name in known:
        reply = MECHANISMS[name](connection, name, login.encode(), password.encode())
        if reply.is_good:
            return name.lower()
        if reply.code not in NOT_THIS_ONE:
            break
    if not reply:
        text = f"the host offers no mechanism that we know ({' '.join(offered) or 'none at all'})"
        raise Undeliverable(connection.result(LATER, f"authentication failed: {text}", AUTH_FAILED))
    text = f"authentication failed: SMTP error from remote mail server after AUTH {name}"
    raise Undeliverable(connection.result(LATER, text, AUTH_FAILED, _without(reply.text, login, password)))


def _without(text, login, password):
    """`text`, which a host said, without what it may have repeated to us."""
    for secret in (_encoded(_joined(login.encode(), password.encode())), _encoded(password.encode()), password):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text


def _joined(login, password):
    return b"\0" + login + b"\0" + password


def _plain(connection, name, login, password):
    """RFC 4616, with an initial response."""
    return _say(connection, f"AUTH {name} {_encoded(_joined(login, password))}", name)


def _login(connection, name, login, password):
    """draft-murchison-sasl-login: two challenges, whose texts say nothing."""
    reply = _say(connection, f"AUTH {name}", name)
    for answer in (login, password):
        if reply.code != CHALLENGE:
            break
        reply = _say(connection, _encoded(answer), name)
    return reply


def _cram_md5(connection, name, login, password):
    """RFC 2195: the password itself is never sent."""
    reply = _say(connection, f"AUTH {name}", name)
    if reply.code != CHALLENGE:
        return reply
    try:
        challenge = binascii.a2b_base64(reply.text[4:].encode("ascii"))
    except (ValueError, UnicodeEncodeError):        # binascii.Error is a ValueError
        return _say(connection, "*", name)          # RFC 4954 §4 cancels so; the answer is 501
    digest = hmac.new(password, challenge, "md5").hexdigest()
    return _say(connection, _encoded(login + b" " + digest.encode()), name)


def _say(connection, line, name):
    return connection.ask(line, connection.limits.command, shown=f"AUTH {name}")


def _encoded(octets):
    return binascii.b2a_base64(octets, newline=False).decode()


# In the order of preference: under TLS, PLAIN gives nothing away, and every host's accounts can take it.
MECHANISMS = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5}
