"""A context for as long as a test or a class lasts (unittest's enterContext is younger than Python 3.9)."""

import typing


def enter(clean_up: typing.Callable, context):
    """What `with context` gives.  clean_up: the addCleanup of a test, or the addClassCleanup of a class."""
    value = context.__enter__()
    clean_up(context.__exit__, None, None, None)
    return value
