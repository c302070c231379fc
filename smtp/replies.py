"""Every reply: its code, its enhanced code (RFC 3463) and its text, under a name that says what happened.

A reply holds one text, or a tuple of texts for several lines. Where a text has to carry something that
came from outside, a function makes the reply, and `_clean` lets only printable ASCII through; for addresses
and names `_for_people` lets any printable character through, and whoever answers asks the Reply for_client().
"""

LINE_OCTETS = 512           # RFC 5321 §4.5.3.1.5, CRLF included
SHORT = LINE_OCTETS // 4 - 8    # characters that fit into a line, behind the codes, whatever they are


class Reply:
    """code: three digits. enhanced: "" or as "2.1.0". texts: a tuple, a line each.
    closes: the connection ends after it. refusal: a recipient was refused, which is no error of the client.
    otherwise: the Reply in its place for a client that takes no UTF-8, where the texts may need it."""

    __slots__ = ("code", "enhanced", "texts", "closes", "refusal", "otherwise", "_octets")

    def __init__(self, code, enhanced, *texts, closes=False, refusal=False, otherwise=None):
        self.code = code
        self.enhanced = enhanced
        self.texts = texts
        self.closes = closes
        self.refusal = refusal
        self.otherwise = otherwise
        self._octets = b""

    def for_client(self, takes_utf8):
        """This Reply, or the one in its place (RFC 6531 §3.7.4)."""
        return self if takes_utf8 or all(map(str.isascii, self.texts)) else self.otherwise

    def as_last(self):
        """This Reply, and the connection ends after it."""
        return Reply(self.code, self.enhanced, *self.texts, closes=True)

    def encode(self):
        """The reply as bytes, in lines of at most 512 octets, the CRLF of each included."""
        if not self._octets:
            prefix = f"{self.enhanced} " if self.enhanced else ""
            texts = self.texts
            if max(map(len, texts)) > SHORT:
                texts = [_cut(text, LINE_OCTETS - 2 - len(f"{self.code} {prefix}")) for text in texts]
            # each behind the CRLF of the one before it, the first behind one too many
            before_last = f"\r\n{self.code}-{prefix}".join(("", *texts[:-1]))
            self._octets = f"{before_last}\r\n{self.code} {prefix}{texts[-1]}\r\n".encode()[2:]
        return self._octets

    def lines(self):
        """The reply as str lines without their CRLF."""
        return self.encode().decode().split("\r\n")[:-1]


def _cut(text, octets):
    return text.encode()[:octets].decode("utf-8", "ignore")


def _clean(text):
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _for_people(text):
    return "".join(c if c.isprintable() else "?" for c in text)


def _made_once(make):
    """`make`, which makes a Reply for a domain, but each only once: every session of a worker says the same."""
    made = {}

    def reply(domain):
        if domain not in made:
            made[domain] = make(domain)
        return made[domain]
    return reply


# The connection

@_made_once
def greeting(domain):
    return Reply(220, "", f"{domain} ESMTP serveur ready")


@_made_once
def closing(domain):
    return Reply(221, "2.0.0", f"{domain} closing connection", closes=True)


def stopping(domain):
    return Reply(421, "4.3.2", f"{domain} shutting down, closing connection", closes=True)


def timed_out(domain):
    return Reply(421, "4.4.2", f"{domain} timeout, closing connection", closes=True)


def too_slow(domain):
    return Reply(421, "4.4.2", f"{domain} data comes too slowly, closing connection", closes=True)


def too_many_sessions(domain):
    return Reply(421, "4.7.0", f"{domain} too many connections, please try again later", closes=True)


def too_many_from_address(domain):
    return Reply(421, "4.7.0", f"{domain} too many connections from your address, please try again later",
                 closes=True)


def too_many_errors(domain):
    return Reply(421, "4.7.0", f"{domain} too many errors, closing connection", closes=True)


def no_web_server(domain):
    return Reply(421, "4.7.0", f"{domain} does not speak HTTP, closing connection", closes=True)


def too_many_idle_commands(domain):
    return Reply(421, "4.7.0", f"{domain} too many commands without a message, closing connection", closes=True)


def internal_error(domain):
    return Reply(421, "4.3.0", f"{domain} internal error, closing connection", closes=True)


# Any command

UNRECOGNIZED = Reply(500, "5.5.2", "Unrecognized command")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
NUL_IN_COMMAND = Reply(501, "5.5.2", "NUL characters are not allowed in commands")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
UNEXPECTED_ARGUMENT = Reply(501, "5.5.4", "Unexpected argument")
GREETING_NEEDED = Reply(503, "5.5.1", "HELO or EHLO required")
AUTHENTICATION_NEEDED = Reply(530, "5.7.0", "Authentication required")
TLS_NEEDED = Reply(530, "5.7.0", "Must issue a STARTTLS command first")     # RFC 3207 §4
OK = Reply(250, "2.0.0", "OK")
RESET = Reply(250, "2.0.0", "Reset OK")


def argument_needed(syntax):
    return Reply(501, "5.5.4", f"Syntax: {syntax}")


# HELO, EHLO, HELP

def hello(domain, name, address):
    return Reply(250, "", f"{domain} Hello {_clean(name)} [{address}]")


def extensions(domain, name, address, keywords):
    return Reply(250, "", f"{domain} Hello {_clean(name)} [{address}]", *keywords)


def help_general(verbs, facts):
    return Reply(214, "2.0.0", "Commands: " + " ".join(verbs), *facts, "HELP command tells its syntax")


def help_verb(syntax, section, text):
    return Reply(214, "2.0.0", f"Syntax: {syntax}", text, section)


