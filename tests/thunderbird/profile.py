"""The folder Thunderbird starts with."""

import json
import pathlib
import typing

ADDRESS = "helene@example.org"
FULL_NAME = "Hélène Noël"

# One account that never looks for mail, and "Local Folders"; one identity, one outgoing server.
ACCOUNT = {
    "mail.accountmanager.accounts": "account1,account2",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.accountmanager.localfoldersserver": "server2",
    "mail.account.account1.server": "server1",
    "mail.account.account1.identities": "id1",
    "mail.account.account2.server": "server2",
    "mail.server.server1.type": "pop3",
    "mail.server.server1.hostname": "localhost",
    "mail.server.server1.name": ADDRESS,
    "mail.server.server1.userName": "helene",
    "mail.server.server1.login_at_startup": False,
    "mail.server.server1.check_new_mail": False,
    "mail.server.server2.type": "none",
    "mail.server.server2.hostname": "Local Folders",
    "mail.server.server2.name": "Dossiers locaux",
    "mail.server.server2.userName": "nobody",
    "mail.identity.id1.valid": True,
    "mail.identity.id1.fullName": FULL_NAME,
    "mail.identity.id1.useremail": ADDRESS,
    "mail.identity.id1.smtpServer": "smtp1",
    "mail.identity.id1.compose_html": False,
    "mail.identity.id1.fcc": False,
    "mail.smtpservers": "smtp1",
    "mail.smtp.defaultserver": "smtp1",
    "mail.smtpserver.smtp1.type": "smtp",
    "mail.smtpserver.smtp1.description": "serveur.sh",
    "mail.smtpserver.smtp1.hostname": "localhost",
}

# No first pages, no questions, nothing fetched or reported: the tests' machine need not have a network.
QUIET = {
    "app.donation.eoy.version.viewed": 999,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "calendar.timezone.useSystemTimezone": True,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "mail.compose.attachment_reminder": False,
    "mail.compose.warn_public_recipients.aggressive": False,
    "mail.inappnotifications.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.SpellCheckBeforeSend": False,
    "mail.spellcheck.inline": False,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mail.startup.enabledMailCheckOnce": True,
    "mail.warn_on_send_accel_key": False,
    "mailnews.start_page.enabled": False,
    "mailnews.start_page_override.mstone": "ignore",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "toolkit.telemetry.server": "",
    "toolkit.telemetry.unified": False,
}

# French when its language pack is there, the same appearance everywhere, the remote control on a free port.
LOOK = {
    "extensions.autoDisableScopes": 0,
    "extensions.activeThemeID": "thunderbird-compact-light@mozilla.org",
    "gfx.webrender.software": True,
    "intl.locale.requested": "fr",
    "marionette.port": 0,
    "ui.caretBlinkTime": 0,
    "ui.prefersReducedMotion": 1,
}


def write(folder: pathlib.Path) -> None:
    """Make the preferences file of a new profile."""
    preferences: typing.Dict[str, typing.Any] = {**ACCOUNT, **QUIET, **LOOK}
    lines = ("user_pref(%s, %s);\n" % (json.dumps(name), json.dumps(value, ensure_ascii=False))
             for name, value in preferences.items())
    (folder / "user.js").write_text("".join(lines), encoding="utf-8")


def marionette_port(folder: pathlib.Path) -> int:
    """The port that Thunderbird has chosen for its remote control; 0 as long as it has none."""
    path = folder / "MarionetteActivePort"
    text = path.read_text() if path.exists() else ""
    return int(text) if text.strip() else 0
