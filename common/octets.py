"""Octets that come in pieces, cut anywhere."""


def partial_match_length(data, mark):
    """How many of the last octets of `data` are a beginning of `mark` that its next piece may complete."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:length]):
            return length
    return 0