def help_codes(entries):
    """entries: (code, section, text) of each."""
    return Reply(214, "2.0.0", *(f"{code} ({section}): {text}" for code, section, text in entries))


HELP_UNKNOWN = Reply(504, "5.5.4", "No help: unknown command or code")


# AUTH, STARTTLS

def challenge(text):
    return Reply(334, "", text)


def too_many_failures(domain):
    return Reply(421, "4.7.0", f"{domain} too many failed authentications, closing connection", closes=True)


AUTHENTICATED = Reply(235, "2.7.0", "Authentication succeeded")
AUTHENTICATION_FAILED = Reply(535, "5.7.8", "Incorrect authentication data")
AUTHENTICATION_LATER = Reply(454, "4.7.0", "Temporary authentication failure")
AUTHENTICATION_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
BAD_BASE64 = Reply(501, "5.5.2", "Invalid base64 data")
NO_INITIAL_RESPONSE = Reply(501, "5.7.0", "This mechanism takes no initial response")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "Unknown authentication mechanism")
AUTH_NOT_OFFERED = Reply(503, "5.5.1", "AUTH command used when not advertised")
ALREADY_AUTHENTICATED = Reply(503, "5.5.1", "Already authenticated")
NOT_IN_TRANSACTION = Reply(503, "5.5.1", "Not permitted in a mail transaction")
TLS_GO_AHEAD = Reply(220, "2.0.0", "TLS go ahead")
TLS_UNAVAILABLE = Reply(454, "4.7.0", "TLS not available")
TLS_ALREADY = Reply(503, "5.5.1", "Already in TLS")


# MAIL

SENDER_NOT_YOURS = Reply(553, "5.7.1", "Sender address is not that of the authenticated user")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
SENDER_ALREADY_GIVEN = Reply(503, "5.5.1", "Sender already given")
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message size exceeds fixed maximum message size")
HEADER_TOO_BIG = Reply(552, "5.3.4", "Message header too big")
NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage, please try later")
BAD_PARAMETER = Reply(501, "5.5.4", "Malformed parameter")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Unknown parameter")
UTF8_NOT_ANNOUNCED = Reply(553, "5.6.7", "Non-ASCII address needs SMTPUTF8")


def bad_sender(reason):
    return Reply(501, "5.1.7", f"Malformed reverse-path: {_clean(reason)}")


# RCPT

RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
SENDER_NOT_GIVEN = Reply(503, "5.5.1", "Sender not yet given")
NO_SUCH_USER = Reply(550, "5.1.1", "No such user here", refusal=True)
RELAY_REFUSED = Reply(550, "5.7.1", "Relaying not permitted", refusal=True)
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")


NOT_ACTIVE = Reply(450, "4.2.1", "User not active now")
WILL_MAIL = Reply(250, "2.1.5", "User not active now, so will do mail")
NO_TERMINAL = Reply(550, "5.3.3", "No terminal of this host, use MAIL", refusal=True)


def bad_recipient(reason):
    return Reply(501, "5.1.3", f"Malformed forward-path: {_clean(reason)}")


def will_forward(address):
    return Reply(251, "2.1.5", f"User not local; will forward to <{_for_people(address)}>", otherwise=RECIPIENT_OK)


def please_try(address):
    return Reply(551, "5.1.6", f"User not local; please try <{_for_people(address)}>", refusal=True,
                 otherwise=Reply(550, "5.1.6", "User not local", refusal=True))


def recipient_refused(text):
    return Reply(550, "5.1.1", _clean(text), refusal=True)


def recipient_later(text):
    return Reply(450, "4.2.0", _clean(text))


# DATA

START_INPUT = Reply(354, "", 'Enter message, ending with "." on a line by itself')
RECIPIENT_NEEDED = Reply(503, "5.5.1", "Valid RCPT command must precede DATA")
NO_VALID_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
TOO_LONG_FOR_TERMINAL = Reply(552, "5.2.3", "Message too long for a terminal, use MAIL")
MAIL_LOOP = Reply(554, "5.4.6", 'Too many "Received" headers - suspected mail loop')


def accepted(message_id):
    return Reply(250, "2.0.0", f"OK id={message_id}")


def chunk_received(octets):
    return Reply(250, "2.0.0", f"{octets} octets received")


CHUNKS_BEGUN = Reply(503, "5.5.1", "Not permitted between chunks")
BAD_CHUNK = Reply(501, "5.5.4", "Syntax: BDAT octets [LAST]")


def not_stored(text):
    return Reply(451, "4.3.0", _clean(text))


def not_taken(text):
    return Reply(554, "5.2.0", _clean(text))


# VRFY, EXPN

AMBIGUOUS = Reply(553, "5.1.4", "User ambiguous")
CANNOT_VERIFY = Reply(252, "2.5.1", "Cannot verify, but will accept mail and attempt delivery")
ADDRESS_NEEDS_UTF8 = Reply(252, "2.6.8", "Cannot show the address without SMTPUTF8, but will accept mail")
NO_SUCH_LIST = Reply(550, "5.1.1", "No such mailing list here", refusal=True)


def members(entries):
    """entries: `<address>`, or `Name <address>`. For who takes no UTF-8, a name that needs it is left out."""
    plain = [entry if entry.isascii() else entry[entry.rindex("<"):] for entry in entries]
    otherwise = Reply(250, "2.1.5", *map(_clean, plain)) if all(map(str.isascii, plain)) else ADDRESS_NEEDS_UTF8
    return Reply(250, "2.1.5", *map(_for_people, entries), otherwise=otherwise)
