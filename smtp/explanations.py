"""What each command, each reply and each state means, once, in English and in French.

English is ASCII, for HELP; French is for `-vv`, the page (web/) and the report's table of codes. A sentence or two
each, and for a refusal what to do about it. Sections are those of the RFC that the entry names; `RFC 5321 F.6` is its
appendix. No plain session loads this.
"""


class Explanation:
    """section: where the standard says so. english, french: one or two sentences."""

    __slots__ = ("section", "english", "french")

    def __init__(self, section, english, french):
        self.section = section
        self.english = english
        self.french = french


COMMANDS = {
    "HELO": Explanation(
        "RFC 5321 4.1.1.1", "The client introduces itself. Any open transaction ends.",
        "Le client se présente. Une transaction ouverte est abandonnée."),
    "EHLO": Explanation(
        "RFC 5321 4.1.1.1", "As HELO, and the server lists the extensions that it offers.",
        "Comme HELO ; en plus, le serveur énumère les extensions qu'il offre."),
    "MAIL": Explanation(
        "RFC 5321 4.1.1.2",
        "Opens a transaction. Reports go to the reverse-path; <> asks for none. RET says how much of the message comes "
        "back, ENVID by which name (RFC 3461).",
        "Ouvre une transaction et donne l'adresse de retour, où iront les avis. Avec <>, il n'y en aura pas."),
    "RCPT": Explanation(
        "RFC 5321 4.1.1.3",
        "Adds one recipient to the transaction. It is repeated for each of them. NOTIFY says of what the sender is "
        "told (RFC 3461).",
        "Ajoute un destinataire à la transaction ; la commande est répétée pour chacun."),
    "DATA": Explanation(
        "RFC 5321 4.1.1.4", "The text follows, header and body, up to a line of a single dot.",
        "Le texte suit, en-tête puis corps, jusqu'à une ligne faite d'un seul point."),
    "BDAT": Explanation(
        "RFC 3030 2", "A part of the text follows, of exactly so many octets; LAST marks the last one.",
        "Un morceau du texte suit, du nombre d'octets annoncé ; LAST désigne le dernier."),
    "RSET": Explanation(
        "RFC 5321 4.1.1.5", "Drops the transaction; who greeted, and who authenticated, stays so.",
        "Abandonne la transaction ; la présentation et l'authentification restent acquises."),
    "NOOP": Explanation(
        "RFC 5321 4.1.1.9", "Does nothing, and shows that the server is there.",
        "Ne fait rien, et montre que le serveur est là."),
    "QUIT": Explanation(
        "RFC 5321 4.1.1.10", "Ends the session. What was acknowledged with 250 stays delivered.",
        "Termine la session. Un message qui a reçu son 250 est en sûreté."),
    "HELP": Explanation(
        "RFC 5321 4.1.1.8", "Lists the commands that work here, or explains one, or a reply code.",
        "Énumère les commandes qui marchent ici, ou en explique une, ou un code de réponse."),
    "VRFY": Explanation(
        "RFC 5321 4.1.1.6", "Asks whether a user exists, and can receive mail now.",
        "Demande si un utilisateur existe, et s'il peut recevoir en ce moment."),
    "EXPN": Explanation(
        "RFC 5321 4.1.1.7", "Asks for the members of a list.",
        "Demande les membres d'une liste."),
    "AUTH": Explanation(
        "RFC 4954 4", "Proves who the client is. PLAIN and LOGIN send the password, so let TLS come first.",
        "Prouve qui est le client. PLAIN et LOGIN envoient le mot de passe : TLS d'abord."),
    "STARTTLS": Explanation(
        "RFC 3207 4", "Goes on under TLS. The session starts anew after it: EHLO comes next.",
        "Continue sous TLS. La session recommence alors du début : EHLO vient ensuite."),
    "SEND": Explanation(
        "RFC 5321 F.6", "Obsolete. As MAIL, but to the recipients' terminals instead of their mailboxes.",
        "Abandonnée. Comme MAIL, mais vers les terminaux des destinataires au lieu de leurs boîtes."),
    "SOML": Explanation(
        "RFC 5321 F.6", "Obsolete. Send or mail: to the terminal, or to the mailbox when no terminal takes it.",
        "Abandonnée. « Send or mail » : vers le terminal, ou vers la boîte si aucun terminal ne le prend."),
    "SAML": Explanation(
        "RFC 5321 F.6", "Obsolete. Send and mail: to the terminal and to the mailbox.",
        "Abandonnée. « Send and mail » : vers le terminal et vers la boîte."),
    "TURN": Explanation(
        "RFC 5321 F.1", "Obsolete. Client and server change places. Nothing proves who asks.",
        "Abandonnée. Le client et le serveur échangent leurs rôles. Rien ne prouve qui le demande."),
}

