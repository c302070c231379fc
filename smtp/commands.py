"""The commands: one row each, with its guards, its handler and its syntax (AUTH, STARTTLS and BDAT
look at their own state); smtp/explanations.py says what it is for.

A guard returns the Reply that refuses, or None. A handler gets the session and the argument's text, has
its effect, and returns a Reply; it sends none but those that ask for more first (354, 334, STARTTLS's 220). What not
every session needs is imported by the handler that needs it (common/settings.py says why).
"""
from smtp import replies

LINE_OCTETS = 512           # RFC 5321 §4.5.3.1.4
AUTH_OCTETS = 12288         # RFC 4954 §4
MAIL_OCTETS = LINE_OCTETS + 26 + 17 + 500 + 10 + 9 + 107     # RFC 1870 §3, 6152 §2, 4954 §3, 6531 §3.1, 3461 §5.4
RCPT_OCTETS = LINE_OCTETS + 36 + 507                # RFC 3461 §5.4
SENDING = ("SEND", "SOML", "SAML")


def always_offered(_):
    return True


class Verb:
    """line_octets: how long the command may be, CRLF included. argument: "none", "some" or "any".
    is_offered: a function that tells of a session whether the command works there."""

    def __init__(self, handler, syntax, guards=(), argument="any", line_octets=LINE_OCTETS,
                 is_offered=always_offered):
        self.handler = handler
        self.syntax = syntax
        self.guards = guards
        self.argument = argument
        self.line_octets = line_octets
        self.is_offered = is_offered

    def run(self, session, argument):
        """The Reply to this verb with `argument` in the state that `session` is in."""
        if self.argument == "none" and argument:
            return replies.UNEXPECTED_ARGUMENT
        for guard in self.guards:
            refusal = guard(session)
            if refusal:
                return refusal
        if self.argument == "some" and not argument:
            return replies.argument_needed(self.syntax)
        return self.handler(session, argument)


# Guards

def sending_works(session):
    return None if terminals_offered(session) else replies.NOT_IMPLEMENTED


def greeted(session):
    return None if session.name else replies.GREETING_NEEDED


def authorised(session):
    if session.authorised:
        return None
    return replies.TLS_NEEDED if session.tls_needed else replies.AUTHENTICATION_NEEDED


def no_transaction(session):
    return replies.SENDER_ALREADY_GIVEN if session.transaction else None


def in_transaction(session):
    return None if session.transaction else replies.SENDER_NOT_GIVEN


def no_chunks(session):
    return replies.CHUNKS_BEGUN if session.transaction and session.transaction.chunks else None


def has_recipient(session):
    transaction = session.transaction
    if transaction and transaction.recipients:
        return None
    if transaction and transaction.refused:
        return replies.NO_VALID_RECIPIENTS
    return replies.RECIPIENT_NEEDED


# Handlers

def helo(session, name):
    if not _introduce(session, name, extended=False):
        return replies.argument_needed(VERBS["HELO"].syntax)
    return replies.hello(session.domain, name, session.address)


def ehlo(session, name):
    if not _introduce(session, name, extended=True):
        return replies.argument_needed(VERBS["EHLO"].syntax)
    return replies.extensions(session.domain, name, session.address, extensions(session))


def _introduce(session, name, extended):
    """Note who the client says it is; anything printable in ASCII will do. Ends a transaction (RFC 5321 §4.1.4)."""
    if not (name.isascii() and name.isprintable()):
        return False
    session.drop_transaction()
    session.name = name
    session.extended = extended
    return True


def extensions(session):
    """The keywords of the extensions on offer (RFC 5321 §4.1.1.1)."""
    keywords = [f"SIZE {session.settings.max_size}", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES",
                "SMTPUTF8", "CHUNKING", "DSN", "HELP"]
    if terminals_offered(session):
        keywords[-1:-1] = SENDING           # as RFC 5321, Appendix F.6, demands
    if starttls_offered(session):
        keywords.insert(-1, "STARTTLS")
    if auth_offered(session):
        from smtp.authentication import mechanisms
        keywords.insert(-1, " ".join(["AUTH", *mechanisms(session)]))
    return keywords


def auth_offered(session):
    return session.auth_offered


def starttls_offered(session):
    return bool(session.settings.tls and not session.cipher)


def terminals_offered(session):
    return session.settings.terminals


def never_offered(_):
    return False


