== serveur
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob
1$ cd ~/serveur-smtp
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat -size 1024
1< Pour essayer
== droits
3$ chmod -R a-w ~/tp/boites/bob
== refus
2$ telnet 127.0.0.1 4567
2< 220 
2> EHLO moi
2< 250 
2> MAIL FROM:<prof@example.org>
2< 250 
2> RCPT TO:<fantome@binome.tp.info.unicaen.fr>
2< 550 
2> RCPT TO:<quelquun@ailleurs.example>
2< 550 
2> RCPT TO:<alice@@binome.tp.info.unicaen.fr>
2< 501 
2> RCPT TO:<bob@binome.tp.info.unicaen.fr>
2< 450 
2> RCPT TO:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> RSET
2< 250 
== pourquoi
3$ grep 'rejected RCPT <bob' ~/tp/etat/mainlog
3$ chmod -R u+w ~/tp/boites/bob
== taille
2> MAIL FROM:<prof@example.org> SIZE=2000
2< 552 
2> MAIL FROM:<prof@example.org>
2< 250 
2> RCPT TO:<bob@binome.tp.info.unicaen.fr>
2< 250 
2> QUIT
2< Connection closed
3$ (printf 'HELO moi\r\nMAIL FROM:<prof@example.org>\r\nRCPT TO:<bob@binome.tp.info.unicaen.fr>\r\nDATA\r\n'; seq -s ' ' 400; printf '\r\n.\r\nQUIT\r\n') | nc.traditional -q 5 127.0.0.1 4567
== une-place
1^C
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat -max 1 -size 1099511627776
1< Pour essayer
2$ telnet 127.0.0.1 4567
2< 220 
3$ telnet 127.0.0.1 4567
3< Connection closed
2> EHLO moi
2< 250 
2> MAIL FROM:<prof@example.org> SIZE=1099511627776
2< 452 
2> QUIT
2< Connection closed
== arret
1^C