# What a code says by itself; also those that only other servers send.
CODES = {
    211: Explanation(
        "RFC 5321 4.2.2", "System status.",
        "État du système."),
    214: Explanation(
        "RFC 5321 4.2.2", "Help for people.",
        "De l'aide, pour des personnes."),
    220: Explanation(
        "RFC 5321 4.2.2", "The server is ready and greets; the client introduces itself next.",
        "Le serveur est prêt et accueille ; le client se présente ensuite."),
    221: Explanation(
        "RFC 5321 4.2.2", "The server closes the connection, as QUIT asked.",
        "Le serveur ferme la connexion, comme QUIT le demandait."),
    235: Explanation(
        "RFC 4954 6", "The client has proved who it is.",
        "Le client a prouvé qui il est."),
    250: Explanation(
        "RFC 5321 4.2.2", "Done as asked.",
        "C'est fait."),
    251: Explanation(
        "RFC 5321 3.4", "The user is not here, but the server forwards the mail to the address given.",
        "L'utilisateur n'est pas ici, mais le serveur fait suivre le courrier à l'adresse indiquée."),
    252: Explanation(
        "RFC 5321 3.5.3", "The server cannot tell, but takes mail for that address.",
        "Le serveur ne peut pas le dire, mais il accepte le courrier pour cette adresse."),
    334: Explanation(
        "RFC 4954 4", "A challenge in base64: the client answers in base64, or gives up with *.",
        "Un défi en base64 : le client répond en base64, ou renonce avec *."),
    354: Explanation(
        "RFC 5321 4.2.2", "The text may come now; a line of a single dot ends it.",
        "Le texte peut venir ; une ligne faite d'un seul point le termine."),
    421: Explanation(
        "RFC 5321 3.8", "The server closes the connection. Come back later, and send again what got no 250.",
        "Le serveur ferme la connexion. Revenez plus tard, et renvoyez ce qui n'a pas eu son 250."),
    432: Explanation(
        "RFC 4954 6", "The password has to be changed first.",
        "Il faut d'abord changer de mot de passe."),
    450: Explanation(
        "RFC 5321 4.2.2", "The mailbox cannot be used now. Try again later.",
        "La boîte ne peut pas servir en ce moment. Réessayez plus tard."),
    451: Explanation(
        "RFC 5321 4.2.2", "An error of the server; nothing was kept. Try again later.",
        "Une erreur du serveur ; rien n'a été gardé. Réessayez plus tard."),
    452: Explanation(
        "RFC 5321 4.2.2", "No room, or too many recipients for one message. Try again later, or in parts.",
        "Plus de place, ou trop de destinataires. Réessayez plus tard, ou en plusieurs fois."),
    454: Explanation(
        "RFC 4954 6, 3207 4", "TLS or the accounts cannot be used now. Try again later.",
        "TLS ou les comptes ne peuvent pas servir en ce moment. Réessayez plus tard."),
    500: Explanation(
        "RFC 5321 4.2.4", "No such command, or the line is too long. HELP lists the commands.",
        "Commande inconnue, ou ligne trop longue. HELP donne la liste des commandes."),
    501: Explanation(
        "RFC 5321 4.2.4", "The command is known, its argument is wrong. HELP with its name shows the syntax.",
        "La commande est connue, son argument est faux. HELP suivi de son nom montre la syntaxe."),
    502: Explanation(
        "RFC 5321 4.2.4", "The command exists, but this server does not offer it.",
        "La commande existe, mais ce serveur ne l'offre pas."),
    503: Explanation(
        "RFC 5321 4.1.4", "The command is out of order. The order is EHLO, MAIL, RCPT, DATA.",
        "La commande n'est pas à son tour. L'ordre est EHLO, MAIL, RCPT, DATA."),
    504: Explanation(
        "RFC 5321 4.2.2", "The argument is not one that this server knows.",
        "L'argument n'est pas de ceux que ce serveur connaît."),
    521: Explanation(
        "RFC 7504 3", "This host takes no mail.",
        "Cette machine ne prend pas de courrier."),
    530: Explanation(
        "RFC 4954 6, 3207 4", "Authenticate, or start TLS, first.",
        "Authentifiez-vous, ou commencez TLS, d'abord."),
    534: Explanation(
        "RFC 4954 6", "The mechanism is too weak here.",
        "Le mécanisme est trop faible ici."),
    535: Explanation(
        "RFC 4954 6", "Login or password is wrong; which of both is not told.",
        "Le login ou le mot de passe est faux ; lequel des deux n'est pas dit."),
    550: Explanation(
        "RFC 5321 4.2.2", "Refused for good: no such mailbox, or mail for that domain is not taken here.",
        "Refus définitif : aucune boîte de ce nom, ou le courrier de ce domaine n'est pas pris ici."),
    551: Explanation(
        "RFC 5321 3.4", "The user is elsewhere: send to the address that the reply gives.",
        "L'utilisateur est ailleurs : envoyez à l'adresse que donne la réponse."),
    552: Explanation(
        "RFC 5321 4.2.2", "The message is too big. Send less at a time.",
        "Le message est trop grand. Envoyez-en moins à la fois."),
    553: Explanation(
        "RFC 5321 4.2.2", "The address may not be used so: not yours, ambiguous, or it needs SMTPUTF8.",
        "L'adresse ne peut pas servir ainsi : pas la vôtre, ambiguë, ou elle demande SMTPUTF8."),
    554: Explanation(
        "RFC 5321 4.2.2", "The transaction has failed for good.",
        "La transaction a échoué pour de bon."),
    555: Explanation(
        "RFC 5321 4.1.1.11", "The server does not know this parameter. EHLO lists what it takes.",
        "Le serveur ne connaît pas ce paramètre. EHLO énumère ce qu'il prend."),
    556: Explanation(
        "RFC 7504 4", "That domain takes no mail.",
        "Ce domaine ne prend pas de courrier."),
}

