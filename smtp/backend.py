"""The server behind its sessions: mailboxes, the way into them, accounts, the certificate, each made when a session
first needs it."""
from common.settings import canonical
from smtp.session import Session


class on_first_use:
    """An attribute that its method makes when it is first asked for: functools.cached_property, whose import
    would cost a millisecond."""

    def __init__(self, make):
        self._make = make

    def __get__(self, owner, _):
        value = owner.__dict__[self._make.__name__] = self._make(owner)
        return value


class Backend:
    """settings: a Settings; mainlog: the log; client_table: who is connected, or None; tls_context: of
    tls.make_context(), None for one of its own.

    What stores mail is imported when a session first has some: most of those that only knock never do.
    """

    def __init__(self, settings, mainlog, client_table, tls_context=None):
        self.settings = settings
        self.mainlog = mainlog
        self._client_table = client_table
        self._shared_tls_context = tls_context

    def session(self, channel, address, ask_own_address):
        """A Session of this server."""
        if "access" in self.__dict__:
            self.access.begin_session()
        return Session(channel, self, address, ask_own_address)

    @on_first_use
    def clock(self):
        from mailstore.trace import Clock
        return Clock(self.settings.domain)

    @on_first_use
    def access(self):
        """The way to what belongs to others, or to root: mailboxes, and files that the settings name."""
        if self.settings.agent:
            from mailstore.agent_client import Agent
            return Agent(self.settings.agent, self.settings.aliases)
        from mailstore.direct import Direct
        return Direct(self.settings, self.clock)

    @on_first_use
    def mailboxes(self):
        from mailstore.mailboxes import mailboxes_of
        mailboxes = mailboxes_of(self.settings, self.access)
        mailboxes.tell = self.mainlog.write
        return mailboxes

    @on_first_use
    def delivery(self):
        from mailstore.delivery import Delivery
        from mailstore.queue import Queue
        queue = Queue(f"{self.settings.spool}/queue")
        parts = self.mainlog, self.clock, self.settings.domain, self.access, queue
        if self.settings.lmtp:
            from mailstore.lmtp import LmtpDelivery
            return LmtpDelivery(*parts, self.mailboxes.line, f"{self.settings.spool}/tmp")
        return Delivery(*parts)

    @on_first_use
    def accounts(self):
        from smtp.authentication import AccountFile
        return AccountFile(self.settings.accounts, self.access, f"{self.settings.spool}/accounts.index")

    @on_first_use
    def guesses(self):
        from common.guesses import Guesses
        return Guesses(f"{self.settings.spool}/failures")

    def is_under_stress(self):
        """Whether sessions are so scarce that idle ones must go."""
        return bool(self._client_table) and self._client_table.under_stress()

    def rest(self):
        """The client is silent, or gone: what was opened for it need not stay so."""
        if "mailboxes" in self.__dict__:
            self.mailboxes.rest()

    def leave(self):
        """The session at hand is over, and counts no more."""
        if self._client_table:
            self._client_table.leave()

    @on_first_use
    def _tls_context(self):
        from smtp.tls import make_context
        return self._shared_tls_context or make_context(self.access)

    def tls_layer(self):
        """A fresh tls.Layer. Raises OSError (ssl.SSLError is one) if the certificate cannot be used."""
        from smtp.tls import Layer
        return Layer(self._tls_context)

    def carries(self, domain, login):
        """Whether mail for `domain` is carried further for a client; `login`: who it authenticated as."""
        relays = self.settings.relays
        return canonical(domain) in relays or bool(login) and "*" in relays
