"""A small real CA with a SCEP face, and a real SCEP client: to see the RA work, to test it, and to try policies out.

The embedded upstream of ``scepra demo``, what ``scepra lab-ca`` serves, and the kit that the tests use::

    authority = Authority.create()
    service = CertificationService(authority, challenge="s3cret")
    client = Client("http://ca.example/scep", StubTreq(service))
    enrolment = await client.enrol("dev1.example.org", names=["dev1.example.org"], challenge="s3cret")
"""

from scepra.lab.authority import Authority, RAUsage
from scepra.lab.behaviour import PERMISSIVE, Behaviour, Duplicates, Faces, Fault, Forgery, Payload, Word
from scepra.lab.client import Client, Enrolment
from scepra.lab.csr import build_csr
from scepra.lab.discovery import Discovery
from scepra.lab.http import http_client
from scepra.lab.key import new_key
from scepra.lab.kind import BEHAVIOURS
from scepra.lab.manner import Manner, Renewals
from scepra.lab.ndes import AdministrationPage, Passwords, WithPage
from scepra.lab.service import CertificationService, Received
from scepra.lab.state import LabState

__all__ = [
    "BEHAVIOURS",
    "PERMISSIVE",
    "AdministrationPage",
    "Authority",
    "Behaviour",
    "CertificationService",
    "Client",
    "Discovery",
    "Duplicates",
    "Enrolment",
    "Faces",
    "Fault",
    "Forgery",
    "LabState",
    "Manner",
    "Passwords",
    "Payload",
    "RAUsage",
    "Received",
    "Renewals",
    "WithPage",
    "Word",
    "build_csr",
    "http_client",
    "new_key",
]