# What an enhanced code makes of it (RFC 3463).
ENHANCED = {
    (214, "2.0.0"): Explanation(
        "RFC 5321 4.1.1.8", "Help for people; programs do not read it.",
        "De l'aide pour des personnes ; un programme ne la lit pas."),
    (220, "2.0.0"): Explanation(
        "RFC 3207 4", "TLS may begin: what comes next is its handshake, and then EHLO again.",
        "TLS peut commencer : vient sa négociation, puis de nouveau EHLO."),
    (221, "2.0.0"): Explanation(
        "RFC 5321 4.1.1.10", "The session has ended as it should.",
        "La session finit comme il faut."),
    (235, "2.7.0"): Explanation(
        "RFC 4954 6", "Login and password are right: the client may send.",
        "Login et mot de passe sont justes : le client peut envoyer."),
    (250, "2.0.0"): Explanation(
        "RFC 5321 4.2.2", "Done. Behind a text: the message is on the disk, and the client may forget it.",
        "C'est fait. Après un texte : le message est sur le disque, et le client peut l'oublier."),
    (250, "2.1.0"): Explanation(
        "RFC 3463 3.2", "The sender is noted. The recipients come next.",
        "L'expéditeur est noté. Viennent les destinataires."),
    (250, "2.1.5"): Explanation(
        "RFC 3463 3.2", "The recipient is valid: a mailbox here that can receive now, or a domain that is relayed.",
        "Le destinataire est valable : sa boîte est ici et peut recevoir, ou son domaine est relayé."),
    (251, "2.1.5"): Explanation(
        "RFC 5321 3.4", "Taken; an alias leads elsewhere, and the server carries the mail there.",
        "Accepté ; un alias mène ailleurs, et le serveur y achemine le courrier."),
    (252, "2.5.1"): Explanation(
        "RFC 5321 3.5.3", "Another server knows whether that user exists; mail for it is taken.",
        "Un autre serveur sait si cet utilisateur existe ; le courrier pour lui est accepté."),
    (252, "2.6.8"): Explanation(
        "RFC 6531 3.7.4", "The answer is not ASCII: ask again with SMTPUTF8 to see it.",
        "La réponse n'est pas en ASCII : redemandez avec SMTPUTF8 pour la voir."),
    (421, "4.3.0"): Explanation(
        "RFC 3463 3.4", "A fault inside the server; its log has the details.",
        "Une faute dans le serveur ; son journal en a le détail."),
    (421, "4.3.2"): Explanation(
        "RFC 3463 3.4", "The server is being stopped.",
        "On arrête le serveur."),
    (421, "4.4.2"): Explanation(
        "RFC 5321 4.5.3.2", "Nothing came for too long, or the text came too slowly.",
        "Rien n'est venu pendant trop longtemps, ou le texte venait trop lentement."),
    (421, "4.7.0"): Explanation(
        "RFC 5321 3.8", "Too many connections, errors or refusals, or no SMTP at all: the server protects the others.",
        "Trop de connexions, d'erreurs ou de refus, ou ce n'est pas du SMTP : le serveur protège les autres."),
    (450, "4.2.0"): Explanation(
        "RFC 3463 3.3", "The account exists, but its mailbox cannot be written now; the log says why.",
        "Le compte existe, mais sa boîte ne peut pas être écrite en ce moment ; le journal dit pourquoi."),
    (450, "4.2.1"): Explanation(
        "RFC 821 3.4", "No terminal of that user takes messages now. MAIL reaches the mailbox.",
        "Aucun terminal de cet utilisateur ne prend de messages en ce moment. MAIL atteint la boîte."),
    (451, "4.3.0"): Explanation(
        "RFC 3463 3.4", "The message could not be stored, and nothing of it was kept.",
        "Le message n'a pas pu être rangé, et rien n'en a été gardé."),
    (452, "4.3.1"): Explanation(
        "RFC 3463 3.4", "The disk is full. Room has to be made before the next try.",
        "Le disque est plein. Il faut faire de la place avant de réessayer."),
    (452, "4.5.3"): Explanation(
        "RFC 5321 4.5.3.1.8", "Too many recipients for one message: send it to the others in a second one.",
        "Trop de destinataires pour un message : envoyez-le aux autres dans un second."),
    (454, "4.7.0"): Explanation(
        "RFC 3463 3.8", "Certificate or accounts cannot be read now; the log says why.",
        "Le certificat ou les comptes ne peuvent pas être lus ; le journal dit pourquoi."),
    (500, "5.5.2"): Explanation(
        "RFC 3463 3.6", "The server knows no such command, or the line is too long. HELP lists the commands.",
        "Le serveur ne connaît pas cette commande, ou la ligne est trop longue. HELP donne la liste."),
    (501, "5.1.3"): Explanation(
        "RFC 5321 4.1.2", "The recipient's address is malformed. Write <user@domain>.",
        "L'adresse du destinataire est mal formée. Écrivez <compte@domaine>."),
    (501, "5.1.7"): Explanation(
        "RFC 5321 4.1.2", "The sender's address is malformed. Write <user@domain>, or <> for none.",
        "L'adresse de l'expéditeur est mal formée. Écrivez <compte@domaine>, ou <> pour aucune."),
    (501, "5.5.2"): Explanation(
        "RFC 4954 4", "The line has octets that may not stand there, or is no base64.",
        "La ligne contient des octets interdits, ou n'est pas du base64."),
    (501, "5.5.4"): Explanation(
        "RFC 3463 3.6", "The argument is missing, malformed or one too many; the reply shows how it is written.",
        "L'argument manque, est mal formé ou de trop ; la réponse montre comment l'écrire."),
    (501, "5.7.0"): Explanation(
        "RFC 4954 4", "The client gave up with *, or sent a response that the mechanism does not take.",
        "Le client a renoncé avec *, ou a envoyé une réponse que ce mécanisme ne prend pas."),
    (502, "5.5.1"): Explanation(
        "RFC 3463 3.6", "A real command, but this server does not do it. HELP lists those that work.",
        "Une vraie commande, mais ce serveur ne l'exécute pas. HELP donne celles qui marchent."),
    (503, "5.5.1"): Explanation(
        "RFC 5321 4.1.4", "Not now: the order is EHLO, MAIL, RCPT, DATA; the reply says what is amiss.",
        "Pas maintenant : l'ordre est EHLO, MAIL, RCPT, DATA ; la réponse dit ce qui manque, ou est de trop."),
    (504, "5.5.4"): Explanation(
        "RFC 3463 3.6", "Unknown mechanism, or word of HELP. EHLO and HELP list what there is.",
        "Le serveur ne connaît pas ce mécanisme, ou ce mot de HELP. EHLO et HELP disent ce qu'il y a."),
    (530, "5.7.0"): Explanation(
        "RFC 4954 6, 3207 4", "Only accounts may send here: STARTTLS if it is offered, then AUTH.",
        "Seuls les comptes peuvent envoyer ici : STARTTLS s'il est offert, puis AUTH."),
    (535, "5.7.8"): Explanation(
        "RFC 4954 6", "Login or password is wrong; which of both is not told. Look at the case, and at the blanks.",
        "Le login ou le mot de passe est faux ; lequel n'est pas dit. Vérifiez la casse et les blancs."),
    (550, "5.1.1"): Explanation(
        "RFC 3463 3.2", "Nobody here has that name. Compare it, and the domain after @; VRFY asks for a name.",
        "Personne ici ne porte ce nom. Vérifiez-le, ainsi que le domaine après @ ; VRFY demande si un nom existe."),
    (550, "5.1.6"): Explanation(
        "RFC 3463 3.2", "The user has moved, and mail for the new address is not carried by this server.",
        "L'utilisateur est parti, et ce serveur n'achemine pas le courrier vers sa nouvelle adresse."),
    (550, "5.3.3"): Explanation(
        "RFC 821 3.4", "SEND reaches terminals of this host only. MAIL, SOML and SAML go further.",
        "SEND n'atteint que les terminaux de cette machine. MAIL, SOML et SAML vont plus loin."),
    (550, "5.7.1"): Explanation(
        "RFC 3463 3.8", "That domain is neither ours nor relayed: such mail has to go to its own server.",
        "Ce domaine n'est ni le nôtre ni relayé : ce courrier doit aller à son propre serveur."),
    (551, "5.1.6"): Explanation(
        "RFC 5321 3.4", "The user has moved: send to the address that the reply gives.",
        "L'utilisateur est parti : envoyez à l'adresse que donne la réponse."),
    (552, "5.2.3"): Explanation(
        "RFC 3463 3.3", "The text is longer than a terminal is given at once. MAIL takes it.",
        "Le texte est plus long que ce qu'un terminal reçoit d'un coup. MAIL le prend."),
    (552, "5.3.4"): Explanation(
        "RFC 1870 6", "The message, or its header, is larger than this server takes; EHLO's SIZE tells how much.",
        "Le message, ou son en-tête, dépasse ce que ce serveur prend ; SIZE, dans EHLO, dit combien."),
    (553, "5.1.4"): Explanation(
        "RFC 5321 3.5.1", "Several users have that name: ask for a login.",
        "Plusieurs utilisateurs portent ce nom : demandez un login."),
    (553, "5.6.7"): Explanation(
        "RFC 6531 3.5", "The address is not ASCII: MAIL must say SMTPUTF8.",
        "L'adresse n'est pas en ASCII : MAIL doit dire SMTPUTF8."),
    (553, "5.7.1"): Explanation(
        "RFC 3463 3.8", "An account may write under its own address only.",
        "Un compte ne peut écrire que sous sa propre adresse."),
    (554, "5.2.0"): Explanation(
        "RFC 3463 3.3", "Of all recipients, no mailbox takes this message; the reply says why.",
        "De tous les destinataires, aucune boîte ne prend ce message ; la réponse dit pourquoi."),
    (554, "5.4.6"): Explanation(
        "RFC 5321 6.3", "The message has passed so many servers that it seems to be going in circles.",
        "Le message est passé par tant de serveurs qu'il semble tourner en rond."),
    (554, "5.5.1"): Explanation(
        "RFC 5321 4.1.1.4", "Every RCPT was refused: the text would go to nobody. Name somebody else by RCPT.",
        "Tous les RCPT ont été refusés : le texte n'irait à personne. Nommez quelqu'un d'autre par RCPT."),
    (555, "5.5.4"): Explanation(
        "RFC 5321 4.1.1.11", "MAIL or RCPT has a parameter that is not offered here, or needs EHLO in HELO's place.",
        "MAIL ou RCPT a un paramètre qui n'est pas offert ici, ou qui demande EHLO au lieu de HELO."),
}


