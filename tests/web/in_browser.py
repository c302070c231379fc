"""The page of -web in a real browser, chromium: what a person sees of it, does with it, and must not be made to run.

Not among the plain tests, for the browser's packages are large: tests/run -browser.
"""

import ssl
import unittest

from tests.helpers import support
from tests.helpers.client import Client
from tests.web.browser import PROGRAMS, Browser
from tests.web.page import PageTestCase

SIZES = {"projector": (1920, 1080), "laptop": (1280, 900), "phone": (390, 844)}
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"><b>bold</b>"
MOST_SESSIONS, MOST_STEPS = 200, 600
COVERED = """
    scrollTo(0, document.documentElement.scrollHeight);
    const sections = [...document.querySelectorAll("main > section, #rest > section")].map((section) =>
      [section.id, section.getBoundingClientRect()]);
    const covers = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return sections.flatMap(([one, a], place) =>
      sections.slice(place + 1).filter(([_, b]) => covers(a, b)).map(([other]) => one + " over " + other));"""
LAST_STEP_IS_SHOWN = """
    const steps = document.getElementById("steps"), last = steps.lastChild.getBoundingClientRect();
    return last.bottom <= steps.getBoundingClientRect().bottom + 1;"""


@support.needs_program(*PROGRAMS)
class BrowserTestCase(PageTestCase):

    def setUp(self):
        self.browser = Browser()
        self.addCleanup(self.browser.close)

    def look(self):
        self.browser.open(self.page.address)
        self.browser.wait_text("#live", "en direct")

    def play(self, *commands, text=b""):
        with self.client() as client:
            for command in commands:
                client.ask(command)
            if text:
                client.expect("DATA", 354)
                client.write(text)
                client.reply()
            client.expect("QUIT", 221)


