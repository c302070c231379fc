#!/usr/bin/env bash
# serveur.sh: keeps netcat listening and hands each connection to smtp_handler.py.  ./serveur.sh -help
#
# launcher/preflight.py reads the options, checks them and answers with SMTP_* variables, every value resolved.
# launcher/machine.sh gets what the machine must give (netcat, the ports), launcher/orphans.sh ends what a killed
# launcher left, launcher/copy.sh lays what root serves from, launcher/pool.sh runs the rest: the netcats or
# listener/prefork.py, the relay, the delivery agent, the page.  This file knows netcat and nothing of SMTP.

# "sh serveur.sh" goes on under bash.  A shell reads line by line, so dash comes as far as this; bash that
# is called sh (or has POSIXLY_CORRECT) only has to leave its POSIX mode.
[ -n "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set +o posix
set -u

readonly START_SECONDS=5        # that each port gets to be listened on
stopping=                       # set once a signal, or a failure, asks for the end
endpoints=()                    # "PORT ADDRESS" of each listener; no address: all of them
code=0

say() { printf '%s\n' "$*"; }
warn() { printf 'serveur.sh: %s\n' "$*" >&2; }
# A program that a signal ended too has not failed.
fail() { local code=$1; shift; close_voice; [ -z "$stopping" ] || exit 0; warn "$*"; exit "$code"; }

# Before anything runs in the background, only main has to know.
request_stop() {
    [ -z "$stopping" ] || return
    stopping=1
    [ -n "${news-}" ] || return
    say "Arrêt du serveur : les sessions en cours ont $GRACE secondes pour finir."
    close_life
}

# Heard from the first line on, and never lost: for that there is no $(...) and no <(...) in this process from here on,
# since a signal that comes while bash works on one of these may run no trap.  What a program says comes through
# "program | read".
shopt -s lastpipe
trap request_stop INT TERM HUP

# A closed descriptor would be given to the next file: a netcat's socket would pass for its output, and bash 5.1 closes
# the pipe to `read` that it got as 0.
[ -e /proc/$$/fd/0 ] || exec </dev/null
[ -e /proc/$$/fd/2 ] || exec 2>/dev/null
[ -e /proc/$$/fd/1 ] || exec >/dev/null

readlink -f "$0" | read -r HERE
[ -z "$stopping" ] || exit 0
readonly HERE=${HERE%/*}
. "$HERE/launcher/machine.sh"
. "$HERE/launcher/copy.sh"
. "$HERE/launcher/orphans.sh"
. "$HERE/launcher/pool.sh"

# -- options --------------------------------------------------------------------------------------

# launcher/options.py has the table.  What asks for help can't be the value of another option.
show_help_if_asked() {
    local word
    for word in "$@"; do
        [[ ! $word =~ ^(-|--|–)h(elp)?$ ]] || exec "$PYTHON" -ES "$HERE/launcher/options.py"
    done
}

# Every value resolved, by the one program that knows the defaults.  What is set beforehand doesn't count.
resolve_settings() {
    local line status flags=-ES
    [ -O "$HERE" ] || flags=-BES        # nobody leaves compiled modules in another's checkout
    unset "${!SMTP_@}"
    # Ctrl-C in the terminal is for the launcher alone: Python would answer it with a traceback.
    (trap '' INT; exec "$PYTHON" "$flags" "$HERE/launcher/preflight.py" "$@") | while IFS= read -r line; do
        [[ $line != SMTP_*=* ]] || export "${line?}"
    done
    status=${PIPESTATUS[0]}
    ((status == 0)) || [ -n "$stopping" ] || exit "$status"
    export SMTP_TERMINAL=1
    [ "$EUID" != 0 ] || export SMTP_AGENT=/run/serveur-smtp-agent/$$
    export -n SMTP_WEB_TOKEN 2>/dev/null    # only for what serves the page
}

# No address twice, and none beside the one that stands for all of its kind.
simplify_bind() {
    local address all addresses simple=" "
    read -ra addresses <<<"$SMTP_BIND"
    for address in "${addresses[@]}"; do
        all=0.0.0.0
        [[ $address != *:* ]] || all=::
        [[ " $SMTP_BIND " != *" $all "* ]] || address=$all
        [[ $simple = *" $address "* ]] || simple+="$address "
    done
    simple=${simple# }
    export SMTP_BIND=${simple% }
}

# Every port on every address.
list_endpoints() {
    local port address addresses seen=" "
    simplify_bind
    read -ra addresses <<<"$SMTP_BIND"
    for port in ${SMTP_PORTS?} $SMTP_SMTPS; do
        [[ $seen != *" $port "* ]] || fail 2 "-port, -smtps : le port $port est donné deux fois"
        seen+="$port "
        for address in "${addresses[@]:-}"; do endpoints+=("$port $address"); done
    done
}

# -- start and stop -------------------------------------------------------------------------------

start() {
    local endpoint
    [ ${#twins[@]} = 0 ] || background supervise launcher/port.py hold "${twins[@]}"
    [ -z "${SMTP_AGENT-}" ] || start_agent
    background supervise relay.py
    [ -z "$SMTP_WEB" ] || background serve_page
    if [ "$SMTP_LISTEN" = prefork ]; then
        background supervise listener/prefork.py
    else
        for endpoint in "${endpoints[@]}"; do start_keepers "${endpoint% *}" "${endpoint#* }"; done
    fi
}

# As root nobody but the delivery agent touches mailboxes, or what only root may read.
start_agent() {
    local round
    background supervise_agent
    for ((round = 0; round < START_SECONDS * 50; round++)); do
        [ ! -S "$SMTP_AGENT" ] || return 0
        nap 0.02
    done
}

# count_listeners PORT [ADDRESS]: leaves their number in $found.  The kernel needs milliseconds for each table.
count_listeners() {
    local hex table row rows tables=(/proc/net/tcp{,6})
    [ -z "${2-}" ] || case $2 in *:*) unset 'tables[0]' ;; *) unset 'tables[1]' ;; esac
    printf -v hex ':%04X ' "$1"
    found=0
    for table in "${tables[@]}"; do
        [ -r "$table" ] || continue
        mapfile -t rows <"$table"
        for row in "${rows[@]}"; do [[ $row != *"$hex"*:0000' 0A '* ]] || ((++found)); done
    done
}

# wait_for_port PORT [ADDRESS]: until the whole pool listens, or as long as we wait for it; false if nobody does by then
wait_for_port() {
    local wanted=1 found=0 round
    [ "$SMTP_LISTEN" = prefork ] || wanted=$pool_size
    for ((round = 0; round < START_SECONDS * 20 && found < wanted; round++)); do
        [ -z "$stopping" ] || return 0
        nap 0.05
        count_listeners "$1" "${2-}"
    done
    ((found > 0))
}

# here [ADDRESS]: leaves in $host where a client on this machine finds us.  Not "localhost", which is ::1
# first on many machines: netcat doesn't listen there.
here() {
    case ${1-} in
    '' | 0.0.0.0) host=127.0.0.1 ;;
    ::) host=::1 ;;
    *) host=$1 ;;
    esac
}

# announce_port PORT [ADDRESS]
announce_port() {
    local note=
    [[ " $SMTP_SMTPS " != *" $1 "* ]] || note=", en TLS dès la connexion"
    say "Le serveur écoute sur le port $1 (${2:-toutes les adresses})$note."
}

# announce_page: where a browser finds it
announce_page() {
    local address=${SMTP_WEB%:*}
    here "$address"
    [[ $host != *:* ]] || host=[$host]
    say "Page web : http://$host:${SMTP_WEB##*:}/?jeton=$SMTP_WEB_TOKEN"
}

announce() {
    local store="dans $SMTP_STORE/compte/Maildir" endpoint senders="tout le monde" host
    case $SMTP_STORE in
    maildir) store='dans ~compte/Maildir' ;;
    mbox) store='dans /var/mail/compte' ;;
    lmtp:*) store="au serveur LMTP ${SMTP_STORE#lmtp:}" ;;
    esac
    [ -z "$SMTP_PASS" ] || senders="les comptes de $SMTP_PASS, une fois authentifiés"
    for endpoint in "${endpoints[@]}"; do announce_port "${endpoint% *}" "${endpoint#* }"; done
    say "Domaine local : $SMTP_DOMAIN ; son courrier va $store."
    say "Domaines relayés : $SMTP_RELAY ; leur courrier part par la file d'attente, $SMTP_SPOOL/queue."
    say "Qui peut envoyer : $senders."
    [ -z "$SMTP_PROXY" ] || say "Un en-tête PROXY doit précéder chaque session qui vient de : $SMTP_PROXY"
    [ -z "$SMTP_FINGERPRINT" ] || say "Certificat, empreinte SHA-256 : $SMTP_FINGERPRINT"
    say "Journal : $SMTP_LOG"
    [ -z "$SMTP_WEB" ] || announce_page
    [ "$SMTP_LISTEN" = prefork ] || ! netcat_is_ours || say "netcat : $NETCAT"
    here "${SMTP_BIND%% *}"
    say "Pour essayer : telnet $host ${SMTP_PORTS%% *}    (Ctrl-C ici arrête le serveur)"
}

# Whoever starts us may have more than three files open: they are none of ours, nor of what we start.
close_inherited() {
    local descriptor
    for descriptor in /proc/"$BASHPID"/fd/*; do
        descriptor=${descriptor##*/}
        ((descriptor <= 2 || descriptor == 255)) || exec {descriptor}>&-
    done
}

