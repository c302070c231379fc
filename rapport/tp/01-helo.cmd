== preparer
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob
1$ cd ~/serveur-smtp
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat
1< Pour essayer
== helo
2$ telnet 127.0.0.1 4567
2< 220 
2> HELO moi
2< 250 
2> NOOP
2< 250 
2> VRFY alice
2< 250 
2> VRFY carole
2< 550 
2> HELP
2< 214 
2> HELP VRFY
2< 214 
2> QUIT
2< Connection closed
