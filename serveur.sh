#!/usr/bin/env bash
# serveur.sh: keeps netcat listening and hands each connection to smtp_handler.py.  ./serveur.sh -help
#
# The options become SMTP_* variables; preflight.py checks them and answers with every value resolved.
# launcher/machine.sh gets what the machine must give (netcat, the ports), launcher/copy.sh what root
# serves from, launcher/pool.sh runs the netcats and the relay.  This file knows netcat and nothing of SMTP.

# "sh serveur.sh" goes on under bash.  A shell reads line by line, so dash comes as far as this; bash that
# is called sh (or has POSIXLY_CORRECT) only has to leave its POSIX mode.
[ -n "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set +o posix
set -u

HERE=$(dirname "$(readlink -f "$0")")
readonly HERE
. "$HERE/launcher/machine.sh"
. "$HERE/launcher/copy.sh"
. "$HERE/launcher/pool.sh"

readonly START_SECONDS=5        # that each port gets to be listened on
stopping=                       # set once a signal, or a failure, asks for the end
endpoints=()                    # "PORT ADDRESS" of each listener; no address: all of them
code=0

say() { printf '%s\n' "$*"; }
warn() { printf 'serveur.sh: %s\n' "$*" >&2; }
fail() { local code=$1; shift; warn "$*"; exit "$code"; }

help() {
    cat <<'END'
serveur.sh : un serveur de courrier SMTP derrière netcat.

usage : ./serveur.sh [options]          (Ctrl-C l'arrête)

  -port N           écouter sur ce port ; répétable                       [4567]
  -smtps N          écouter aussi là, en TLS dès la connexion ; répétable
  -bind ADRESSE     n'écouter que sur cette adresse ; répétable         [toutes]
  -listen MOYEN     netcat, ou prefork : plus rapide, sans netcat,
                    et en IPv6                                          [netcat]
  -pass FICHIER     seuls les comptes de FICHIER peuvent envoyer [tout le monde]
  -match-sender     un compte n'envoie que sous son adresse                [non]
  -noms FICHIER     les noms dont est tiré le domaine local           [noms.txt]
  -domain DOMAINE   le domaine local lui-même      [<noms>.tp.info.unicaen.fr]
  -store OÙ         maildir : ~compte/Maildir ; mbox : /var/mail/compte ;
                    un dossier dont chaque dossier est un compte       [maildir]
  -aliases FICHIER  alias et listes, au format de /etc/aliases    [/etc/aliases]
  -relay DOMAINE[=HÔTE[:PORT]]
                    domaine relayé, par ses MX ou vers HÔTE ;
                    répétable                          [tpmail.info.unicaen.fr]
  -relay '*=HÔTE[:PORT]'
                    de même tous les autres, pour qui s'est authentifié
  -tls CERT[,CLÉ]   certificat PEM, pour STARTTLS et -smtps ; « -tls auto » en
                    fabrique un
  -spool DOSSIER    file d'attente et état  [/var/spool/serveur-smtp pour root,
                                            sinon ~/.local/state/serveur-smtp]
  -log FICHIER      journal                                    [DOSSIER/mainlog]
  -max N            sessions à la fois                                     [128]
  -size OCTETS      plus grand message                                [52428800]
  -rcpts N          destinataires par message                             [1000]
  -v                montrer les dialogues
  -help             cette page
END
}

# -- options --------------------------------------------------------------------------------------

absolute() {
    case $1 in
    /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "${PWD%/}" "$1" ;;
    esac
}

# The store's two keywords and -tls auto aren't paths.
absolute_unless() {
    local value=$1 word
    shift
    for word in "$@"; do
        [ "$value" != "$word" ] || { printf '%s' "$value"; return; }
    done
    absolute "$value"
}

absolute_pair() {
    local certificate=${1%%,*}
    absolute_unless "$certificate" auto
    [ "$certificate" = "$1" ] || printf ',%s' "$(absolute "${1#*,}")"
}

# "–pass", pasted from a text that a word processor made, is "-pass".
plain_dash() {
    case $1 in
    –*) printf '%s' "-${1#–}" ;;
    --*) printf '%s' "${1#-}" ;;
    *) printf '%s' "$1" ;;
    esac
}

declare -rA variable_of=(
    [-port]=SMTP_PORTS [-smtps]=SMTP_SMTPS [-bind]=SMTP_BIND [-listen]=SMTP_LISTEN
    [-pass]=SMTP_PASS [-tls]=SMTP_TLS [-relay]=SMTP_RELAY [-aliases]=SMTP_ALIASES
    [-noms]=SMTP_NOMS [-domain]=SMTP_DOMAIN [-store]=SMTP_STORE [-spool]=SMTP_SPOOL
    [-log]=SMTP_LOG [-max]=SMTP_MAX [-size]=SMTP_SIZE [-rcpts]=SMTP_RCPTS
)

set_option() {
    local option=$1 value=$2 name=${variable_of[$1]-}
    [ -n "$name" ] || fail 2 "option inconnue : $option (./serveur.sh -help les montre toutes)"
    [[ -n $value && $(plain_dash "$value") != -* ]] || fail 2 "il manque la valeur de l'option $option"
    case $option in
    -port | -smtps | -bind | -relay) value=${!name:+${!name} }$value ;;
    -pass | -noms | -aliases | -spool | -log) value=$(absolute "$value") ;;
    -store) value=$(absolute_unless "$value" maildir mbox) ;;
    -tls) value=$(absolute_pair "$value") ;;
    esac
    export "$name=$value"
}

