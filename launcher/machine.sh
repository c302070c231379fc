# What the machine must give before the server starts: netcat, the ports, one setting of the kernel.
# shellcheck shell=bash

readonly PYTHON=/usr/bin/python3
readonly MIGRATE=/proc/sys/net/ipv4/tcp_migrate_req
export NETCAT=                  # path of nc.traditional
locks=                          # how the names of all lock files begin
migration_lock=

# -- netcat ---------------------------------------------------------------------------------------

find_netcat() {
    local path
    for path in "$(command -v nc.traditional)" "$1"/{usr/,}bin/nc.traditional; do
        [ ! -x "$path" ] || { NETCAT=$path; return 0; }
    done
    return 1
}

# apt-get without questions, and without patience for a mirror that doesn't answer
readonly APT=(apt-get -q -y -o DPkg::Lock::Timeout=60 -o Acquire::Retries=0 -o Acquire::http::Timeout=10)

install_netcat() {
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C
    "${APT[@]}" install netcat-traditional || { "${APT[@]}" update && "${APT[@]}" install netcat-traditional; }
} 2>&1

# Without privilege: the package, and apt's lists if the machine has none, go into a folder of our own.
fetch_netcat() {
    local folder=$1 apt=("${APT[@]}" -o "Dir::Cache=$1/apt/cache")
    export LC_ALL=C
    mkdir -p "$folder"/apt/{lists,cache/archives}/partial && cd "$folder/apt" || return
    if ! "${apt[@]}" download netcat-traditional; then
        apt+=(-o "Dir::State::lists=$folder/apt/lists")
        "${apt[@]}" update && "${apt[@]}" download netcat-traditional || return
    fi
    dpkg -x netcat-traditional_*.deb "$folder"
    rm -rf "$folder/apt"
} 2>&1

# why_no_netcat OUTPUT: the reason, out of what apt-get and dpkg wrote; their own words if it isn't a usual one
why_no_netcat() {
    local line last=
    case $1 in
    *"Could not resolve"* | *"failure resolving"* | *"Could not connect"* | \
    *"annot initiate the connection"* | *"nreachable"* | *"timed out"*)
        echo "le dépôt Debian n'est pas joignable (pas de réseau ?)" ;;
    *"Unable to locate package"* | *"no installation candidate"*)
        echo "aucun dépôt de cette machine ne l'a (voyez /etc/apt/sources.list)" ;;
    *"No space left"*) echo "plus de place sur le disque" ;;
    *"command not found"*) echo "apt-get ou dpkg manque sur cette machine" ;;
    *)
        while IFS= read -r line; do [[ ! $line =~ ^(E:|dpkg[^:]*: error|mkdir:) ]] || last=$line; done <<<"$1"
        echo "apt-get a échoué${last:+ : « ${last:0:120} »}"
        ;;
    esac
}

# need_netcat FOLDER: what is fetched without privilege goes there
need_netcat() {
    local output
    find_netcat "$1" && return
    if [ "$EUID" = 0 ]; then
        say "netcat n'est pas installé : installation du paquet netcat-traditional (patience)."
        output=$(install_netcat)
    else
        say "netcat n'est pas installé : téléchargement du paquet netcat-traditional dans $1 (patience)."
        output=$(fetch_netcat "$1")
    fi
    find_netcat "$1" || fail 1 "il manque nc.traditional : $(why_no_netcat "$output") ; comme administrateur :" \
        "apt-get install netcat-traditional ; ou sans netcat : ./serveur.sh -listen prefork"
}

