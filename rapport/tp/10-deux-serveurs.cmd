== serveur
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob ~/tp/distant/prof
1$ cd ~/serveur-smtp
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat -relay tpmail.info.unicaen.fr=127.0.0.1:5567
1< Pour essayer
== vider
3$ rm -f ~/tp/boites/*/Maildir/new/*
== seul
2$ telnet 127.0.0.1 4567
2< 220 
2> HELO moi
2< 250 
2> MAIL FROM:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> RCPT TO:<prof@tpmail.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> Subject: relais
2> 
2> Bonjour d'ici.
2> .
2< 250 
== file
@ grep -q ' == prof@tpmail' ~/tp/etat/mainlog
3$ cd ~/serveur-smtp
3$ ./relay.py -spool ~/tp/etat list
3$ grep ' == ' ~/tp/etat/mainlog
== second
4$ cd ~/serveur-smtp
4$ ./serveur.sh -port 5567 -domain tpmail.info.unicaen.fr -store ~/tp/distant -spool ~/tp/etat-distant -relay binome.tp.info.unicaen.fr=127.0.0.1:4567
4< Pour essayer
== arrivee
3$ ./relay.py -spool ~/tp/etat retry
@ test -e ~/tp/distant/prof/Maildir/new/*
@ ! ./serveur-smtp/relay.py -spool ~/tp/etat list | grep -q prof
3$ cat ~/tp/distant/prof/Maildir/new/*
3$ ./relay.py -spool ~/tp/etat list
== fantome
2> MAIL FROM:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> RCPT TO:<fantome@tpmail.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> Subject: y a-t-il quelqu'un ?
2> 
2> .
2< 250 
2> QUIT
2< Connection closed
@ test -e ~/tp/boites/alice/Maildir/new/*
== avis
3$ cat ~/tp/boites/alice/Maildir/new/*
== journal
3$ cut -d ' ' -f 3- ~/tp/etat/mainlog | grep fantome@tpmail
== arret
1^C
4^C
