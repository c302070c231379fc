"""All that a session may import on its way, for whom it must be there from the start.

A warm worker wants it for speed. A session that was started as root in a folder which its later user
may not enter, a closed home for instance, could not import it any more.
"""
from importlib import import_module

ALWAYS = ("mailstore.mbox", "mailstore.queue", "smtp.directory", "smtp.reception", "smtp.service", "smtp.session",
          "json", "traceback")
WITH_TLS = ("smtp.tls",)
WITH_ACCOUNTS = ("smtp.authentication", "hashlib", "hmac")


def warm_up(settings):
    """Import what sessions with these Settings may need."""
    names = ALWAYS + (WITH_TLS if settings.tls else ()) + (WITH_ACCOUNTS if settings.accounts else ())
    for name in names:
        import_module(name)
    if settings.verbose:
        import_module("smtp.transcript")