def auth(session, argument):
    if session.tls_needed:
        return replies.TLS_NEEDED
    if not session.extended or not session.auth_offered:
        return replies.AUTH_NOT_OFFERED
    if session.login:
        return replies.ALREADY_AUTHENTICATED
    if session.transaction:
        return replies.NOT_IN_TRANSACTION
    from smtp.authentication import authenticate
    return authenticate(session, argument)


def starttls(session, _):
    """The Reply is None when TLS has come about: its 220 went out before the handshake."""
    if session.cipher:
        return replies.TLS_ALREADY
    if not session.settings.tls:
        return replies.TLS_UNAVAILABLE
    try:
        return session.start_tls()
    except OSError as error:
        session.mainlog.write(f"TLS cannot be used: {error.strerror}")
        return replies.TLS_UNAVAILABLE


def mail(session, argument):
    from smtp.mail_rcpt import mail as open_transaction
    return open_transaction(session, argument)


def sending(name):
    """The handler of SEND, SOML or SAML."""
    def open_sending(session, argument):
        from smtp.send_soml_saml import open_transaction
        return open_transaction(session, name, argument)
    return open_sending


def rcpt(session, argument):
    from smtp.mail_rcpt import rcpt as take_recipient
    return take_recipient(session, argument)


def data(session, argument):
    from smtp.data import data as receive
    return receive(session, argument)


def bdat(session, argument):
    from smtp.data import bdat as receive_chunk
    return receive_chunk(session, argument)


def rset(session, _):
    session.drop_transaction()
    return replies.RESET


def noop(session, _):
    return replies.OK


def quit_(session, _):
    return replies.closing(session.domain)


def help_(session, argument):
    if not argument:
        offered = [name for name, verb in VERBS.items() if verb.is_offered(session)]
        return replies.help_general(offered, session.facts())
    from smtp import explanations
    verb = VERBS.get(argument.upper())
    if verb:
        entry = explanations.COMMANDS[argument.upper()]
        return replies.help_verb(verb.syntax, entry.section, entry.english)
    found = [(name, entry.section, entry.english) for name, entry in explanations.about(argument)]
    return replies.help_codes(found) if found else replies.HELP_UNKNOWN


def vrfy(session, argument):
    from smtp.vrfy_expn import verify
    return verify(session, argument)


def expn(session, argument):
    from smtp.vrfy_expn import expand
    return expand(session, argument)


def not_implemented(session, _):
    return replies.NOT_IMPLEMENTED


VERBS = {
    "HELO": Verb(helo, "HELO your-host-name", argument="some"),
    "EHLO": Verb(ehlo, "EHLO your-host-name", argument="some"),
    "MAIL": Verb(mail, "MAIL FROM:<reverse-path> [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] "
                       "[RET=FULL|HDRS] [ENVID=xtext]",
                 (greeted, authorised, no_transaction), "some", MAIL_OCTETS),
    "RCPT": Verb(rcpt, "RCPT TO:<forward-path> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] "
                       "[ORCPT=type;xtext]",
                 (greeted, authorised, in_transaction, no_chunks), "some", RCPT_OCTETS),
    "DATA": Verb(data, "DATA", (greeted, authorised, no_chunks, has_recipient), "none"),
    "BDAT": Verb(bdat, "BDAT octets [LAST]", argument="some"),
    "RSET": Verb(rset, "RSET", argument="none"),
    "NOOP": Verb(noop, "NOOP [anything]"),
    "QUIT": Verb(quit_, "QUIT", argument="none"),
    "HELP": Verb(help_, "HELP [command or reply code]"),
    "VRFY": Verb(vrfy, "VRFY user-name-or-address [SMTPUTF8]", (authorised,), "some"),
    "EXPN": Verb(expn, "EXPN list-name [SMTPUTF8]", (authorised,), "some"),
    "AUTH": Verb(auth, "AUTH mechanism [initial-response]", argument="some", line_octets=AUTH_OCTETS,
                 is_offered=auth_offered),
    "STARTTLS": Verb(starttls, "STARTTLS", argument="none", is_offered=starttls_offered),
    **{name: Verb(sending(name), f"{name} FROM:<reverse-path>", (sending_works, greeted, authorised, no_transaction),
                  "some", MAIL_OCTETS, terminals_offered) for name in SENDING},
    "TURN": Verb(not_implemented, "TURN", is_offered=never_offered),
}
