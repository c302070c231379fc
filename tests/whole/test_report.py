"""The report (rapport/) and README.txt against the code: what they name exists, and what they say is so.

What the report shows of the code is read when it is built (rapport/faits.py); what it shows of runs was recorded by
rapport/enregistrer, and is compared here with the table of commands.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import types
import typing
import unittest

from launcher import options
from smtp import commands, data, limits
from tests.helpers import readme, support

REPORT = support.ROOT / "rapport"
sys.path.insert(0, str(REPORT))
import faits
import reponses

README = (support.ROOT / "README.txt").read_text("utf-8")
TEXTS = dict(zip(faits.SOURCES, faits.texts(REPORT)))
RAW = re.compile(r"`([^`\n]+)`")
OTHERS_OPTIONS = {"-ES", "-bs", "-e", "-l", "-p", "-n"}             # Python's, Exim's, netcat's
OF_THE_TESTS = {"-thunderbird", "-browser", "-long", "-mesures", "-rapport", "-court", "-install", "-clair"}
PATH = re.compile(r"(?<![\w-])(?:%s|tests|rapport)/[\w./*-]*[\w/]" % "|".join(faits.ROOMS))
MADE_BY = "rapport/enregistrer"
PAGE_COLUMNS = 94              # of an excerpt, that fit on a page
IN_WORDS = {3: "trois", 5: "cinq"}
TYPST = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "serveur-smtp-rapport")


def flat(text: str) -> str:
    return " ".join(text.split())


def recorded() -> dict:
    return json.loads((REPORT / "releves" / "etats.json").read_text("utf-8"))


class NamesTest(unittest.TestCase):
    """Options, files and tests."""

    def named_options(self, text: str) -> typing.Set[str]:
        """Those that stand alone between backquotes, or behind the launcher's name."""
        found = {raw.split()[0] for raw in RAW.findall(text) if raw.startswith("-")}
        for line in re.findall(r"serveur\.sh((?: +(?:\\\n *)?[^\s`»;:]+)*)", text):
            found |= {word for word in line.split() if re.fullmatch("-[a-z][a-z-]*", word)}
        return found - OTHERS_OPTIONS - OF_THE_TESTS

    def test_options(self):
        known = {option.name for option in options.OPTIONS}
        for name, text in {**TEXTS, "README.txt": README}.items():
            self.assertEqual(self.named_options(text) - known, set(), name)
            self.assertGreater(len(self.named_options(text)), 5 if name in ("rapport.typ", "README.txt") else -1)

    def test_files(self):
        missing = [(name, path) for name, text in {**TEXTS, "README.txt": README}.items()
                   for path in PATH.findall(text) if not any(support.ROOT.glob(path.rstrip("/")))]
        self.assertEqual(missing, [])

    def test_tests(self):
        """What `tests/run NAME` is said to run."""
        names = {path.stem for path in (support.ROOT / "tests").rglob("test_*.py")}
        for name, text in {**TEXTS, "README.txt": README}.items():
            self.assertEqual(set(re.findall(r"tests/run (test_\w+)", text)) - names, set(), name)

    def test_each_demand_has_its_test(self):
        rows = re.findall(r'^  \("[\d.]*", ', TEXTS["sujet.typ"], re.M)
        shown = re.findall(r"^    \[.*`tests/[^`]+`.*\]\),$|`tests/[^`]+`\]\),$", TEXTS["sujet.typ"], re.M)
        self.assertEqual(len(shown), len(rows))

    def test_records(self):
        for path in re.findall(r'(?:json|read)\("([\w./]+)"\)', "".join(TEXTS.values())):
            self.assertTrue((REPORT / path).exists(), "%s: %s makes it" % (path, MADE_BY))

    def test_facts(self):
        """Every excerpt and value that the report asks for is there."""
        found = faits.facts(support.ROOT, TEXTS.values())
        self.assertGreater(len(found["excerpts"]), 5)
        self.assertGreater(len(found["values"]), 5)
        for name, text in found["excerpts"].items():
            self.assertTrue(text.strip(), name)
            self.assertLessEqual(max(map(len, text.split("\n"))), PAGE_COLUMNS, name)


