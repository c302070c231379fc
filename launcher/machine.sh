# What the machine must give before the server starts: netcat, the ports, one setting of the kernel.
# shellcheck shell=bash

readonly PYTHON=/usr/bin/python3
readonly MIGRATE=/proc/sys/net/ipv4/tcp_migrate_req
export NETCAT=                  # path of nc.traditional
locks=                          # how the names of all lock files begin
declare -A locked=()            # [name of a lock that we hold]=its descriptor
twins=()                        # PORT ADDRESS of what is to be kept from others beside our own addresses
migration_lock=

# -- netcat ---------------------------------------------------------------------------------------

# Root runs nothing out of a folder that is another's: FOLDER is the sessions' user's.
find_netcat() {
    local path
    NETCAT=
    command -v nc.traditional | read -r NETCAT
    for path in "$NETCAT" "$1"/{usr/,}bin/nc.traditional; do
        [[ $EUID != 0 || $path != "$1"/* ]] || continue
        [ ! -x "$path" ] || { NETCAT=$path; return 0; }
    done
    return 1
}

# apt-get without questions, and without patience for a mirror that doesn't answer
readonly APT=(apt-get -q -y -o DPkg::Lock::Timeout=60 -o Acquire::Retries=0 -o Acquire::http::Timeout=10)

install_netcat() {
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C
    "${APT[@]}" install netcat-traditional || { "${APT[@]}" update && "${APT[@]}" install netcat-traditional; }
} >"$apt_output" 2>&1

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
} >"$apt_output" 2>&1

# why_no_netcat OUTPUT: leaves in $reason why, out of what apt-get and dpkg wrote; their own words if it isn't a usual
# one
why_no_netcat() {
    local line last=
    case $1 in
    *"Could not resolve"* | *"failure resolving"* | *"Could not connect"* | \
    *"annot initiate the connection"* | *"nreachable"* | *"timed out"*)
        reason="le dépôt Debian n'est pas joignable (pas de réseau ?)" ;;
    *"Unable to locate package"* | *"no installation candidate"*)
        reason="aucun dépôt de cette machine ne l'a (voyez /etc/apt/sources.list)" ;;
    *"No space left"*) reason="plus de place sur le disque" ;;
    *"command not found"*) reason="apt-get ou dpkg manque sur cette machine" ;;
    *)
        while IFS= read -r line; do [[ ! $line =~ ^(E:|dpkg[^:]*: error|mkdir:) ]] || last=$line; done <<<"$1"
        reason="apt-get a échoué${last:+ : « ${last:0:120} »}"
        ;;
    esac
}

# need_netcat FOLDER: what is fetched without privilege goes there
need_netcat() {
    local output='' reason apt_output=$locks-netcat-$$
    find_netcat "$1" && return
    if [ "$EUID" = 0 ]; then
        say "netcat n'est pas installé : installation du paquet netcat-traditional (patience)."
        stoppable install_netcat
    else
        say "netcat n'est pas installé : téléchargement du paquet netcat-traditional dans $1 (patience)."
        stoppable fetch_netcat "$1"
    fi
    read -r -d '' output 2>/dev/null <"$apt_output"
    rm -f "$apt_output"
    find_netcat "$1" && return
    why_no_netcat "$output"
    fail 1 "il manque nc.traditional : $reason ; comme administrateur :" \
        "apt-get install netcat-traditional ; ou sans netcat : ./serveur.sh -listen prefork"
}

# netcat_is_ours: it isn't where a shell would find it
netcat_is_ours() { [[ $NETCAT = "$SMTP_SPOOL"/* ]]; }

# -- ports ----------------------------------------------------------------------------------------

# The locks are one user's own: netcat can't share a port with another user, the kernel sees to that. They are where
# no other user can have put anything, whatever -spool says: each of these folders is root's work or the user's
# (at the worst, where a user has no home either, launcher/preflight.py made the last one; what it tells apart then is
# only two starts at the same moment: otherwise the port itself is seen to be taken).
open_locks() {
    local base namespace bases=("/run/user/$EUID" "${XDG_STATE_HOME:-${HOME-}/.local/state}" "$SMTP_SPOOL")
    [ "$EUID" != 0 ] || bases=(/run)
    for base in "${bases[@]}"; do
        make_own "$base/serveur-smtp-$EUID" || continue
        # Each network namespace has ports and settings of its own.
        readlink /proc/self/ns/net | read -r namespace
        locks=$base/serveur-smtp-$EUID/${namespace//[!0-9]/}
        return
    done
    fail 1 "aucun dossier à nous pour les verrous : ${bases[*]}"
}

# make_own FOLDER: false unless it is ours, and the folder above it (which may be a link of ours)
make_own() {
    [ "${1%/*}" = "/run/user/$EUID" ] || mkdir -p "${1%/*}" 2>/dev/null
    [ -O "${1%/*}" ] && { mkdir -m 700 "$1" 2>/dev/null || [ -d "$1" ]; } && [ ! -L "$1" ] && [ -O "$1" ]
}

# take_lock NAME FLOCK-OPTION...: until the launcher ends; leaves its descriptor in $lock
take_lock() {
    local name=$1
    shift
    lock=${locked[$name]-}
    [ -z "$lock" ] || return 0
    exec {lock}>>"$locks-$name" && flock "$@" "$lock" || return
    keep_for_launcher "$lock"
    locked[$name]=$lock
    [ "$name" = migration ] || echo "$$" >"$locks-$name"
}

# lock_port PORT [ADDRESS]: a server on all addresses keeps all others off that port; servers on
# different addresses go together.
lock_port() {
    local mode=-s
    [[ -n $SMTP_BIND && " $SMTP_BIND " != *" 0.0.0.0 "* && " $SMTP_BIND " != *" :: "* ]] || mode=-x
    take_lock "$1" -n "$mode" || fail_locked "$1" "$1"
    [ -z "${2-}" ] || take_lock "$1-${2//\//}" -n -x || fail_locked "$1" "$1-${2//\//}"
}

# fail_locked PORT NAME: another server of this user has the lock NAME
fail_locked() {
    local holder=''
    read -r holder <"$locks-$2"
    { [ -n "$holder" ] && kill -0 "$holder"; } 2>/dev/null && holder=" (processus $holder)" || holder=
    fail 1 "un autre serveur.sh écoute déjà sur le port $1$holder"
}

# can_bind SHARED PORT ADDRESS...: false if one can't be bound, with errno in $error, and in $holder by whom the port is
# taken, if that can be seen.  SHARED is 1 for what netcat does; 0 to see also those who would share the port.
can_bind() {
    holder=
    # Ctrl-C in the terminal is for the launcher alone; and nobody leaves compiled modules in another's checkout.
    (trap '' INT; exec "$PYTHON" -BES "$PROGRAM/launcher/port.py" check "$@") | read -r holder
    error=${PIPESTATUS[0]}
    ((error == 0))
}

# say_why PORT ADDRESS: leaves in $reason why it can't be bound, for what can_bind has left
say_why() {
    case $error in
    13) reason="-port : le port $1 est réservé à root : choisissez-en un à partir de 1024, ou démarrez en root" ;;
    22) reason="-bind attend une adresse IP comme 127.0.0.1, pas « $2 »" ;;
    98)
        : "${holder:=par un autre programme (que montre, en root : ss -Hltnp sport = $1)}"
        reason="le port $1 est déjà pris $holder"
        ;;
    99) reason="-bind : l'adresse $2 n'est pas de cette machine (ip address montre les siennes)" ;;
    *) reason="impossible d'écouter sur le port $1 (erreur $error)" ;;
    esac
}

# find_twin ADDRESS: leaves in $twin the IPv6 address that a client tries before ADDRESS, one of IPv4 only, if it was
# told "localhost", or a name of this machine.  If another user could listen there, he would be given passwords.
find_twin() {
    local ours=
    twin=
    read -r -d '' ours 2>/dev/null </proc/net/if_inet6      # this machine's addresses; none without IPv6
    case $1/$ours in
    /?* | 0.0.0.0/?*) twin=:: ;;
    127.0.0.1/*00000000000000000000000000000001*) twin=::1 ;;
    esac
    [[ $SMTP_BIND != *:* ]] || twin=        # we are there ourselves
}

# claim_port PORT [ADDRESS]: ours until we end, with its twin; or says why not and ends
claim_port() {
    local error holder reason twin round
    find_twin "${2-}"
    lock_port "$1" "${2-}"
    [ "$twin" != ::1 ] || lock_port "$1" "$twin"
    for ((round = 0; round < 50; round++)); do
        can_bind 0 "$1" "${2:-0.0.0.0}" ${twin:+"$twin"} && break
        # What a killed start has left is ending.
        if ((error != 98)) || [ -n "$stopping" ] || ! orphans_left; then break; fi
        nap 0.05
    done
    ((error == 0)) || { say_why "$1" "${2-}"; fail $((error == 22 ? 2 : 1)) "$reason"; }
    # listener/prefork.py listens at :: itself where no address is given.
    [[ -z $twin || -z ${2-} && $SMTP_LISTEN = prefork ]] || twins+=("$1" "$twin")
}

# claim_page: the port of -web is free for us
claim_page() {
    local error holder reason address=${SMTP_WEB%:*} port=${SMTP_WEB##*:}
    can_bind 0 "$port" "$address" && return
    say_why "$port" "$address"
    case $error in
    13) reason="le port $port est réservé à root" ;;
    99) reason="l'adresse $address n'est pas de cette machine (ip address montre les siennes)" ;;
    esac
    fail 1 "-web : $reason"
}

# -- the state folder -----------------------------------------------------------------------------

# claim_state: two servers would each have a relay for the one queue, and count their sessions together
claim_state() {
    local lock
    # A folder can be locked itself: so there is no file that somebody might have put there.
    exec {lock}<"$SMTP_SPOOL" || return
    flock -n -x -E 75 "$lock"
    (($? != 75)) || fail 2 "un autre serveur.sh se sert déjà de $SMTP_SPOOL : \
il faut à celui-ci son propre dossier, -spool DOSSIER"
    keep_for_launcher "$lock"
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
        say "net.ipv4.tcp_migrate_req passe à 1, pour ne perdre aucun client d'une rafale ; \
l'arrêt le remettra à $value."
    else
        say "Pour ne perdre aucun client d'une rafale, l'administrateur peut taper : \
sysctl -w net.ipv4.tcp_migrate_req=1"
    fi
}

restore_migration() {
    local value=
    [ -n "$migration_lock" ] && flock -n -x "$migration_lock" || return
    read -r value <"$locks-migration" && echo "$value" >"$MIGRATE" || return
    : >"$locks-migration"
    say "net.ipv4.tcp_migrate_req est remis à $value."
}
