"""From a file to a configuration, or to every problem in it."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scepra.config.load import load, parse, read
from scepra.config.model import (
    CertificateSigner,
    Config,
    DualIdentity,
    EphemeralSigner,
    Limits,
    NoChallenge,
    Queue,
    SplitIdentity,
    StaticChallenge,
    Store,
)
from scepra.config.section import Surroundings
from scepra.errors import ConfigError
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, Floor, KeyTransport
from tests.config.sample import ENVIRONMENT, MINIMAL, PASSWORD, altered, reading, said

EVERY_FAULT = """\
listen: {scep: tcp:http, ocsp: 8081}
limits:
  boddy: 5
  idle: 30
  connections: 0
upstreams:
  ndes:
    url: ftp://ndes
    timeout: soon
    retry_after: 5s
    ca-fingerprint: sha1:cafe
    signer: {strategy: ra-certificte}
profiles:
  wifi:
    paths: []
    upstream: njes
    ra: {signing: x, key: y}
    challenge: null
    policy:
      - kee: {}
  vpn:
    upstream: njes
    paths: /../vpn
    ra: {certificate: a, key: {flie: b}}
    challenge: {type: static, environment: ABSENT}
"""


@pytest.mark.proves("DR-19", "AC-095")
def test_all_at_once() -> None:
    """One reading tells every mistake, each at its line and column with its dotted path."""
    assert said(EVERY_FAULT) == [
        "1:10: listen.scep: expected tcp:PORT, perhaps with :interface=ADDRESS",
        "1:26: listen.ocsp: unknown key",
        "3:3: limits.boddy: unknown key; did you mean 'body'?",
        "4:3: limits.idle: expected a duration such as 500ms, 30s, 5m, 1h or 30d",
        "5:3: limits.connections: must be at least 1",
        "8:5: upstreams.ndes.url: expected an http or https URL",
        "9:5: upstreams.ndes.timeout: expected a duration such as 500ms, 30s, 5m, 1h or 30d",
        "10:5: upstreams.ndes.retry_after: unknown key; did you mean 'retry-after'?",
        "11:5: upstreams.ndes.ca-fingerprint: sha1 can be forged: only SHA-256 pins a certificate; expected sha256:HEX"
        " (64 hexadecimal digits) or file:PATH of the CA certificate",
        "12:14: upstreams.ndes.signer.strategy: expected 'ephemeral-self-signed' or 'ra-certificate'; did you mean"
        " 'ra-certificate'?",
        "15:5: profiles.wifi.paths: must not be empty",
        "17:5: profiles.wifi.ra.encryption: required key is missing",
        "17:10: profiles.wifi.ra.signing: expected a mapping",
        "17:22: profiles.wifi.ra.key: unknown key",
        "18:5: profiles.wifi.challenge: has no value: give it one, or leave it out",
        "20:9: profiles.wifi.policy[0].kee: unknown key; did you mean 'key'?",
        "24:26: profiles.vpn.ra.key.file: required key is missing",
        "24:32: profiles.vpn.ra.key.flie: unknown key; did you mean 'file'?",
        "25:31: profiles.vpn.challenge.environment: the environment variable ABSENT is not set",
    ]


@pytest.mark.proves("DR-19")
def test_sections_that_are_right_are_compared_even_beside_wrong_ones() -> None:
    """A mistake in one profile does not hide that another names an upstream which is not there."""
    text = altered(("upstream: lab", "upstream: lap"))
    assert said(text + "  vpn: {}\nlimits: {connections: 10}\n") == [
        "9:5: profiles.wifi.upstream[0]: no upstream has this name; did you mean 'lab'?",
        "15:3: profiles.vpn.paths: required key is missing",
        "15:3: profiles.vpn.upstream: required key is missing",
        "15:3: profiles.vpn.ra: required key is missing",
        "15:3: profiles.vpn.challenge: required key is missing",
        "16:1: limits.connections-per-address: more than connections in all",
    ]  # fmt: skip


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        ("wifi:", "Wi Fi:", [
            "7:3: profiles['Wi Fi']: expected a name of lower-case letters, digits and hyphens, at most 64 characters",
        ]),
        ("upstream: lab", "upstream: 5", ["9:5: profiles.wifi.upstream: expected a list"]),
        ("paths: /scep/wifi", "paths: [/scep/wifi, 7]", [
            "8:25: profiles.wifi.paths[1]: expected text; put it in quotes",
        ]),
        ("paths: /scep/wifi", "paths: {a: b}", ["8:5: profiles.wifi.paths: expected a list"]),
        ("paths: /scep/wifi", "paths: ['']", ["8:13: profiles.wifi.paths[0]: must not be empty"]),
        ("paths: /scep/wifi", "paths: [/a, /a]", [
            "8:5: profiles.wifi.paths: the same item stands twice in this list",
        ]),
        ("upstream: lab", "upstream: lab\n    capabilities: {post: yes}", [
            "10:20: profiles.wifi.capabilities.post: expected true or false",
        ]),
        ("upstream: lab", "upstream: lab\n    reply: none", ["10:5: profiles.wifi.reply: expected a mapping"]),
        ("upstream: lab", "upstream: lab\n    reply: {certificates: Issuer}", [
            "10:13: profiles.wifi.reply.certificates: expected 'none', 'issuer' or 'chain'; did you mean 'issuer'?",
        ]),
        ("upstream: lab", "upstream: lab\n    legacy: [DES]", [
            "10:14: profiles.wifi.legacy[0]: expected 'DES-CBC', 'MD5' or 'RSA-1024'",
        ]),
        ("upstream: lab", "upstream: lab\n    renewal: {trust: []}", [
            "10:15: profiles.wifi.renewal.trust: must not be empty",
        ]),
        ("upstream: lab", "upstream: lab\n    renewal: {trust: ca.crt, window: 0s, grace: 99999d}", [
            "10:30: profiles.wifi.renewal.window: must be more than 0s",
            "10:42: profiles.wifi.renewal.grace: longer than 36500d",
        ]),
        ("certificate: ra.crt, ", "certificate: 5, ", [
            "10:10: profiles.wifi.ra.certificate: expected the path of a file",
        ]),
        ("key: ra.key}", 'key: "a\\0b"}', ["10:31: profiles.wifi.ra.key: expected the path of a file"]),
        ("key: ra.key}", "key: [ra.key]}", ["10:31: profiles.wifi.ra.key: expected a mapping"]),
        ("key: ra.key}", "kei: ra.key}", [
            "10:5: profiles.wifi.ra.key: required key is missing",
            "10:31: profiles.wifi.ra.kei: unknown key; did you mean 'key'?",
        ]),
        ("{type: static, environment: CHALLENGE}", "{}", [
            "11:5: profiles.wifi.challenge.type: required key is missing",
        ]),
        ("{type: static, environment: CHALLENGE}", "static", ["11:5: profiles.wifi.challenge: expected a mapping"]),
        ("type: static", "type: statik", [
            "11:17: profiles.wifi.challenge.type: expected 'static' or 'none' or 'minted' or 'ndes' or 'certificate' or"
            " 'signed' or 'webhook' or 'intune' or 'directory' or 'any-of' or 'all-of'; did you mean 'static'?",
        ]),
        ("{type: static, environment: CHALLENGE}", "{type: none}", [
            "11:5: profiles.wifi.challenge.anyone-may-enrol-without-a-challenge: required key is missing",
        ]),
        ("static, environment: CHALLENGE", "none, anyone-may-enrol-without-a-challenge: false", [
            "11:29: profiles.wifi.challenge.anyone-may-enrol-without-a-challenge: expected true",
        ]),
        ("static, environment: CHALLENGE", "none, anyone-may-enrol-without-a-challenge: yes", [
            "11:29: profiles.wifi.challenge.anyone-may-enrol-without-a-challenge: expected true",
        ]),
        ("    url: http://127.0.0.1:8089/scep\n", "", ["3:3: upstreams.lab.url: required key is missing"]),
        ("8089", "x", ["4:5: upstreams.lab.url: expected an http or https URL"]),
        ("8089", "0", ["4:5: upstreams.lab.url: expected an http or https URL"]),
        ("http://127.0.0.1:8089/scep", "'http://a b/'", ["4:5: upstreams.lab.url: expected an http or https URL"]),
        ("http://127.0.0.1:8089/scep", "http:///scep", ["4:5: upstreams.lab.url: expected an http or https URL"]),
        ("http://127.0.0.1:8089/scep", "'http://[/'", ["4:5: upstreams.lab.url: expected an http or https URL"]),
        ("http://127.0.0.1:8089/scep", "http://ä/", ["4:5: upstreams.lab.url: expected an http or https URL"]),
        ("127.0.0.1:8089", "u:hunter2@a", ["4:5: upstreams.lab.url: a URL here has no user name and no password"]),
        ("8089/scep", "8089/scep?x", [
            "4:5: upstreams.lab.url: a URL here ends with its path: the operation is appended to it as the query",
        ]),
        ("scep: ", "trusted-proxies: [192.0.2.1/24], scep: ", [
            "1:28: listen.trusted-proxies[0]: expected an address or a network such as 192.0.2.0/24, its host"
            " bits zero",
        ]),
        ('"tcp:8080"', '"tcp:80800"', ["1:10: listen.scep: expected tcp:PORT, perhaps with :interface=ADDRESS"]),
        ('"tcp:8080"', '"udp:1"', [
            "1:10: listen.scep: expected tcp:PORT, ssl:PORT, unix:PATH or systemd:...",
        ]),
        ('"tcp:8080"', '"unix:"', [
            "1:10: listen.scep: expected tcp:PORT, ssl:PORT, unix:PATH or systemd:...",
        ]),
        ('"tcp:8080"', "[]", ["1:10: listen.scep: must not be empty"]),
        ("listen:", "workers: 0\nshutdown-grace: 25\nlisten:", [
            "1:1: workers: must be at least 1",
            "2:1: shutdown-grace: expected a duration such as 500ms, 30s, 5m, 1h or 30d",
        ]),
        ("listen:", "workers: 65\nlisten:", ["1:1: workers: must be at most 64"]),
        ("listen:", "workers: auto\nlisten:", ["1:1: workers: expected a whole number"]),
        ("ca-fingerprint:", "queue: {rate: 0, first-poll: 0s, retries: 3}\n    ca-fingerprint:", [
            "5:13: upstreams.lab.queue.rate: must be at least 1",
            "5:22: upstreams.lab.queue.first-poll: must be more than 0s",
            "5:38: upstreams.lab.queue.retries: unknown key",
        ]),
        ("ca-fingerprint:", "concurrency: 0\n    ca-fingerprint:", [
            "5:5: upstreams.lab.concurrency: must be at least 1",
        ]),
        ("paths:", "polling: no\n    paths:", ["8:5: profiles.wifi.polling: expected true or false"]),
        ("paths:", "ca-identifiers: [0]\n    paths:", [
            "8:22: profiles.wifi.ca-identifiers[0]: expected text; put it in quotes",
        ]),
        ("ca-fingerprint:", "key-transport: password\n    ca-fingerprint:", [
            "5:5: upstreams.lab.key-transport: expected 'RSA-v1.5', 'RSA-OAEP-SHA-1' or 'RSA-OAEP-SHA-256'",
        ]),
        ("ca-fingerprint:", "cipher: AES-128\n    ca-fingerprint:", [
            "5:5: upstreams.lab.cipher: expected 'DES-CBC', 'DES-EDE3-CBC', 'AES-128-CBC', 'AES-192-CBC' or"
            " 'AES-256-CBC'; did you mean 'AES-128-CBC'?",
        ]),
        ("{min: 2048}", "{min: 99999}", ["13:21: profiles.wifi.policy[0].key.rsa.min: must be at most 16384"]),
        ("- key: {rsa: {min: 2048}}", "- {}", [
            "13:9: profiles.wifi.policy[0]: expected a mapping with exactly one of the keys key, subject, san,"
            " extensions, attributes, eku, key-usage, signature, source, time, infrastructure, microsoft, validity,"
            " limit, unique, hold, and perhaps severity",
        ]),
        ("profiles:\n", "profiles: {}\nprofile:\n", [
            "6:1: profiles: must not be empty",
            "7:1: profile: unknown key; did you mean 'profiles'?",
        ]),
        (MINIMAL, "listen: {}\n", [
            "1:1: upstreams: required key is missing",
            "1:1: profiles: required key is missing",
        ]),
        (MINIMAL, "upstreams: 5\nprofiles: [x]\n", [
            "1:1: upstreams: expected a mapping",
            "2:1: profiles: expected a mapping",
        ]),
    ],
)  # fmt: skip
def test_refusals(old: str, new: str, problems: list[str]) -> None:
    """Each wrong value is refused in one sentence at its place, and never quoted."""
    assert said(altered((old, new))) == problems


@pytest.mark.proves("RA-12")
@pytest.mark.parametrize("key", ["relay", "transparent", "passthrough", "forward"])
def test_there_is_no_relay_mode(key: str) -> None:
    """No key of a profile makes the RA forward its clients' messages as they are."""
    assert f"8:5: profiles.wifi.{key}: unknown key" in said(altered(("paths:", f"{key}: true\n    paths:")))[0]


