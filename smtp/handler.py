"""One connection, from the process's start to its end.

Behind netcat the process is born after the client has connected, so its start is the greeting's delay: the greeting
goes out before anything is imported that only the dialogue needs. A warm worker (listener/) is there before.
"""
import _signal
import _socket
import posix
from time import monotonic

from common import settings as configuration
from common.admission import ClientTableFile, TooMany
from common.mainlog import MainLog
from common.privileges import become_service
from smtp import limits, replies
from smtp.channel import Channel, Disconnected

PEER_VARIABLES = (b"TCPREMOTEIP", b"NCAT_REMOTE_ADDR", b"REMOTE_ADDR")
OWN_VARIABLES = (b"TCPLOCALIP", b"NCAT_LOCAL_ADDR", b"SERVER_ADDR")
THIS_HOST = "127.0.0.1"
BRIEF_SECONDS = 0.01        # a refused client must not hold what it was refused


def main():
    """Serve the connection on descriptors 0 and 1 and end the process."""
    _hide_client_from_tracebacks()
    settings = configuration.from_environ()
    become_service()
    endpoint = Endpoint(settings)
    address = _client_address()
    if address:
        woken, wake = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        serve(endpoint, address, _end_on_signal, woken)
    posix._exit(0)


class Endpoint:
    """What stands before a session: who may come in, and where that is noted.

    settings: a Settings; mainlog: the log; client_table: who is connected, the one in the state folder
    unless another is given, or None where that cannot be kept. backend: what sessions need of the server, made when
    the first one begins.
    """

    recording = None            # a recorder.Recording, once a session is recorded
    tls_context = None          # of tls.make_context(), where many processes are to share one

    def __init__(self, settings, client_table=None):
        self.settings = settings
        self.mainlog = MainLog(settings.log, settings.terminal)
        self.client_table = client_table or self._open_client_table()
        self._backend = None

    def _open_client_table(self):
        path = f"{self.settings.spool}/sessions"
        try:
            return ClientTableFile(path, self.settings.max_sessions)
        except OSError as error:
            self.mainlog.write(f"{path}: {error.strerror}: sessions are not counted")
            return None

    @property
    def backend(self):
        if not self._backend:
            from smtp.backend import Backend
            self._backend = Backend(self.settings, self.mainlog, self.client_table, self.tls_context)
        return self._backend


def serve(endpoint, address, when_begun, woken):
    """Serve one connection on descriptors 0 and 1, and leave nothing of it behind.

    address: the client's; when_begun: is called with the Session before it runs, and before that with what stands in
    its place while a proxy's header is awaited; woken: as a Channel has it.
    """
    channel = Channel(transcript=_transcript(endpoint), woken=woken)
    try:
        _converse(endpoint, channel, address, when_begun)
    except Disconnected:
        pass
    except Exception:
        _report(channel, endpoint.mainlog, endpoint.settings.domain)
    finally:
        if endpoint.client_table:
            endpoint.client_table.leave()
        if channel.transcript:
            channel.transcript.gone()


def _converse(endpoint, channel, address, when_begun):
    domain = endpoint.settings.domain
    ask_own_address = _own_address
    if address in endpoint.settings.proxies:
        address, ask_own_address = _announced(endpoint, channel, address, when_begun)
        if not address:
            return
    refusal = _admit(endpoint.client_table, address, domain)
    if channel.transcript:
        channel.transcript.arrived(endpoint.client_table.number() if endpoint.client_table else 0, address)
    if refusal:
        endpoint.mainlog.write(f"Connection from [{address}] refused: too many connections")
    if not endpoint.settings.implicit_tls:
        channel.send(refusal or replies.greeting(domain))
        channel.flush()
    if refusal:
        channel.linger(BRIEF_SECONDS)
    else:
        session = endpoint.backend.session(channel, address, ask_own_address)
        if channel.transcript:
            channel.transcript.follow(session)
        when_begun(session)
        session.run()


def _announced(endpoint, channel, proxy, when_begun):
    """(the client's address, a function that returns ours) as the header tells them with which a connection from
    `proxy` begins. The address is "" if that is no header: then there is nobody to answer."""
    from smtp.proxy_header import Bad, Stranger, read_header
    when_begun(Stranger(channel))
    try:
        announced = read_header(channel, monotonic() + limits.HEADER_SECONDS)
    except Bad as error:
        endpoint.mainlog.write(f"connection from proxy [{proxy}] dropped: PROXY header {error.reason}")
        return "", _own_address
    if not announced:
        return proxy, _own_address
    client, ours = announced
    return client, lambda: ours


def _end_on_signal(session):
    _signal.signal(_signal.SIGTERM, lambda *_: session.terminate())


def _admit(client_table, address, domain):
    """The Reply that sends a client away, or None."""
    try:
        if client_table:
            client_table.enter(address)
    except TooMany as error:
        refuse = replies.too_many_from_address if error.from_address else replies.too_many_sessions
        return refuse(domain)
    return None


def _transcript(endpoint):
    if not endpoint.settings.watched:
        return None
    from smtp.transcript import watch
    return watch(endpoint)


def _hide_client_from_tracebacks():
    """inetd makes descriptor 2 the client too; what is not a reply must not go there."""
    try:
        if posix.fstat(2)[1:3] == posix.fstat(1)[1:3] and not posix.isatty(2):
            posix.dup2(posix.open("/dev/null", posix.O_WRONLY), 2)
    except OSError:
        pass


def _client_address():
    """The client's address; None if it has reset the connection already, and left no address."""
    try:
        return _address_at(_socket.socket.getpeername, PEER_VARIABLES) or THIS_HOST
    except OSError:
        return None


def _own_address():
    """Our own, as the client reached us; "" if nobody says."""
    return _address_at(_socket.socket.getsockname, OWN_VARIABLES)


def _address_at(get_name, variables):
    """Of one end of descriptor 0, which is a socket or, under ncat, a pipe. Raises OSError as get_name."""
    try:
        connection = _socket.socket(fileno=0)
    except OSError:
        return _from_environment(variables)
    try:
        return host_of(get_name(connection))
    finally:
        connection.detach()


def _from_environment(names):
    for name in names:
        if posix.environ.get(name):
            return host_of((posix.environ[name].decode("ascii", "replace"),))
    return ""


def host_of(name):
    """The address (str) in a socket's name. IPv4 clients of an IPv6 socket keep their IPv4 address."""
    return name[0].removeprefix("::ffff:") if isinstance(name, tuple) else THIS_HOST


def _report(channel, mainlog, domain):
    from traceback import format_exc
    for line in format_exc().rstrip("\n").split("\n"):
        mainlog.write(line)
    try:
        channel.send(replies.internal_error(domain))
        channel.flush()
        channel.linger(BRIEF_SECONDS)
    except Disconnected:
        pass
