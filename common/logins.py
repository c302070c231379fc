"""The file of accounts: who may send, and with which password.

One account a line: `login:password`, or `login` blanks `password`; the first colon or blank parts them.
What follows the colon is the password, to the octet, so it may hold colons and blanks. Empty lines and
lines that begin with # are skipped. UTF-8, with or without a byte order mark; lines end in LF or CRLF.
Logins and passwords are compared octet for octet: case matters, nothing is normalised.

A password may be hashed, in the notation of the PHC (passlib writes the same):

    $scrypt$ln=14,r=8,p=1$<salt>$<hash>      N is 2**ln; salt and hash in base64 without padding
"""
import binascii
import posix

BOM = b"\xef\xbb\xbf"
BLANKS = b" \t"
PARTING = bytes.maketrans(BLANKS, b"::")
SCRYPT = b"$scrypt$"
PUBLIC = {b"alice": b"secret1", b"bruno": b"secret2"}       # the login_pass.txt that is handed in
COST = (14, 8, 1)               # ln, r, p of new hashes: 16 MiB, some 50 ms
MOST_MEMORY = 65 << 20          # octets; 64 MiB is what passlib's own ln=16,r=8 takes
MOST_WORK = 1 << 20             # N * r * p, eight times that of COST: under a second


class Trouble(Exception):
    """Something that its user must hear of. `text`: what, in French, without a final full stop."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


class Unreadable(Trouble):
    """The file of accounts is not there, not a plain file, or not ours to read.

    `path`: the file; `error`: the OSError, None for what is no plain file; `text`: both, in French.
    """

    def __init__(self, path, error=None):
        from common.french import reason
        why = reason(error) if error else "ce n'est pas un fichier ordinaire"
        super().__init__(f"{path} : {why}")
        self.path = path
        self.error = error


# -- one password ---------------------------------------------------------------------------------------

def _base64(octets):
    return binascii.b2a_base64(octets, newline=False).rstrip(b"=")


def _from_base64(text):
    octets = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    if _base64(octets) != text.rstrip(b"="):    # a2b_base64 skips what is not base64
        raise ValueError(text)
    return octets


def _scrypt(password, salt, cost, size):
    import hashlib
    ln, r, p = cost
    return hashlib.scrypt(password, salt=salt, n=1 << ln, r=r, p=p, dklen=size, maxmem=MOST_MEMORY + (1 << 20))


def _is_reasonable(cost):
    ln, r, p = cost
    if min(cost) < 1 or ln > 30 or ln >= 16 * r:        # the last is scrypt's own limit (RFC 7914 §2)
        return False
    return r * p << ln <= MOST_WORK and 128 * r * ((1 << ln) + p + 2) <= MOST_MEMORY


class Clear:
    """A password that stands in the file as it is. `kind`: None."""

    kind = None

    def __init__(self, password):
        self.password = password

    def matches(self, password):
        """Whether `password` (bytes) is the one, in a time that tells nothing of it, not even its length."""
        import hashlib
        import hmac
        kept, given = (hashlib.sha256(secret).digest() for secret in (self.password, password))
        return hmac.compare_digest(kept, given)

    def decoy(self):
        """A record of the same kind, to spend the same time on."""
        return Clear(posix.urandom(16))


class Hashed:
    """A password that stands in the file hashed. `kind`: its cost, (ln, r, p)."""

    def __init__(self, kind, salt, digest):
        self.kind, self.salt, self.digest = kind, salt, digest

    @classmethod
    def of(cls, password):
        """The record of `password` (bytes), with a new salt."""
        salt = posix.urandom(16)
        return cls(COST, salt, _scrypt(password, salt, COST, 32))

    @classmethod
    def parse(cls, text):
        """The record written as `text` (bytes). ValueError when it is damaged or its cost unreasonable."""
        _, _, cost, salt, digest = text.split(b"$")
        values = dict(field.split(b"=") for field in cost.split(b","))
        record = cls(tuple(map(int, values.values())), _from_base64(salt), _from_base64(digest))
        if list(values) != [b"ln", b"r", b"p"] or not _is_reasonable(record.kind):
            raise ValueError(cost)
        if not (8 <= len(record.salt) <= 64 and 16 <= len(record.digest) <= 64):
            raise ValueError(text)
        return record

    def written(self):
        """The record as it stands in the file (bytes)."""
        return b"%bln=%d,r=%d,p=%d$%b$%b" % (SCRYPT, *self.kind, _base64(self.salt), _base64(self.digest))

    def matches(self, password):
        """Whether `password` (bytes) is the one."""
        import hmac
        return hmac.compare_digest(_scrypt(password, self.salt, self.kind, len(self.digest)), self.digest)

    def decoy(self):
        """A record of the same cost, to spend the same time on."""
        return Hashed(self.kind, posix.urandom(len(self.salt)), posix.urandom(len(self.digest)))


# -- reading the file -----------------------------------------------------------------------------------

def split_line(line):
    """(login, password as written) of one line, in bytes; None for a comment or an empty line."""
    line = line.rstrip(b"\r").lstrip(BLANKS)
    if not line or line.startswith(b"#"):
        return None
    end = line.translate(PARTING).find(b":")
    if end < 0:
        return line, b""
    rest = line[end + 1:]
    return line[:end], rest if line[end:end + 1] == b":" else rest.lstrip(BLANKS)


def decoded(octets):
    """A line of text (bytes) as str. Raises Trouble."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise Trouble("ce n'est pas du texte en UTF-8") from None
    if "\0" in text:                # as in UTF-16
        raise Trouble("un caractère nul")
    return text


