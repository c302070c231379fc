"""The delivery agent: a master, and workers that each serve one connection at a time.

Processes, since a user id is a process's, and more than one, so that who hangs in one delivery (a lock, a dead file
server) delays no other. The master keeps SPARE of them idle, up to MOST in all, and reads nothing that comes in.
The socket's folder is root's, and only the service user may enter it. Nobody else is answered.
"""
import _signal as signal
import _socket
import posix
import pwd
import select
import sys
import time

from common import settings as configuration
from common.ownership import stranger_on
from common.privileges import SERVICE_USER
from common.worker_states import BUSY, IDLE
from delivery_agent.connection import Connection
from delivery_agent.requests import Requests
from delivery_agent.task_board import TaskBoard
from mailstore import maildir, mbox     # noqa: F401 (here once, for all workers)
from mailstore.files import FOLDER, parent, remove
from mailstore.trace import Clock

SPARE = 3                   # idle workers to have at hand
MOST = 64
QUIET_SECONDS = 60          # after which an idle worker too many ends
BACKLOG = 1024
LOOK_SECONDS = 0.01         # that a worker gets to become idle before a further one is forked
REST_SECONDS = 0.1          # after a worker that failed, or could not be forked, so that a lasting trouble costs little


class Pool:
    """The master. settings: a Settings, whose `agent` is the path of the socket; need: the reading end of a pipe of
    which all who may ask have the writing end, or -1."""

    def __init__(self, settings, need):
        service = pwd.getpwnam(SERVICE_USER)
        self.socket = listen(settings.agent, service)
        self.board = TaskBoard(MOST)
        self.worker = Worker(self, Requests(settings, Clock(settings.domain), self.board), service.pw_uid)
        self.workers = {}           # {pid: its slot}
        self.woken, self.wake = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        self.alive, self.alive_writer = posix.pipe2(posix.O_CLOEXEC)
        self.need = need
        self.asked_to_stop = self.stopping = False

    def run(self):
        """Serve until TERM, and then while anybody needs us, or until a second TERM. Returns when every worker has
        ended."""
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while not self.stopping:
            self._reap()
            self._await_news(None if self._fork_enough() else REST_SECONDS)
            time.sleep(LOOK_SECONDS)
        self.socket.close()
        posix.close(self.alive_writer)
        self._reap()
        while self.workers:
            self._await_news()
            self._reap()

    def _stop(self, *_):
        self.stopping = self.asked_to_stop or self.need < 0
        self.asked_to_stop = True

    def _await_news(self, seconds=None):
        pipes = [self.woken] + [self.need] * (self.asked_to_stop and not self.stopping)
        ready, _, _ = select.select(pipes, [], [], seconds)
        if self.need in ready:
            self.stopping = True
        if self.woken in ready:
            posix.read(self.woken, 4096)

    def _reap(self):
        while self.workers:
            worker, status = posix.waitpid(-1, posix.WNOHANG)
            if not worker:
                return
            self.board.clear(self.workers.pop(worker))
            if status:
                time.sleep(REST_SECONDS)

    def _fork_enough(self):
        """Whether there are as many as there should be. If the system has no process for one more, those at hand go
        on."""
        while not self.stopping and self.board.count_idle() < SPARE and (slot := self.board.reserve()) is not None:
            try:
                worker = posix.fork()
            except OSError:
                self.board.clear(slot)
                return False
            if not worker:
                self._be_worker(slot)
            self.workers[worker] = slot
        return True

    def _be_worker(self, slot):
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            posix.close(self.alive_writer)
            self.board.slot = slot
            self.worker.run()
            status = 0
        finally:
            posix._exit(status)


class Worker:
    """pool: the master; requests: a Requests; client: the uid of those whom it serves.

    Made once, by the master; what it forks has all of it, and only run() is each worker's own.
    """

    def __init__(self, pool, requests, client):
        self._pool = pool
        self._requests = requests
        self._client = client

    def run(self):
        """Serve until there are more idle workers than needed, or no master any more."""
        poll = select.epoll()
        poll.register(self._pool.alive, select.EPOLLHUP)
        # Exclusive: one connection wakes one worker, not all of them.
        poll.register(self._pool.socket.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
        while True:
            self._pool.board.mark(IDLE)
            ready = poll.poll(QUIET_SECONDS)
            if not ready and self._pool.board.count_idle() > SPARE or (self._pool.alive, select.EPOLLHUP) in ready:
                return
            try:
                descriptor, _ = self._pool.socket._accept()     # accept is a method of socket.socket only
            except BlockingIOError:
                continue        # another worker was faster
            self._serve(Connection(_socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, descriptor)))

    def _serve(self, connection):
        self._pool.board.mark(BUSY)
        if not self._pool.board.count_idle():
            self._wake_master()
        try:
            if connection.user() == self._client:
                self._requests.serve(connection)
        except Exception:
            from traceback import print_exc
            print_exc()
        finally:
            connection.close()

    def _wake_master(self):
        try:
            posix.write(self._pool.wake, b"\0")
        except BlockingIOError:
            pass                # a full pipe wakes as well


def listen(path, service):
    """The listening socket at `path`, in a folder of root's that only the service user (of pwd) may enter as well. Ends
    the process if that cannot be had."""
    folder = parent(path)
    try:
        _make_folder(folder, service)
        _remove_left(folder)
        new = f"{path}.{posix.getpid()}"
        remove(new)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        listener.bind(new)
        posix.chown(new, 0, service.pw_gid)
        posix.chmod(new, 0o660)
        listener.listen(BACKLOG)
        posix.rename(new, path)     # so that there is always somebody's, dead or alive
        return listener
    except OSError as error:
        sys.exit(f"delivery_agent : {path} : {error.strerror}")


def _make_folder(path, service):
    try:
        posix.mkdir(path, 0o710)
    except FileExistsError:
        pass
    found = stranger_on(path, (0,))
    if found:
        sys.exit(f"delivery_agent : {found[0]} n'est pas à root seul")
    folder = posix.open(path, FOLDER | posix.O_NOFOLLOW)
    posix.fchown(folder, 0, service.pw_gid)
    posix.fchmod(folder, 0o710)
    posix.close(folder)


def _remove_left(folder):
    """Remove the sockets, called after a launcher's pid, of servers that were killed with all that they had started."""
    for name in posix.listdir(folder):
        if name.isdigit() and not _is_there(f"/proc/{name}") and not _is_listened_to(f"{folder}/{name}"):
            remove(f"{folder}/{name}")


def _is_there(path):
    try:
        posix.stat(path)
    except FileNotFoundError:
        return False
    return True


def _is_listened_to(path):
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    probe.setblocking(False)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        return False
    except OSError:
        pass                    # so many wait there
    finally:
        probe.close()
    return True


def main():
    """Be the delivery agent until TERM."""
    settings = configuration.from_environ()
    if posix.geteuid():
        sys.exit("delivery_agent : seul root en a besoin, et peut l'être")
    allow_files()
    pool = Pool(settings, int(posix.environ.get(b"SMTP_NEED", -1)))
    own = _identity(settings.agent)
    pool.run()
    if _identity(settings.agent) == own:        # else it is a successor's
        remove(settings.agent)


def allow_files():
    """As many open files as root may give itself: a message to many mboxes has all of them open at once."""
    from resource import RLIMIT_NOFILE, getrlimit, setrlimit
    _, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (hard, hard))


def _identity(path):
    try:
        state = posix.lstat(path)
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino
