"""Whole sessions made at random from a seed: commands and texts, well-formed, nearly so and not at all, cut anywhere.

The same seed makes the same session.  A session is a list of pieces; each is sent as it is, and what the server owes to
it is not predicted: tests/whole/test_fuzzing.py holds what must be true whatever was said.
"""

import random
import typing

VERBS = (b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"BDAT", b"RSET", b"NOOP", b"QUIT", b"HELP", b"VRFY", b"EXPN",
         b"AUTH", b"STARTTLS", b"SEND", b"TURN", b"XYZZY", b"")
LINE_ENDS = (b"\r\n",) * 12 + (b"\n", b"\r", b"\r\r\n", b"\n\r", b"")
SPECIALS = b"<>@:,;.\"\\()[] \t%!|/=+-_\0\r\n\x1b\x7f\x80\xff0aA"
WORDS = (b"alice", b"bob", b"list", b"postmaster", b"nobody", b"a", b"x" * 300, b"..", b"../x", b'"a b"', b"a@b", b"@",
         b"<>", b"\xc3\xa9", b"=?utf-8?q?x?=", b"tpmail.info.unicaen.fr", b"[127.0.0.1]", b"[IPv6:::1]",
         b"client.example", b"-", b"1", b"99999999999999999999")
PARAMETERS = (b"SIZE=100", b"SIZE=", b"SIZE=99999999999", b"BODY=8BITMIME", b"BODY=x", b"SMTPUTF8", b"SMTPUTF8=1",
              b"AUTH=<>", b"X", b"X=Y", b"=", b"SIZE=1 SIZE=1", b"RET=HDRS", b"ENVID=a+2Bb", b"ENVID=+",
              b"NOTIFY=NEVER", b"NOTIFY=FAILURE,DELAY", b"NOTIFY=,", b"ORCPT=rfc822;a", b"ORCPT=;")
MIME_FIELDS = (b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: multipart/mixed",
               b"Content-Type: message/rfc822", b"--b", b"--b--",
               b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: 8bit", b"\xc3\xa9 \xe9",
               b"\xff\x0b\x0c\x1c\x85", b"")
FIELDS = (b"Subject: x", b"Received: from x", b"From: a@b", b"To: \xff", b" folded", b"Return-path: <x>", b"no colon",
          b": empty", b"X\0Y: z", b"a:", b"From x y", b".", b"..", b"")


class Fuzzer:
    """Sessions for a server of `domain`.  rng: all of its choices come from there.  relayed: addresses elsewhere, which
    then get most of the mail; there are MIME fields in it, and its sender is bob."""

    def __init__(self, seed: int, domain: str, relayed: typing.Sequence[bytes] = ()):
        self.rng = random.Random(seed)
        self.domain = domain.encode()
        names = (b"alice", b"bob", b"list", b"nobody")
        self.recipients = [b"%b@%b" % (name, self.domain) for name in names] + list(relayed)
        self.sender = b"bob@" + self.domain if relayed else b"a@fuzz.example"
        self.fields = FIELDS + MIME_FIELDS * 2 if relayed else FIELDS

    def session(self) -> typing.List[bytes]:
        """A whole session, in pieces to be sent one after another."""
        commands = [b"EHLO fuzz.example\r\n"] if self.rng.random() < 0.8 else []
        for _ in range(self.rng.randrange(1, 25)):
            commands.append(self.rng.choice((self._command, self._command, self._transaction, self._noise))())
        commands.append(b"\r\n.\r\nQUIT\r\n")
        return self._cut(b"".join(commands))

    def _cut(self, wire: bytes) -> typing.List[bytes]:
        places = sorted(self.rng.sample(range(1, len(wire)), min(self.rng.randrange(6), len(wire) - 1)))
        return [wire[start:end] for start, end in zip([0, *places], [*places, len(wire)])]

    def _line_end(self) -> bytes:
        return self.rng.choice(LINE_ENDS)

    def _word(self) -> bytes:
        return self.rng.choice(WORDS)

    def _path(self) -> bytes:
        path = self._word() + b"@" + self.rng.choice((self.domain, self.domain, self.domain.upper(), self._word()))
        if self.rng.random() < 0.1:
            path = b"@" + self._word() + b":" + path
        return self.rng.choice((b"<%b>", b"<%b>", b"<%b>", b"%b", b" <%b> ", b"<%b", b"%b>")) % path

    def _argument(self, verb: bytes) -> bytes:
        prefix = {b"MAIL": b"FROM:", b"RCPT": b"TO:"}.get(verb, b"")
        text = prefix + (self._path() if prefix else self._word())
        while self.rng.random() < 0.3:
            text += b" " + self.rng.choice(PARAMETERS + WORDS)
        return text

    def _command(self) -> bytes:
        verb = self.rng.choice(VERBS)
        if self.rng.random() < 0.1:
            verb = verb.lower()
        text = verb + b" " + self._argument(verb) if self.rng.random() < 0.8 else verb
        return self._spoiled(text) + self._line_end()

    def _spoiled(self, text: bytes) -> bytes:
        """`text`, seldom with an octet too many, too few or another."""
        while text and self.rng.random() < 0.15:
            place = self.rng.randrange(len(text))
            octet = bytes([self.rng.choice(SPECIALS)])
            text = text[:place] + self.rng.choice((octet, b"", octet + text[place:place + 1])) + text[place + 1:]
        return text

    def _transaction(self) -> bytes:
        """One that is likely to go through."""
        recipients = [self.rng.choice(self.recipients) for _ in range(self.rng.randrange(1, 4))]
        commands = [b"MAIL FROM:<%b>" % self.sender, *(b"RCPT TO:<%b>" % address for address in recipients)]
        text = self._text()
        if self.rng.random() < 0.3:
            last, behind = (b"", b"BDAT 0 LAST\r\n") if self.rng.random() < 0.5 else (b" LAST", b"")
            body = b"BDAT %d%b\r\n%b%b" % (len(text), last, text, behind)
        else:
            body = b"DATA\r\n" + text + b"\r\n.\r\n"
        return b"RSET\r\n" + b"".join(command + b"\r\n" for command in commands) + body

    def _text(self) -> bytes:
        lines = (self.rng.choice(self.fields) + self._line_end() for _ in range(self.rng.randrange(30)))
        return self._spoiled(b"".join(lines)) * self.rng.choice((1, 1, 1, 1, 50))

    def _noise(self) -> bytes:
        return bytes(self.rng.choice(SPECIALS) for _ in range(self.rng.randrange(60))) + self._line_end()