def test_defaults() -> None:
    """What is not said has the documented default."""
    config = reading(MINIMAL).config
    assert config is not None
    assert config.listen.scep == ("tcp:8080",)
    assert config.limits == Limits()
    assert config.store == Store()
    assert (config.workers, config.shutdown_grace) == (None, 25)
    upstream, profile = config.upstreams["lab"], config.profiles["wifi"]
    assert isinstance(upstream.signer, EphemeralSigner)
    assert (upstream.signer.key_bits, upstream.signer.period) == (2048, 86400.0)
    assert upstream.algorithms == Algorithms(Digest.SHA256, ContentCipher.AES128_CBC, KeyTransport.RSA_V15)
    assert (upstream.authorisation, upstream.transport, upstream.expect_capabilities) == ("network", "auto", ())
    assert (upstream.connect_timeout, upstream.timeout, upstream.refresh, upstream.retry_after) == (5, 20, 3600, 30)
    assert (upstream.concurrency, upstream.queue) == (64, Queue())
    queue = upstream.queue
    assert (queue.rate, queue.concurrency) == (20, 8)
    assert (queue.first_poll, queue.longest_poll, queue.give_up_after) == (60, 3600, 604800)
    assert upstream.floor == profile.floor == Floor()
    assert profile.renewal is None
    assert profile.polling
    assert profile.paths == ("/scep/wifi",)
    assert isinstance(profile.ra, DualIdentity)
    assert profile.ra.signing is profile.ra.encryption is profile.ra
    assert isinstance(profile.challenge, StaticChallenge)
    assert profile.challenge.secret.reveal() == PASSWORD.encode()
    assert (profile.reply.certificates, profile.reply.empty_content) == ("none", "present")


