"""The kinds of CA: what each does in its own way, as data.

A kind's values stand in for keys that an upstream's section leaves out; the section has the last word. None switches on
a broken algorithm: what a kind answers in is said here (``answers``), and named by whoever decides it, under legacy
(SEC-01).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from scepra.config.legacy import Legacy

KindName = Literal[
    "generic",
    "ndes",
    "ndes-2012",
    "ndes-2008",
    "cisco-ios",
    "ejbca",
    "openxpki",
    "step-ca",
    "micromdm",
    "dogtag",
    "xipki",
    "openca",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of CA.

    Attributes:
        title: what it is called where people read it.
        values: keys of an upstream's section, in the file's spelling, with what they are for this kind.
        answers: the broken algorithms that it answers in, as it is set up at first; without them under legacy its
            certificates are not read.
        advice: what else its administrator should know: one sentence, or none.
    """

    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[Legacy, ...] = ()
    advice: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))


KINDS: Mapping[KindName, Kind] = MappingProxyType(
    {
        # RFC 8894; what the other kinds do not say is this one's.
        "generic": Kind("a CA that does as RFC 8894 says"),
        # UP-01, CAPS-10: it lists 3DES and no AES, and SHA-256; its Renewal is a PKCSReq signed by the old certificate;
        # POST works, and where it does not an empty answer tells.
        "ndes": Kind(
            "Microsoft NDES, Windows Server 2016 and later",
            {
                "cipher": "DES-EDE3-CBC",
                "expect-capabilities": ("DES3", "SHA-256"),
                "renewal": "pkcs-req",
            },
            advice="Where a probe has shown that AES is opened, set cipher to AES-128-CBC.",
        ),
        # UP-03, CAPS-10: POST is listed, and answered with nothing; with AES it answers in OAEP, which is read anyway.
        "ndes-2012": Kind(
            "Microsoft NDES, Windows Server 2012 and 2012 R2",
            {"transport": "get", "cipher": "DES-EDE3-CBC", "renewal": "pkcs-req"},
            advice="Messages go by GET: IIS needs a maxQueryString of 16384 (under requestFiltering).",
        ),
        # UP-02, CAPS-08, RA-18: no capabilities, so what every CA has; no POST; no renewal before an update of 2011.
        "ndes-2008": Kind(
            "Microsoft NDES, Windows Server 2003 to 2008 R2",
            {"transport": "get", "digest": "SHA-1", "cipher": "DES-EDE3-CBC", "renewal": "none"},
            answers=("DES-CBC",),
            advice="Messages go by GET: IIS needs a maxQueryString of 16384 (under requestFiltering).",
        ),
        # UP-09, peers.md 6: GET and HTTP/1.0 are safe; SHA-2 is listed where it is there.
        "cisco-ios": Kind(
            "the CA of Cisco IOS and IOS XE",
            {"transport": "get", "cipher": "DES-EDE3-CBC", "renewal": "pkcs-req"},
            advice="With grant ra-auto it trusts a signer of its own with OU=ioscs RA in the subject: a signer with the"
            " strategy ra-certificate.",
        ),
        # UP-06: one request an end entity, whatever becomes of it; so renewal is for its administrator to allow. A poll
        # for what it does not know is answered with status 400.
        "ejbca": Kind(
            "EJBCA",
            {"expect-capabilities": ("POSTPKIOperation", "SHA-256"), "renewal": "none", "health": "off"},
            advice="Its RA mode wants the password of the end entity as challenge.",
        ),
        # UP-05: it answers in what it was asked in; transactionIDs are hexadecimal, as ours are.
        "openxpki": Kind(
            "OpenXPKI",
            {"renewal": "pkcs-req"},
            advice="An authorised signer on behalf is a signer with the strategy ra-certificate.",
        ),
        # UP-07, PEER-11: no PKIOperation by GET; RenewalReq is read, and wants the challenge too; polls get status 500.
        "step-ca": Kind(
            "step-ca of Smallstep",
            {
                "transport": "post",
                "expect-capabilities": ("AES", "POSTPKIOperation", "SHA-256"),
                "health": "off",
                "renewal": "renewal-req",
            },
            answers=("DES-CBC",),
            advice="With encryptionAlgorithmIdentifier 1 or 2 in its provisioner it answers in AES: no legacy then.",
        ),
        # PEER-08: it answers in single DES whatever it is asked in, and polls with status 500.
        "micromdm": Kind(
            "the SCEP server of MicroMDM",
            {
                "expect-capabilities": ("AES", "POSTPKIOperation", "SHA-256"),
                "health": "off",
                "renewal": "renewal-req",
            },
            answers=("DES-CBC",),
        ),
        # UP-04, CAPS-12, peers.md 6: no POST; it allows 3DES and SHA-256 at first.
        "dogtag": Kind(
            "Dogtag, Red Hat Certificate System",
            {"transport": "get", "cipher": "DES-EDE3-CBC", "renewal": "none"},
        ),
        # UP-08: AES-128 or 3DES; the signer's subject must be the request's, as an ephemeral signer's is (RA-13).
        "xipki": Kind(
            "XiPKI",
            {
                "cipher": "AES-128-CBC",
                "expect-capabilities": ("AES", "POSTPKIOperation", "SHA-256"),
                "renewal": "renewal-req",
            },
            advice="Every subject needs a CN; a challenge has the form USER:PASSWORD.",
        ),
        # Nothing has been verified of it: the floor of RFC 8894, 7.5, by GET.
        "openca": Kind(
            "OpenCA",
            {"transport": "get", "digest": "SHA-1", "cipher": "DES-EDE3-CBC", "renewal": "none"},
            advice="What is not documented of it is what every CA can: probe it, and say more where it can do more.",
        ),
    }
)


def completed(section: Mapping[str, Any]) -> Mapping[str, Any]:
    """An upstream's section, with what its kind says of keys that it does not have itself.

    What names no kind is left as it is, to be refused where it is read.
    """
    name = section.get("kind", "generic")
    kind = KINDS.get(name) if isinstance(name, str) else None  # type: ignore[call-overload]  # any text
    if kind is None:
        return section
    said = {key.replace("_", "-") for key in section}
    return {**section, **{key: value for key, value in kind.values.items() if key not in said}}
