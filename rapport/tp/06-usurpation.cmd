== vider
3$ rm -f ~/tp/boites/*/Maildir/new/*
== envoi
2$ telnet 127.0.0.1 4567
2< 220 
2> HELO mail.universite.example
2< 250 
2> MAIL FROM:<directrice@universite.example>
2< 250 
2> RCPT TO:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> Received: from palais.example by mail.universite.example; 1 Jan 2024 08:00:00 +0100
2> From: La directrice <directrice@universite.example>
2> To: alice@binome.tp.info.unicaen.fr
2> Subject: Votre note
2> 
2> Vous avez 20.
2> .
2< 250 
2> QUIT
2< Connection closed
== boite
3$ cat ~/tp/boites/alice/Maildir/new/*
== arret
1^C
