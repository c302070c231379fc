== serveur
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob
1$ cd ~/serveur-smtp
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat -max 1
1< Pour essayer
== gardiens
3$ ps -C nc.traditional -o pid,ppid,args
3$ G=$(ps -C nc.traditional -o ppid= | head -n 1)
3$ ps -o pid,ppid,args -p $G
== tue
3$ kill -9 $G
1< gardien
== apres
@ test $(ps -C nc.traditional -o ppid= | grep -cvx ' *1') = 2
3$ ps -C nc.traditional -o pid,ppid,args
2$ telnet 127.0.0.1 4567
2< 220 
2> QUIT
2< Connection closed
== lanceur
3$ kill -9 $(pgrep -o -u $UID -f '^bash ./serveur.sh')
@ ! pgrep nc.traditional
3$ pgrep -a nc.traditional
