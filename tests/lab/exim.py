"""A real Exim (Debian's) with a configuration, spool and log of its own, on a free loopback port.

    with Exim(store="mbox") as exim:                    # the local domain, mail to /var/mail/USER
        message_id = exim.send("eximalice@" + DOMAIN, wire)
        exim.wait_completed(message_id)

It does three things, together or not:
  - local mail for `domain`, to ~/Maildir or /var/mail as Debian's own configuration stores it, without that
    configuration's two checks of what DATA brings (lines of 998 octets, header syntax);
  - `collect`: domains whose mail it takes for any local part, and keeps in the Maildir `exim.collected`;
  - `routes`: {domain: port}, domains ("*" for all others) it sends on to that port of 127.0.0.1.

Root only (`@needs_exim`, or `@needs_model_exim` where we are compared with it).  There is but one place where Debian's
binary takes a configuration from and may still change users, so it runs in a mount namespace of its own where that
place shows ours; nothing on the machine changes.
"""

import atexit
import functools
import pathlib
import shutil
import subprocess
import tempfile
import typing

from tests.helpers import mailboxes, programs, support
from tests.lab import namespace

ALIASES = """\
postmaster: eximalice
both: eximalice, eximbob
everyone: both, postmaster
gone: :fail: moved away
later: :defer: mailbox is being moved
"""

# A sender that authenticates (eximalice, secret) is a submission client, as in Debian's configuration.
CONFIGURATION = r"""
primary_hostname = {domain}
qualify_domain = {domain}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
{options}
keep_environment = EXIM_ESSAI
# every message is delivered at once, however many one connection brings
smtp_accept_queue_per_connection = 0
smtp_accept_max = 0
domainlist local_domains = {domain}
domainlist collected_domains = {collect}
domainlist routed_domains = {routed}
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept

begin acl
check_rcpt:
  warn    control = dkim_disable_verify
  deny    message = restricted characters in address
          domains = +local_domains
          local_parts = ^[.] : ^.*[@%!/|\\`#&?]
  warn    authenticated = *
          control = submission/sender_retain
  accept  local_parts = postmaster
          domains = +local_domains
  require message = relay not permitted
          domains = +local_domains : +collected_domains : +routed_domains
  require verify = recipient
  accept

begin routers
collected:
  driver = accept
  domains = +collected_domains
  transport = collect
routed:
  driver = manualroute
  domains = +routed_domains
  route_data = ${{lookup{{$domain}}partial0-lsearch*{{{folder}/routes}}}}
  self = send
  transport = remote_smtp
aliases:
  driver = redirect
  domains = +local_domains
  allow_fail
  allow_defer
  data = ${{lookup{{$local_part}}lsearch{{{folder}/aliases}}}}
  skip_syntax_errors
  file_transport = address_file
  pipe_transport = address_pipe
userforward:
  driver = redirect
  domains = +local_domains
  check_local_user
  file = $home/.forward
  no_verify
  no_expn
  check_ancestor
  file_transport = address_file
  pipe_transport = address_pipe
local_user:
  driver = accept
  domains = +local_domains
  check_local_user
  local_parts = ! root
  transport = {transport}

begin transports
address_file:
  driver = appendfile
address_pipe:
  driver = pipe
maildir_home:
  driver = appendfile
  directory = $home/Maildir
  create_directory
  maildir_format
  delivery_date_add
  envelope_to_add
  return_path_add
  directory_mode = 0700
  mode = 0600
  mode_fail_narrower = false
mail_spool:
  driver = appendfile
  file = /var/mail/$local_part_data
  delivery_date_add
  envelope_to_add
  return_path_add
  group = mail
  mode = 0660
  mode_fail_narrower = false
collect:
  driver = appendfile
  directory = {folder}/collected
  create_directory
  maildir_format
  user = Debian-exim
  delivery_date_add
  envelope_to_add
  return_path_add
remote_smtp:
  driver = smtp
  allow_localhost
  hosts_try_fastopen =
  {long_lines}

begin retry
* * F,1h,1m

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{eximalice}}}}{{eq{{$auth3}}{{secret}}}}}}}}
  server_set_id = $auth2
"""


@functools.lru_cache(maxsize=None)
def version() -> typing.Tuple[int, ...]:
    """That of the machine's Exim, e.g. (4, 96); () if there is none."""
    return programs.version("exim4", "--version")[:2] if support.find_program("exim4") else ()


def long_lines() -> str:
    """The option of Exim's smtp transport that lets lines of any length pass; "" for one that has no such limit."""
    return "message_linelength_limit = 1000000" if version() >= (4, 95) else ""


