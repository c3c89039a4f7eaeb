"""An enrolment through the RA: what goes north, what comes south, what is refused."""

from __future__ import annotations

import hashlib

import pytest

from scepra.errors import FailInfo
from scepra.lab import PERMISSIVE, Behaviour
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, Floor, KeyTransport
from scepra.scep.message import MessageType, PKIStatus
from tests.rig.house import KEYS, house, run
from tests.rig.material import ec_key, key

NAME = "device.example"


@pytest.mark.proves("RA-22", "P10-01", "HTTP-01", "I5")
@pytest.mark.parametrize("transport", ["get", "post"])
def test_enrolment(built, transport):
    """A device enrols by GET and by POST; the CA sees the CSR's own octets, the device the certificate's."""
    enrolment = run(built.client(transport=transport).enrol(NAME, names=[NAME], challenge=built.challenge, key=key()))
    assert enrolment.status is PKIStatus.SUCCESS
    (received,) = [item for item in built.ca.received if item.message]
    assert received.csr.der == enrolment.csr
    assert enrolment.certificate.der in {item.der for item in built.state.authority.issued.values()}
    (record,) = built.records
    assert record["outcome"] == "issued"
    assert record["request"] == hashlib.sha256(enrolment.csr).hexdigest()
    assert record["certificate"] == enrolment.certificate.fingerprint()


@pytest.mark.proves("RA-13", "RA-14", "RA-15", "RA-16", "RA-17")
def test_upstream_message(built):
    """What goes north is the RA's own: signer, transactionID, nonce; a PKCSReq with one certificate."""
    client = built.client()
    run(client.enrol(NAME, challenge=built.challenge, key=key(), transaction_id="device's own"))
    (received,) = [item for item in built.ca.received if item.message]
    signer = received.signer
    assert not signer.public_key.same_key(received.csr.public_key)
    assert signer.subject.der == received.csr.subject.der
    assert signer.is_self_signed
    assert len(received.request.signed_data.certificates) == 1
    assert received.message_type is MessageType.PKCS_REQ
    assert len(received.transaction_id) == 32
    assert set(received.transaction_id) <= set("0123456789ABCDEF")
    run(client.enrol("other.example", challenge=built.challenge, key=key(), transaction_id="device's own"))
    other = built.ca.received[-1]
    assert other.transaction_id != received.transaction_id
    assert other.request.sender_nonce != received.request.sender_nonce


@pytest.mark.proves("RA-16", "MSG-03")
def test_equal_transaction_ids(built):
    """Two devices with one transactionID are two transactions at the CA."""
    for name in ("one", "two"):
        run(built.client().enrol(f"{name}.example", challenge=built.challenge, key=key(name), transaction_id="1"))
    first, second = (item.transaction_id for item in built.ca.received if item.message)
    assert first != second


@pytest.mark.proves("RA-13")
def test_ra_certificate_strategy(lab):
    """With the strategy ra-certificate what goes north is signed with the RA's certificate."""
    signer = {"strategy": "ra-certificate", "certificate": "ra-signing.crt", "key": "ra-signing.key"}
    # The lab's RA signing certificate: its key opens the CA's answers as well, whatever its keyUsage says.
    with house(lab, upstream={"signer": signer}) as built:
        assert run(built.client().enrol(NAME, challenge=built.challenge, key=key())).status is PKIStatus.SUCCESS
        assert "signing" in str(built.ca.received[-1].signer.subject)


@pytest.mark.proves("AC-095", "MSG-06", "I3")
@pytest.mark.parametrize("challenge", [None, "", " ", "wrong", "\0"])
def test_wrong_challenge(built, challenge):
    """Without the right challenge nothing goes north; with it the same device enrols."""
    client = built.client()
    refused = run(client.enrol(NAME, challenge=challenge, key=key()))
    assert refused.status is PKIStatus.FAILURE
    assert refused.fail_info is FailInfo.BAD_REQUEST
    assert built.forwarded == []
    assert run(client.enrol(NAME, challenge=built.challenge, key=key())).status is PKIStatus.SUCCESS


@pytest.mark.proves("AC-097")
def test_challenge_is_compared_whole(built):
    """Another case, a character more or less: all wrong."""
    right = built.challenge
    for wrong in (right.lower(), right + " ", right + "\n", right[:-1], right + "\0"):
        assert run(built.client().enrol(NAME, challenge=wrong, key=key())).status is PKIStatus.FAILURE
    assert built.forwarded == []


