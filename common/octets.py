"""Octets that come in pieces, cut anywhere."""


def partial_match_length(data, mark):
    """How many of `data`'s last octets begin `mark`, which the next piece may complete."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:length]):
            return length
    return 0
