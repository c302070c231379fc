"""Whoever waits for any of its children hears of an end whenever that comes: also just before bash asks the kernel,
when wait -n sleeps through it (launcher/pool.sh, await_end).

strace stretches that moment, from microseconds to tenths of a second, by a pause after each call with which bash puts
off, or lets in, the signal of an end."""

import subprocess
import tempfile
import unittest

from tests.helpers import support
from tests.helpers.launcher import copy_tree, set_constant

STRETCH = ("-e", "trace=rt_sigprocmask", "-e", "inject=rt_sigprocmask:delay_exit=5000")     # microseconds
MOMENTS = range(0, 120, 2 if support.LONG else 8)    # milliseconds after await_end was begun the time before

# Each time something ends at its moment (begin_end), while a child doesn't; wait_for_end must have noticed by then.
SCRIPT = r"""
set -u
shopt -s lastpipe
. launcher/orphans.sh
. launcher/pool.sh
until_wait=400000               # microseconds
for moment; do
    open_life
    prepare
    printf -v delay '0.%06d' $((until_wait + moment * 1000))
    begun=${EPOCHREALTIME//[!0-9]/}
    begin_end
    sleep 20 &
    child=$!
    until_wait=$((${EPOCHREALTIME//[!0-9]/} - begun))
    wait_for_end
    alive "$child" || echo "$moment ms: slept as long as the child ran"
    kill -KILL "$child" "$alarm" "$watch"
    wait
done
echo done
"""
THE_LAUNCHER = """
prepare() { :; }
begin_end() { (sleep "$delay" &); become_background; }
wait_for_end() { while ! launcher_ended; do await_end; done; }
"""
A_CHILD = """
prepare() { launcher_only=(); become_background; }
begin_end() { sleep "$delay" & shorter=$!; }
wait_for_end() { while alive "$shorter"; do await_end; done; }
"""


@support.needs_program("strace")
class AwaitEndTest(unittest.TestCase):
    def check(self, functions: str) -> None:
        script = copy_tree(self) / "serveur.sh"
        set_constant(script, "launcher/pool.sh", "ALARM", 1)
        with tempfile.NamedTemporaryFile() as trace:
            done = subprocess.run(
                ["strace", "-qq", "-o", trace.name, *STRETCH, "bash", "-c", functions + SCRIPT, "bash",
                 *map(str, MOMENTS)],
                cwd=script.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True)
        self.assertEqual(done.stdout, "done\n")

    def test_the_launcher(self):
        self.check(THE_LAUNCHER)

    def test_a_child(self):
        self.check(A_CHILD)


if __name__ == "__main__":
    unittest.main()