def test_everything_said(tmp_path: Path) -> None:
    """What is said is what the configuration has; paths start from the file's directory."""
    text = altered(
        ('{scep: "tcp:8080"}', '{scep: ["tcp:80", "unix:/run/scep"], trusted-proxies: ["192.0.2.1", "2001:db8::/32"]}'),
        (
            "ca-fingerprint: ",
            "signer: {strategy: ra-certificate, certificate: up.crt, key: {file: up.key}}\n    ca-fingerprint: ",
        ),
        (
            "ca-fingerprint: ",
            "key-transport: RSA-OAEP-SHA-256\n    legacy: [DES-CBC, MD5, RSA-1024]\n    ca-fingerprint: ",
        ),
        ("certificate: ra.crt, key: ra.key", "signing: {certificate: s.crt, key: s.key}, encryption: {key: /e.p12}"),
        ("static, environment: CHALLENGE", "none, anyone-may-enrol-without-a-challenge: true"),
        ("upstream: lab", "upstream: lab\n    capabilities: {des3: false, sha1: false, sha384: false}"),
        ("paths: /scep/wifi", "paths: /scep/wifi\n    renewal: {trust: ca.crt, window: 14d, grace: 500ms}"),
        ("paths: /scep/wifi", "paths: /scep/wifi\n    polling: false"),
        (
            "ca-fingerprint: ",
            "concurrency: 3\n    queue: {rate: 1, concurrency: 2, first-poll: 2s, longest-poll: 3s}"
            "\n    ca-fingerprint: ",
        ),
        ("upstreams:", "workers: 1\nshutdown-grace: 0s\nupstreams:"),
    )
    config = reading(text, tmp_path).config
    assert config is not None
    assert config.listen.scep == ("tcp:80", "unix:/run/scep")
    assert [str(network) for network in config.listen.trusted_proxies] == ["192.0.2.1/32", "2001:db8::/32"]
    upstream, profile = config.upstreams["lab"], config.profiles["wifi"]
    assert isinstance(upstream.signer, CertificateSigner)
    assert upstream.signer.certificate == tmp_path / "up.crt"
    assert (config.workers, config.shutdown_grace, profile.polling) == (1, 0, False)
    assert upstream.concurrency == 3
    assert upstream.queue == Queue(rate=1, concurrency=2, first_poll=2.0, longest_poll=3.0)
    assert upstream.signer.key.file == tmp_path / "up.key"
    assert upstream.key_transport is KeyTransport.OAEP_SHA256
    assert Digest.MD5 in upstream.floor.digests
    assert ContentCipher.DES_CBC in upstream.floor.ciphers
    assert upstream.floor.rsa_bits == (1024, 8192)
    assert isinstance(profile.ra, SplitIdentity)
    assert profile.ra.encryption.key.file == Path("/e.p12")
    assert isinstance(profile.challenge, NoChallenge)
    assert profile.floor.digests == {Digest.SHA224, Digest.SHA256, Digest.SHA512}
    assert ContentCipher.DES_EDE3_CBC not in profile.floor.ciphers
    assert profile.renewal is not None
    assert (profile.renewal.trust, profile.renewal.window, profile.renewal.grace) == (
        (tmp_path / "ca.crt",),
        1209600.0,
        0.5,
    )