@pytest.mark.proves("SEC-17", "I10", "RA-33")
def test_no_secret_in_the_log(built):
    """Neither a right nor a wrong challenge appears in any log event; the refusal's reference does."""
    client = built.client(transport="get")
    run(client.enrol(NAME, challenge=built.challenge, key=key()))
    refused = run(client.enrol(NAME, challenge="canary-challenge", key=key()))
    everything = repr([event for event in built.events if not event["log_namespace"].startswith("scepra.lab")])
    assert built.challenge not in everything
    assert "canary-challenge" not in everything
    assert refused.fail_info_text.startswith("refused, ref ")
    assert refused.fail_info_text.rpartition(" ")[2] == built.records[-1]["reference"]
    assert built.records[-1]["reasons"] == ["challenge: wrong challenge"]


@pytest.mark.proves("MSG-24")
def test_no_challenge_profile(lab):
    """A profile that says in as many words that anyone may enrol asks for no challenge, and still has its policy."""
    challenge = {"type": "none", "anyone-may-enrol-without-a-challenge": True}
    with house(lab, {"challenge": challenge}) as built:
        assert run(built.client().enrol(NAME, key=key())).status is PKIStatus.SUCCESS
        assert run(built.client().enrol("evil", key=key())).status is PKIStatus.FAILURE


@pytest.mark.proves("I12", "MSG-06")
def test_policy_names_every_violation(built):
    """A request outside policy is refused, every violation recorded and none told."""
    refused = run(built.client().enrol("evil", names=["evil.other"], challenge=built.challenge, key=key()))
    assert refused.fail_info is FailInfo.BAD_REQUEST
    assert {reason.partition(":")[0] for reason in built.records[-1]["reasons"]} == {"subject", "san"}
    assert "evil" not in refused.fail_info_text
    assert built.forwarded == []


@pytest.mark.proves("AC-086", "MSG-06", "I8")
def test_key_outside_policy(lab):
    """Who has the right challenge learns that the key is the reason; who has not, does not."""
    with house(lab, {"policy": [{"key": {"rsa": {"min": 3072}}}, {"subject": {"match": {"CN": "[a-z.]+"}}}]}) as built:
        told = run(built.client().enrol(NAME, challenge=built.challenge, key=key()))
        assert told.fail_info is FailInfo.BAD_ALG
        untold = run(built.client().enrol(NAME, challenge="wrong", key=key()))
        assert untold.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("CMS-46", "RA-18", "PEER-12")
@pytest.mark.parametrize(
    ("used", "legacy"),
    [
        (Algorithms(), []),
        (Algorithms(Digest.SHA512, ContentCipher.AES256_CBC, KeyTransport.OAEP_SHA256), []),
        (Algorithms(Digest.SHA1, ContentCipher.DES_EDE3_CBC, KeyTransport.OAEP_SHA1), []),
        (Algorithms(Digest.MD5, ContentCipher.DES_CBC), ["MD5", "DES-CBC"]),
    ],
)
def test_each_side_has_its_algorithms(lab, used, legacy):
    """The answer mirrors the client's algorithms; what goes north uses the upstream's."""
    if KEYS and used.key_transport is KeyTransport.OAEP_SHA256:
        pytest.skip("SoftHSM has OAEP with SHA-1 only")
    with house(lab, {"legacy": legacy, "renewal": None}) as built:
        mirrored = Floor(frozenset((used.digest,)), frozenset((used.cipher,)), frozenset((used.key_transport,)))
        client = built.client(algorithms=used, floor=mirrored)
        assert run(client.enrol(NAME, challenge=built.challenge, key=key())).status is PKIStatus.SUCCESS
        assert built.ca.received[-1].algorithms == Algorithms()


@pytest.mark.proves("PEER-12", "RA-18")
def test_legacy_upstream(lab):
    """An AES client enrols at a CA that is sent, and answers in, triple DES or DES."""
    upstream = {"digest": "SHA-1", "cipher": "DES-CBC", "legacy": ["DES-CBC"]}
    with house(lab, upstream=upstream) as built:
        built.ca.behaviour = Behaviour(floor=PERMISSIVE)
        assert run(built.client().enrol(NAME, challenge=built.challenge, key=key())).status is PKIStatus.SUCCESS
        assert built.ca.received[-1].algorithms.cipher is ContentCipher.DES_CBC


@pytest.mark.proves("SEC-01", "CMS-24")
def test_legacy_is_off(built):
    """Without the legacy switch a DES client is refused with badAlg, and MD5 too."""
    for used in (Algorithms(cipher=ContentCipher.DES_CBC), Algorithms(Digest.MD5)):
        refused = run(built.client(algorithms=used).enrol(NAME, challenge=built.challenge, key=key()))
        assert refused.fail_info is FailInfo.BAD_ALG
    assert built.forwarded == []


