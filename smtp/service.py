"""What a session needs of the server that it is a session of."""
from mailstore.delivery import Delivery
from mailstore.mailboxes import Mailboxes
from mailstore.queue import Queue
from mailstore.trace import Clock


class Service:
    """settings: a Settings; journal: the log; sessions: the register of who is connected, or None."""

    def __init__(self, settings, journal, sessions):
        self.settings = settings
        self.journal = journal
        self.clock = Clock(settings.domain)
        self.mailboxes = Mailboxes(settings.store, settings.domain, settings.aliases)
        self.delivery = Delivery(journal, self.clock, settings.domain, Queue(f"{settings.spool}/queue"))
        self._sessions = sessions
        self._tls_context = None

    def is_pressed(self):
        """Whether sessions are so scarce that idle ones must go."""
        return bool(self._sessions) and self._sessions.pressed()

    def tls_layer(self):
        """A fresh tls.Layer. Raises OSError (ssl.SSLError is one) if the certificate cannot be used."""
        from smtp import tls
        if not self._tls_context:
            self._tls_context = tls.make_context(*self.settings.tls)
        return tls.Layer(self._tls_context)

    def carries(self, domain, login):
        """Whether mail for `domain` is carried further for a client; `login`: who it authenticated as."""
        relays = self.settings.relays
        return domain.lower() in relays or bool(login) and "*" in relays
