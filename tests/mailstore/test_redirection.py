"""Aliases and .forward files against a real Exim's: who gets a copy, and what the logs say of it."""

import pathlib
import re
import shutil
import unittest

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.mailboxes import read_maildir
from tests.lab.exim import Exim, needs_model_exim

D = support.DOMAIN
ALICE, BOB = "eximalice", "eximbob"
SMALL = b"Subject: x\r\n\r\ntext\r\n.\r\n"
ALIASES = """\
hole: :blackhole:
nul: /dev/null
mix: eximalice, :blackhole:
mixnul: eximalice, /dev/null
exact: \\eximalice, eximbob
full: Alice Martin <eximalice@%s>, "Bob, Le" <eximbob@%s>, <eximalice@%s>
comments: eximalice (Alice, Martin), eximbob (x)
bad: alice bob, eximalice
open: eximalice, <eximbob
included: :include:LIST
round: eximalice, around
around: round, eximbob
""" % (D, D, D)
LIST = "# members\neximalice, \\eximbob\n\nBob <eximbob@%s>\n" % D
FORWARDS = ({}, {ALICE: BOB}, {ALICE: "\\%s, %s" % (ALICE, BOB)}, {ALICE: BOB, BOB: ALICE},
            {ALICE: "exact"}, {ALICE: "# none\n"}, {BOB: "Alice <%s@%s>\n%s" % (ALICE, D, BOB)})


@needs_model_exim
class RedirectionTest(unittest.TestCase):

    def test_same_copies_and_log(self):
        with system_users(ALICE, BOB) as people, support.Server(("-store", "maildir"), None) as server:
            listed = server.folder / "list"
            listed.write_text(LIST)
            aliases = ALIASES.replace("LIST", str(listed))
            (server.folder / "aliases").write_text(aliases)
            names = [line.partition(":")[0] for line in aliases.splitlines()]
            with Exim(aliases=aliases) as exim:
                server.start()
                for name in names:
                    self.compare(exim, server, people, name, {})
                for forwards in FORWARDS:
                    # Two on one list, each of whom sends on to the other: Exim has both keep it, we have one.
                    names = (ALICE, BOB) if len(forwards) > 1 else (ALICE, BOB, "exact")
                    for name in names:
                        self.compare(exim, server, people, name, forwards)
            self.assertEqual(server.stop(), 0)

    def compare(self, exim, server, people, name, forwards):
        with self.subTest(name=name, forwards=forwards):
            self.write(people, forwards)
            theirs_id = exim.send("%s@%s" % (name, D), SMALL)
            exim.wait_completed(theirs_id)
            theirs = self.taken(people), self.lines(exim.log(), theirs_id)
            reply = server.send("%s@%s" % (name, D), SMALL)
            self.assertEqual(reply.code, 250)
            ours_id = reply.text.rpartition("id=")[2]
            server.wait_log(ours_id + " Completed")
            self.assertEqual((self.taken(people), self.lines(server.log(), ours_id)), theirs)

    @staticmethod
    def write(people, forwards):
        for name, entry in people.items():
            path = pathlib.Path(entry.pw_dir) / ".forward"
            path.unlink(missing_ok=True)
            if name in forwards:
                path.write_text(forwards[name])
                shutil.chown(path, name)

    @staticmethod
    def taken(people):
        """{account: how many copies it got}, which are removed."""
        found = {}
        for name, entry in people.items():
            messages = read_maildir(entry.pw_dir + "/Maildir")
            found[name] = len(messages)
            for message in messages:
                message.path.unlink()
        return found

    @staticmethod
    def lines(log, message_id):
        """What the log says of the deliveries; what routers are called is everybody's own business."""
        found = [line.partition(message_id + " ")[2] for line in log.splitlines() if message_id + " =>" in line]
        return sorted(re.sub(r" R=\w+", "", line) for line in found)


if __name__ == "__main__":
    unittest.main()
