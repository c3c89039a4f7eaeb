"""The keys and certificates that a configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scepra.keys.check import Examination, examine
from scepra.keys.module import Module
from scepra.keys.token import TokenKey
from scepra.scep.certificate import Certificate
from tests.config.sample import PIN, altered, reading
from tests.keys.material import NOW, ca_certificate, certificate, key, key_file, pem, write_private
from tests.rig.softhsm import SoftToken, module, new_token


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The files of an RA in front of a CA."""
    write_private(tmp_path / "ra.key", key_file(key()))
    write_private(tmp_path / "other.key", key_file(key("other")))
    for name, content in {
        "ra.crt": certificate(),
        "s.crt": certificate(usages=("digital_signature",)),
        "e.crt": certificate(key("other"), usages=("key_encipherment",)),
        "ca.crt": ca_certificate(),
        "foreign.crt": certificate(issuer_name="Other"),
        "old-ca.crt": ca_certificate(end=NOW - timedelta(days=1)),
    }.items():
        (tmp_path / name).write_bytes(pem(content))
    (tmp_path / "chain.crt").write_bytes(pem(certificate()) + pem(ca_certificate()))
    return tmp_path


RA = "{certificate: ra.crt, key: ra.key}"
SPLIT = "{signing: {certificate: s.crt, key: ra.key}, encryption: {certificate: e.crt, key: other.key}}"


def examined(directory: Path, *changes: tuple[str, str], **offered: list[Certificate]) -> Examination:
    """What is found of the small configuration with changes."""
    return examine(reading(altered(*changes), directory).sections, NOW, offered)


def said(directory: Path, *changes: tuple[str, str], **offered: list[Certificate]) -> list[str]:
    """The findings as text: path, severity, sentence."""
    return [
        f"{'.'.join(map(str, found.path))}: {found.severity}: {found.sentence}"
        for found in examined(directory, *changes, **offered).findings
    ]


def test_a_good_pair(directory: Path) -> None:
    """Nothing is said of two certificates that are as they should be, and they are kept."""
    found = examined(directory, (RA, SPLIT))
    assert found.findings == []
    assert str(found.generations["wifi"].encryption.certificate.subject) == "CN=RA"


@pytest.mark.proves("SEC-03")
def test_remarks_are_placed(directory: Path) -> None:
    """What is said of a certificate is said at its key of the configuration."""
    assert said(directory)[0].startswith("profiles.wifi.ra.certificate: warning: one key signs and decrypts")
    swapped = SPLIT.replace("s.crt, key: ra.key", "X").replace("e.crt, key: other.key", "s.crt, key: ra.key")
    (first, second) = said(directory, (RA, swapped.replace("X", "e.crt, key: other.key")))[:2]
    assert first == "profiles.wifi.ra.signing.certificate: error: has a keyUsage without digitalSignature"
    assert second.startswith("profiles.wifi.ra.signing.certificate: warning: has a keyUsage with keyEncipherment")


def test_files_that_do_not_fit(directory: Path) -> None:
    """What is wrong with a file is said at the key that names it, with the file's name; nothing is kept of it."""
    found = examined(directory, (RA, SPLIT.replace("other.key", "absent.key").replace("s.crt", "e.crt")))
    assert [(each.path[3:], each.sentence.replace(str(directory), ".")) for each in found.findings] == [
        (("signing", "certificate"), "./e.crt holds a certificate that is not for the key in ./ra.key"),
        (("encryption", "key"), "./absent.key cannot be read: No such file or directory"),
    ]
    assert found.generations == {}
    found = examined(directory, ("key: ra.key", "key: absent.key"))
    assert [each.path for each in found.findings] == [("profiles", "wifi", "ra", "key")]
    assert found.generations == {}


@pytest.mark.proves("CERT-07", "CERT-12")
def test_the_issuer_is_the_pinned_ca(directory: Path) -> None:
    """The RA's certificates are compared with the CA: its pin's file, a pinned renewal anchor, or its answer."""
    foreign, pinned = ("ra.crt", "foreign.crt"), (PIN, "file:ca.crt")
    fingerprint = (PIN, f"sha256:{Certificate.parse(ca_certificate()).fingerprint()}")
    renewal = ("paths:", "renewal: {trust: ca.crt}\n    paths:")
    assert "CERT-07" not in "".join(said(directory, foreign))
    assert "CERT-07" in "".join(said(directory, foreign, pinned))
    assert "CERT-07" not in "".join(said(directory, foreign, fingerprint))
    assert "CERT-07" in "".join(said(directory, foreign, fingerprint, renewal))
    assert "CERT-07" not in "".join(said(directory, fingerprint, renewal))
    assert "CERT-07" in "".join(said(directory, foreign, lab=[Certificate.parse(ca_certificate())]))
    assert "CERT-07" not in "".join(said(directory, foreign, ("upstream: lab", "upstream: lap")))


def test_renewal_anchors(directory: Path) -> None:
    """Renewal anchors are CA certificates, in validity, that can be read."""
    trust = "renewal: {trust: [ca.crt, old-ca.crt, chain.crt, absent.crt]}\n    paths:"
    found = [line.replace(str(directory), ".") for line in said(directory, (RA, SPLIT), ("paths:", trust))]
    assert found == [
        "profiles.wifi.renewal.trust.1: warning: ./old-ca.crt holds a certificate that expired on 2026-05-31 00:00 UTC",
        "profiles.wifi.renewal.trust.2: error: ./chain.crt holds a certificate that is no CA's",
        "profiles.wifi.renewal.trust.3: error: ./absent.crt cannot be read: No such file or directory",
    ]