# netcat_is_ours: it isn't where a shell would find it
netcat_is_ours() { [[ $NETCAT = "$SMTP_SPOOL"/* ]]; }

# -- ports ----------------------------------------------------------------------------------------

# The locks are one user's own: netcat can't share a port with another user, the kernel sees to that.
# Their names have the network namespace, since each has ports and settings of its own.
open_locks() {
    local folder=/run/lock namespace
    [ "$EUID" != 0 ] || folder=/run
    [ -w "$folder" ] || folder=/tmp
    folder+=/serveur-smtp-$EUID
    mkdir -m 700 "$folder" 2>/dev/null
    if [ -L "$folder" ] || [ ! -O "$folder" ]; then fail 1 "$folder appartient à quelqu'un d'autre : supprimez-le"; fi
    namespace=$(readlink /proc/self/ns/net)
    locks=$folder/${namespace//[!0-9]/}
}

# take_lock NAME FLOCK-OPTION...: until the launcher ends; leaves its descriptor in $lock
take_lock() {
    local file=$locks-$1
    shift
    exec {lock}>>"$file" && flock "$@" "$lock" && keep_for_launcher "$lock"
}

# lock_port PORT ADDRESS: a server on all addresses keeps all others off that port; servers on
# different addresses go together.
lock_port() {
    case $2 in
    '' | 0.0.0.0 | ::) take_lock "$1" -n -x ;;
    *) take_lock "$1" -n -s && take_lock "$1-$2" -n -x ;;
    esac
}

# can_bind PORT ADDRESS SHARED: the exit code is errno.  SHARED is 1 for what netcat does; 0 to see also
# those who would share the port.
can_bind() {
    "$PYTHON" -ESc '
import sys, _socket as s
port, address, shared = int(sys.argv[1]), sys.argv[2] or "0.0.0.0", int(sys.argv[3])
family = s.AF_INET6 if ":" in address else s.AF_INET
try:
    s.inet_pton(family, address)
except OSError:
    sys.exit(22)
probe = s.socket(family, s.SOCK_STREAM)
probe.setsockopt(s.SOL_SOCKET, s.SO_REUSEADDR, 1)
probe.setsockopt(s.SOL_SOCKET, s.SO_REUSEPORT, shared)
try:
    probe.bind((address, port))
except OSError as error:
    sys.exit(error.errno)' "$@"
}

# await_orphans PORT: the netcats of a launcher that was just killed end by themselves, in a moment
await_orphans() {
    local round
    for ((round = 0; round < 100; round++)); do
        cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q "nc\.traditional -n -l -p $1 " || return
        sleep 0.1
    done
}

# why_not ERRNO PORT ADDRESS
why_not() {
    case $1 in
    13) echo "-port : le port $2 est réservé à root : choisissez-en un à partir de 1024, ou démarrez en root" ;;
    22) echo "-bind attend une adresse IP comme 127.0.0.1, pas « $3 »" ;;
    98) echo "le port $2 est déjà pris par un autre programme (que montre, en root : ss -Hltnp sport = $2)" ;;
    99) echo "-bind : l'adresse $3 n'est pas de cette machine (ip address montre les siennes)" ;;
    *) echo "impossible d'écouter sur le port $2 (erreur $1)" ;;
    esac
}

# claim_port PORT ADDRESS: ours until we end; or says why not and ends
claim_port() {
    local error
    lock_port "$1" "$2" || fail 1 "un autre serveur.sh écoute déjà sur le port $1"
    can_bind "$1" "$2" 0 && return
    await_orphans "$1"
    can_bind "$1" "$2" 0 && return
    error=$?
    fail $((error == 22 ? 2 : 1)) "$(why_not $error "$1" "$2")"
}

# -- tcp_migrate_req ------------------------------------------------------------------------------

# A client queued on a netcat that has just taken another one is passed on to the next netcat only if
# the kernel is told so.  Until the last of our servers puts it back, the lock's file holds the old
# value; so it comes back even when the launcher that changed it was killed.
enable_migration() {
    local value=
    # Before the value is read: another server's end, which puts the old one back, is waited for.
    if [ "$EUID" = 0 ] && take_lock migration -s; then migration_lock=$lock; fi
    read -r value 2>/dev/null <"$MIGRATE"
    [ -n "$value" ] || say "Noyau antérieur à Linux 5.14 : dans une rafale de clients, quelques-uns seront refusés."
    [ "$value" = 0 ] || return
    if [ -n "$migration_lock" ] && echo 1 2>/dev/null >"$MIGRATE"; then
        echo "$value" >"$locks-migration"
        say "net.ipv4.tcp_migrate_req passe à 1, pour ne perdre aucun client d'une rafale ; l'arrêt le remettra à $value."
    else
        say "Pour ne perdre aucun client d'une rafale, l'administrateur peut taper : sysctl -w net.ipv4.tcp_migrate_req=1"
    fi
}

restore_migration() {
    local value=
    [ -n "$migration_lock" ] && flock -n -x "$migration_lock" || return
    read -r value <"$locks-migration" && echo "$value" >"$MIGRATE" || return
    : >"$locks-migration"
    say "net.ipv4.tcp_migrate_req est remis à $value."
}
