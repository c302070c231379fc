== serveur
1$ mkdir -p ~/tp/boites/alice ~/tp/boites/bob
1$ cd ~/serveur-smtp
1$ ./serveur.sh -store ~/tp/boites -spool ~/tp/etat -pass login_pass.txt -tls auto -smtps 5465
1< Pour essayer
== clair
2$ telnet 127.0.0.1 4567
2< 220 
2> EHLO moi
2< 250 
2> AUTH PLAIN AGFsaWNlAHNlY3JldDE=
2< 530 
2> QUIT
2< Connection closed
== vider
3$ rm -f ~/tp/boites/*/Maildir/new/*
== starttls
2$ openssl s_client -quiet -crlf -starttls smtp -connect 127.0.0.1:4567
2< 250 
2> EHLO moi
2< 250 HELP
2> AUTH PLAIN AGFsaWNlAHNlY3JldDE=
2< 235 
2> MAIL FROM:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> RCPT TO:<bob@binome.tp.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> Subject: sous TLS
2> 
2> .
2< 250 
2> QUIT
2< 221 
== empreinte
3$ openssl s_client -connect 127.0.0.1:5465 </dev/null 2>/dev/null | openssl x509 -noout -subject -fingerprint -sha256 | fold -w 64
== boite
3$ head -n 12 ~/tp/boites/bob/Maildir/new/*
== arret
1^C
