"""Paths, addresses and parameters (smtp/syntax.py): what is taken, what is not, and that nothing else can happen."""

import random
import unittest

from smtp.syntax import (NULL, Malformed, MalformedParameter, check_domain, parse_address, parse_parameters, parse_path,
                         parse_size)

# path as typed: (local part, domain, address, rest)
GOOD_PATHS = {
    "<smith@a.example>": ("smith", "a.example", "smith@a.example", ""),
    "smith@a.example": ("smith", "a.example", "smith@a.example", ""),
    "  \t<smith@a.example>\t ": ("smith", "a.example", "smith@a.example", ""),
    "< smith@a.example \t> SIZE=1": ("smith", "a.example", "smith@a.example", "SIZE=1"),
    "<smith@a.example> SIZE=1 X": ("smith", "a.example", "smith@a.example", "SIZE=1 X"),
    "smith@a.example\tSIZE=1": ("smith", "a.example", "smith@a.example", "SIZE=1"),
    "<Smith@A.Example>": ("Smith", "A.Example", "Smith@A.Example", ""),
    "<j.o.e@a>": ("j.o.e", "a", "j.o.e@a", ""),
    "<!#$%&'*+-/=?^_`{|}~@a>": ("!#$%&'*+-/=?^_`{|}~", "a", "!#$%&'*+-/=?^_`{|}~@a", ""),
    '<"joe"@a>': ("joe", "a", '"joe"@a', ""),
    '<"j o e"@a>': ("j o e", "a", '"j o e"@a', ""),
    '<"j\\"o\\\\e"@a>': ('j"o\\e', "a", '"j\\"o\\\\e"@a', ""),
    '<"a@b>c"@a>': ("a@b>c", "a", '"a@b>c"@a', ""),
    '<".j..e."@a>': (".j..e.", "a", '".j..e."@a', ""),
    '"j o e"@a': ("j o e", "a", '"j o e"@a', ""),
    '"j\\" o"@a SIZE=1': ('j" o', "a", '"j\\" o"@a', "SIZE=1"),
    "<joe@[127.0.0.1]>": ("joe", "[127.0.0.1]", "joe@[127.0.0.1]", ""),
    "<joe@[IPv6:2001:db8::1]>": ("joe", "[IPv6:2001:db8::1]", "joe@[IPv6:2001:db8::1]", ""),
    "<joe@[ipv6:::ffff:192.0.2.1]>": ("joe", "[ipv6:::ffff:192.0.2.1]", "joe@[ipv6:::ffff:192.0.2.1]", ""),
    "<joe@lab_5.a-b.c3>": ("joe", "lab_5.a-b.c3", "joe@lab_5.a-b.c3", ""),
    "<joe@3com.example>": ("joe", "3com.example", "joe@3com.example", ""),
    "<@a.example:joe@b>": ("joe", "b", "joe@b", ""),
    "<@a.example,@[192.0.2.1]:joe@b>": ("joe", "b", "joe@b", ""),
    "@a.example:joe@b": ("joe", "b", "joe@b", ""),
    "<postmaster>": ("postmaster", "", "postmaster", ""),
    "PostMaster": ("PostMaster", "", "PostMaster", ""),
    "<zoé@été.example>": ("zoé", "été.example", "zoé@été.example", ""),
    "<>": ("", "", "", ""),
    " <> SIZE=1": ("", "", "", "SIZE=1"),
    "<%s@a>" % ("x" * 254): ("x" * 254, "a", "x" * 254 + "@a", ""),
}

BAD_PATHS = (
    "", " ", "\t", "<", "<<>>", "<a@b", "a@b>", "<a@b>c", "<a@b><c@d>", "<a@b>,<c@d>",
    "<a>", "a", "<@>", "<@b>", "<a@>", "a@", "@b", "@", "<a@@b>", "<a@b@c>", "<a b@c>",
    "<.a@b>", "<a.@b>", "<a..b@c>", "<.@b>", "<a@.b>", "<a@b.>", "<a@b..c>", "<a@.>",
    "<a@-b>", "<a@b->", "<a@b.-c.d>", "<a@_>", "<a@b c>", "<a@b\0>", "<a@b\x7f>", "<a@b!>", "<a@b/c>",
    "<a@%s>" % ("b" * 64),
    '<"a@b>', '<a"@b>', '<"a"b@c>', '<"a""b"@c>', '<""@b>', '<"a"@>', '<"a">', '"a b@c', '<"\\"@b>', '<a\\b@c>',
    "<a(b)@c>", "<a,b@c>", "<a;b@c>", "<a:b@c>", "<a<b@c>", "<[a]@b>",
    "<a\x01@b>", "<a\0@b>", "<a\r@b>", "<a\n@b>", "<a\t@b>", '<"a\0"@b>', '<"a\x1b"@b>', '<"a\x7f"@b>', '<"a\\\0"@b>',
    "<a@[127.0.0.1>", "<a@127.0.0.1]>", "<a@[127.0.0]>", "<a@[127.0.0.1.1]>", "<a@[127.0.0.256]>", "<a@[]>", "<a@[a]>",
    "<a@[127.0.0.-1]>", "<a@[127.0.0.1111]>", "<a@[127.0..1]>", "<a@[IPv6:]>", "<a@[IPv6:1]>", "<a@[IPv6:::g]>",
    "<a@[1٢.0.0.1]>",
    "<@a:>", "<@a>", "<@a,:b@c>", "<@a,b:c@d>", "<@a,@:b@c>", "<@a..b:c@d>", "<@a:b>", "<@a@b:c@d>", "<@a:@b:c@d>",
    "<%s@a>" % ("x" * 255), "<\udcff@a>", "<a@\udcff>",
)

