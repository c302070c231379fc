"""Writes the names of all modules to descriptor 2 when a session's greeting is sent, when the reply to EHLO is, and
when its process ends (tests/smtp/test_plain_session.py)."""

import posix
import sys

from smtp.channel import Channel

end, flush = posix._exit, Channel.flush


def show() -> None:
    posix.write(2, (" ".join(sorted(sys.modules)) + "\n").encode())


def show_and_end(code: int) -> None:
    show()
    end(code)


def flush_and_show(channel) -> None:
    flush(channel)
    show()
    if "smtp.session" in sys.modules:
        Channel.flush = flush
