"""The files that say whom a profile believes: anchors, revocation lists, agents."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate, split_pem
from tests.keys.material import NOW, ca_certificate, certificate, ec_key, key, key_file, pem, write_private
from tests.keys.test_check import RA, SPLIT, said
from tests.rig.crls import crl

DAY = timedelta(days=1)
CA = Certificate.parse(ca_certificate(usages=("key_cert_sign", "crl_sign")))
POLICY = "    policy:"
CHALLENGE = "{type: static, environment: CHALLENGE}"
MAKER = '{{type: certificate, anchors: {}, serial: {{common-name: "{{serial}}"}}{}}}'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The files of an RA in front of a CA, and of those whom it believes."""
    write_private(tmp_path / "ra.key", key_file(key()))
    write_private(tmp_path / "other.key", key_file(key("other")))
    dates = {"this_update": NOW - DAY, "next_update": NOW + DAY}
    for name, content in {
        "s.crt": pem(certificate(usages=("digital_signature",))),
        "e.crt": pem(certificate(key("other"), usages=("key_encipherment",))),
        "ca.crt": pem(CA.der),
        "no-lists.crt": pem(ca_certificate()),
        "no-certificates.crt": pem(ca_certificate(usages=("crl_sign",))),
        "maker.crt": pem(certificate(ec_key(), issuer=ec_key(), common_name="Maker", usages=None, ca=True)),
        "device.crt": pem(certificate(ec_key("device"), issuer=ec_key(), common_name="device")),
        "old-device.crt": pem(certificate(ec_key("device"), common_name="device", end=NOW - DAY)),
        "old-maker.crt": pem(certificate(ec_key(), common_name="Maker", ca=True, usages=None, end=NOW - DAY)),
        "good.crl": crl(key("ca"), CA, [1], **dates),
        "old.crl": crl(key("ca"), CA, [1], this_update=NOW - 2 * DAY, next_update=NOW - DAY),
        "weak.crl": crl(key("ca"), CA, [1], digest=Digest.SHA1, **dates),
        "another's.crl": crl(ec_key(), CA, [1], **dates),
        "broken.crl": b"nothing",
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def found(directory: Path, *changes: tuple[str, str]) -> list[str]:
    """What is said with two good certificates of the RA's, without where the files are."""
    return [each.replace(f"{directory}/", "") for each in said(directory, (RA, SPLIT), *changes)]


def renewal(text: str) -> tuple[str, str]:
    """A change that makes a section about renewals."""
    return POLICY, f"    renewal: {{{text}}}\n{POLICY}"


@pytest.mark.proves("AC-049")
@pytest.mark.parametrize(
    ("lists", "problems"),
    [
        ("files: good.crl", []),
        ("urls: http://a.example/", []),
        ("files: weak.crl, sha1: allow", []),
        ("files: absent.crl", ["crl.files.0: warning: absent.crl cannot be read: No such file or directory"]),
        (
            "files: [good.crl, old.crl]",
            ["crl.files.1: warning: old.crl is good from 2026-05-30 00:00 to 2026-05-31 00:00 UTC only"],
        ),
        ("files: weak.crl", ["crl.files.0: error: weak.crl is not used: a signature with the refused digest SHA-1"]),
        (
            "files: another's.crl",
            [
                "crl.files.0: error: another's.crl is not used: a signature algorithm that is refused or does not fit"
                " the key"
            ],
        ),
        ("files: broken.crl", ["crl.files.0: error: broken.crl is not used: an element runs over its container"]),
        ("files: good.crl, size: 100", ["crl.files.0: error: good.crl is larger than size, 100 octets"]),
    ],
)
def test_lists(directory: Path, lists: str, problems: list[str]) -> None:
    """Lists in files are of an anchor, signed well enough and good now; those elsewhere are not fetched here."""
    said_of_it = found(directory, renewal(f"trust: ca.crt, crl: {{{lists}}}"))
    assert [each.removeprefix("profiles.wifi.renewal.") for each in said_of_it] == problems


@pytest.mark.proves("AC-049")
def test_cas_without_a_list(directory: Path) -> None:
    """Of several CAs each needs a list, and must be allowed to sign one."""
    two = "trust: [ca.crt, maker.crt], crl: {{files: good.crl{}}}"
    assert found(directory, renewal(two.format(""))) == [
        "profiles.wifi.renewal.crl: warning: 1 lists for 2 CAs: of what those without one have issued nothing will be"
        " known"
    ]
    assert found(directory, renewal(two.format(", urls: http://a.example/"))) == []
    assert found(directory, renewal("trust: no-lists.crt, crl: {urls: http://a.example/}")) == [
        "profiles.wifi.renewal.crl: error: CN=CA has a keyUsage without cRLSign: no list of its will be believed"
    ]


@pytest.mark.proves("SEC-10")
def test_anchors_that_issue_nothing(directory: Path) -> None:
    """An anchor whose keyUsage is not for certificates issues none, and that is said."""
    assert found(directory, renewal("trust: no-certificates.crt")) == [
        "profiles.wifi.renewal.trust.0: error: no-certificates.crt holds a CA certificate with a keyUsage without"
        " keyCertSign"
    ]


@pytest.mark.parametrize(
    ("anchors", "more", "problems"),
    [
        ("maker.crt", "", []),
        ("[maker.crt, maker.crt]", "", []),
        ("absent.crt", "", [".anchors.0: error: absent.crt cannot be read: No such file or directory"]),
        (
            "[maker.crt, device.crt]",
            "",
            [".anchors.1: error: device.crt holds a certificate that is no CA's"],
        ),
        (
            "old-maker.crt",
            "",
            [".anchors.0: warning: old-maker.crt holds a certificate that expired on 2026-05-31 00:00 UTC"],
        ),
        (
            "maker.crt",
            ", crl: {files: good.crl}",
            [".crl.files.0: error: good.crl is not used: a list of a CA that is"],
        ),
        ("ca.crt", "", [".anchors: error: CN=CA is an anchor for renewals too: its certificates renew, and"]),
    ],
)
def test_manufacturers(directory: Path, anchors: str, more: str, problems: list[str]) -> None:
    """Manufacturers' CAs are CAs, in validity, and others than those whose certificates renew here."""
    challenge = MAKER.format(anchors, more)
    alone = found(directory, (CHALLENGE, challenge), renewal("trust: ca.crt"))
    assert len(alone) == len(problems)
    for said_of_it, problem in zip(alone, problems, strict=True):
        assert said_of_it.startswith(f"profiles.wifi.challenge{problem}")
    several = f"{{type: any-of, providers: [{CHALLENGE}, {challenge}]}}"
    for said_of_it, problem in zip(
        found(directory, (CHALLENGE, several), renewal("trust: ca.crt")), problems, strict=True
    ):
        assert said_of_it.startswith(f"profiles.wifi.challenge.providers.1{problem}")


@pytest.mark.proves("AC-055")
def test_agents(directory: Path) -> None:
    """An agent is somebody else than the RA and no CA, with a certificate that is valid."""

    def agents(text: str) -> list[str]:
        said_of_it = found(directory, (POLICY, f"    on-behalf: {{{text}}}\n{POLICY}"))
        return [each.removeprefix("profiles.wifi.on-behalf.") for each in said_of_it]

    signing, encryption = (Certificate.parse(_der(directory / name)) for name in ("s.crt", "e.crt"))
    assert agents("certificates: file:device.crt") == []
    assert agents(f"certificates: 'sha256:{'5a' * 32}', keys: 'sha256:{'5a' * 32}'") == []
    own = "this is the RA's own certificate, which vouches for nobody (AC-055)"
    assert agents("certificates: [file:device.crt, file:s.crt]") == [f"certificates.1: error: {own}"]
    assert agents(f"certificates: 'sha256:{encryption.fingerprint()}'") == [f"certificates.0: error: {own}"]
    assert agents(f"keys: 'sha256:{signing.public_key.sha256.hex()}'") == [
        "keys.0: error: this is the RA's own key, which vouches for nobody (AC-055)"
    ]
    assert agents("certificates: file:ca.crt") == [
        "certificates.0: error: this is a CA certificate, which vouches for nobody (AC-055)"
    ]
    assert agents("certificates: file:old-device.crt") == [
        "certificates.0: error: this certificate expired on 2026-05-31 00:00 UTC"
    ]


@pytest.mark.proves("AC-055")
def test_the_certificate_that_signs_to_the_ca_is_the_ra_s(directory: Path) -> None:
    """What the RA signs to its CA with is its own, too, and no agent's."""
    (directory / "north.crt").write_bytes(pem(certificate()))
    upstream = "    url: http://127.0.0.1:8089/scep\n"
    signer = "    signer: {strategy: ra-certificate, certificate: north.crt, key: ra.key}\n"
    listed = (POLICY, f"    on-behalf: {{certificates: file:north.crt}}\n{POLICY}")
    assert found(directory, (upstream, upstream + signer), listed) == [
        "profiles.wifi.on-behalf.certificates.0: error: this is the RA's own certificate, which vouches for nobody"
        " (AC-055)"
    ]


def _der(path: Path) -> bytes:
    return split_pem(path.read_bytes())[0]