@pytest.mark.parametrize(
    ("listen", "workers", "processes"),
    [
        ("[tcp:8080, 'tcp:8081:interface=127.0.0.1']", "", min(64, len(os.sched_getaffinity(0)))),
        ("[tcp:8080, unix:/run/scep]", "", 1),
        ("ssl:8443", "", 1),
        ("systemd:domain=INET:index=0", "", 1),
        ("unix:/run/scep", "workers: 1", 1),
        ("tcp:8080", "workers: 3", 3),
    ],
)
def test_processes(listen: str, workers: str, processes: int) -> None:
    """Without a number, there is a process for each core where several can listen, else one."""
    config = reading(altered(('"tcp:8080"}', f"{listen}}}\n{workers}"))).config
    assert config is not None
    assert config.processes == processes


def test_models_by_name() -> None:
    """In Python the models are made by attribute names, and cannot be changed."""
    limits = Limits(body=5000, connections_per_address=7)
    assert limits.connections_per_address == 7
    with pytest.raises(ValidationError):
        limits.body = 1


def test_the_file_knows_only_kebab_case() -> None:
    """Python's spelling of a key is no key of the file."""
    assert said(altered(("ca-fingerprint", "ca_fingerprint")))[-1] == (
        "5:5: upstreams.lab.ca_fingerprint: unknown key; did you mean 'ca-fingerprint'?"
    )


