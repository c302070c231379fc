== desordre
2$ telnet 127.0.0.1 4567
2< 220 
2> RCPT TO:<alice@binome.tp.info.unicaen.fr>
2< 503 
2> HELO moi
2< 250 
2> RCPT TO:<alice@binome.tp.info.unicaen.fr>
2< 503 
2> BONJOUR
2< 500 
2> MAIL FROM:<prof@example..org>
2< 501 
2> MAIL FROM:<prof@example.org>
2< 250 
2> DATA
2< 503 
2> HELP 503
2< 214 
== rset
2> RCPT TO:<alice@binome.tp.info.unicaen.fr>
2< 250 
2> RSET
2< 250 
2> DATA
2< 503 
2> QUIT
2< Connection closed
