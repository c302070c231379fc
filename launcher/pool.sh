# What runs in the background: keepers with their netcats or listener/prefork.py, the relay, the delivery agent, the
# page, what holds a port; and how all of it ends.
# shellcheck shell=bash
#
# nc.traditional takes one client, turns into the handler (nc -e, same process) and ends with the session.
# So each port has a pool of netcats, which share it (they set SO_REUSEPORT), looked after by a few
# subshells, the keepers: a keeper waits for any of its netcats to end and starts the next.
#
# Everything here watches one pipe, of which only the launcher has the writing end: when that is closed,
# by an orderly stop or because the launcher was killed, each ends its children and itself.  The delivery agent's
# watches another one, of which all who may need it have the writing end: so it ends when they have.

readonly GRACE=10               # seconds that running sessions get to finish when the server stops
readonly ALARM=30               # seconds after which at the latest everybody looks after his children
launcher_only=()                # descriptors that nobody in the background may have
background_jobs=()              # what to start again if it dies: [pid]="function argument..."
voice_cat=
voice=2                         # where those in the background show what they have to say

keep_for_launcher() { launcher_only+=("$1"); }

# The pipe, and one with both ends in one descriptor: a line in it wakes the launcher.
open_life() {
    # shellcheck disable=SC2094  # not a file: its two ends
    : | exec {life_end}>/proc/self/fd/0 {life}</proc/self/fd/0
    # shellcheck disable=SC2094
    : | exec {need_end}>/proc/self/fd/0 {need}</proc/self/fd/0
    : | exec {news}<>/proc/self/fd/0
    keep_for_launcher "$life_end"
    keep_for_launcher "$news"
}

close_life() { exec {life_end}>&- {need_end}>&-; echo >&"$news"; }

# Before all other descriptors, which cat must not have.  Who is not root must not have root's terminal: it could
# type into it (TIOCSTI).
open_voice() {
    local ear
    [ ! -t 2 ] || export SMTP_COLOURS=1
    # shellcheck disable=SC2094  # not a file: its two ends
    : | exec {voice}>/proc/self/fd/0 {ear}</proc/self/fd/0
    (trap '' INT TERM HUP; exec cat <&"$ear" >&2 {voice}>&- {ear}<&-) &
    voice_cat=$!
    disown "$voice_cat"         # it ends when nobody has anything to say any more, which wait must not wait for
    exec {ear}<&-
}

# leave_voice: to those who are still at work; cat ends with the last of them
leave_voice() {
    [ "$voice" != 2 ] || return
    exec {voice}>&-
    voice=2
}

# close_voice: all has been shown then; what killed launchers left may have something to say for longer than we wait
close_voice() {
    local round
    leave_voice
    [ -n "$voice_cat" ] || return
    for ((round = 0; round < 250; round++)); do alive "$voice_cat" 2>/dev/null || return; nap 0.02; done
}

# Not "read -t", which costs no fork: bash 5.1 has SIGALRM end that, and looks whether it came before it calls read(2).
# Where it comes in between, for the processor was another's meanwhile, nothing ends that read any more.  (bash 5.2
# waits with select(2).)  With a second or more, as elsewhere in this file, it can't come so early.
nap() { sleep "$1"; }

# Which children have ended is asked of each (alive); await_end only says that it is time to ask again:
# bash may forget to report one that a signal ended while it was busy, but wait PID still knows its status.
alive() { kill -0 "$1"; }

# await_end: until a child has ended, or it is time to look; leaves in $ended and $status which one, and how.
# Before wait -n asks the kernel for a child's end it looks at bash's own list.  One that ends in between is taken in by
# the handler of SIGCHLD, and wait -n sleeps until another one ends.  So there always is another one: the alarm, and
# when the launcher has ended, the watch, a moment after it.
await_end() {
    if ! alive "$alarm"; then
        read -r -t "$ALARM" -u "$life" &
        alarm=$!
    fi
    wait -n -p ended
    status=$?
}

# launcher_ended: it alone has the writing end of the pipe, and never writes
launcher_ended() { read -r -t 0 -u "$life"; }

# -- what each of them does -----------------------------------------------------------------------

# How each begins.  Signals are the launcher's business, also those of "pkill -f serveur.sh"; a program
# started from here sets its own handlers.  The alarm ends with the launcher too, the watch after it (await_end).
become_background() {
    trap '' INT TERM HUP
    close_launchers
    exec {terminal}>&2 2>/dev/null          # where bash would report each child that a signal ended
    alarm=
    (read -r -u "$life"; exec sleep 0.5) &
    watch=$!
    read -r own_name <"/proc/$BASHPID/comm"
}

# close_launchers: what only the launcher is to have, once: such a number may be another file's afterwards
close_launchers() {
    local descriptor
    for descriptor in "${launcher_only[@]}"; do exec {descriptor}>&-; done
    launcher_only=()
}