def test_the_upstream_s_signer(directory: Path) -> None:
    """The RA's certificate for the upstream is read, belongs to its key, and is in validity."""
    signer = "signer: {strategy: ra-certificate, certificate: C, key: K}\n    ca-fingerprint:"
    (directory / "old.crt").write_bytes(pem(certificate(end=NOW - timedelta(days=1))))

    def about(certificate_name: str, key_name: str) -> list[str]:
        change = ("ca-fingerprint:", signer.replace("C,", f"{certificate_name},").replace("K}", f"{key_name}}}"))
        return [line.replace(str(directory), ".") for line in said(directory, (RA, SPLIT), change)]

    assert about("ra.crt", "ra.key") == []
    assert about("old.crt", "ra.key") == ["upstreams.lab.signer.certificate: error: expired on 2026-05-31 00:00 UTC"]
    assert about("ra.crt", "other.key") == [
        "upstreams.lab.signer.certificate: error: ./ra.crt holds a certificate that is not for the key in ./other.key"
    ]


@pytest.mark.proves("AC-118")
@pytest.mark.parametrize(
    ("challenge", "where"), [("NDES", ""), ("{type: any-of, providers: [OTHER, NDES]}", ".providers.1")]
)
def test_whom_ndes_is_believed_by(directory: Path, challenge: str, where: str) -> None:
    """The certificates of NDES's administration page are read before the RA starts."""
    write_private(directory / "ndes.pass", b"password\n")
    static = "{type: static, environment: CHALLENGE}"
    for file, found in (("ca.crt", []), ("ra.key", ["holds no certificate, or one that is damaged"])):
        ndes = f"{{type: ndes, url: 'https://n.example/', user: u, password-file: ndes.pass, trust: {file}}}"
        asked = challenge.replace("NDES", ndes).replace("OTHER", static)
        place = f"profiles.wifi.challenge{where}.trust: error: {directory / file}"
        assert said(directory, (RA, SPLIT), (static, asked)) == [f"{place} {each}" for each in found]


IN_TOKEN = "{certificate: ra.crt, key: {token: hsm, label: LABEL}}"


@pytest.fixture
def soft(directory: Path) -> Iterator[SoftToken]:
    """A token with the RA's key, and its PIN in a file."""
    made = new_token([(directory / "ra.key", "ra", "01")])
    made.settings(directory / "pin")
    yield made
    made.remove()


def token_said(directory: Path, soft: SoftToken, label: str = "ra", library: str | None = None) -> list[str]:
    """What is said of a configuration whose key is in the token."""
    settings = f"module: {library or module()}, token-label: {soft.label}, pin-file: pin, timeout: 30s"
    changes = ("upstreams:", f"tokens: {{hsm: {{{settings}}}}}\nupstreams:"), (RA, IN_TOKEN.replace("LABEL", label))
    return [line for line in said(directory, *changes) if "warning" not in line]


@pytest.mark.proves("AC-133")
def test_keys_in_tokens(directory: Path, soft: SoftToken) -> None:
    """A key in a token is looked for; what is wrong with it, or with the token, is said at the key, and nothing stays
    open."""
    assert token_said(directory, soft) == []
    assert Module._loaded[module()].sessions == {}
    (found,) = token_said(directory, soft, "absent")
    assert found == "profiles.wifi.ra.key: error: token hsm holds no private key with label absent"
    soft.add(directory / "other.key", "other", "02")
    (found,) = token_said(directory, soft, "other")
    assert found.endswith("ra.crt holds a certificate that is not for the key in token hsm")
    soft.unplug()
    (found,) = token_said(directory, soft)
    assert found == "profiles.wifi.ra.key: error: token hsm is not there (NoSuchToken)"
    soft.plug()
    (found,) = token_said(directory, soft, library="/nonexistent.so")
    assert found == "profiles.wifi.ra.key: error: token hsm has a module that cannot be loaded, /nonexistent.so"
    write_private(directory / "pin", b"wrong")
    (found,) = token_said(directory, soft)
    assert found == "profiles.wifi.ra.key: error: token hsm refuses the PIN from the file pin (PinIncorrect)"


def test_a_file_that_names_a_key_in_a_token(directory: Path, soft: SoftToken) -> None:
    """A key's file may name a key in a token instead."""
    write_private(directory / "ra.ref", b"token: hsm\nlabel: ra\n")
    settings = f"module: {module()}, token-label: {soft.label}, pin-file: pin, timeout: 30s"
    tokens = ("upstreams:", f"tokens: {{hsm: {{{settings}}}}}\nupstreams:")
    found = examined(directory, tokens, ("key: ra.key", "key: ra.ref"))
    assert isinstance(found.generations["wifi"].signing.key, TokenKey)
    (line,) = [each for each in said(directory, ("key: ra.key", "key: ra.ref")) if "warning" not in each]
    assert line.endswith("ra.ref names the token hsm, which the configuration has not")
    text = altered(("upstreams:", "tokens: {hsm: {module: 1}}\nupstreams:"), (RA, IN_TOKEN))
    assert examine(reading(text, directory).sections, NOW).generations == {}
