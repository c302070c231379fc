"""Other values for what the product's modules name, in a process that a test starts.

    patch = {"smtp.limits.IDLE_SECONDS": 0.2, "mailstore.maildir.sync_folder": faults.fail}

A name is that of a module, of what is in it, and so on (keys of a dict too); it must be there already.  A value is
plain data, or a function of a module in tests/helpers, which the process imports: no source text is ever given.
"""

import typing

Patch = typing.Dict[str, typing.Any]

# __import__ is there; importlib would be one more module, and tests/smtp/test_plain_session.py counts them.
PROLOGUE = """\
import sys
sys.path.insert(0, %r)
def named(name):
    first, *rest = name.split(".")
    found = __import__(first)
    for part in rest:
        first += "." + part
        if type(found) is not dict and not hasattr(found, part):
            __import__(first)
        found = found[part] if type(found) is dict else getattr(found, part)
    return found
def patch(name, value):
    place, _, attribute = name.rpartition(".")
    getattr(named(place), attribute)
    setattr(named(place), attribute, value)
"""


def prologue(root, patch: typing.Optional[Patch]) -> str:
    """The Python text that a process of the checkout at `root` runs first."""
    lines = ["patch(%r, %s)\n" % (name, value_text(value)) for name, value in (patch or {}).items()]
    return PROLOGUE % str(root) + "".join(lines)


def value_text(value) -> str:
    """The Python text of a value."""
    return "named(%r)" % "%s.%s" % (value.__module__, value.__qualname__) if callable(value) else repr(value)
