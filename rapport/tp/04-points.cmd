== points
2$ telnet 127.0.0.1 4567
2< 220 
2> HELO moi
2< 250 
2> MAIL FROM:<prof@example.org>
2< 250 
2> RCPT TO:<bob@binome.tp.info.unicaen.fr>
2< 250 
2> DATA
2< 354 
2> Subject: points
2> 
2> ..
2> ..deux
2> .un
2> fin.
2> .
2< 250 
2> QUIT
2< Connection closed
== boite
3$ tail -n 5 ~/tp/boites/bob/Maildir/new/*
