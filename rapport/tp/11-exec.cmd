== serveur
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob
1$ cd ~/serveur-smtp
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat -max 1
1< Pour essayer
== avant
3$ pgrep -a nc.traditional
== connexion
2$ telnet 127.0.0.1 4567
2< 220 
== apres
3$ pgrep -a nc.traditional
3$ P=$(pgrep -x smtp_handler.py)
3$ ps -o pid,ppid,args -p $P
3$ readlink /proc/$P/exe
== descripteurs
3$ ls -l /proc/$P/fd
3$ ss -tne state established sport = :4567 | tr -s ' '
== strace
3$ strace -s 60 -e trace=read,write -p $P
3< attached
2> NOOP
2< 250 
3< write(1
2> QUIT
2< Connection closed
3< exited with
== arret
1^C
