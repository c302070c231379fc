#!/bin/sh
# apart.sh FOLDER COMMAND...: COMMAND with a network of its own, where there is nothing but the loopback, and with a
# /run of its own.  Within "unshare --net --mount --propagation slave"; root only.
#
# So it meets no other servers, with their locks, their copies of the program and their setting of the kernel, and
# leaves none of its own.  FOLDER, an empty one, is where what is new is prepared.
set -eu

# cover PLACE OPTIONS: a file system in memory, where all that others have in PLACE stays, daemons' sockets among it
cover() {
    mount -t tmpfs -o "mode=755,nosuid,nodev$2" "${1##*/}" "$folder"
    for path in "$1"/*; do
        new=$folder/${path##*/}
        case $path in
        */serveur-smtp*) continue ;;
        esac
        if [ -h "$path" ]; then
            cp -P "$path" "$new"
        else
            if [ -d "$path" ]; then mkdir "$new"; else : >"$new"; fi
            mount --rbind "$path" "$new"
        fi
    done
    mount --move "$folder" "$1"
}

folder=$1
shift
ip link set lo up
case ,$(findmnt -n -o OPTIONS -T /run), in
*,noexec,*)                             # as a boot leaves it: copies go to /var/lib
    cover /run ,noexec
    cover /var/lib ''
    ;;
*) cover /run '' ;;
esac
exec "$@"
