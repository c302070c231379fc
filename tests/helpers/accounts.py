"""Real accounts of this machine, made for a test and removed after it."""

import atexit
import contextlib
import fcntl
import functools
import pathlib
import pwd
import shutil
import subprocess
import unittest

MARK = "essai serveur-smtp"     # in the last GECOS field of every account made here


@contextlib.contextmanager
def system_users(*names: str, full_name: str = "Compte Essai"):
    """Make real accounts with /home/NAME for the time of a `with`; root only.  Yields {name: pwd entry}.

    A lock keeps other runs of the tests on this machine off the same names.  An account of that name which is
    not ours skips the test; one that a killed run left behind is made anew.
    """
    with contextlib.ExitStack() as stack:
        for name in sorted(names):
            lock = stack.enter_context(open("/run/lock/serveur-smtp-essai-" + name, "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            remove_user(name)
            remove = functools.partial(remove_user, name)
            atexit.register(remove)                 # should the tests be interrupted
            stack.callback(atexit.unregister, remove)   # later it may be another run's
            stack.callback(remove)
            gecos = "%s,,,,%s" % (full_name, MARK)
            subprocess.run(["useradd", "-m", "-U", "-K", "MAIL_DIR=/nonexistent", "-s", "/bin/sh", "-c", gecos, name],
                           check=True, capture_output=True)
        yield {name: pwd.getpwnam(name) for name in names}


def remove_user(name: str) -> None:
    """Remove an account that `system_users` made, its home and its mailbox; SkipTest if it is someone else's."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return
    if not account.pw_gecos.endswith(MARK):
        raise unittest.SkipTest("le compte %s existe déjà sur cette machine" % name)
    # -f: Courier's gamin server may live on for half a minute as this user
    subprocess.run(["userdel", "-f", name], check=True, capture_output=True)
    shutil.rmtree(account.pw_dir, ignore_errors=True)
    for leftover in pathlib.Path("/var/mail").glob(name + "*"):
        if leftover.name == name or leftover.name.startswith(name + ".lock"):
            leftover.unlink()
