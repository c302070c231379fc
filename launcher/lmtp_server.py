"""Whether the LMTP server of -store lmtp: answers, in French for the person who starts us."""
from common.french import reason
from smtp_client.bounds import LmtpLimits
from smtp_client.lmtp import Line, LmtpServer
from smtp_client.result import LATER, RECIPIENT_DEFERRED

SECONDS = 3                 # for each step: somebody waits


class Brief(LmtpLimits):
    connect = greeting = command = SECONDS
    visit = 2 * SECONDS


def trouble(settings):
    """What is wrong with the server now, as far as one can hear by asking it for the postmaster; or ""."""
    line = Line(LmtpServer(settings.lmtp, settings.domain, Brief()))
    result = line.ask(f"postmaster@{settings.domain}")
    line.close()
    if result.outcome == LATER and result.errno != RECIPIENT_DEFERRED:
        why = result.reply or (reason(OSError(result.errno, "")) if result.errno > 0 else result.text)
        return f"le serveur LMTP ne répond pas ({why}) ; tant qu'il en est ainsi, RCPT répond 451"
    return ""
