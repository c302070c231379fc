"""What a plain session imports.  Its process starts while the client waits for the greeting, and each module costs.

`python3 -ES` starts in 5 ms; `re` or `socket` alone would double that.  A module that turns up here should be worth it:
then it goes into the list; else it is imported where the rare path needs it.
"""

import subprocess
import unittest

from tests.helpers import harness, module_list, support

# Before the greeting: everything here delays it.
BEFORE_GREETING = {
    "_socket", "common", "smtp.handler", "common.privileges", "common.mainlog", "select", "common.admission",
    "common.settings", "smtp", "smtp.channel", "smtp.limits", "smtp.replies",
} | ({"pwd"} if support.IS_ROOT else set())     # to become the service's user

# While the client reads it.
WITH_THE_DIALOGUE = {"smtp.backend", "smtp.session", "smtp.commands"}

# From the first MAIL on.
WITH_A_MESSAGE = {
    "errno", "mailstore", "mailstore.aliases", "mailstore.delivery", "mailstore.incoming", "mailstore.files",
    "mailstore.content", "mailstore.mailboxes", "mailstore.outcome", "mailstore.queue", "mailstore.trace",
    "common.octets", "smtp.data_reader", "smtp.mail_rcpt", "smtp.data", "smtp.syntax", "stat", "_stat",
}

if support.IS_ROOT:             # others write the mailbox themselves
    WITH_A_MESSAGE |= {"mailstore.agent_client"}
else:
    WITH_A_MESSAGE |= {"mailstore.direct", "mailstore.maildir", "mailstore.usable", "common.ownership"}


class ModulesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shown_by = {"posix._exit": module_list.show_and_end, "smtp.channel.Channel.flush": module_list.flush_and_show}
        with harness.Handlers(patch=shown_by) as server:
            with server.client() as client:
                client.expect("EHLO client.example", 250)
                reply = client.letter("a@b.example", "alice@" + server.domain, b"Subject: x\r\n\r\ntext\r\n.\r\n")
                client.expect("QUIT", 221)
            server.finished()
            shown = [{name for name in line.split() if not name.startswith("tests")}
                     for line in server.output().splitlines()]
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