class StatesTest(unittest.TestCase):
    """What a server was recorded to answer in each state against the guards of the table of commands."""

    STATES = {"connected": {}, "greeted": {"name": "x"}, "transaction": {"name": "x", "transaction": (0, 0, False)},
              "refused": {"name": "x", "transaction": (0, 1, False)},
              "recipients": {"name": "x", "transaction": (1, 0, False)},
              "chunks": {"name": "x", "transaction": (1, 0, True)}}
    WITH_ACCOUNTS = {"connected": {"authorised": False}, "helo": {"name": "x", "authorised": False},
                     "ehlo": {"name": "x", "authorised": False}, "authenticated": {"name": "x"}}
    BY_GUARD = {503, 530, 554}
    BY_HANDLER = {"AUTH", "STARTTLS"}           # they look at more than the state

    @staticmethod
    def session(name="", transaction=None, authorised=True):
        if transaction:
            recipients, refused, chunks = transaction
            transaction = types.SimpleNamespace(recipients=[None] * recipients, refused=refused, chunks=chunks)
        return types.SimpleNamespace(name=name, transaction=transaction, authorised=authorised, tls_needed=False)

    @staticmethod
    def refusal(verb: str, session) -> int:
        """The code by which the state alone refuses; 0 if it doesn't."""
        guards = (*commands.VERBS[verb].guards, *([data._may_send_chunk] if verb == "BDAT" else []))
        return next((reply.code for reply in (guard(session) for guard in guards) if reply), 0)

    def compare(self, part: str, states: dict):
        answers = recorded()[part]
        self.assertEqual(set(answers), set(states))
        for state, fields in states.items():
            for name, answer in answers[state].items():
                verb = name.split()[0]
                if answer["code"] == 502 or verb in self.BY_HANDLER:
                    continue
                given = answer["code"] if answer["code"] in self.BY_GUARD else 0
                self.assertEqual(self.refusal(verb, self.session(**fields)), given,
                                 "%s, %s: record again with %s etats" % (state, name, MADE_BY))

    def test_anybody(self):
        self.compare("open", self.STATES)

    def test_accounts_only(self):
        self.compare("accounts", self.WITH_ACCOUNTS)

    def test_every_command(self):
        for part in ("open", "accounts"):
            for answers in recorded()[part].values():
                self.assertEqual({name.split()[0] for name in answers}, set(commands.VERBS))

    def test_what_leads_where(self):
        """A recorded change of state is one that the report's drawing has a place for."""
        places = set(re.findall(r"(\w+): \([\d.]+, [\d.]+, [\d.]+\)", (REPORT / "dessins.typ").read_text("utf-8")))
        for answers in recorded()["open"].values():
            self.assertLessEqual({answer["to"] for answer in answers.values()}, places | {"end"})
        self.assertEqual(recorded()["text"], {"code": 250, "enhanced": "2.0.0", "to": "greeted"})


class RepliesTest(unittest.TestCase):
    """The table of commands and replies, read out of the sources, against the dialogues that are played."""

    SENT = re.compile(r"^[CL]: (.*)$")
    SAID = re.compile(r"^S: (\d{3}) ")

    def pairs(self, path: pathlib.Path) -> typing.Iterator[typing.Tuple[str, int]]:
        """(command, code of its reply) of a dialogue; none where it is said octet by octet, at once, or repeated."""
        lines = path.read_text("utf-8").splitlines()
        if any(re.match(r"B:|[CLB]>|repeat", line) for line in lines):
            return
        asked: typing.List[str] = []
        in_text = False
        for line in lines:
            sent, said = self.SENT.match(line), self.SAID.match(line)
            if sent and not in_text:
                asked.append(sent[1].split(" ")[0].upper())
            elif line == "connect":
                asked.clear()
            elif line == "S: ..." and asked:
                del asked[0]
            elif said and in_text:
                in_text = False
                yield "DATA", int(said[1])
            elif said and asked:
                yield asked[0], int(said[1])
                in_text = said[1] == "354"
                # after 334 comes a response, whose reply is still the command's
                asked[:] = asked[:1] if said[1] == "334" else asked[1:]

    def test_dialogues(self):
        table = reponses.by_command(support.ROOT)
        everywhere = {*table[""], *table["connexion"]}
        seen = set()
        for path in sorted((support.ROOT / "tests" / "dialogues").glob("*.txt")):
            for verb, code in self.pairs(path):
                if verb in table:
                    seen.add((verb, code))
                    self.assertIn(code, everywhere | set(table[verb]), "%s: %s" % (path.name, verb))
        self.assertGreater(len(seen), 40)

    def test_all_of_them(self):
        """No reply of the program is left out of the table."""
        source = (support.ROOT / "smtp" / "replies.py").read_text("utf-8")
        found = {code for codes in reponses.by_command(support.ROOT).values() for code in codes}
        self.assertEqual({int(code) for code in re.findall(r"\bReply\((\d{3}),", source)}, found)