def test_files(tmp_path: Path) -> None:
    """A file is read from disk with what it names beside it; one that cannot be read is a problem like any other."""
    file = tmp_path / "c.yaml"
    file.write_text(MINIMAL)
    assert load(file, ENVIRONMENT).profiles["wifi"].ra.signing.certificate == tmp_path / "ra.crt"
    file.write_text(MINIMAL[:60])
    with pytest.raises(ConfigError) as caught:
        load(file, ENVIRONMENT)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    assert caught.value.problems[0].file == str(file)
    assert [str(problem) for problem in read(tmp_path / "absent").problems] == [
        f"{tmp_path}/absent: cannot be read: No such file or directory"
    ]
    assert "Is a directory" in str(read(tmp_path).problems[0])
    assert "cannot be read" in str(read("a\0b").problems[0])


def test_the_environment_is_the_process_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another environment, variables are this process's."""
    file = tmp_path / "c.yaml"
    file.write_text(MINIMAL)
    monkeypatch.setenv("CHALLENGE", PASSWORD)
    assert load(str(file)).profiles["wifi"].challenge.type == "static"
    assert os.environ["CHALLENGE"] == PASSWORD


def test_warnings_do_not_stop() -> None:
    """A configuration with warnings only is one, and its warnings are kept."""
    found = reading(altered(("[a-z0-9]+", ".*")))
    assert found.config is not None
    assert [str(problem) for problem in found.problems] == [
        "c.yaml:14:27: profiles.wifi.policy[1].subject.match.CN: warning: the pattern accepts everything"
    ]
    assert str(found.problem(("profiles", "wifi"), "hello")) == "c.yaml:7:3: profiles.wifi: hello"


