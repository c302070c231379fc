"""A client of Marionette, Mozilla's remote control: JSON in frames "length:text" over a loopback port."""

import json
import socket
import typing

COMMAND, ANSWER = 0, 1


class MarionetteError(Exception):
    """Thunderbird answered a command with an error, or said something that is no answer."""


class Marionette:
    """One session in the chrome context, where scripts may do whatever Thunderbird itself can.

    port    where it listens, at 127.0.0.1
    seconds how long one answer may take; TimeoutError afterwards
    OSError when nothing listens there, EOFError when Thunderbird ends meanwhile.
    """

    def __init__(self, port: int, seconds: float):
        self._socket = socket.create_connection(("127.0.0.1", port), seconds)
        self._stream = self._socket.makefile("rb")
        self._count = 0
        self._read_frame()                              # its greeting
        # a prompt is looked at and answered by scripts, never dismissed behind their back
        self.command("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"unhandledPromptBehavior": "ignore"}}})
        self.command("WebDriver:SetTimeouts", {"script": int(seconds * 1000)})
        self.command("Marionette:SetContext", {"value": "chrome"})

    def command(self, name: str, parameters: typing.Dict[str, typing.Any]) -> typing.Any:
        """Send one command and return its result. MarionetteError if it fails."""
        self._count += 1
        frame = json.dumps([COMMAND, self._count, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(frame), frame))
        kind, number, error, result = self._read_frame()
        if (kind, number) != (ANSWER, self._count):
            raise MarionetteError("not an answer to %s: %r" % (name, result))
        if error:
            raise MarionetteError("%s: %s" % (name, error.get("message")))
        return result

    def run(self, script: str, *arguments: typing.Any) -> typing.Any:
        """Run the body of a JavaScript function; what it returns, or what the promise it returns becomes."""
        return self.command("WebDriver:ExecuteScript", {"script": script, "args": list(arguments)})["value"]

    def _read_frame(self) -> typing.Any:
        length = b""
        while not length.endswith(b":"):
            length += self._read(1)
        return json.loads(self._read(int(length[:-1])))

    def _read(self, count: int) -> bytes:
        octets = self._stream.read(count)
        if len(octets) < count:
            raise EOFError("Thunderbird closed the connection")
        return octets

    def close(self) -> None:
        self._stream.close()
        self._socket.close()
