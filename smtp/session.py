"""One SMTP session: its states, and the loop that reads a command, looks it up, runs it and answers.

Guard, effect, reply: the table of commands is in smtp/commands.py; handlers there return a Reply, which the loop here
sends. A session leaves nothing behind in its process.
"""
from time import monotonic

from smtp import limits, replies
from smtp.channel import Disconnected, HandshakeFailed, Interrupted, LineTooLong, TimedOut
from smtp.commands import VERBS, LINE_OCTETS

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")     # that may be named in the log, where a password may not
HTTP_METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())
SHOWN_CHARACTERS = 200      # of such a line, in the log
HTTP_FIELDS = ("host:", "user-agent:", "content-type:", "content-length:", "origin:", "referer:", "cookie:")
FACTS = ("This is a small mail server that netcat drives; mail for {domain} is stored here,",
         "mail for {relays} is carried further; a message may have {size} octets")


class Session:
    """channel: a Channel; backend: what the session needs of the server (a smtp.backend.Backend);
    address: the client's; ask_own_address: a function that returns ours, as the client reached it, or "".

    name: what the client called itself, "" before HELO. extended: whether it said EHLO.
    login, mechanism: who authenticated, and how, or ""; failures: attempts that failed.
    cipher: of the TLS it speaks, or "". transaction: the open one, or None.
    last_message: when one was accepted (monotonic seconds), or when the session began.
    idle_commands: how many since the last message brought none nearer; who does bring it nearer takes one off.
    """

    name = login = mechanism = cipher = ""
    extended = stopping = False
    transaction = None
    failures = idle_commands = 0
    _auth_tried = False
    _errors = _refusals = 0

    def __init__(self, channel, backend, address, ask_own_address):
        self.channel = channel
        self.backend = backend
        self.settings = backend.settings
        self.mainlog = backend.mainlog
        self.domain = backend.settings.domain
        self.address = address
        self.ask_own_address = ask_own_address
        self.last_message = self._began = monotonic()

    def run(self):
        """Serve the client until it goes or is sent away.

        The greeting has been sent already, except where TLS has to come first.
        """
        try:
            if self.settings.implicit_tls:
                self._start_with_tls()
            while not (last := self._serve_one()):
                pass
            if last.code == 221:
                # A client that comes back at once must not find its old session still counted.
                self.backend.leave()
            self.channel.finish()
            if last.code != 221:
                self.channel.linger(limits.LINGER_SECONDS if last.code == 421 else limits.TEXT_LINGER_SECONDS)
        except HandshakeFailed as error:
            self.mainlog.write(f"TLS error on connection from {self.log_host()} (SSL_accept): {error.reason}")
        except Disconnected as error:
            self.mainlog.write(f"SMTP connection from {self.log_host()} lost {str(error) or self._while()}".rstrip())
        except Interrupted:
            pass                # no reply can be read before TLS, or after the last one
        finally:
            self.drop_transaction()
            self.backend.rest()

    def _start_with_tls(self):
        try:
            self._go_on_under(self.backend.tls_layer())
        except OSError as error:
            raise HandshakeFailed(error.strerror) from error
        self.channel.send(replies.greeting(self.domain))

    def _while(self):
        return "while in a transaction" if self.transaction else ""

    def _serve_one(self):
        """One command and its reply, if it is not sent yet. Returns the Reply if it ends the session."""
        try:
            reply = self._answer_next()
            reply = reply and self._count(reply)
        except Interrupted:
            reply = replies.stopping(self.domain)
        if not reply:
            return None
        self.channel.send(reply)
        return reply if reply.closes else None

    def _answer_next(self):
        try:
            return self._answer(self._next_line())
        except LineTooLong as error:
            return self._end_line_without_end() if error.endless else replies.LINE_TOO_LONG
        except TimedOut:
            self.mainlog.write(f"SMTP command timeout on connection from {self.log_host()}")
            return replies.timed_out(self.domain)

    def _end_line_without_end(self):
        self.mainlog.write(f"SMTP call from {self.log_host()} dropped: a line without end")
        return replies.LINE_TOO_LONG.as_last()

    # Reading

    def _next_line(self):
        if self.stopping and not self.transaction:
            raise Interrupted
        if self._has_had_its_time():
            raise TimedOut
        return self._line_in_time()

    def _has_had_its_time(self):
        """Whether the client has been here too long, although it is not silent."""
        now = monotonic()
        if self.transaction and self.transaction.chunks:
            return self.is_late(now - self.transaction.text_began, self.transaction.chunks.octets)
        fruitless = now - self.last_message
        age = 0 if self.transaction else now - self._began
        if fruitless < limits.STRESS_FRUITLESS_SECONDS and age < limits.STRESS_SESSION_SECONDS:
            return False
        return (fruitless >= limits.FRUITLESS_SECONDS or age >= limits.SESSION_SECONDS
                or self.backend.is_under_stress())

    def is_late(self, seconds, octets):
        """Whether a text takes too long of which so many octets have come in so many seconds."""
        return seconds > limits.text_seconds(octets, False) or (
            seconds > limits.text_seconds(octets, True) and self.backend.is_under_stress())

    def _line_in_time(self):
        started = monotonic()
        deadline = started + limits.STRESS_SECONDS
        while True:
            try:
                return self.channel.read_line(deadline)
            except TimedOut:
                if deadline >= started + limits.IDLE_SECONDS or self.backend.is_under_stress():
                    raise
                self.backend.rest()
                deadline += limits.STRESS_SECONDS

    def next_secret_line(self):
        """One line that must not be shown: a response of an authentication. Raises as read_line."""
        line = self._line_in_time()
        self._show("***")
        return line

    def terminate(self):
        """The server stops: end at once when idle, else after the running transaction; when told again,
        without it. For signal handlers."""
        again = self.stopping
        self.stopping = True
        if again or not self.transaction:
            self.channel.interrupt()

    # Answering

    def _answer(self, line):
        word, _, argument = line.partition(" ")
        if "\t" in word:
            word, _, argument = line.partition("\t")
        verb = VERBS.get(word.upper())
        shown = self._without_secret(line, verb)
        self._show(shown, word.upper() if verb else "")
        if "\0" in line:
            return self._protocol_error("syntax", shown, replies.NUL_IN_COMMAND)
        if not verb and not self.name and _is_http(line):
            return self._dismiss_browser(shown)
        if len(line.encode("utf-8", "surrogateescape")) + 2 > (verb.line_octets if verb else LINE_OCTETS):
            return replies.LINE_TOO_LONG
        if not verb:
            return self._protocol_error("syntax", shown, replies.UNRECOGNIZED)
        reply = verb.run(self, argument.strip(" \t"))
        if reply and 500 <= reply.code < 505:
            self._protocol_error("syntax" if reply.code < 503 else "protocol", shown, reply)
        return reply

    def _dismiss_browser(self, request):
        """The last Reply, for a web page has made its reader's browser come: it must not be able to send mail."""
        self.mainlog.write(f'SMTP call from {self.log_host()} dropped: HTTP request "{request[:SHOWN_CHARACTERS]}"')
        return replies.no_web_server(self.domain)

    def _without_secret(self, line, verb):
        """`line` as the log, and whoever watches, may have it."""
        if line.lstrip().upper().startswith("AUTH"):
            self._auth_tried = True
            words = line.split()
            known = words[1:2] if words[1:2] and words[1].upper() in MECHANISMS else []
            return " ".join([words[0][:4], *known, *(["***"] if words[1:] != known else [])])
        # A dialogue that was pasted goes on whatever is answered: after AUTH, what is no command may be a password.
        return "***" if self._auth_tried and not self.login and not verb else line

    def _show(self, line, verb=""):
        if self.channel.transcript:
            self.channel.transcript.heard(line, verb)

    def _protocol_error(self, kind, command, reply):
        """Log a command that could not be obeyed, as Exim words it; returns `reply`."""
        self.mainlog.write(f'SMTP {kind} error in "{command}" H={self.log_host()} {reply.texts[0]}')
        return reply

    def _count(self, reply):
        """`reply`, or the 421 that takes its place when there have been too many bad ones."""
        if reply.refusal:
            self._refusals += 1
            self.slow_down(limits.delay(self._refusals, limits.FREE_REFUSALS))
        elif reply.code >= 500:
            self._errors += 1
        else:
            self.idle_commands += 1
        if reply.closes:
            return reply
        if self._errors >= limits.MOST_ERRORS or self._refusals >= self.settings.max_recipients:
            self.mainlog.write(f"SMTP call from {self.log_host()} dropped: too many syntax or protocol errors")
            return replies.too_many_errors(self.domain)
        if self._only_keeps_busy():
            self.mainlog.write(f"SMTP call from {self.log_host()} dropped: too many nonmail commands")
            return replies.too_many_idle_commands(self.domain)
        return reply

    def slow_down(self, seconds):
        """Let the client wait, if at all: it guesses."""
        if seconds:
            self.channel.pause(seconds)

    def _only_keeps_busy(self):
        """Whether this client does not come for mail: NOOP for ever is as good as silence."""
        return self.idle_commands > limits.STRESS_IDLE_COMMANDS and (
            self.idle_commands > limits.MOST_IDLE_COMMANDS or self.backend.is_under_stress())

    # What handlers use

    def forget_client(self):
        """Back to the state after connecting, as STARTTLS demands (RFC 3207 §4.2)."""
        self.drop_transaction()
        self.name = self.login = self.mechanism = ""
        self.extended = False

    def log_host(self):
        return self.origin().log_host()

    def origin(self):
        from mailstore.trace import Origin
        protocol = "smtp"
        if self.extended:
            protocol = "utf8smtp" if self.transaction and self.transaction.utf8 else "esmtp"
            protocol += ("s" if self.cipher else "") + ("a" if self.login else "")
        return Origin(self.address, self.name, protocol, self.login, self.mechanism, self.cipher)

    @property
    def authorised(self):
        return bool(self.login) or not self.settings.accounts

    @property
    def login_address(self):
        """The address of who authenticated: the login itself, if it is an address."""
        return self.login if "@" in self.login else f"{self.login}@{self.domain}"

    def is_local(self, domain):
        """Whether `domain` (str) is ours, seen from where this client came to."""
        return self.backend.mailboxes.is_local(domain, self.ask_own_address)

    def drop_transaction(self):
        if self.transaction:
            self.transaction.close()
            self.transaction = None

    def start_tls(self):
        """Answer 220 and set up TLS. Raises OSError without a usable certificate, and as Channel.start_tls."""
        layer = self.backend.tls_layer()
        self.channel.send(replies.TLS_GO_AHEAD)
        self._go_on_under(layer)
        self.forget_client()

    def _go_on_under(self, layer):
        try:
            self.channel.start_tls(layer, monotonic() + limits.HANDSHAKE_SECONDS)
        except TimedOut:
            raise HandshakeFailed("timed out") from None
        self.cipher = layer.cipher()
        if self.channel.transcript:
            self.channel.transcript.secured(self.cipher)

    @property
    def tls_needed(self):
        """With a certificate, passwords are taken under TLS only."""
        return bool(self.settings.accounts and self.settings.tls) and not self.cipher

    @property
    def auth_offered(self):
        return bool(self.settings.accounts) and not self.tls_needed

    def facts(self):
        """The lines of HELP that tell about this server."""
        values = {"domain": self.domain, "relays": ", ".join(self.settings.relays) or "nobody",
                  "size": self.settings.max_size}
        return [fact.format(**values) for fact in FACTS]


def _is_http(line):
    """Whether a client that has not said HELO yet speaks HTTP: by a request's first line, or by a field."""
    words = line.split()
    return bool(words) and (words[0] in HTTP_METHODS or words[-1].startswith("HTTP/")
                            or line.lower().startswith(HTTP_FIELDS))