# run COMMAND...: a child that has none of our descriptors, but for those by which the agent knows that it is needed
run() { "$@" 2>&"$terminal" {terminal}>&- {life}<&- & }

# keep_listeners PORT COUNT [ADDRESS]
keep_listeners() {
    local port=$1 left=$2 address=${3-} pid ended status ends=0 pause=1 longest=30 failures=0
    local command=("$NETCAT" -n -l -p "$1" ${3:+-s "$3"} -e "$PROGRAM/smtp_handler.py")
    local -A since=()                       # [pid of a netcat, or what it turned into]=when it was started
    become_background
    export SMTP_PORT=$1
    [[ " $SMTP_SMTPS " != *" $1 "* ]] || export SMTP_IMPLICIT_TLS=1
    while ((left-- > 0)); do run "${command[@]}"; since[$!]=$SECONDS; done
    while await_end; ! launcher_ended; do
        # Each is asked only when bash may have forgotten one, and now and then: there may be a hundred.
        if ((status <= 128 && ++ends % 32)) && [ -n "${since[${ended:-0}]-}" ]; then
            replace "$ended" "$status"
            continue
        fi
        for pid in "${!since[@]}"; do
            alive "$pid" && continue
            wait "$pid"
            replace "$pid" $?
        done
    done
    end_children "${!since[@]}"
}

# replace PID STATUS: a netcat in the place of one that has ended
replace() {
    note_end "$2" $((SECONDS - since[$1]))
    ((failures < 8)) || back_off "$port" "$address"
    unset "since[$1]"
    run "${command[@]}"
    since[$!]=$SECONDS
}

# note_end STATUS AGE: count what may be netcats that fail as soon as they start
note_end() {
    status=$1
    if (($1 == 1 && $2 < 2 || $1 == 126 || $1 == 127)); then ((++failures)); else failures=0 pause=1; fi
}

# back_off PORT ADDRESS: a pause if netcat can't listen; if it can, only the sessions were bad
back_off() {
    local error holder reason="$NETCAT ne démarre pas"
    if ((status == 1)); then
        can_bind 1 "$1" "${2:-0.0.0.0}" && { failures=0; return; }
        say_why "$1" "$2"
    fi
    warn "$reason ; nouvelle tentative dans $pause s." 2>&"$terminal"
    longer_pause
}

# longer_pause: false if the launcher's end cuts it short
longer_pause() {
    read -r -t "$pause" -u "$life"
    (($? > 128)) && pause=$((pause < longest ? 2 * pause : longest))
}

# supervise PROGRAM ARGUMENT...: runs as long as we do; started again when it dies, after a growing pause
supervise() {
    local pause=1 longest=${longest-30} child started ended status
    become_background
    while :; do
        run "$PYTHON" -ES "$PROGRAM/$1" "${@:2}"
        child=$! started=$SECONDS
        while ! launcher_ended && alive "$child"; do await_end; done
        ! launcher_ended || break
        wait "$child"
        warn "${1##*/} s'est arrêté (code $?) ; il redémarre dans $pause s." 2>&"$terminal"
        child=
        ((SECONDS - started < 60)) || pause=1
        longer_pause || break
    done
    end_children ${child:+"$child"}
}

# supervise_agent: outlives all who may ask it, and is told by what it knows that they have ended; a session waits for
# its successor no longer than 10 s
supervise_agent() {
    local longest=1
    close_launchers
    exec {life}<&- {need_end}>&-
    life=$need
    exec {need}<&"$life"
    export SMTP_NEED=$need
    supervise delivery_agent
}

# serve_page: nobody else is told what its address holds
serve_page() { export SMTP_WEB_TOKEN; supervise web/server.py; }

# -- how it ends ----------------------------------------------------------------------------------

