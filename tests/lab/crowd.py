"""Clients that do not give up: numbered messages from many addresses at once, each sent until somebody says 250.

    python3 -m tests.lab.crowd HOST PORT DOMAIN COUNT CLIENTS USERS

It writes a line with the number of messages acknowledged so far for each, and at the end what it knows, as JSON:
acknowledged; uncertain: those whose text was once sent whole without a 250, and so may be there twice; attempts.
Message N goes to `user(N)`; each tenth also to x@relay.example.
"""

import json
import sys
import threading
import time
import typing

from tests.helpers.client import Client

PAUSE = 0.2                     # seconds, before one tries again
BORED = 60                      # seconds, for which a client waits
BODY = b"".join(b"line %d of a message that has some length\r\n" % number for number in range(20))


def user(number: int, users: int) -> str:
    return "user%d" % (number % users)


def is_for_both(number: int) -> bool:
    return number % 10 == 0


def source(client: int) -> str:
    """The address of client number `client`."""
    return "10.9.%d.%d" % (1 + client // 200, 1 + client % 200)


def text_of(number: int) -> bytes:
    return b"Subject: number %d\r\nMessage-ID: <%d@crowd.example>\r\n\r\n%bend of number %d\r\n" % (
        number, number, BODY, number)


class Crowd:

    def __init__(self, host: str, port: int, domain: str, count: int, clients: int, users: int):
        self.place, self.domain, self.users = (host, port), domain, users
        self.left = list(range(count, 0, -1))
        self.acknowledged: typing.List[int] = []
        self.uncertain: typing.Set[int] = set()
        self.attempts = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(clients)]

    def run(self) -> dict:
        begun = time.monotonic()
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        return {"acknowledged": self.acknowledged, "uncertain": sorted(self.uncertain), "attempts": self.attempts,
                "seconds": time.monotonic() - begun}

    def work(self, client: int) -> None:
        while True:
            with self.lock:
                if not self.left:
                    return
                number = self.left.pop()
            while not self.send(number, source(client)):
                time.sleep(PAUSE)
            with self.lock:
                self.acknowledged.append(number)
                print(len(self.acknowledged), flush=True)

    def send(self, number: int, address: str) -> bool:
        """Whether message `number` was accepted."""
        is_sent = accepted = False
        self.attempts += 1
        recipients = ["%s@%s" % (user(number, self.users), self.domain)]
        if is_for_both(number):
            recipients.append("x@relay.example")
        try:
            with Client(self.place[1], self.place[0], address, BORED) as client:
                codes = [client.reply().code, client.ask("EHLO crowd.example").code,
                         client.ask("MAIL FROM:<sender@crowd.example>").code]
                codes += [client.ask("RCPT TO:<%s>" % one).code for one in recipients]
                if codes != [220] + [250] * (len(codes) - 1) or client.ask("DATA").code != 354:
                    return False
                is_sent = True
                client.write(text_of(number) + b".\r\n")
                accepted = client.reply().code == 250
                client.ask("QUIT")
        except (EOFError, OSError):
            pass
        if is_sent and not accepted:
            self.uncertain.add(number)
        return accepted


def main(host: str, port: str, domain: str, *numbers: str) -> None:
    print(json.dumps(Crowd(host, int(port), domain, *map(int, numbers)).run()))


if __name__ == "__main__":
    main(*sys.argv[1:])
