== envoi
2$ telnet 127.0.0.1 4567
2< 220 
2> HELO moi
2< 250 
2> MAIL FROM:<prof@example.org>
2< 250 
2> RCPT TO:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> From: prof@example.org
2> To: alice@binome.tp.info.unicaen.fr
2> Subject: Bonjour
2> 
2> Un premier message.
2> .
2< 250 
2> QUIT
2< Connection closed
== boite
3$ ls ~/tp/boites/alice/Maildir/new
3$ cat ~/tp/boites/alice/Maildir/new/*
== journal
3$ tail -n 3 ~/tp/etat/mainlog
