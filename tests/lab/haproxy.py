"""A real HAProxy (Debian's) on loopback ports.

    haproxy = HAProxy(configuration).start()        # the text of a haproxy.cfg
    haproxy.wait_checked("smtp", "un", "L7OK")      # its own check finds that server well
    haproxy.stop()
"""

import csv
import pathlib
import socket
import subprocess
import tempfile
import typing

from tests.helpers import support

MORE = "global\n    stats socket %s/stats mode 600\n"
needs_haproxy = support.needs_program("haproxy")


class HAProxy:

    def __init__(self, configuration: str):
        self._folder = tempfile.TemporaryDirectory(prefix="haproxy-essai-")
        self.folder = pathlib.Path(self._folder.name)
        self.mark = "HAPROXY_ESSAI=" + self.folder.name
        (self.folder / "0.cfg").write_text(MORE % self.folder)
        (self.folder / "haproxy.cfg").write_text(configuration)
        self.process: typing.Optional[subprocess.Popen] = None

    @property
    def command(self) -> typing.List[str]:
        """What start() runs; another may run it elsewhere (tests/lab/network.py)."""
        files = [word for name in ("0.cfg", "haproxy.cfg") for word in ("-f", str(self.folder / name))]
        return [support.find_program("haproxy"), "-db", *files]

    def start(self) -> "HAProxy":
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=support.marked_environment(self.mark))
        support.wait_for(lambda: (self.folder / "stats").exists() or self.process.poll() is not None, "HAProxy's start")
        if self.process.poll() is not None:
            raise AssertionError("haproxy ended: " + self.output())
        return self

    def stop(self) -> None:
        support.end_marked(self.mark)
        self.process.wait()
        self._folder.cleanup()

    def output(self) -> str:
        return (self.folder / "output").read_text("utf-8", "replace")

    def servers(self) -> typing.Dict[typing.Tuple[str, str], typing.Dict[str, str]]:
        """{(section, server): what HAProxy tells of it, check_status and status among that}."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "stats"))
            control.sendall(b"show stat\n")
            text = control.makefile("r").read()
        rows = csv.DictReader(text.lstrip("# ").splitlines())
        return {(row["pxname"], row["svname"]): row for row in rows}

    def wait_checked(self, section: str, server: str, status: str) -> None:
        """Wait until a check of `server` has come to `status`, "L7OK" if it is well."""
        support.wait_for(lambda: self.servers()[section, server]["check_status"] == status,
                         "%s of %s/%s" % (status, section, server))