# Where a session stands: what it awaits next.
STATES = {
    "connected": Explanation(
        "RFC 5321 4.1.4", "Connected; HELO or EHLO comes first.",
        "connecté ; HELO ou EHLO d'abord"),
    "greeted": Explanation(
        "RFC 5321 4.1.4", "Introduced; MAIL opens a transaction.",
        "présenté ; MAIL ouvre une transaction"),
    "transaction": Explanation(
        "RFC 5321 3.3", "A transaction is open; RCPT names its recipients.",
        "transaction ouverte ; RCPT nomme ses destinataires"),
    "recipients": Explanation(
        "RFC 5321 3.3", "There are recipients; more of them, or DATA.",
        "destinataires acceptés ; RCPT en ajoute, DATA amène le texte"),
    "text": Explanation(
        "RFC 5321 4.1.1.4", "The text is coming; a line of a single dot ends it.",
        "le texte arrive ; une ligne faite d'un seul point le termine"),
    "chunks": Explanation(
        "RFC 3030 2", "Between two chunks; BDAT brings the next one.",
        "entre deux morceaux ; BDAT amène le suivant"),
}


def explain(code, enhanced=""):
    """The Explanation of a reply with `code` (int) and `enhanced` ("" or as "5.1.1"); None if there is none."""
    return ENHANCED.get((code, enhanced)) or CODES.get(code)


def about(topic):
    """Explanations of what HELP was asked about, if it is no command: [(its name, Explanation)].

    topic: "503", "5.7.1" or "550 5.7.1"; an enhanced code alone may go with several codes.
    """
    code, _, enhanced = ("", "", topic) if "." in topic.partition(" ")[0] else topic.partition(" ")
    found = [(f"{number} {more}", entry) for (number, more), entry in ENHANCED.items()
             if code in ("", str(number)) and enhanced in ("", more)]
    return [(code, entry) for number, entry in CODES.items() if topic == str(number)] + found


def state_text(state):
    """A transcript.State, in French."""
    parts = [f"TLS ({state.cipher})"] if state.cipher else []
    parts += [f"authentifié ({state.login})"] if state.login else []
    if state.sender is not None:
        plural = "s" if state.recipients > 1 else ""
        parts.append(f"de <{state.sender}>, {state.recipients} destinataire{plural}")
    return " ; ".join([STATES[state.name].french, *parts])
