== serveur
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob
1$ cd ~/serveur-smtp
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat
1< Pour essayer
== sans
3$ cat /proc/sys/net/ipv4/tcp_migrate_req
3$ client() { r=$(printf 'QUIT\r\n' | nc.traditional -n -q 60 127.0.0.1 4567 2>&1 | head -n 1 | cut -c 1-3); echo "${r:-perdue}"; }
3$ export -f client
3$ seq 300 | xargs -P 60 -I{} bash -c client | sort | uniq -c
== avec
R# sysctl -w net.ipv4.tcp_migrate_req=1
3$ seq 300 | xargs -P 60 -I{} bash -c client | sort | uniq -c
== arret
1^C