class SeenTest(BrowserTestCase):
    """What a newcomer understands from the page alone."""

    more = ("-relay", "tpmail.info.unicaen.fr=127.0.0.1:9", "-tls", "auto")

    def test_an_empty_page_says_what_to_do(self):
        self.look()
        self.assertEqual(self.browser.run("return document.getElementById('first-steps').hidden"),
                         bool(self.page.snapshot()["sessions"]))
        self.browser.wait_text("#example", "telnet 127.0.0.1 %d\nHELO" % self.server.port)
        self.assertIn("RCPT TO:<compte@%s>" % self.server.domain, self.browser.text("#example"))
        self.assertIn("tpmail.info.unicaen.fr → 127.0.0.1:9", self.browser.text("#facts"))
        self.play("HELO first")
        self.browser.wait_text("#steps", "HELO first")
        self.assertEqual(self.browser.count("#first-steps[hidden]"), 1)

    def test_a_dialogue_as_it_happens(self):
        self.look()
        with self.client() as client:
            client.expect("HELO moi", 250)
            self.browser.wait_text("#session-list", "moi en cours")
            self.browser.wait_text(".client", "Le client se présente")
            client.expect("MAIL FROM:<prof@example.org>", 250)
            self.browser.wait_text("#steps", "de <prof@example.org>, 0 destinataire")
            client.expect("RCPT TO:<nobody@%s>" % self.server.domain, 550)
            self.browser.wait_text(".server.bad", "Personne ici ne porte ce nom. Vérifiez-le, ainsi que le domaine "
                                                  "après @ ; VRFY demande si un nom existe. (550 5.1.1, RFC 3463 3.2)")
            client.expect("RCPT TO:<alice@%s>" % self.server.domain, 250)
            client.expect("DATA", 354)
            client.write("Subject: é\r\n\r\nBonjour\nnu\r\n..\r\n.\r\n".encode())
            client.reply()
            self.browser.wait_text(".text", "Subject: é\n\nBonjour ⏎LF\nnu\n..\n.")
            self.browser.wait_text("#fates", "remis : alice, dans %s/alice/Maildir/new" % self.server.mail)
            self.browser.wait_text("#log", "=> alice <alice@")
            client.expect("QUIT", 221)
        self.browser.wait_text("#steps", "fin de la session")
        self.assertNotIn("en cours", self.browser.text("#session-list"))
        left, right = self.browser.run("return ['.client > div', '.server > div'].map((selector) => "
                                       "document.querySelector(selector).getBoundingClientRect().left)")
        self.assertLess(left, right)
        self.assertEqual(self.browser.console(), [])

    def test_what_waits_and_until_when(self):
        self.look()
        self.server.send("x@tpmail.info.unicaen.fr", b"Subject: x\r\n\r\nx\r\n.\r\n", sender=self.address("alice"))
        waits = "en file d'attente pour x@tpmail.info.unicaen.fr : 1 tentative, la prochaine "
        self.browser.wait_text("#queue", waits)
        fate = self.browser.wait_text("#fates", waits)
        self.browser.wait_text("#fates-title", "Où est passé le message")
        self.assertRegex(fate, r"à \d\d:\d\d:\d\d \(dans 1[45] min\)\s+"
                               r"rien n'écoute à cette adresse sur ce port\s+== x@")
        self.assertRegex(fate, r"Il est dans %s/queue/\S+\.message, jusqu'au \d\d/\d\d/\d{4} au plus tard : "
                               r"<alice@\S+> recevra alors un avis d'échec" % self.server.spool)
        self.assertNotIn("remis à plus tard", fate)
        self.browser.wait_text("#counts", "en file")

    def test_where_a_session_stands_is_always_in_view(self):
        self.look()
        with self.client() as client:
            client.expect("HELO moi", 250)
            for _ in range(30):
                client.expect("NOOP", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            self.browser.wait_text("#steps", "MAIL FROM:<a@b.example>")
            for name, (width, height) in SIZES.items():
                self.browser.resize(width, height, phone=name == "phone")
                support.wait_for(lambda: self.browser.run(LAST_STEP_IS_SHOWN), "the last step, on a " + name)
                self.assertIn("transaction ouverte ; RCPT nomme ses destinataires", self.browser.text("#now"))
            self.browser.run("document.getElementById('steps').scrollTop = 0")
            client.expect("NOOP", 250)
            client.expect("RSET", 250)
            self.browser.wait_text("#now", "présenté")
            self.browser.wait_text("#steps", "RSET")
            self.assertEqual(self.browser.run("return document.getElementById('steps').scrollTop"), 0)
            client.expect("QUIT", 221)
        self.browser.wait_text("#steps", "fin de la session")
        self.assertEqual(self.browser.text("#now"), "")

    def session_shown(self, line):
        """The dialogue's text once a session that says so is there from beginning to end; "" before."""
        text = self.browser.text("#steps")
        return text if line in text and "fin de la session" in text else ""

    def test_bare_lf_is_explained_once(self):
        self.look()
        with self.client() as client:
            client.write(b"HELO unix\nNOOP\nQUIT\n")
            client.rest()
        steps = support.wait_for(lambda: self.session_shown("HELO unix"), "the session, whole")
        self.assertEqual(steps.count("SMTP demande CRLF (RFC 5321 2.3.8)"), 1)
        self.assertEqual(self.browser.text(".client code").count("⏎LF"), 3)

    def test_a_client_that_goes_without_a_word(self):
        self.look()
        with self.client() as client:
            client.expect("HELO rude", 250)
        self.browser.wait_text("#steps", "fin de la session, sans QUIT")
        self.play("HELO polite")
        steps = support.wait_for(lambda: self.session_shown("HELO polite"), "the session, whole")
        self.assertNotIn("sans QUIT", steps)

    def test_french_is_typeset_and_what_was_typed_is_not(self):
        self.look()
        self.play("HELO moi", "NOOP a : b")
        support.wait_for(lambda: self.session_shown("NOOP a : b"), "the session, whole")
        shown = self.browser.run("return document.getElementById('steps').textContent")
        self.assertIn("NOOP a : b", shown)
        self.assertIn("connecté\xa0; HELO ou EHLO d'abord", shown)

    def test_one_among_many_sessions(self):
        self.look()
        for name in ("first", "second", "third"):
            self.play("HELO " + name)
        self.browser.wait_text("#session-list", "third")
        self.browser.click("#wanted")
        self.browser.press(*"SECOND")
        self.browser.wait_text("#steps", "HELO second")
        self.assertNotIn("first", self.browser.text("#session-list"))
        self.play("HELO fourth")
        self.page.session("fourth")
        self.assertIn("HELO second", self.browser.text("#steps"))
        self.browser.press("x")
        self.browser.wait_text("#no-session", "Aucune de ce nom, ni de cette adresse.")

    def test_under_tls(self):
        self.look()
        with self.client() as client:
            client.expect("EHLO chiffre", 250)
            client.expect("STARTTLS", 220)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client.socket = context.wrap_socket(client.socket)
            client.file = client.socket.makefile("rb")
            client.expect("EHLO cache", 250)
            self.browser.wait_text("#steps", "TLS commence : TLS1.3:")
            self.browser.wait_text("#session-list", "TLS")
            self.browser.wait_text("#steps", "EHLO cache")
            client.expect("QUIT", 221)

    def test_every_size_light_and_dark(self):
        self.play("EHLO " + "x" * 400, "MAIL FROM:<%s@b.example>" % ("y" * 60), "RCPT TO:<%s>" % self.address("alice"),
                  text=b"Subject: x\r\n\r\n" + b"z" * 10000 + b"\r\n.\r\n")
        self.look()
        backgrounds = set()
        for name, (width, height) in SIZES.items():
            self.browser.resize(width, height, phone=name == "phone")
            for is_dark in (False, True):
                self.browser.darken(is_dark)
                self.browser.wait_text("#steps", "zzz")
                wide, shown = self.browser.run("return [document.documentElement.scrollWidth, innerWidth]")
                self.assertLessEqual(wide, shown, name)
                self.assertEqual(self.browser.run(COVERED), [], name)
                backgrounds.add(self.browser.run("return getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(backgrounds), 2)

    def test_curves(self):
        self.look()
        support.wait_for(lambda: self.browser.count("#curves path[d^=M]") == 3, "three curves")

    def test_keyboard_alone(self):
        for name in ("first", "second"):
            self.play("HELO " + name)
        self.look()
        self.browser.wait_text("#session-list", "first")
        reached = ""
        for _ in range(10):
            self.browser.press("Tab")
            reached = self.browser.run("const at = document.activeElement; return at.closest('li') ? at.innerText : ''")
            if reached:
                break
        self.assertIn("second", reached)
        self.browser.press("Down", "Enter")
        self.browser.wait_text("#steps", "HELO first")
        self.assertFalse(self.browser.run("return document.getElementById('follow').checked"))
        self.assertEqual(self.browser.count("#session-list [tabindex='0']"), 1)
        self.browser.press("Tab")                   # past all other sessions
        self.assertEqual(self.browser.run("return document.activeElement.id"), "steps")

    def test_the_token_is_not_left_in_the_address(self):
        self.look()
        self.assertNotIn("jeton", self.browser.run("return location.href"))
        self.browser.open("http://127.0.0.1:%d/" % self.page.port)
        self.browser.wait_text("#live", "en direct")

    def test_without_the_token(self):
        self.browser.open("http://127.0.0.1:%d/" % self.page.port)
        self.browser.wait_text("body", "Accès refusé : ouvrez l'adresse que serveur.sh a affichée")


class HostileTest(BrowserTestCase):
    """All that strangers sent is text."""

    def test_nothing_of_it_is_markup(self):
        self.look()
        text = b"Subject: %s\r\n\r\n</pre></div>\x1b[2J\xff\xe2\x80\xae%s\r\n.\r\n" % (HOSTILE.encode(), b"A" * 10000)
        quoted = "RCPT TO:<\"%s\"@%s>" % (HOSTILE.replace('"', "'"), self.server.domain)
        self.play("EHLO " + HOSTILE, "FOO " + HOSTILE, "MAIL FROM:<a@b.example>", quoted,
                  "RCPT TO:<%s>" % self.address("alice"), text=text)
        self.browser.wait_text("#steps", "fin de la session")
        self.assertIn("FOO " + HOSTILE, self.browser.text("#steps"))
        self.assertIn("</pre></div>\\033[2J\\377\\342\\200\\256AAAA", self.browser.text("#steps"))
        self.assertEqual(self.browser.count("body script, body img, body b"), 0)
        self.assertNotIn("taken", self.browser.run("return document.title"))
        self.assertEqual(self.browser.console(), [])


class LongDayTest(BrowserTestCase):
    """A page that is left open does not grow, and tells when it is not what it was."""

    listener = "prefork"

    def test_it_does_not_grow(self):
        self.look()
        with Client(self.server.port) as client:
            client.reply()
            client.write(b"HELO long\r\n" + b"NOOP\r\n" * 500 + b"QUIT\r\n")
            client.rest()
        self.browser.wait_text("#steps", "Le début de ce long dialogue n'est plus affiché.")
        self.assertLessEqual(self.browser.count("#steps > *"), MOST_STEPS + 1)
        for number in range(MOST_SESSIONS + 30):
            self.play("HELO visitor%d" % number)
        self.browser.wait_text("#session-list", "visitor%d" % (MOST_SESSIONS + 29))
        self.assertLessEqual(self.browser.count("#session-list li"), MOST_SESSIONS)
        self.assertLessEqual(self.browser.count("#log > *"), MOST_SESSIONS)


class StoppedTest(unittest.TestCase):

    @support.needs_program(*PROGRAMS)
    def test_a_stopped_server(self):
        from tests.web.page import Page
        server = support.Server(("-web", str(support.free_port())))
        self.addCleanup(server.destroy)
        page = Page(server.start())
        with Browser() as browser:
            browser.open(page.address)
            browser.wait_text("#live", "en direct")
            self.assertEqual(server.stop(), 0)
            browser.wait_text("#live", "coupé")
            server.start()                      # with a new token
            browser.wait_text("#notice", "ouvrez l'adresse qu'il a affichée en démarrant")


if __name__ == "__main__":
    unittest.main()
