"""What a warm worker has ready, so that no client waits for it: the modules that a session may import, and their
code once run."""
import _socket

ALWAYS = ("common.domains", "common.nss", "common.xtext", "mailstore.alias_index", "mailstore.dsn_requests",
          "mailstore.envelope", "mailstore.expansion", "mailstore.queue", "smtp.vrfy_expn", "smtp.data", "smtp.backend",
          "smtp.session", "smtp.explanations")
WITH_AGENT = ("mailstore.agent_client",)       # which writes the mailboxes; without one, sessions do it themselves
WITHOUT_AGENT = ("mailstore.direct", "mailstore.maildir", "mailstore.mbox")
WITH_LMTP = ("mailstore.lmtp",)
WITH_TLS = ("smtp.tls",)
WITH_PROXIES = ("smtp.proxy_header",)
WITH_TERMINALS = ("smtp.send_soml_saml", "smtp.terminal_text", "mailstore.terminals")
WITH_ACCOUNTS = ("common.account_index", "common.french", "common.guesses", "smtp.authentication", "hashlib", "hmac")
REHEARSALS = 20
NOBODY = "0.0.0.0"          # no client has it, and no proxy


def warm_up(settings):
    """Import what sessions with these Settings may need."""
    names = ALWAYS + (WITH_AGENT if settings.agent else WITHOUT_AGENT)
    names += (WITH_TLS if settings.tls else ()) + (WITH_ACCOUNTS if settings.accounts else ())
    names += WITH_LMTP if settings.lmtp else ()
    names += WITH_PROXIES if settings.proxies else ()
    names += WITH_TERMINALS if settings.terminals else ()
    for name in names:
        __import__(name)
    if settings.watched:
        __import__("smtp.transcript")
    if settings.verbose:
        __import__("smtp.console")
    if settings.web:
        __import__("smtp.recorder")


def rehearse(worker, endpoint):
    """Serve a few sessions for nobody. worker: a Worker that does not listen yet; endpoint: one of plain text.

    The interpreter rewrites code that has run a few times, and remembers where it found things. Done before
    workers are forked, this lies in memory that they share; else each would write a copy of its own. The page (-web) is
    told nothing of them.
    """
    if endpoint.settings.web:
        from smtp.recorder import Recording
        endpoint.recording = Recording("", worker.dev_null)
    for _ in range(REHEARSALS):
        client, server = _socket.socketpair()
        client.send(b"EHLO rehearsal\r\nNOOP\r\nQUIT\r\n")
        worker.listen([(server, endpoint)])
        worker.accept()         # in vain: nobody else could come to a socket that does not listen
        worker.serve(endpoint, server.detach(), (NOBODY, 0))
        worker.deafen()
        client.close()
