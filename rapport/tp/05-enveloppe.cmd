== vider
3$ rm -f ~/tp/boites/*/Maildir/new/*
== envoi
2$ telnet 127.0.0.1 4567
2< 220 
2> HELO moi
2< 250 
2> MAIL FROM:<enveloppe@example.org>
2< 250 
2> RCPT TO:<bob@binome.tp.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> From: Le facteur <entete@example.net>
2> To: alice@binome.tp.info.unicaen.fr
2> Subject: pour qui ?
2> 
2> Bonjour Alice.
2> .
2< 250 
2> QUIT
2< Connection closed
== boites
3$ find ~/tp/boites -path '*/new/*'
3$ cat ~/tp/boites/bob/Maildir/new/*