claim_ports() {
    local endpoint
    for endpoint in "${endpoints[@]}"; do claim_port "${endpoint% *}" "${endpoint#* }"; done
}

# finish CODE
finish() {
    close_record
    close_voice
    say "Serveur arrêté."
    exit "$1"
}

# When a signal came before anybody listens, only files have to be removed.
end_if_told() { [ -z "$stopping" ] || finish 0; }

# What nothing works without.
check_program() {
    [ -x "$PYTHON" ] || fail 1 "il manque $PYTHON ; comme administrateur : apt-get install python3"
    [ -x "$HERE/smtp_handler.py" ] || fail 1 "$HERE/smtp_handler.py n'est pas exécutable (chmod +x)"
}

prepare() {
    resolve_settings "$@"
    end_if_told
    list_endpoints
    open_voice
    open_locks
    open_life
    open_record
    ! orphans_left || lay_copy          # which takes as long as the end of those who still have the ports
    claim_ports
    [ -z "$SMTP_WEB" ] || claim_page
    claim_state
    [ "$SMTP_LISTEN" = prefork ] || need_netcat "$SMTP_SPOOL/netcat"
    end_if_told
    lay_copy
    compute_pool_size
    end_if_told
}

main() {
    local endpoint
    close_inherited
    check_program
    show_help_if_asked "$@"
    exec </dev/null
    prepare "$@"
    trap '' PIPE
    enable_migration
    start
    for endpoint in "${endpoints[@]}"; do
        wait_for_port "${endpoint% *}" "${endpoint#* }" && continue
        warn "personne n'écoute sur le port ${endpoint% *} : abandon"
        code=1
        request_stop
    done
    [ -n "$stopping" ] || announce
    await_jobs
    restore_migration
    finish "$code"
}

main "$@"
