"""What the launcher, which is bash, can't ask of a TCP port itself.

port.py check SHARED PORT ADDRESS...    can each ADDRESS be bound? The exit status is errno, 0 if they can. SHARED is
                                        1 for what netcat does; 0 to see also those who would share the port. On
                                        standard output, where the port is taken: by whom, in French, if that can be
                                        seen.
port.py hold (PORT ADDRESS)...          keep each from everybody else until TERM, without listening: clients are
                                        refused at once
"""
import sys

sys.path[0] = __file__.rpartition("/launcher/")[0]      # run as a script, it finds only its own room there

import _signal as signal
import _socket as socket
import errno
import posix

from common.privileges import SERVICE_USER, user_name

LISTENS = "0A"              # TCP_LISTEN, as /proc/net/tcp has it
SERVERS = (b"/smtp_handler.py", b"/prefork.py")     # how the last argument of our listeners ends


def main(command, *words):
    """Do what the command line says. Returns the exit status."""
    if command == "check":
        return check(words[0] == "1", int(words[1]), words[2:])
    return hold(list(zip(map(int, words[::2]), words[1::2])))


def check(shared, port, addresses):
    """The errno of the first address that can't be bound, or 0. Prints who has the port."""
    for address in addresses:
        try:
            bind(port, address, shared).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                print(holder(port, address))
            return error.errno
    return 0


def bind(port, address, shared=False):
    """A socket at the address. Raises OSError; EINVAL for what is no address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except OSError:
        raise OSError(errno.EINVAL, address) from None
    bound = socket.socket(family, socket.SOCK_STREAM)
    # Connections that are over don't keep the port (TIME_WAIT).
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind((address, port))
    return bound


def hold(places):
    """Until TERM. places: [(port, address)]. Returns 1 when somebody else was quicker."""
    signal.signal(signal.SIGTERM, lambda *_: posix._exit(0))
    held = []
    for port, address in places:
        try:
            held.append(bind(port, address))
        except OSError as error:
            print(f"serveur.sh: [{address}]:{port} : {error.strerror} {holder(port, address)}", file=sys.stderr)
            return 1
        # From now on nobody may share it: with SO_REUSEADDR at both, whoever binds later could listen.
        held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    while True:
        signal.pause()


def holder(port, address):
    """Who listens there, as "par ..." in French; "" if that can't be seen."""
    for uid, inode in listening(port, address):
        pid = next(filter(lambda pid: has_socket(pid, inode), processes()), 0)
        if pid == 0:
            server = next(filter(lambda pid: is_server(pid, uid, port), processes()), 0)
            if not server:
                return f"par un programme de l'utilisateur {user_name(uid)}"
            pid = server
        if is_server(pid, uid, port):
            return f"par un autre serveur.sh (processus {pid}, utilisateur {user_name(uid)})"
        return f"par {program_name(pid)} (processus {pid}, utilisateur {user_name(uid)})"
    return ""


def listening(port, address):
    """[(uid, inode)] of the sockets that listen at the port, those of the address's own family first."""
    tables = ["/proc/net/tcp", "/proc/net/tcp6"]
    found = []
    for table in sorted(tables, reverse=":" in address):
        for row in read(table).decode().splitlines()[1:]:
            _, local, _, state, _, _, _, uid, _, inode = row.split()[:10]
            if state == LISTENS and int(local.rpartition(":")[2], 16) == port:
                found.append((int(uid), inode))
    return found


def processes():
    """All pids, the oldest first as a rule."""
    return sorted(int(name) for name in posix.listdir("/proc") if name.isdigit())


def has_socket(pid, inode):
    """Whether the process has that socket; False for those that only others may look into."""
    folder = f"/proc/{pid}/fd"
    try:
        return any(posix.readlink(f"{folder}/{name}") == f"socket:[{inode}]" for name in posix.listdir(folder))
    except OSError:
        return False


def is_server(pid, uid, port):
    """Whether the process is a listener of some serveur.sh, as its command line says (for a message only)."""
    words = read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    is_netcat = b"-p" in words and words[words.index(b"-p") + 1:][:1] == [b"%d" % port]
    return words[-1].endswith(SERVERS) and (is_netcat
                                            or words[-1].endswith(SERVERS[1])) and real_user(pid) in users(uid)


def users(uid):
    """Who may run the listeners of a server that `uid` has started: root's give root up once they are bound."""
    import pwd
    try:
        return (uid, pwd.getpwnam(SERVICE_USER).pw_uid) if uid == 0 else (uid,)
    except KeyError:
        return (uid,)


def real_user(pid):
    """Whose the process is; -1 if it is gone."""
    status = read(f"/proc/{pid}/status").partition(b"\nUid:")[2].split()
    return int(status[0]) if status else -1


def program_name(pid):
    """What the process calls itself, made fit for a terminal."""
    text = read(f"/proc/{pid}/comm").decode("utf-8", "replace").rstrip("\n")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def read(path):
    """What is in the file; nothing if it is gone, or not for us."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
