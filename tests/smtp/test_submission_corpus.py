"""The corpus once more, from an authenticated client: the headers that are missing are added as Exim adds them."""

import base64
import dataclasses
import tempfile

from tests.lab import compare, corpus
from tests.lab.exim import needs_model_exim
from tests.mailstore.test_corpus import AgainstExim, StoreCase

LOGIN, PASSWORD = "eximalice", "secret"           # tests/lab/exim.py knows this account
AUTH = "AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (LOGIN, PASSWORD)).encode()).decode()


def authenticated(message: corpus.Message) -> corpus.Message:
    """The message with AUTH behind EHLO."""
    greeting, *others = message.commands
    return message._replace(commands=[greeting.replace("HELO", "EHLO"), AUTH, *others])


@needs_model_exim
class SubmissionTest(AgainstExim, StoreCase):
    store = "maildir"
    listener = "prefork"

    @classmethod
    def setUpClass(cls):
        accounts = cls.enter(tempfile.NamedTemporaryFile("w", prefix="login_pass-"))
        accounts.write("%s:%s\n" % (LOGIN, PASSWORD))
        accounts.flush()
        cls.more_options = ("-pass", accounts.name)
        super().setUpClass()

    def check(self, message: corpus.Message) -> None:
        if message.stored is None:          # where we differ, the header has nothing to do with it
            super().check(authenticated(message))

    def take(self):
        return [dataclasses.replace(copy, content=compare.blank_submitted(copy.content)) for copy in super().take()]