@pytest.mark.proves("CMS-28", "CMS-27")
@pytest.mark.parametrize("curve", ["P-256", "P-384"])
def test_key_that_only_signs(built, curve):
    """A device with an EC key gets its answer under its challenge."""
    enrolment = run(built.client().enrol(NAME, challenge=built.challenge, key=ec_key("device", curve)))
    assert enrolment.status is PKIStatus.SUCCESS


@pytest.mark.proves("CMS-28")
def test_key_that_only_signs_without_a_challenge(lab):
    """Where no challenge can carry the answer, the request is refused before it goes north."""
    with house(lab, {"challenge": {"type": "none", "anyone-may-enrol-without-a-challenge": True}}) as built:
        refused = run(built.client().enrol(NAME, key=ec_key()))
        assert refused.fail_info is FailInfo.BAD_REQUEST
        assert built.forwarded == []


@pytest.mark.proves("CMS-48")
@pytest.mark.parametrize(("mode", "count"), [("none", 1), ("issuer", 2), ("chain", 2)])
def test_accompanying_certificates(lab, mode, count):
    """The issued certificate comes first, with its issuer where the profile says so."""
    with house(lab, {"reply": {"certificates": mode}}) as built:
        enrolment = run(built.client().enrol(NAME, challenge=built.challenge, key=key()))
        assert enrolment.certificates[0] == enrolment.certificate
        assert len(enrolment.certificates) == count


@pytest.mark.proves("RA-02", "SEC-03")
def test_split_identities(lab):
    """With separate certificates the RA is encrypted to one and signs with the other."""
    split = {
        "signing": {"certificate": "ra-signing.crt", "key": "ra-signing.key"},
        "encryption": {"certificate": "ra-encryption.crt", "key": "ra-encryption.key"},
    }
    with house(lab, {"ra": split}) as built:
        client = built.client()
        discovery = run(client.discover())
        assert [
            ("signing" in str(item.subject), "encryption" in str(item.subject)) for item in discovery.certificates
        ] == [
            (False, True),
            (True, False),
            (False, False),
        ]
        assert run(client.enrol(NAME, challenge=built.challenge, key=key())).status is PKIStatus.SUCCESS


@pytest.mark.proves("MSG-40", "MSG-06", "AC-056")
def test_poll(built):
    """A poll is for no transaction that is known, and is told so."""
    client = built.client()
    enrolment = run(client.enrol(NAME, challenge="wrong", key=key()))
    polled = run(client.poll(enrolment))
    assert polled.status is PKIStatus.FAILURE
    assert polled.fail_info is FailInfo.BAD_CERT_ID


@pytest.mark.proves("MSG-50", "AC-059")
def test_queries(built):
    """GetCert and GetCRL are refused alike, for what exists and what does not."""
    client = built.client()
    enrolment = run(client.enrol(NAME, challenge=built.challenge, key=key()))
    before = len(built.forwarded)
    for query in (client.get_cert, client.get_crl):
        answer = run(query(enrolment.identity, enrolment.certificate))
        assert answer.fail_info is FailInfo.BAD_REQUEST
    assert len(built.forwarded) == before


@pytest.mark.proves("RA-11", "RA-10")
def test_upstream_that_knows_the_challenge(lab):
    """Where the CA asks for the same challenge, it gets the one in the CSR."""
    with house(lab, upstream={"authorisation": "challenge"}) as built:
        built.ca.challenge = built.challenge
        assert run(built.client().enrol(NAME, challenge=built.challenge, key=key())).status is PKIStatus.SUCCESS
        assert built.ca.received[-1].challenge == built.challenge


@pytest.mark.proves("HTTP-14", "HTTP-26")
def test_unknown_path(built):
    """Another path is nobody's."""
    assert built.get("/other?operation=GetCACaps") == (404, b"")


@pytest.mark.proves("CERT-34")
def test_no_next_certificate(built):
    """GetNextCACert says that there is none, and the capability is not listed."""
    assert built.get("/scep?operation=GetNextCACert") == (501, b"")
    assert b"GetNextCACert" not in built.get("/scep?operation=GetCACaps")[1]


@pytest.mark.proves("HTTP-26")
def test_rubbish(built):
    """Rubbish is a bare 400; the next client is served."""
    assert built.post(b"\x30\x80rubbish")[0] == 400
    assert run(built.client().enrol(NAME, challenge=built.challenge, key=key())).status is PKIStatus.SUCCESS
