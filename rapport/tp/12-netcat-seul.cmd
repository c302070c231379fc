== netcat
1$ strace -e trace=listen,accept,dup2,execve nc.traditional -n -l -p 5678 -e /bin/date
1< listen(
2$ telnet 127.0.0.1 5678
2< Connection closed
1< exited with
== deux
2$ telnet 127.0.0.1 5678
