"""Every client through the RA with every kind of CA: a real one where there is one, the lab's imitation where not."""

from __future__ import annotations

import pytest

from . import record
from .authorities import Authority
from .clients import CLIENTS, Client, Enrolment
from .conftest import MakeClient
from .ra import INSIDE, RegistrationAuthority
from .sandbox import wait_until


def name_of(kind: type[Client] | type[Authority]) -> str:
    return kind.name


class Trial:
    """A client that asks the RA before a CA for one thing after the other; ``said`` is all that it printed."""

    def __init__(self, kind: type[Client], authority: Authority, ra: RegistrationAuthority) -> None:
        self.said: list[str] = []
        self._kind, self._authority, self._ra = kind, authority, ra
        self._refusals = len(ra.refusals())

    def outcome(self, enrolment: Enrolment) -> str:
        """What came of it: a certificate, or what the client shows and the RA's reason."""
        self.said.append(enrolment.text)
        if enrolment.certificate is not None:
            enrolment.certificate.verify_directly_issued_by(self._authority.issuer)
            return record.YES
        if self._kind.bad_request not in enrolment.text:
            return "nothing that tells why"
        # The RA's log may lag behind its answer.
        assert wait_until(lambda: len(self._ra.refusals()) > self._refusals, 10), self._ra.server.output()
        self._refusals = len(self._ra.refusals())
        return record.BAD_REQUEST + self._ra.refusals()[-1]


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.proves("PEER-12", "RA-11", "RA-18", "RA-22", "RA-30")
@pytest.mark.parametrize("authority", record.ALL, indirect=True, ids=name_of)
@pytest.mark.parametrize("kind", CLIENTS, ids=name_of)
def test_pair(kind: type[Client], authority: Authority, ra: RegistrationAuthority, client: MakeClient) -> None:
    """Each client with each kind of CA comes to what the page on interoperability says of the two: it enrols, is
    refused with a wrong challenge, and renews, if need be with another challenge."""
    way, before = ("split", kind.transports[0], kind.algorithms), len(authority.server.output())
    url, trial = ra.url(*way), Trial(kind, authority, ra)
    refused = trial.outcome(client(kind, authority.root_file).enrol(url, INSIDE, "wrong"))
    device = client(kind, authority.root_file)
    enrols = trial.outcome(device.enrol(url, INSIDE, ra.challenge(*way, INSIDE)))
    renews = again = record.NOT_TRIED
    if enrols == record.YES:
        renews = trial.outcome(device.renew(url, INSIDE))
    if renews.startswith(record.BAD_REQUEST):
        again = trial.outcome(device.renew(url, INSIDE, ra.challenge(*way, INSIDE)))
    pair = record.Pair(authority.methods(before), refused, enrols, renews, again)
    if record.RECORDING:
        record.keep(kind, type(authority), pair)
        return
    assert pair == record.kept(kind, type(authority)), "\n".join(
        (
            f"{kind.name} through the RA with {authority.name} comes to something else than is recorded.",
            *("What the client said:", *trial.said),
            *("The RA's log:", ra.server.output(), "The CA's log:", authority.server.output()),
        )
    )


def test_page() -> None:
    """The page on interoperability shows what is recorded, of all pairs that are tried; and nobody gets a certificate
    with a wrong challenge."""
    kept = record.read()
    tried = {(client.name, authority.name) for client in CLIENTS for authority in record.ALL}
    assert tried == {(client, authority) for authority, pairs in kept["pairs"].items() for client in pairs}
    wrong = {pair["wrong_challenge"] for pairs in kept["pairs"].values() for pair in pairs.values()}
    assert {shown.startswith(record.BAD_REQUEST) for shown in wrong} == {True}
    page = record.PAGE.read_text("utf-8")
    assert record.rendered(page, kept) == page, "run python -m tests.interop.record"
