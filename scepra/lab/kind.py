"""Each kind of CA as the lab imitates it.

It imitates documented behaviour; it is none of these products. What nothing is documented of (OpenCA, beyond what every
CA of its age can do) is not imitated. A kind is a :class:`~scepra.lab.behaviour.Behaviour` and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from scepra.config.kind import KindName
from scepra.lab.behaviour import Behaviour, Duplicates, Faces, Fault
from scepra.lab.manner import Manner, Renewals
from scepra.scep import oid
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, Floor
from scepra.scep.message import MessageType, PKIStatus
from scepra.scep.transport import OperationKind

_WITH_MD5 = frozenset(Digest)
_DES_AND_3DES = frozenset((ContentCipher.DES_CBC, ContentCipher.DES_EDE3_CBC))
_REQUESTS = frozenset((MessageType.PKCS_REQ, MessageType.RENEWAL_REQ))
_IIS = Manner(
    server="Microsoft-IIS/10.0",
    page=True,
    longest_query=2048,
    takes_chunks=False,
    ca_first=True,
    renewals=Renewals.SAME_SUBJECT,
    hresult=0x80070057,
    one_octet=True,
    bare_failures=True,
    text=None,
)
# UP-01, CAPS-10; peers.md 4.4 to 4.9.
_NDES = Behaviour(
    duplicates=Duplicates.KEY,
    faces=Faces.SPLIT,
    capabilities=b"POSTPKIOperation\r\nRenewal\r\nSHA-512\r\nSHA-256\r\nSHA-1\r\nDES3\r\n",
    manner=_IIS,
)
# What an administrator has to raise for messages by GET.
_QUERIES_RAISED = 16384

BEHAVIOURS: Mapping[KindName, Behaviour] = MappingProxyType(
    {
        "generic": Behaviour(),
        "ndes": _NDES,
        # UP-03: POST is listed and answered with nothing; AES is answered in OAEP.
        "ndes-2012": replace(
            _NDES,
            fault=Fault.EMPTY,
            faulty_methods=frozenset(("POST",)),
            manner=replace(_IIS, server="Microsoft-IIS/8.5", oaep_with_aes=True, longest_query=_QUERIES_RAISED),
        ),
        # UP-02: no capabilities, no POST, single DES whatever is asked.
        "ndes-2008": replace(
            _NDES,
            capabilities=b"",
            fault=Fault.RESET,
            faulty=frozenset((OperationKind.GET_CA_CAPS,)),
            post=False,
            floor=Floor(digests=_WITH_MD5, ciphers=_DES_AND_3DES),
            algorithms=Algorithms(Digest.SHA1, ContentCipher.DES_CBC),
            manner=replace(_IIS, server="Microsoft-IIS/7.5", renewals=Renewals.NOTHING, longest_query=_QUERIES_RAISED),
        ),
        # UP-09: somebody grants by hand, but not to an RA that it knows by its subject.
        "cisco-ios": Behaviour(
            status=PKIStatus.PENDING,
            capabilities=b"GetNextCACert\nRenewal\nSHA-1\nSHA-256\n",
            post=False,
            manner=Manner(recognises="ioscs RA", renewals=Renewals.SAME_SUBJECT),
        ),
        # UP-06: an end entity serves once.
        "ejbca": Behaviour(
            duplicates=Duplicates.REFUSED,
            manner=Manner(refused=400, renewals=Renewals.NOTHING),
        ),
        # UP-05: the SignedData also where one certificate is in it.
        "openxpki": Behaviour(manner=Manner(always_bag=True, hexadecimal=True)),
        # UP-07, PEER-11.
        "step-ca": Behaviour(
            capabilities=b"Renewal\r\nSHA-1\r\nSHA-256\r\nAES\r\nDES3\r\nSCEPStandard\r\nPOSTPKIOperation",
            algorithms=Algorithms(Digest.SHA256, ContentCipher.DES_CBC),
            http_status=500,
            faulty_methods=frozenset(("GET",)),
            manner=Manner(
                serves=_REQUESTS,
                unreadable=500,
                renewals=Renewals.CHALLENGED,
                text=oid.FAIL_INFO_TEXT_STEP_CA,
                own_nonce=False,
                every_recipient=True,
            ),
        ),
        # PEER-08.
        "micromdm": Behaviour(
            capabilities=b"Renewal\nSHA-1\nSHA-256\nAES\nDES3\nSCEPStandard\nPOSTPKIOperation",
            algorithms=Algorithms(Digest.SHA256, ContentCipher.DES_CBC),
            manner=Manner(
                serves=_REQUESTS, unreadable=500, chunks=True, every_recipient=True, constructed=True, text=None
            ),
        ),
        # UP-04, CAPS-12.
        "dogtag": Behaviour(
            capabilities=b"SHA-1\nSHA-256\nSHA-512\nDES3\n",
            post=False,
            floor=Floor(ciphers=frozenset((ContentCipher.DES_EDE3_CBC,))),
            manner=Manner(one_certificate=True, renewals=Renewals.NOTHING),
        ),
        # UP-08, PEER-04.
        "xipki": Behaviour(
            floor=Floor(ciphers=frozenset((ContentCipher.AES128_CBC, ContentCipher.DES_EDE3_CBC))),
            manner=Manner(same_subject=True, common_name=True, enveloped=True),
        ),
        # CAPS-08 and RFC 8894, 7.5: nothing more is known of it.
        "openca": Behaviour(
            capabilities=b"",
            post=False,
            floor=Floor(digests=_WITH_MD5, ciphers=_DES_AND_3DES),
            manner=Manner(renewals=Renewals.NOTHING),
        ),
    }
)
