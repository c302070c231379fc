# Who is left when keepers, or the launcher with all of them, were killed with SIGKILL, and how those end.
# shellcheck shell=bash
#
# Each background job leads a process group, and all that it starts is in there.  The launcher writes the jobs down,
# with the times they were started at, in a file beside the locks, on which it holds a lock itself.  So a file whose
# lock is free tells the next start what a killed launcher may have left.

record=                         # descriptor of our file
session=                        # the kernel's session that this launcher and all of its jobs are in
orphan_groups=()                # process groups of killed launchers, which are ending

# read_stat PID: leaves in $name and $stat (from 0: state, parent, group, session ...) what proc(5) says; false if it is
# gone
read_stat() {
    local line=
    { read -r -d '' line <"/proc/$1/stat"; } 2>/dev/null
    [ -n "$line" ] || return
    name=${line#*(} name=${name%)*}
    read -ra stat <<<"${line##*) }"
}

# gone PID: it has ended, though its parent, init for most orphans, may not have noticed yet
gone() {
    local name stat
    ! read_stat "$1" || [ "${stat[0]}" = Z ]
}

# open_record: from now on our jobs are written down; what killed launchers left begins to end.  The file's first line
# tells in which pid namespace, since which boot, its numbers have a meaning.
open_record() {
    local file pids boot lock name stat entry inherited=() killed=() orphans=()
    readlink /proc/self/ns/pid | read -r pids
    read -r boot </proc/sys/kernel/random/boot_id
    pids+=" $boot"
    read_stat "$$"
    session=${stat[3]} own_name=$name
    # While we do this, no other start takes our file for a dead launcher's.
    exec {lock}>>"$locks-starting" && flock -w 5 -x "$lock"
    for file in "$locks"-jobs-*; do [ ! -e "$file" ] || take_over "$file"; done
    exec {record}>"$locks-jobs-$$" && flock -n -x "$record" && keep_for_launcher "$record"
    echo "$pids" >&"$record"
    for entry in "${inherited[@]}"; do echo "$entry" >&"$record"; done
    exec {lock}>&-
    [ ${#killed[@]} = 0 ] || find_orphans "${killed[@]}"
    [ ${#orphans[@]} = 0 ] || background_once end_orphans "${killed[@]}"
}

# take_over FILE: adds what its launcher left, if that is dead, to $inherited, and to $killed what won't end by itself
take_over() {
    local lock then='' group group_session start
    exec {lock}<"$1" || return
    if flock -n -x "$lock"; then
        read -r then <&"$lock"
        [ "$then" != "$pids" ] || while read -r group group_session start <&"$lock"; do
            if ! is_left "$group" "$start"; then continue; fi
            inherited+=("$group $group_session $start")
            orphan_groups+=("$group")
            ! gone "$group" || killed+=("$group:$group_session")
        done
        rm -f "$1"
    fi
    exec {lock}<&-
}

# is_left GROUP START: is it still there, and not another one that got its number?
is_left() {
    local name stat
    alive "-$1" 2>/dev/null || return
    ! read_stat "$1" || [ "${stat[19]}" = "$2" ]
}

# orphans_left: is anything of killed launchers still ending?
orphans_left() {
    local group
    for group in "${orphan_groups[@]}"; do ! alive "-$group" 2>/dev/null || return 0; done
    return 1
}

# note_job PID
note_job() {
    local name stat
    if [ -n "$record" ] && read_stat "$1"; then echo "$1 $session ${stat[19]}" >&"$record"; fi
}

close_record() { [ -z "$record" ] || rm -f "$locks-jobs-$$"; }

# find_orphans GROUP:SESSION...: leaves in $orphans whom killed keepers, whose process groups these are, have left; what
# is still bash there only watched for its keeper
find_orphans() {
    local entry name stat
    local -A session_of=()
    for entry in "$@"; do session_of[${entry%:*}]=${entry#*:}; done
    orphans=()
    for entry in /proc/[0-9]*; do
        entry=${entry#/proc/}
        read_stat "$entry" || continue
        [[ ${session_of[${stat[2]}]-} != "${stat[3]}" || $name = "$own_name" || ${stat[0]} = Z ]] || orphans+=("$entry")
    done
}

# end_orphans GROUP:SESSION...
end_orphans() {
    local entry orphans
    become_background
    find_orphans "$@"
    end_children "${orphans[@]}"
    for entry in "$@"; do kill -KILL -- "-${entry%:*}"; done
}