# end_children PID...: each is asked to end, again shortly before the grace time is over, killed when it is
end_children() {
    local pid begun=${EPOCHREALTIME//[!0-9]/} milliseconds=0 reminded=
    local -A left=() asked=()
    kill -KILL "$watch" ${alarm:+"$alarm"}
    for pid in "$@"; do left[$pid]=1; done
    while ((milliseconds < GRACE * 1000 && ${#left[@]} > 0)); do
        for pid in "${!left[@]}"; do
            [ -n "${asked[$pid]-}" ] || ! ask_to_end "$pid" "$milliseconds" || asked[$pid]=1
            ! gone "$pid" || unset "left[$pid]"
        done
        [ -n "$reminded" ] || ((milliseconds < (GRACE - 2) * 1000)) || { reminded=1; kill -TERM "${!left[@]}"; }
        nap "0.0$((milliseconds < 200 ? 2 : 5))"        # most have ended in a moment
        milliseconds=$(((${EPOCHREALTIME//[!0-9]/} - begun) / 1000))
    done
    [ ${#left[@]} = 0 ] || kill -KILL "${!left[@]}"
    wait
}

# ask_to_end PID MILLISECONDS: false if it is too early.  A netcat that still waits for a client is ended, but
# stopped first, so that it can't take one meanwhile; what turned out to have one goes on.  A handler gets
# TERM once it catches it: before, it would die of it with a client at the other end.
ask_to_end() {
    local name='' text='' stopped=
    { read -r _ name && read -r -d '' text; } <"/proc/$1/status"
    [[ $text != *State:$'\t'[Tt]* ]] || stopped=1
    case $name/$stopped in
    /) ;;                                   # it has just ended
    nc.traditional/) kill -STOP "$1"; return 1 ;;
    nc.traditional/1) is_waiting "$1" && kill -KILL "$1" && return; kill -CONT "$1"; return 1 ;;
    "$own_name/") return 1 ;;               # forked, but not netcat yet
    */1) kill -CONT "$1"; return 1 ;;       # the handler by the time it was stopped
    # A process that waits for the processor may have a stop before it that does not show yet: CONT takes that back.
    *) { catches_term "$text" || (($2 > 5000)); } && kill -TERM "$1" && kill -CONT "$1" ;;
    esac
}

# is_waiting PID: it listens on descriptor 3, gets a client as 4, closes 3, and makes 4 the handler's 0
is_waiting() { [ -e "/proc/$1/fd/3" ] && [ ! -e "/proc/$1/fd/4" ]; }

# catches_term STATUS: does the process with this /proc/PID/status have a handler for TERM?
catches_term() {
    [[ $1 =~ SigCgt:[[:space:]]*[0-9a-f]*([0-9a-f]{4}) ]] && ((16#${BASH_REMATCH[1]} & 1 << 14))
}

# -- from the launcher ----------------------------------------------------------------------------

# background FUNCTION ARGUMENT...: in a process group of its own, out of the terminal's reach
background() {
    set -m
    "$@" >&"$voice" 2>&1 &
    set +m
    background_jobs[$!]=$*
    note_job $!
}

# background_once FUNCTION ARGUMENT...: it is not started again
background_once() {
    background "$@"
    unset "background_jobs[$!]"
}

# stoppable FUNCTION ARGUMENT...: what may take minutes is waited for; should the launcher be told to end, it ends too
stoppable() {
    local round
    background_once "$@"
    while [ -z "$stopping" ] && alive "$!" 2>/dev/null; do nap 0.1; done
    [ -n "$stopping" ] || return
    kill -TERM -- "-$!"
    for ((round = 0; round < GRACE * 9; round++)); do alive "-$!" 2>/dev/null || return; nap 0.1; done
    kill -KILL -- "-$!"
}

# More netcats than sessions, up to twice as many.  Each has room for two clients that it hasn't taken yet,
# and the kernel spreads them blindly: in a burst, the fewer are idle the more clients wait a second for
# their next try.  And when all sessions are taken, the next client is told so (421) instead of refused.
compute_pool_size() { pool_size=$((SMTP_MAX + (SMTP_MAX < 128 ? SMTP_MAX : 128))); }

# start_keepers PORT [ADDRESS]: one bash that restarts all netcats falls behind in a burst; several don't
start_keepers() {
    local keepers=$((pool_size / 8)) i
    keepers=$((keepers < 4 ? 4 : keepers > 16 ? 16 : keepers))
    ((keepers <= pool_size)) || keepers=$pool_size
    for ((i = 0; i < keepers; i++)); do
        background keep_listeners "$1" $(((pool_size + i) / keepers)) "$2"
    done
}

# describe_job FUNCTION ARGUMENT...: leaves in $description what people may call it
describe_job() {
    case $1 in
    keep_listeners) description="un gardien du port $2" ;;
    supervise) description="le gardien de $2" ;;
    supervise_agent) description="le gardien de l'agent de remise" ;;
    serve_page) description="le gardien de la page web" ;;
    esac
}

# replace_job PID: it was killed
replace_job() {
    local job description
    read -ra job <<<"${background_jobs[$1]}"
    unset "background_jobs[$1]"
    describe_job "${job[@]}"
    warn "$description (processus $1) est mort ; il est remplacé."
    background_once end_orphans "$1:$session"
    nap 0.2
    background "${job[@]}"
}

# await_all: until there is no child any more; a further signal interrupts wait.  cat must not be one that stays: where
# bash has forgotten that a job has ended, wait asks the kernel for any child's end, and would wait for that one's.
await_all() { until wait; do :; done; }

# await_jobs: until nothing of ours is left, which is soon after the pipe was closed.  Not with wait -n: a
# signal that came just before it would be heard when a child ends, which may be never.
await_jobs() {
    local pid
    while [ -z "$stopping" ]; do
        for pid in "${!background_jobs[@]}"; do alive "$pid" 2>/dev/null || replace_job "$pid"; done
        read -r -t 1 -u "$news"
    done
    leave_voice
    await_all
    for pid in "${!background_jobs[@]}"; do ! alive "-$pid" 2>/dev/null || background end_orphans "$pid:$session"; done
    await_all
}
