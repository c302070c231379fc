"""What the relay spends on other hosts and name servers at most, and how late a healthy host's mail can be for it.

Every destination has its share of clients (threads that talk to hosts), of look-ups (threads that wait for
`dig`) and of slots at a host's address, and no share lends to another:

    relay       the domains of -relay, and all that a smarthost takes: hosts that the administrator chose
    mail        other domains, for mail that has a sender: the targets of aliases
    bounces     other domains, for mail from <>: anybody can forge the sender whom a bounce goes to

Who can make a destination costly can therefore do so in its own share only. There the sum is this.

Clients. A visit that begins while less than half of its share's clients are busy has the long limits of
RFC 5321; a later one has short ones. So silent hosts hold half of the clients for long, and the other half
for one short turn each. With S silent destinations before a healthy one, and W clients, it waits for

    no turn while S < W, then ceil((S - W + 1) / (W / 2)) turns

    a turn of a silent host         SHORT_STEP: 4 s
    of one that drips its answers   SHORT_VISIT, then SHORT_STEP for each 256 KiB of text and for QUIT: 16 s
                                    for a message of that size
    200 silent hosts                bounces: one turn; relay: three, if the administrator named so many; mail: two,
                                    if aliases lead to so many

A destination that waits, for a client or for a slot, is data and holds no thread; those that wait have their
turns in order. Whoever has many messages to carry gives way after TURN seconds. An address has one connection
until that is answered; if it was silent, it is left alone for its share's `memory`, whatever names lead to it: 110
names of a black hole cost one connection. In the relay share that is just long enough for those that waited for
the same address, so that mail leaves as soon as such a host is back.

Look-ups. Each is tried quickly first (QUICK_LOOKUP); what gets no answer so is asked again, with patience
(PATIENT_LOOKUP), by other threads, where only silent domains wait for each other. With S domains of silent name
servers before a healthy one, and Q quick look-ups, it waits S / Q seconds: 200 in bounces, 9 s. The names of
hosts that -relay gives are the system's to look up, by the client that needs them.

Descriptors: 384 clients with a socket and a message, 52 digs with a pipe: some 900 of the usual 1024.
Memory, should all of them be busy: 384 threads of 32 KB, 52 digs of 3 MB: 170 MB.
"""
from typing import NamedTuple


class Share(NamedTuple):
    """clients, quick, patient: threads at most; slots: connections to one address and port; memory: seconds
    for which what was silent is left alone."""

    clients: int
    quick: int
    patient: int
    slots: int
    memory: int


class Lookup(NamedTuple):
    """seconds: to wait for an answer; tries: how often to ask; whole: seconds for all of a domain's questions."""

    seconds: int
    tries: int
    whole: int


SHARES = {
    "relay": Share(clients=96, quick=4, patient=4, slots=4, memory=10),
    "mail": Share(clients=128, quick=8, patient=4, slots=4, memory=600),
    "bounces": Share(clients=160, quick=24, patient=8, slots=4, memory=600),
}
QUICK_LOOKUP = Lookup(seconds=1, tries=1, whole=2)
PATIENT_LOOKUP = Lookup(seconds=3, tries=2, whole=20)
SHORT_STEP = 4              # seconds for each step of a visit, when clients are scarce
SHORT_VISIT = 8             # for all that comes before a message is settled
TURN = 5                    # seconds after which a visit ends if others wait for its client or its slot
ADDRESSES = 10              # of a domain's hosts, all together
REPLY_OCTETS = 2000         # of one reply that are kept, as the log writes them
REPLY_LINES = 100           # of one reply; more are no answer but an attack, and so are
REPLY_LENGTH = 65536        # so many octets
REMEMBERED = 10000          # silent addresses
LMTP_REST = 10              # seconds for which an LMTP server that was silent is left alone


class Limits:
    """How many seconds each step may take (RFC 5321 §4.5.3.2); connect, quit and visit are ours. visit: all
    that comes before a message is settled, but for the sending of its text."""

    connect = 60
    greeting = 300
    command = 300
    data = 120
    block = 180
    end_of_data = 600
    quit = 5
    visit = 1800

    def short(self):
        """The Limits in their place when clients are scarce.

        Such a host may hear from us again what it took after them: better a message twice from a relay under
        attack than the mail of all others late.
        """
        limits = Limits()
        for step in ("connect", "greeting", "command", "data", "block", "end_of_data", "quit"):
            setattr(limits, step, min(getattr(self, step), SHORT_STEP))
        limits.visit = min(self.visit, SHORT_VISIT)
        return limits


class LmtpLimits(Limits):
    """The same for an LMTP server, while a client of ours waits for what it says: it must have its reply before it
    gives up (RFC 5321 §4.5.3.2: RCPT 300 s, the end of data 600 s)."""

    connect = 5
    greeting = 15
    command = 30
    data = 30
    block = 30
    end_of_data = 180
    quit = 1
    visit = 240
