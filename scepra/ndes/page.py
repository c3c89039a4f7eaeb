"""What stands on NDES's administration page, ``/certsrv/mscep_admin/``: octets to values, and back.

There is no specification of it. What is read here is what NDES and those who imitate it are known to write: UTF-16LE
without a mark, whatever the page says of itself; the CA certificate's thumbprint in bold before the password, which is
in bold too; on some systems in another language than English. What is written is what the programs that read NDES's
page look for, to the letter.
"""

from __future__ import annotations

import enum
import html
import re
from dataclasses import dataclass

LONGEST = 255
"""The longest password that is read, in characters."""

_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))
# Nothing here can be matched in two ways, so that no page takes long to read.
_TAG = re.compile(r"<[^<>]*>")
_BOLD = re.compile(r"<b>([^<>]*)</b>", re.IGNORECASE)
_BOLD_NEXT = re.compile(r"(?:is)?[\s:]*<b>([^<>]*)<", re.IGNORECASE)
_LABEL = re.compile(r"enrollment challenge password\s*", re.IGNORECASE)
_NEXT = re.compile(r"(?:is)?[\s:]*(\S+)", re.IGNORECASE)
_GROUPS = re.compile(r"[0-9A-Fa-f]{8}(?: [0-9A-Fa-f]{8})+")
_DIGITS = re.compile(r"[0-9A-Fa-f]{8,64}")
_WITHIN = re.compile(r"within\s+([0-9]{1,6})\s+minute", re.IGNORECASE)
_NUMBER = re.compile(r"\b[0-9]{1,6}\b")
_REUSABLE = ("multiple times", "many times", "not expire")


class Obstacle(enum.Enum):
    """Why there is no password on a page; the value is a sentence for the log."""

    CACHE_FULL = "its cache of passwords is full"
    NO_PERMISSION = "the account may not enrol: it needs the permission Enroll on the templates that NDES uses"
    UNREADABLE = "what it answered is not its administration page, or has no password on it"


@dataclass(frozen=True, slots=True)
class Password:
    """A password that stands on a page.

    ``minutes`` is how long it is good, None where the page does not say; ``reusable`` that it is the same for everybody
    and does not end.
    """

    text: str
    minutes: int | None
    reusable: bool

    def __repr__(self) -> str:
        return f"<Password for {self.minutes} minutes{', reusable' if self.reusable else ''}>"


def read(content: bytes) -> Password | Obstacle:
    """The password on a page, or why there is none; whatever octets these are."""
    text = _decoded(content)
    plain = " ".join(html.unescape(_TAG.sub(" ", text)).split())
    if "password cache is full" in plain.lower():
        return Obstacle.CACHE_FULL
    if "do not have sufficient permission" in plain.lower():
        return Obstacle.NO_PERMISSION
    found = _after_label(text, plain) or _second_bold(text)
    if found is None or not _is_password(found.text):
        return Obstacle.UNREADABLE
    return found


def _is_password(text: str) -> bool:
    return 0 < len(text) <= LONGEST and text.isprintable() and " " not in text and "\ufffd" not in text


def _decoded(content: bytes) -> str:
    """Text by its mark, else by where NULs are; what the page or its header say of it is not true."""
    for mark, codec in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(codec, "replace")
    odd = content[1::2]
    if odd and odd.count(0) * 2 > len(odd):
        return content.decode("utf-16-le", "replace")
    return content.decode("utf-8", "replace")


def _after_label(text: str, plain: str) -> Password | None:
    """An English page: what its sentence names, in bold or as digits; of imitations, whatever comes next."""
    label = _LABEL.search(plain)
    if label is None:
        return None
    rest = plain[label.end() :]
    shown = _LABEL.search(text)
    bold = _BOLD_NEXT.match(text, shown.end()) if shown is not None else None
    digits = _DIGITS.search(rest[:LONGEST])
    following = _NEXT.match(rest)
    if bold is not None and bold[1].strip():
        password = html.unescape(bold[1]).strip()
    elif digits is not None:
        password = digits[0]
    elif following is not None:
        password = following[1]
    else:
        return None
    within = _WITHIN.search(rest)
    reusable = "only once" not in rest.lower() and any(each in rest.lower() for each in _REUSABLE)
    return Password(password, int(within[1]) if within is not None else None, reusable)


def _second_bold(text: str) -> Password | None:
    """A page in another language: digits in bold after the thumbprint in bold, and the number that follows them.

    What follows the password of a single use are its minutes; where no number follows, it has no end.
    """
    bold = list(_BOLD.finditer(text))
    words = [" ".join(each[1].split()) for each in bold]
    if len(bold) < 2 or not _GROUPS.fullmatch(words[0]) or not _DIGITS.fullmatch(words[1]):
        return None
    following = _NUMBER.search(_TAG.sub(" ", text[bold[1].end() : bold[1].end() + 2 * LONGEST]))
    minutes = int(following[0]) if following is not None else None
    return Password(words[1], minutes, minutes is None)


# --- Written --------------------------------------------------------------------------------------------------------

CONTENT_TYPE = "text/html"
_PAGE = (
    '<HTML><Head><Meta HTTP-Equiv="Content-Type" Content="text/html; charset=UTF-8"><Title>Network Device Enrollment'
    " Service</Title></Head><Body><P ID=locPageTitle> {title} </P><P> {body} </P></Body></HTML>"
)
_GIVEN = (
    "To complete certificate enrollment for your network device you will need the following information: <P> The"
    " thumbprint (hash value) for the CA certificate is: <B> {thumbprint} </B> <P> The enrollment challenge password"
    " is: <B> {password} </B> <P> {use} <P> {more}"
)
_ONCE = "This password can be used only once and will expire within {minutes} minutes."
_ANOTHER = (
    "Each enrollment requires a new challenge password. You can refresh this web page to obtain a new challenge"
    " password."
)
_ALWAYS = "This password can be used multiple times and will not expire."
_OBSTACLES = {
    Obstacle.CACHE_FULL: "The password cache is full. <P> Use one of the existing passwords, or wait until one of them"
    " expires.",
    Obstacle.NO_PERMISSION: "You do not have sufficient permission to enroll with SCEP.  Please contact your system"
    " administrator.",
}


def write(password: Password, thumbprint: bytes, title: str = "Network Device Enrollment Service") -> bytes:
    """The page with a password on it.

    Args:
        thumbprint: a digest of the CA certificate, a multiple of four octets.
        title: what the page says it is.
    """
    groups = thumbprint.hex(" ", 4).upper()
    use = _ALWAYS if password.reusable else _ONCE.format(minutes=password.minutes)
    text = html.escape(password.text)
    more = "" if password.reusable else _ANOTHER
    return _page(_GIVEN.format(thumbprint=groups, password=text, use=use, more=more), title)


def write_obstacle(obstacle: Obstacle, title: str = "Network Device Enrollment Service") -> bytes:
    """The page that says why there is no password; NDES has none for what is no page of its own."""
    return _page(_OBSTACLES[obstacle], title)


def _page(body: str, title: str) -> bytes:
    return _PAGE.format(title=html.escape(title), body=body).encode("utf-16-le")