# What is set beforehand doesn't count: the command line says it all.
read_options() {
    local option
    unset "${!SMTP_@}"
    while [ $# -gt 0 ]; do
        option=$(plain_dash "$1")
        case $option in
        -help | -h) help; exit 0 ;;
        -v) export SMTP_VERBOSE=1 ;;
        -match-sender) export SMTP_MATCH_SENDER=1 ;;
        -*) set_option "$option" "${2-}"; shift ;;
        *) fail 2 "argument de trop : $1 (./serveur.sh -help montre les options)" ;;
        esac
        shift
    done
}

check_listener() {
    case ${SMTP_LISTEN-netcat} in
    netcat)
        [[ ${SMTP_BIND-} != *:* ]] || fail 2 "-bind $SMTP_BIND : netcat n'écoute pas en IPv6 ; -listen prefork le peut"
        ;;
    prefork)
        [ -e "$HERE/prefork.py" ] || fail 2 "-listen prefork : il manque $HERE/prefork.py"
        ;;
    *) fail 2 "-listen attend netcat ou prefork, pas « $SMTP_LISTEN »" ;;
    esac
    [ -x "$HERE/smtp_handler.py" ] || fail 1 "$HERE/smtp_handler.py n'est pas exécutable (chmod +x)"
}

# Every value resolved, by the one program that knows the defaults.
resolve_settings() {
    local lines line flags=-ES
    [ -O "$HERE" ] || flags=-BES        # nobody leaves compiled modules in another's checkout
    [ -x "$PYTHON" ] || fail 1 "il manque $PYTHON ; comme administrateur : apt-get install python3"
    lines=$("$PYTHON" "$flags" "$HERE/preflight.py") || exit $?
    while IFS= read -r line; do
        [[ $line != SMTP_*=* ]] || export "${line?}"
    done <<<"$lines"
    export SMTP_TERMINAL=1
}

# Every port on every address.
list_endpoints() {
    local port address addresses seen=" "
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
    background supervise relay.py
    if [ "$SMTP_LISTEN" = prefork ]; then
        background supervise prefork.py
    else
        for endpoint in "${endpoints[@]}"; do start_keepers "${endpoint% *}" "${endpoint#* }"; done
    fi
}

# count_listeners PORT: leaves their number in $found
count_listeners() {
    local hex table row rows
    printf -v hex ':%04X ' "$1"
    found=0
    for table in /proc/net/tcp{,6}; do
        [ -r "$table" ] || continue
        mapfile -t rows <"$table"
        for row in "${rows[@]}"; do [[ $row != *"$hex"*:0000' 0A '* ]] || ((++found)); done
    done
}

# wait_for_port PORT: until the whole pool listens, or as long as we wait for it; false if nobody does by then
wait_for_port() {
    local wanted=1 found=0 round
    [ "$SMTP_LISTEN" = prefork ] || wanted=$pool_size
    for ((round = 0; round < START_SECONDS * 20 && found < wanted; round++)); do
        [ -z "$stopping" ] || return 0
        nap 0.05
        count_listeners "$1"
    done
    ((found > 0))
}

request_stop() {
    [ -z "$stopping" ] || return
    stopping=1
    say "Arrêt du serveur : les sessions en cours ont $GRACE secondes pour finir."
    close_life
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

announce() {
    local store=$SMTP_STORE/compte/Maildir endpoint senders="tout le monde" host
    case $SMTP_STORE in
    maildir) store='~compte/Maildir' ;;
    mbox) store=/var/mail/compte ;;
    esac
    [ -z "$SMTP_PASS" ] || senders="les comptes de $SMTP_PASS, une fois authentifiés"
    for endpoint in "${endpoints[@]}"; do announce_port "${endpoint% *}" "${endpoint#* }"; done
    say "Domaine local : $SMTP_DOMAIN ; son courrier va dans $store."
    say "Domaines relayés : $SMTP_RELAY ; leur courrier part par la file d'attente, $SMTP_SPOOL/queue."
    say "Qui peut envoyer : $senders."
    [ -z "$SMTP_FINGERPRINT" ] || say "Certificat, empreinte SHA-256 : $SMTP_FINGERPRINT"
    say "Journal : $SMTP_LOG"
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

main() {
    close_inherited
    read_options "$@"
    exec </dev/null
    check_listener
    resolve_settings
    list_endpoints
    [ "$SMTP_LISTEN" = prefork ] || need_netcat "$SMTP_SPOOL/netcat"
    open_locks
    for endpoint in "${endpoints[@]}"; do claim_port "${endpoint% *}" "${endpoint#* }"; done
    lay_copy
    open_life
    compute_pool_size
    trap '' PIPE
    # From here on without $(...) and <(...): a signal that comes while bash 5.2 reads one is lost, its trap a syntax error.
    trap request_stop INT TERM HUP
    enable_migration
    start
    for endpoint in "${endpoints[@]}"; do
        wait_for_port "${endpoint% *}" || { code=1; warn "personne n'écoute sur le port ${endpoint% *} : abandon"; request_stop; }
    done
    [ -n "$stopping" ] || announce
    await_jobs
    restore_migration
    say "Serveur arrêté."
    exit "$code"
}

main "$@"
