"""Copies for the mailboxes of an LMTP server: those that a session could not hand over."""
from mailstore.lmtp import LmtpMailboxes
from mailstore.trace import LOCAL_USER
from queue_manager.attempt import Tried
from queue_manager.local_delivery import LocalDelivery
from smtp_client.lmtp import Line, LmtpServer
from smtp_client.result import DONE


class LmtpLocalDelivery(LocalDelivery):
    """See LocalDelivery. Each copy has a connection of its own: it is for who was put off, which is rare."""

    def __init__(self, settings, *parts):
        super().__init__(settings, *parts)
        self._server = LmtpServer(settings.lmtp, settings.domain)

    def _mailboxes(self):
        return LmtpMailboxes(self._settings, self._access, self._server)

    def _deliver(self, path, envelope, recipient, _):
        mailbox = self._mailbox(recipient.mailbox)
        line = Line(self._server)
        try:
            results = line.deliver(path, envelope.sender, envelope.utf8, [mailbox.path])
        finally:
            line.close()
        result = results[mailbox.path]
        account = mailbox.user if result.outcome == DONE else ""
        return Tried(recipient, result, LOCAL_USER, mailbox.transport, account)
