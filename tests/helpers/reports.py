"""Delivery status notifications as a mail program reads them."""

import email
import email.policy
import typing

from tests.helpers import support

HEADERS, WHOLE = "text/rfc822-headers", "message/rfc822"


class Told(typing.NamedTuple):
    """What one report says of one recipient, and in which form the message comes back with it."""
    action: str
    original: str
    final: str
    status: str
    remote: str
    diagnostic: str
    returned: str


def reports(content: bytes) -> typing.Tuple[str, typing.List[Told]]:
    """The ENVID in a report, and what it tells; read by Python's email package, which must find nothing amiss."""
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert not any(part.defects for part in parsed.walk()), content
    assert parsed["Return-path"] == "<>" and parsed.get_param("report-type") == "delivery-status", content
    _, status, original = parsed.iter_parts()
    first, *others = status.get_payload()
    assert first["Reporting-MTA"] == "dns; " + support.DOMAIN
    names = ("Action", "Original-Recipient", "Final-Recipient", "Status", "Remote-MTA", "Diagnostic-Code")
    return first["Original-Envelope-Id"] or "", [
        Told(*(part[name] or "" for name in names), original.get_content_type()) for part in others]
