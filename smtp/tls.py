"""TLS between a channel and its client, over memory buffers, so that it works on pipes too (RFC 3207).

Imported when a client asks for it, or when a port begins with it.
"""
import posix
import ssl


class Broken(Exception):
    """The other side does not speak TLS as it should. `reason`: one line, for the log."""

    def __init__(self, error):
        super().__init__()
        self.reason = getattr(error, "reason", None) or str(error)


def make_context(access):
    """An SSLContext for a server with the certificate and the key that `access` opens. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    copies = []
    try:
        for name in ("certificate", "key"):
            copies.append(_copy(access.open(name)))
        context.load_cert_chain(*(f"/proc/self/fd/{file}" for file in copies))
    finally:
        for file in copies:
            posix.close(file)
    return context


def _copy(file):
    """A descriptor of a copy in memory of the open `file`, which is closed: the ssl module reads by path only, and
    who opens a descriptor's path has to be somebody who may open the file."""
    copy = -1
    try:
        copy = posix.memfd_create("pem", posix.MFD_CLOEXEC)
        while posix.sendfile(copy, file, None, 65536):
            pass
    except OSError:
        if copy >= 0:
            posix.close(copy)
        raise
    finally:
        posix.close(file)
    return copy


class Layer:
    """One connection's TLS: ciphertext and plaintext in and out, as bytes."""

    def __init__(self, context):
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self, data):
        """Go on with the handshake after `data` came in. Returns whether it is complete. Raises Broken."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise Broken(error) from error
        return True

    def decrypt(self, data):
        """Plaintext out of `data`, b"" if it makes none yet, None at the end of TLS. Raises Broken."""
        self._incoming.write(data)
        pieces = []
        try:
            while piece := self._tls.read(65536):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            raise Broken(error) from error
        return b"".join(pieces) or None

    def encrypt(self, data):
        """Ciphertext for `data`, with whatever else is due."""
        if data:
            self._tls.write(data)
        return self.due()

    def due(self):
        """Ciphertext that has to go out now: answers of the handshake, tickets, alerts."""
        return self._outgoing.read()

    def end(self):
        """Ciphertext that says goodbye, so that the other side knows nothing was cut off."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass
        return self.due()

    def cipher(self):
        """Version, cipher and key bits as Exim logs them: `TLS1.3:TLS_AES_256_GCM_SHA384:256`."""
        name, version, bits = self._tls.cipher()
        return f"{version.replace('TLSv', 'TLS')}:{name}:{bits}"