class ReadmeTest(unittest.TestCase):

    MEASURES = {"accueil, connexion au 220 (ms)": "greeting_ms", "sessions/s, 1 à la fois": "sessions_1",
                "sessions/s, 16 à la fois": "sessions_16", "sessions/s, 64 à la fois": "sessions_64",
                "messages de 1 Kio/s, une session": "small_accepted",
                "messages de 1 Mio/s, une session": "large_accepted", "de la connexion à new/ (ms)": "delivery_ms",
                "soumissions/s (TLS, AUTH, 1 Kio)": "submissions", "PSS de tout, par session (Kio)": "whole_memory_kib",
                "PSS d'une session, sur 100 (Kio)": "memory_kib", "échecs sur 2000, 100 clients": "failed"}

    def test_measures(self):
        """The table is what rapport/mesures has, whose medians the report shows."""
        found = json.loads((REPORT / "mesures" / "mesures.json").read_text("utf-8"))
        self.assertIn("Médianes de %s tours" % IN_WORDS[len(found["rounds"])], flat(README))
        servers = [found["medians"][name] for name in ("netcat", "prefork", "exim", "exim_bs", "postfix", "floor")]
        for label, figure in self.MEASURES.items():
            shown = re.search(r"^    %s +([\d ,]+)$" % re.escape(label), README, re.M)[1].split()
            measured = [server[figure] for server in servers if figure in server]
            self.assertEqual(shown, ["{:.{}f}".format(value, len(text.partition(",")[2])).replace(".", ",")
                                     for text, value in zip(shown, measured)], label)
            self.assertEqual(len(shown), len(measured), label)

    def test_refusals(self):
        """Each code that refuses is in its list, and no other one."""
        part = readme.block(10, "Ce que veulent dire les refus")
        listed = {int(code) for code in re.findall(r"^(\d{3}) ", part, re.M)}
        ours = {code for codes in reponses.by_command(support.ROOT).values() for code in codes if code >= 400}
        self.assertEqual(listed, ours)

    def test_limits(self):
        start = README.index("\nLimites")
        part = flat(README[start:README.index("\n5. ", start)])
        minutes, hours = (lambda seconds: seconds // 60), (lambda seconds: seconds // 3600)
        longer = {name: verb.line_octets for name, verb in commands.VERBS.items() if name in ("MAIL", "RCPT", "AUTH")
                  and verb.line_octets != commands.LINE_OCTETS}
        for words in (
                "ligne de commande %d octets (%s)" % (
                    commands.LINE_OCTETS, " ; ".join("%s : %d" % pair for pair in longer.items())),
                "%d lignes Received" % data.MOST_RECEIVED, "%d erreurs par session" % limits.MOST_ERRORS,
                "%d commandes sans message" % limits.MOST_IDLE_COMMANDS,
                "jusqu'à %d Mio" % (limits.DROPPED_OCTETS >> 20),
                "silence %d minutes %d secondes" % (minutes(limits.IDLE_SECONDS), limits.STRESS_SECONDS),
                "%d minutes, %d commandes" % (minutes(limits.STRESS_FRUITLESS_SECONDS), limits.STRESS_IDLE_COMMANDS),
                "%d heures %d heure" % (hours(limits.SESSION_SECONDS), hours(limits.STRESS_SESSION_SECONDS)),
                "jusqu'à %d secondes" % limits.LONGEST_DELAY,
                "Au-delà de %d destinataires refusés" % limits.FREE_REFUSALS):
            self.assertIn(words, part)


@unittest.skipUnless(any(TYPST.glob("typst-*/bin/python")), "typst absent : rapport/construire l'installe")
class BuildTest(unittest.TestCase):

    def test_same_names_same_date_same_octets(self):
        with tempfile.TemporaryDirectory(prefix="rapport-essai-") as folder:
            root = pathlib.Path(shutil.copytree(support.ROOT, pathlib.Path(folder) / "x",
                                                ignore=shutil.ignore_patterns(".git", "__pycache__")))
            first = self.build(root, "Ana NÚÑEZ\nYann LE GOFF\n", "2026-12-06")
            self.assertEqual(self.build(root, "Ana NÚÑEZ\nYann LE GOFF\n", "2026-12-06"), first)
            self.assertNotEqual(self.build(root, "Ana NÚÑEZ\n", "2026-12-06"), first)
            self.assertNotEqual(self.build(root, "Ana NÚÑEZ\nYann LE GOFF\n", "2026-12-07"), first)

    def build(self, root: pathlib.Path, names: str, date: str) -> bytes:
        (root / "noms.txt").write_text(names, "utf-8")
        done = subprocess.run([str(root / "rapport" / "construire"), "rapport", date], capture_output=True, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return (root / "rapport.pdf").read_bytes()


if __name__ == "__main__":
    unittest.main()
