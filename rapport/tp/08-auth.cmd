== serveur
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob
1$ cd ~/serveur-smtp
1$ cat login_pass.txt
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat -pass login_pass.txt -match-sender
1< Pour essayer
== base64
3$ printf '\0alice\0secret1' | base64
3$ printf alice | base64
3$ printf secret1 | base64
3$ echo VXNlcm5hbWU6 | base64 -d; echo
== vider
3$ rm -f ~/tp/boites/*/Maildir/new/*
== plain
2$ telnet 127.0.0.1 4567
2< 220 
2> HELO moi
2< 250 
2> MAIL FROM:<alice@binome.tp.info.unicaen.fr>
2< 530 
2> AUTH PLAIN AGFsaWNlAHNlY3JldDE=
2< 503 
2> EHLO moi
2< 250 
2> AUTH PLAIN AGFsaWNlAGZhdXg=
2< 535 
2> AUTH PLAIN AGFsaWNlAHNlY3JldDE=
2< 235 
2> MAIL FROM:<bob@binome.tp.info.unicaen.fr>
2< 553 
2> MAIL FROM:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> RCPT TO:<bob@binome.tp.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> Subject: avec mot de passe
2> 
2> .
2< 250 
2> QUIT
2< Connection closed
== login
2$ telnet 127.0.0.1 4567
2< 220 
2> EHLO moi
2< 250 
2> AUTH LOGIN
2< 334 
2> YWxpY2U=
2< 334 
2> c2VjcmV0MQ==
2< 235 
2> QUIT
2< Connection closed
== boite
3$ cat ~/tp/boites/bob/Maildir/new/*
== arret
1^C