def needs_exim(test):
    """Decorator: skip the test or the class when no Exim can be run here."""
    return namespace.needed(support.needs_program("exim4")(test))


def needs_model_exim(test):
    """Decorator for what is compared with Exim, octet for octet and line by line: 4.96 was the model, and those before
    it name files and read line ends in another way."""
    return needs_exim(support.unittest.skipIf(version() < (4, 96),
                                              "l'Exim d'ici est plus vieux que le modèle, 4.96")(test))


class Exim:
    """See the module.  `store` is "maildir" or "mbox"; `aliases` the text of an aliases file; `options` main
    options."""

    def __init__(self, store: str = "maildir", domain: str = support.DOMAIN, aliases: str = ALIASES,
                 collect: typing.Sequence[str] = (), routes: typing.Optional[typing.Dict[str, int]] = None,
                 options: str = "tls_advertise_hosts ="):
        self.port = support.free_port()
        self.domain = domain
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="exim-essai-"))
        atexit.register(self.stop)                  # should the tests be interrupted
        self.mark = "EXIM_ESSAI=" + self.folder.name
        self.collected = self.folder / "collected"
        self.log_path = self.folder / "log" / "mainlog"
        self.process: typing.Optional[subprocess.Popen] = None
        self._prepare(aliases, routes or {}, CONFIGURATION.format(
            domain=domain, folder=self.folder, port=self.port, collect=":".join(collect), routed=":".join(routes or {}),
            options=options, long_lines=long_lines(),
            transport={"maildir": "maildir_home", "mbox": "mail_spool"}[store]))

    def _prepare(self, aliases: str, routes: typing.Dict[str, int], configuration: str) -> None:
        (self.folder / "etc").mkdir()
        (self.folder / "etc" / "exim4.conf").write_text(configuration)
        (self.folder / "aliases").write_text(aliases)
        (self.folder / "routes").write_text("".join(
            "%s: 127.0.0.1::%d\n" % (domain, port) for domain, port in routes.items()))
        for name in ("spool", "log"):
            (self.folder / name).mkdir()
        for path in (self.folder, self.folder / "spool", self.folder / "log"):
            shutil.chown(path, "Debian-exim", "Debian-exim")
        self.folder.chmod(0o755)

    # -- start and stop --

    def command(self, *arguments: str) -> typing.List[str]:
        """The command line that runs Exim with this configuration."""
        return namespace.command({"/etc/exim4": str(self.folder / "etc")}, support.find_program("exim4"), *arguments)

    def start(self) -> "Exim":
        """Start the daemon and come back when it listens; AssertionError with its words if it ends instead."""
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(self.command("-bdf"), stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, env=support.marked_environment(self.mark))
        support.wait_for(lambda: support.listeners(self.port) or self.process.poll() is not None, "Exim listening")
        if self.process.poll() is not None:
            raise AssertionError("Exim ended: %s%s" % ((self.folder / "output").read_text(), self.log()))
        return self

    def stop(self) -> None:
        """End the daemon and whatever it still has under way, and remove its folder.  Safe to repeat."""
        support.end_marked(self.mark)
        if self.process:
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # -- using it --

    def client(self, **arguments) -> support.Client:
        """A new connection whose greeting has been read."""
        return support.greeted_client(self.port, **arguments)

    def send(self, recipients, wire: bytes, sender: str = "sender@client.example.org") -> str:
        """One message over a connection of its own; the id Exim gave it."""
        with self.client() as client:
            client.expect("EHLO client.example.org", 250)
            reply = client.letter(sender, recipients, wire)
            client.expect("QUIT", 221)
        return accepted_id(reply)

    def log(self) -> str:
        return self.log_path.read_text("latin-1") if self.log_path.exists() else ""

    def wait_completed(self, *message_ids: str) -> None:
        """Wait until Exim has done with these messages: each delivered or bounced."""
        def all_completed():
            log = self.log()
            return all(message_id + " Completed\n" in log for message_id in message_ids)
        support.wait_for(all_completed, "Exim's Completed for " + " ".join(message_ids))

    def messages_collected(self) -> typing.List[mailboxes.StoredMessage]:
        """What has arrived for the `collect` domains."""
        return mailboxes.read_maildir(self.collected)


def accepted_id(reply: support.Reply) -> str:
    """The id in "250 OK id=..."; AssertionError when the message was refused."""
    if reply.code != 250:
        raise AssertionError("Exim answered %r" % reply.raw)
    return reply.text.rpartition("id=")[2]
