"""What a plain session imports.  Its process starts while the client waits for the greeting, and each module costs.

`python3 -ES` starts in 5 ms; `re` or `socket` alone would double that.  A module that turns up here should be worth it:
then it goes into the list; else it is imported where the rare path needs it.
"""

import subprocess
import unittest

from tests.helpers import harness, support

# Before the greeting: everything here delays it.
BEFORE_GREETING = {
    "_socket", "common", "smtp.handler", "common.privileges", "common.mainlog", "select", "common.admission",
    "common.settings", "smtp", "smtp.channel", "smtp.limits", "smtp.replies",
} | ({"pwd"} if support.IS_ROOT else set())     # to become the service's user

# While the client reads it.
WITH_THE_DIALOGUE = {"smtp.backend", "smtp.session", "smtp.commands"}

# From the first MAIL on.
WITH_A_MESSAGE = {
    "errno", "mailstore", "mailstore.aliases", "mailstore.delivery", "mailstore.incoming", "mailstore.files", "mailstore.content",
    "mailstore.mailboxes", "mailstore.outcome", "mailstore.queue", "mailstore.trace", "common.octets", "smtp.data_reader",
    "smtp.envelope", "smtp.data", "smtp.syntax", "stat", "_stat",
}

if support.IS_ROOT:             # others write the mailbox themselves
    WITH_A_MESSAGE |= {"mailstore.agent"}
else:
    WITH_A_MESSAGE |= {"mailstore.direct", "mailstore.maildir", "mailstore.usable", "ownership"}

# Writes the names of all modules to descriptor 2 when the greeting is sent, when the reply to EHLO is, and when the process
# ends.
PROLOGUE = """
import posix
def show():
    posix.write(2, (" ".join(sorted(sys.modules)) + "\\n").encode())
end = posix._exit
def show_and_end(code):
    show()
    end(code)
posix._exit = show_and_end
import smtp.channel
flush = smtp.channel.Channel.flush
def flush_and_show(channel):
    flush(channel)
    show()
    if "smtp.session" in sys.modules:
        smtp.channel.Channel.flush = flush
smtp.channel.Channel.flush = flush_and_show
"""


class ModulesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with harness.Handlers(prologue=PROLOGUE) as server:
            with server.client() as client:
                client.expect("EHLO client.example", 250)
                reply = client.letter("a@b.example", "alice@" + server.domain, b"Subject: x\r\n\r\ntext\r\n.\r\n")
                client.expect("QUIT", 221)
            server.finished()
            shown = [set(line.split()) for line in server.output().splitlines()]
            assert reply.code == 250 and len(shown) == 3, (reply, server.output())
        bare = subprocess.run(["/usr/bin/python3", "-ES", "-c", "import posix, sys; print(*sys.modules)"],
                              stdout=subprocess.PIPE, check=True).stdout.decode()
        cls.bare = set(bare.split())
        cls.at_greeting, cls.after_ehlo, cls.at_end = shown

    def assert_modules(self, found, wanted):
        self.assertEqual(sorted(found - wanted - self.bare), [], "newcomers")
        self.assertEqual(sorted(wanted - found), [], "listed, but not imported any more")

    def test_before_the_greeting(self):
        self.assert_modules(self.at_greeting, BEFORE_GREETING)

    def test_without_a_message(self):
        self.assert_modules(self.after_ehlo, BEFORE_GREETING | WITH_THE_DIALOGUE)

    def test_whole_session(self):
        self.assert_modules(self.at_end, BEFORE_GREETING | WITH_THE_DIALOGUE | WITH_A_MESSAGE)


if __name__ == "__main__":
    unittest.main()