def take_lines(path, text, take):
    """Call take(number, line) with each line of `text` (bytes), which the file at `path` holds. Returns what Trouble it
    raised, as French lines that say where."""
    problems = []
    for number, line in enumerate(text.removeprefix(BOM).split(b"\n"), 1):
        try:
            take(number, line)
        except Trouble as trouble:
            problems.append(f"{path}, ligne {number} : {trouble.text}")
    return problems


def record_of(name, secret):
    trimmed = secret.strip(BLANKS)
    if not trimmed:
        raise Trouble(f"le compte « {name} » n'a pas de mot de passe")
    if not trimmed.startswith(SCRYPT):
        return Clear(secret)
    try:
        return Hashed.parse(trimmed)
    except ValueError:              # binascii.Error is one too
        raise Trouble(f"le mot de passe haché de « {name} » est endommagé, ou d'un coût excessif") from None


def _has_doubtful_ends(secret):
    return secret[0] in b": \t" or secret[-1] in BLANKS


class Accounts:
    """The accounts of one file, as they were when it was read.

    `problems`, `warnings`: lists of French lines for the person who starts the server. A line with a problem
    is no account; of two lines for one login the first counts.
    """

    def __init__(self, path, text):
        """`path`: the file's name, for the messages; `text`: what is in it (bytes)."""
        self.warnings = []
        self._path = path
        self._records = {}
        self._lines = {}
        self.problems = take_lines(path, text, self._take)
        if not self._lines and not self.problems:
            self.warnings.append(f"{path} : aucun compte, personne ne pourra envoyer")
        examples = {record.kind: record for record in self._records.values()}
        self._decoys = {kind: record.decoy() for kind, record in examples.items()}

    def _take(self, number, line):
        decoded(line)
        if (parts := split_line(line)) is None:
            return
        login, secret = parts
        name = login.decode()
        if not login:
            raise Trouble("il manque le login")
        if login in self._lines:
            raise Trouble(f"le compte « {name} » est déjà à la ligne {self._lines[login]}")
        self._lines[login] = number
        self._records[login] = record = record_of(name, secret)
        if record.kind is None and _has_doubtful_ends(secret):
            self.warnings.append(f"{self._path}, ligne {number} : le mot de passe de « {name} » commence par un blanc"
                                 " ou un deux-points, ou finit par un blanc, qui en fait partie")

    def public(self):
        """The logins (str) whose passwords everyone knows, since the file that is handed in has them."""
        return [login.decode() for login, record in self._records.items()
                if record.kind is None and record.password == PUBLIC.get(login)]

    def has_accounts(self):
        """Whether there is any."""
        return bool(self._records)

    def has(self, login):
        """Whether `login` (bytes) has an account."""
        return self._find(login) is not None

    def _find(self, login):
        """The record of `login` (bytes), or None."""
        return self._records.get(login)

    def has_secrets(self):
        """Whether the file has a password that not everyone knows."""
        return len(self.public()) < len(self._records)

    def mechanisms(self):
        """The names of the mechanisms to offer, in capitals: CRAM-MD5 only if every password is in clear."""
        all_clear = not any(self._decoys)
        return ["PLAIN", "LOGIN", "CRAM-MD5"] if all_clear else ["PLAIN", "LOGIN"]

    def accept(self, login, password):
        """Whether `login` may send with `password` (bytes both).

        One record of each kind in the file is tried, whatever the login: the time taken says nothing of who
        has an account, nor of how its password is kept.
        """
        own = self._find(login)
        accepted = False
        for kind, decoy in self._decoys.items():
            is_own = own is not None and own.kind == kind
            accepted |= (own if is_own else decoy).matches(password) and is_own
        return accepted

    def accept_cram_md5(self, login, challenge, answer):
        """Whether `answer` is the keyed digest, in hexadecimal, that `login` owes to `challenge` (bytes all).

        Only for accounts whose mechanisms() name CRAM-MD5.
        """
        import hmac
        own = self._find(login)
        key = (own or Clear(posix.urandom(16))).password
        expected = hmac.new(key, challenge, "md5").hexdigest().encode()
        return hmac.compare_digest(expected, answer.lower()) and own is not None