# text: (keyword, value) pairs
GOOD_PARAMETERS = {
    "": {},
    "SIZE=1000": {"SIZE": "1000"},
    "size=1000  \t body=8BITMIME": {"SIZE": "1000", "BODY": "8BITMIME"},
    "SMTPUTF8": {"SMTPUTF8": None},
    "AUTH=<>": {"AUTH": "<>"},
    "AUTH=e+3Dmc2@example.com": {"AUTH": "e+3Dmc2@example.com"},
    "X-A1=b": {"X-A1": "b"},
    "1=2": {"1": "2"},
}
BAD_PARAMETERS = ("=", "=1", "SIZE=", "A=B=C", "A==", "-A=1", "A_B=1", "É=1", "A=1 A=2", "A a", "A=\x01", "A=1\x0bB=2",
                  "A=1\x1fB", "A\x00", "<a@b>", "A=\x7f")

# What a mutation puts in: all that means something in the grammar, and what no text should have.
INTERESTING = list('<>@:;,.[]()"\\ \t-_%!=|/') + ["\0", "\r", "\n", "\x7f", "\x1b", "\x85", "\xa0", "é", "\u2028",
                                                  "\udcff",
                                                  "\udc80", "\U0001f4e7", "a" * 300, "@a,", "IPv6:", "postmaster", "٢"]


class PathTest(unittest.TestCase):
    def test_good(self):
        for path, wanted in GOOD_PATHS.items():
            with self.subTest(path=path):
                address, rest = parse_path(path)
                self.assertEqual((address.local, address.domain, address.text, rest), wanted)

    def test_bad(self):
        for path in BAD_PATHS:
            with self.subTest(path=path), self.assertRaises(Malformed):
                parse_path(path)

    def test_null_is_one(self):
        self.assertIs(parse_path("<>")[0], NULL)

    def test_needs_utf8(self):
        self.assertTrue(parse_address("zoé@a.example").needs_utf8)
        self.assertTrue(parse_address("zoe@été.example").needs_utf8)
        self.assertFalse(parse_address("zoe@a.example").needs_utf8)


class DomainTest(unittest.TestCase):
    def test_good(self):
        for domain in ("a", "a.b", "A1.example", "%s.fr" % ("x" * 63), "[10.0.0.255]", "[IPv6:::1]", "a--b.c",
                       "xn--t-bga.fr"):
            with self.subTest(domain=domain):
                check_domain(domain)

    def test_bad(self):
        for domain in ("", ".", "a.", ".a", "a..b", "-a", "a-", "%s.fr" % ("x" * 64), "[", "]", "[]", "[1.2.3]", "a b",
                       "a\0"):
            with self.subTest(domain=domain), self.assertRaises(Malformed):
                check_domain(domain)


class ParameterTest(unittest.TestCase):
    def test_good(self):
        for text, wanted in GOOD_PARAMETERS.items():
            with self.subTest(text=text):
                self.assertEqual(parse_parameters(text), wanted)

    def test_bad(self):
        for text in BAD_PARAMETERS:
            with self.subTest(text=text), self.assertRaises(MalformedParameter):
                parse_parameters(text)

    def test_size(self):
        self.assertEqual([parse_size(text) for text in ("0", "1000", "9" * 20)], [0, 1000, 10 ** 20 - 1])
        for text in (None, "", "-1", "+1", "1k", "1.0", "1" * 21, "٢", " 1"):
            with self.subTest(text=text), self.assertRaises(MalformedParameter):
                parse_size(text)


class MutationTest(unittest.TestCase):
    """Good text changed at random places, from a generator with a fixed seed: it is taken whole and clean, or
    Malformed."""

    def setUp(self):
        self.dice = random.Random(821)

    def mutated(self, text: str) -> str:
        for _ in range(self.dice.randrange(1, 5)):
            place = self.dice.randrange(len(text) + 1)
            text = text[:place] + self.dice.choice(INTERESTING + [""]) + text[place + self.dice.randrange(2):]
        return text

    def test_paths(self):
        paths, taken = list(GOOD_PATHS), 0
        for _ in range(30000):
            text = self.mutated(self.dice.choice(paths))
            try:
                address, _ = parse_path(text)
            except Malformed as error:
                self.assertTrue(error.reason.isascii() and error.reason.isprintable(), text)
            else:
                taken += 1
                self.check_clean(address, text)
        self.assertGreater(taken, 2000)

    def check_clean(self, address, text):
        """Nothing that could end a header line or a reply, and the same address when it is read again."""
        self.assertTrue(address.text.isprintable() and address.local.isprintable(), text)
        self.assertLessEqual(len(address.text.encode()), 256, text)
        if address is not NULL:
            again = parse_address(address.text)
            self.assertEqual((again.local, again.domain), (address.local, address.domain), text)
            self.assertTrue(address.local and (address.domain or address.local.lower() == "postmaster"), text)

    def test_parameters(self):
        texts = [text for text in GOOD_PARAMETERS if text]
        for _ in range(10000):
            text = self.mutated(self.dice.choice(texts))
            try:
                parameters = parse_parameters(text)
            except MalformedParameter:
                continue
            for keyword, value in parameters.items():
                self.assertTrue(keyword.isascii() and keyword.isprintable() and (value or "").isprintable(), text)


if __name__ == "__main__":
    unittest.main()