KEYS = st.sampled_from(
    [
        *("listen", "limits", "upstreams", "profiles", "scep", "lab", "wifi", "url", "ca-fingerprint", "paths"),
        *(
            "upstream",
            "ra",
            "challenge",
            "type",
            "signing",
            "key",
            "file",
            "policy",
            "renewal",
            "trust",
            "legacy",
            "rsa",
            "min",
        ),
        *("subject", "match", "CN", "signer", "strategy"),
    ]
)
VALUES = st.recursive(
    st.sampled_from(["static", "none", "lab", "/scep", "30s", "sha256:" + "0" * 64, "file:x", "http://a/", "", "MD5"])
    | st.text(max_size=5)
    | st.integers()
    | st.booleans()
    | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.proves("DR-19")
@given(st.data())
def test_any_configuration(data: st.DataObject) -> None:
    """Whatever stands anywhere in a configuration, it is one or has problems; there is no other exception."""
    tree = copy.deepcopy(yaml.safe_load(MINIMAL))
    for _ in range(data.draw(st.integers(1, 3))):
        at = tree
        while isinstance(at, dict) and at:
            key = data.draw(st.sampled_from(sorted(at)) | KEYS)
            if data.draw(st.booleans()) or not isinstance(at.get(key), dict):
                at[key] = data.draw(VALUES)
                break
            at = at[key]
    text = yaml.safe_dump(tree)
    found = reading(text)
    assert (found.config is None) == any(problem.severity == "error" for problem in found.problems)
    assert all(problem.sentence for problem in found.problems)


@given(st.text())
def test_any_text(text: str) -> None:
    """The same for any text."""
    found = parse(text.encode("utf-8", "surrogatepass"), "c.yaml", Surroundings(Path(), {}))
    assert isinstance(found.config, Config) or found.problems
