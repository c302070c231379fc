# Started as root: the copy of the program that everything is served from, so that the checkout may lie anywhere.
# shellcheck shell=bash
#
# Sessions run as another user, who can't enter /root or a closed home; and root runs nothing out of a folder that
# others may write.  So each start lays a copy of its own.  A lock tells whose copy is in use: the launcher and
# all that is run from the copy hold it, so that sessions which outlive a killed launcher keep theirs as well.
# Without $(...) and <(...), for the reason in serveur.sh.

readonly COPY_HOMES=(/run /var/lib)     # a booted Debian lets nobody execute in /run
PROGRAM=$HERE                           # the folder that programs are run from
copy=                                   # the same, once it is a copy
filling=                                # the process that fills it

# is_roots FOLDER: it and all above it are root's, and nobody else may write there
is_roots() (
    cd -P -- "$1" || exit
    path=$PWD folders=(/)
    while [ -n "$path" ]; do folders+=("$path") path=${path%/*}; done
    find "${folders[@]}" -maxdepth 0 \( ! -user 0 -o -perm /022 \) -exec false {} +
) 2>/dev/null

# remove_left_copies FOLDER: those whose launcher was killed
remove_left_copies() {
    local left
    for left in "$1"/serveur-smtp.*/; do
        [ ! -d "$left" ] || flock -n "$left.lock" rm -rf "$left"
    done
    for left in "$1"/.serveur-smtp.*/; do
        [ ! -d "$left" ] || find "$left" -maxdepth 0 -mmin +1 -exec rm -rf {} +
    done
}

# await_filling: the exit code of the process that fills the copy; a signal interrupts wait
await_filling() {
    local code
    wait "$filling"
    code=$?
    while kill -0 "$filling" 2>/dev/null; do
        wait "$filling"
        code=$?
    done
    filling=
    return "$code"
}

# fill_copy: in the background, where Ctrl-C doesn't reach it
fill_copy() {
    "$PYTHON" -BES "$HERE/launcher/program.py" "$copy" &
    filling=$!
    await_filling
}

# make_copy FOLDER: a copy in there; false if it can't be
make_copy() {
    local copy_lock name=serveur-smtp.${EPOCHREALTIME//[!0-9]/}-$$
    is_roots "$1" || return
    copy=$1/.$name                      # where nobody takes it for one that was left, as long as it has no lock
    mkdir -m 700 "$copy" 2>/dev/null || { copy=; return 1; }
    : >"$copy/.lock"
    if exec {copy_lock}<"$copy/.lock" && flock -n "$copy_lock" && mv -T "$copy" "$1/$name"; then
        copy=$1/$name
        if fill_copy; then
            PROGRAM=$copy
            return
        fi
    fi
    exec {copy_lock}<&-
    remove_copy
    return 1
}

remove_copy() {
    [ -z "$filling" ] || ! kill "$filling" 2>/dev/null || await_filling
    [ -z "$copy" ] || (trap '' INT TERM HUP; exec rm -rf "$copy")
    copy=
}

# lay_copy: ours until we end, however that is
lay_copy() {
    local home
    [ "$EUID" = 0 ] && [ -z "$copy" ] || return 0
    trap remove_copy EXIT
    for home in "${COPY_HOMES[@]}"; do remove_left_copies "$home"; done
    for home in "${COPY_HOMES[@]}"; do ! make_copy "$home" || break; done
    [ -n "$copy" ] || fail 1 "le programme, lancé en root, doit être copié dans ${COPY_HOMES[0]} ou ${COPY_HOMES[1]}, \
et ne le peut : il y faut un dossier de root, où nul autre n'écrit, sur un disque inscriptible qui n'est pas monté \
noexec"
}