def read_file(path):
    """What the file at `path` holds (bytes). Raises Unreadable."""
    from stat import S_ISREG
    try:
        if not S_ISREG(posix.stat(path).st_mode):       # a FIFO would make its reader wait
            raise Unreadable(path)
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Unreadable(path, error) from error


def is_open_to_all(path):
    """Whether others than its owner and group may read or write the file."""
    try:
        return bool(posix.stat(path).st_mode & 0o006)
    except OSError:                 # its text was read by someone with more rights
        return False


def read_accounts(path, text=None):
    """The Accounts of the file at `path`. `text`: its content (bytes), if the caller has read it already.

    Raises Unreadable. What is wrong inside the file goes into the result's `problems` and `warnings`.
    """
    accounts = Accounts(path, read_file(path) if text is None else text)
    if public := accounts.public():
        accounts.warnings.append(f"{path} : tout le monde connaît les mots de passe de l'exemple livré"
                                 f" ({', '.join(public)}) ; remplacez-les avant de servir à quelqu'un")
    if accounts.has_secrets() and is_open_to_all(path):
        accounts.warnings.append(f"{path} : tout le monde peut le lire ou l'écrire (chmod 600 {path})")
    return accounts


# -- writing it -----------------------------------------------------------------------------------------

def check_login(login):
    """Trouble if `login` (str) cannot stand in the file."""
    if not login.isprintable() or not login or login.startswith("#") or ":" in login or " " in login:
        raise Trouble("un login n'a ni blanc, ni deux-points, ni caractère de contrôle, et ne commence pas par #")


def check_password(password):
    """Trouble if `password` (bytes) is not one that a person can choose."""
    text = decoded(password)
    if not text.strip():
        raise Trouble("un mot de passe vide n'est pas admis")
    if any(character < " " and character != "\t" or character == "\x7f" for character in text):
        raise Trouble("un caractère de contrôle dans le mot de passe")


def _with_account(text, login, secret):
    """`text` (a file's bytes) with the account's line replaced, or added at its end."""
    line_end = b"\r\n" if b"\r\n" in text else b"\n"
    bom = BOM if text.startswith(BOM) else b""
    body = text.removeprefix(BOM)
    if body and not body.endswith(b"\n"):
        body += line_end
    lines = [line + b"\n" for line in body.split(b"\n")[:-1]]
    are_own = [(split_line(line[:-1]) or [None])[0] == login for line in lines]
    kept = [line for line, is_own in zip(lines, are_own) if not is_own]
    kept.insert(are_own.index(True) if any(are_own) else len(kept), login + b":" + secret + line_end)
    return bom + b"".join(kept)


def _replace(path, text):
    """Put `text` in the place of the file, whole or not at all, with its owner and mode (a new one: 0600)."""
    import os
    import tempfile
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".auth-")
    try:
        with open(descriptor, "wb") as file:
            if os.path.exists(path):
                old = os.stat(path)
                os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, old.st_mode & 0o7777)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _rewrite(path, login, secret):
    import fcntl
    import os
    path = os.path.realpath(path)       # a symbolic link stays one
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)      # two commands at once lose no account
        text = read_file(path) if os.path.exists(path) else b""
        _replace(path, _with_account(text, login, secret))
        os.fsync(folder)
    finally:
        os.close(folder)


def write_account(path, login, password, clear=False):
    """Put the account (`login` str, `password` bytes) into the file, hashed unless `clear`.

    A line that the login has already is replaced; the others stay as they are, and so do the file's owner
    and mode. Raises Trouble; then nothing has changed.
    """
    check_login(login)
    check_password(password)
    if clear and password.strip(BLANKS).startswith(SCRYPT):
        raise Trouble("un mot de passe en clair ne commence pas par $scrypt$")
    secret = password if clear else Hashed.of(password).written()
    try:
        _rewrite(path, login.encode(), secret)
    except OSError as error:
        from common.french import reason
        raise Trouble(f"{path} : {reason(error)} ; rien n'est changé") from error
