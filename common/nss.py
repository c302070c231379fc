"""Whether an account that was not found may be there all the same: what `pwd` does not tell.

Python's getpwnam says "not found" also where a source of /etc/nsswitch.conf (LDAP, NIS ...) could not be asked. The
C library's getpwnam_r tells: 0 is "nobody knows that name", anything else is the error of a source.
"""
SWITCH = "/etc/nsswitch.conf"
LOCAL_SOURCES = {"files", "compat", "systemd", "db"}        # these answer whatever happens elsewhere
ENTRY_OCTETS = 512          # more than a struct passwd has anywhere
TEXT_OCTETS = 1 << 16


def lookup_error(name):
    """The errno with which the sources of accounts cannot tell now who `name` (str) is; 0 if they know that nobody is.
    For a name that `pwd` has not found."""
    return _getpwnam_error(name) if _asks_elsewhere() else 0


def _asks_elsewhere():
    """Whether accounts come from more than this machine's own files."""
    try:
        with open(SWITCH, encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")
    except OSError:
        return False            # the C library then asks files alone
    fields = (line.partition("#")[0].partition(":") for line in lines)
    sources = next((text.split() for database, _, text in fields if database.strip() == "passwd"), [])
    return any(source not in LOCAL_SOURCES and source[0] not in "[]!" and "=" not in source for source in sources)


def _getpwnam_error(name):
    import ctypes
    found = ctypes.c_void_p()
    return ctypes.CDLL(None).getpwnam_r(ctypes.c_char_p(name.encode()), ctypes.create_string_buffer(ENTRY_OCTETS),
                                        ctypes.create_string_buffer(TEXT_OCTETS), ctypes.c_size_t(TEXT_OCTETS),
                                        ctypes.byref(found))
