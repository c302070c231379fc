"""Where a message ends, and what its text is: readers of octets without any policy (RFC 5321 §4.5.2).

Input comes in pieces cut anywhere; text goes out with each line ended by LF. The end is CRLF . CRLF
exactly. Only while the client has never sent a CRLF, in a command or in the data, it is LF . LF: such
a client is a person at netcat, and no relay that could be made to smuggle.

A bare CR or a bare LF is no line end of the protocol: it goes out as CR, and whoever stores the text
decides what becomes of it (mailstore/content.py). But in a text whose first line ends in LF, out of a
Unix file sent as it is, LF ends every line, as Exim has it. A dot is taken off only where a line
begins as the protocol counts lines, so a dot behind a bare CR or LF stays, and nothing that is stored
can be taken for an end of data when it is sent on (CVE-2023-51764).
"""
from common.octets import partial_match_length

CRLF = b"\r\n"
LF = b"\n"


class DataReader:
    """crlf_seen: whether the client has sent a CRLF so far; kept up to date while reading.

    octets: the message's size so far as it is on the wire, dots undone (RFC 1870 §3 counts so).
    rest: after the end, the octets behind it.
    """

    def __init__(self, crlf_seen):
        self.crlf_seen = crlf_seen
        self.octets = 0
        self.rest = b""
        self.ended = False
        # The data begins at the beginning of a line: as if behind a line end, which is taken back.
        self._held = CRLF if crlf_seen else LF
        self._virtual = len(self._held)
        self._line_ends = LineEnds()

    def feed(self, data):
        """Take `data`, return the text that is certain by now. Sets `ended` (and `rest`) at the end."""
        data = self._held + data
        self._held = b""
        text = b""
        if not self.crlf_seen:
            text, data = self._feed_lf(data)
        if self.crlf_seen and not self.ended:
            text += self._feed_lines(data, CRLF)
        return self._without_virtual(text)

    def _feed_lf(self, data):
        """Read as LF lines up to the first CRLF. Returns the text and what is left for CRLF lines."""
        switch = data.find(CRLF)
        if switch < 0:
            return self._feed_lines(data, LF), b""
        text = self._feed_lines(data[:switch], LF, whole=True)
        if self.ended:
            self.rest += data[switch:]
            return text, b""
        self.crlf_seen = True
        return text, data[switch:]

    def _feed_lines(self, data, line_end, whole=False):
        """Text of `data`, in which lines end by `line_end`. whole: nothing is held back for more input."""
        end = data.find(line_end + b"." + line_end)
        if end >= 0:
            self.ended = True
            self.rest = data[end + 2 * len(line_end) + 1:]
            data = data[:end + len(line_end)]
        elif not whole:
            # A last CR may be half a CRLF, whichever line end counts now.
            keep = partial_match_length(data, line_end + b"." + line_end) or data.endswith(b"\r")
            data, self._held = data[:len(data) - keep], data[len(data) - keep:]
        data = data.replace(line_end + b".", line_end)
        self.octets += len(data)
        return self._line_ends.as_lf(data, self._virtual)

    def _without_virtual(self, text):
        if self._virtual and text:
            self.octets -= self._virtual
            self._virtual = 0
            return text[1:]
        return text


class LineEnds:
    """What ends the lines of a text: CRLF, and LF too once the first line has ended in one."""

    def __init__(self):
        self._lf_ends = None

    def as_lf(self, data, start=0):
        """`data` with its line ends as LF, and every other LF as CR. start: where the text begins in it."""
        if self._lf_ends is None and (first := data.find(LF, start)) >= 0:
            self._lf_ends = data[first - 1:first] != b"\r"
        if self._lf_ends:
            return data.replace(CRLF, LF)
        # Counting one octet by what is left without it is five times as fast as bytes.count.
        lines = data.count(CRLF)
        without_cr = data.replace(b"\r", b"")
        if len(data) - len(without_cr) == lines == len(without_cr) - len(without_cr.replace(LF, b"")):
            return without_cr
        return LF.join(part.replace(LF, b"\r") for part in data.split(CRLF))


class ChunkReader:
    """The text of BDAT's chunks (RFC 3030): octets as they are, without dots; line ends as for DATA.

    octets: how many have come so far.
    """

    def __init__(self):
        self.octets = 0
        self._held = b""
        self._last = b""
        self._line_ends = LineEnds()

    def feed(self, data):
        """Take `data`, return the text that is certain by now."""
        self.octets += len(data)
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        return self._note(self._line_ends.as_lf(data[:len(data) - len(self._held)]))

    def finish(self):
        """The text's end: a line end where the last line has none. A CR there is one already."""
        return LF if self._held or self._last not in (b"", LF) else b""

    def _note(self, text):
        self._last = text[-1:] or self._last
        return text
