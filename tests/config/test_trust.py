"""What is wrong with the sections that say which certificates authorise requests."""

from __future__ import annotations

import pytest

from tests.config.sample import altered, said

RENEWAL = ("    policy:", "    renewal: {{trust: ca.crt, {}}}\n    policy:")
MAKER = "type: certificate, anchors: maker.crt"
CHALLENGE = "type: static, environment: CHALLENGE"
SERIAL = 'serial: {common-name: "{serial}"}'
OTHER = """\
  vpn:
    paths: /vpn
    upstream: lab
    ra: {certificate: ra.crt, key: ra.key}
    challenge: {type: static, environment: CHALLENGE}
    policy: [{key: {rsa: {}}}, {subject: {match: {CN: "[a-z]+"}}}]
"""


def renewal(text: str, *more: tuple[str, str]) -> str:
    """The small configuration with a renewal section."""
    return altered((RENEWAL[0], RENEWAL[1].format(text)), *more)


def sentences(text: str) -> list[str]:
    """What is said of a text: everything behind the place."""
    return [each.split(": ", 1)[1] for each in said(text)]


@pytest.mark.proves("AC-050")
def test_profiles_whose_certificates_renew() -> None:
    """They are other profiles of this file."""
    assert sentences(renewal("profiles: vpn") + OTHER) == []
    assert sentences(renewal("profiles: vnp") + OTHER) == [
        "profiles.wifi.renewal.profiles[0]: no profile has this name; did you mean 'vpn'?"
    ]
    assert sentences(renewal("profiles: [wifi]")) == [
        "profiles.wifi.renewal.profiles[0]: this is the profile itself, whose certificates renew anyway"
    ]
    # One that cannot be read is there all the same.
    assert sentences(renewal("profiles: vpn") + "  vpn: 5\n") == ["profiles.vpn: expected a mapping"]


@pytest.mark.proves("AC-050", "AC-052")
@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("outside: refuse, grace: 90d", []),
        (
            "outside: allow, grace: 91d",
            [
                "outside: warning: whatever these CAs have ever issued to anybody renews here, as far as the policy"
                " lets it"
            ],
        ),
        ("grace: 91d", ["grace: longer than certificates are kept after their end (store: retention)"]),
        ("window: 400d", []),
        (
            "window: 400d, grace: 1d",
            [
                "window: warning: with grace, longer than it is known what was renewed (store: retention, challenges)",
            ],
        ),
    ],
)
def test_how_long_certificates_are_known(text: str, problems: list[str]) -> None:
    """What is to be renewed must still be known, and what was renewed already too; what is let in beside is said."""
    assert sentences(renewal(text)) == [f"profiles.wifi.renewal.{each}" for each in problems]
    unreadable = sentences("store: 5\n" + renewal(text))
    assert len(unreadable) == 1 + len([each for each in problems if "outside" in each])


@pytest.mark.proves("AC-049")
@pytest.mark.parametrize(
    ("section", "problems"),
    [
        ("{urls: 'http://a.example/ca.crl'}", []),
        ("{urls: ['https://a.example:8443/?cmd=crl'], files: a.crl, unknown: retry}", []),
        ("{}", [": expected urls or files, or both"]),
        ("{urls: ['ldap://a.example/cn=CA,o=Example']}", []),
        (
            "{urls: ['ldap://a.example/']}",
            [".urls[0]: expected the distinguished name of an entry after the host"],
        ),
        ("{urls: ['file:///ca.crl']}", [".urls[0]: expected an http, https, ldap or ldaps URL"]),
        ("{urls: ['http://u:p@a.example/']}", [".urls[0]: a URL here has no user name and no password"]),
        ("{urls: ['http://a.example/#b']}", [".urls[0]: a URL here has no fragment"]),
        (
            "{files: a.crl, unknown: allow}",
            [".unknown: warning: whoever keeps the lists from the RA makes revoked certificates good again"],
        ),
        ("{files: a.crl, sha1: allow}", [".sha1: warning: lists that are signed with SHA-1 can be forged"]),
        ("{files: a.crl, timeout: 59s}", []),
        ("{files: a.crl, timeout: 60s}", [".timeout: not shorter than the answer-deadline under limits"]),
    ],
)
def test_revocation_lists(section: str, problems: list[str]) -> None:
    """Lists come from http, https and files; who lets things through without them is told what that means."""
    assert sentences(renewal(f"crl: {section}")) == [f"profiles.wifi.renewal.crl{each}" for each in problems]
    maker = altered((CHALLENGE, f"{MAKER}, {SERIAL}, crl: {section}"))
    found = [each.replace(".certificate.crl", ".crl") for each in sentences(maker)]
    assert found == [f"profiles.wifi.challenge.crl{each}" for each in problems]


@pytest.mark.proves("MSG-50", "RA-32")
@pytest.mark.parametrize(
    ("section", "problems"),
    [
        ("{get-cert: own}", []),
        ("{get-cert: own, crl: {trust: ca.crt, files: a.crl}}", []),
        ("{location: 'http://a.example/ca.crl'}", []),
        ("{location: 'ldap://a.example/cn=CA'}", []),
        ("{}", [": warning: nothing is answered: name get-cert, crl, location or forward"]),
        ("{crl: {files: a.crl}}", [".crl.trust: required key is missing"]),
        ("{crl: {trust: ca.crt, files: a.crl, unknown: allow}}", [".crl.unknown: unknown key"]),
        (
            "{crl: {trust: ca.crt, files: a.crl, timeout: 60s, sha1: allow}}",
            [
                ".crl.timeout: not shorter than the answer-deadline under limits",
                ".crl.sha1: warning: lists that are signed with SHA-1 can be forged",
            ],
        ),
        (
            "{location: 'http://a.example/ca.crl', crl: {trust: ca.crt, files: a.crl}}",
            [".location: clients are told it instead of being sent the lists under crl"],
        ),
        ("{location: 'file:///a.crl'}", [".location: expected an http, https, ldap or ldaps URL"]),
        ("{location: 'ldap://a.example/'}", [".location: expected the distinguished name of an entry after the host"]),
        (
            f"{{location: 'http://a.example/{'x' * 200}'}}",
            [".location: expected at most 200 characters, which is what an answer has place for"],
        ),
        (
            "{location: 'http://a.example/ca.crl', forward: true}",
            [".forward: nothing is ever forwarded: GetCRL is answered with location, GetCert is off"],
        ),
        (
            "{forward: true}",
            [
                ".forward: warning: the upstream lab sees the RA ask, and cannot tell for whom (RA-32), by certificates"
                " that it has not issued: most CAs answer only those who have one"
            ],
        ),
    ],
)
def test_queries(section: str, problems: list[str]) -> None:
    """Who names what cannot be is told so, and so is who lets the CA be asked in the RA's name."""
    text = altered(("    policy:", f"    queries: {section}\n    policy:"))
    assert sentences(text) == [f"profiles.wifi.queries{each}" for each in problems]


@pytest.mark.proves("RA-32")
def test_queries_by_the_ra_s_certificate() -> None:
    """A CA that knows who asks, or of which nothing can be read, is not said to know it not."""
    queries = ("    policy:", "    queries: {forward: true}\n    policy:")
    signer = ("url: http://127.0.0.1:8089/scep", "url: 5")
    said_of = "the upstream lab sees the RA ask, and cannot tell for whom (RA-32)"
    assert f"profiles.wifi.queries.forward: warning: {said_of}" in sentences(altered(queries, signer))


def test_limits_that_cannot_be_read() -> None:
    """Without limits there is nothing to compare a deadline with."""
    text = "limits: 5\n" + renewal("crl: {files: a.crl, timeout: 60s}")
    assert sentences(text) == ["limits: expected a mapping"]


@pytest.mark.proves("AC-091")
@pytest.mark.parametrize(
    ("section", "problems"),
    [
        (f"{MAKER}, {SERIAL}", []),
        (
            f"{MAKER}, serial: {{after: 'SN:', dns: ['{{serial}}.a', 'b-{{serial}}'], uri: '{{serial}}'}}",
            [],
        ),
        (
            MAKER,
            [
                ": warning: without serial any device of these manufacturers may have any name that the policy lets"
                " through"
            ],
        ),
        (
            f"{MAKER}, {SERIAL}, subject: {{O: '.*', OU: 'A\\.B'}}",
            [".subject.O: warning: the pattern accepts everything"],
        ),
        (
            f"{MAKER}, {SERIAL}, sha1: allow",
            [".sha1: warning: certificates that are signed with SHA-1 can be forged"],
        ),
        (
            f"{MAKER}, serial: {{}}",
            [".serial: expected at least one of common-name, serial-number, dns, upn and uri"],
        ),
        (
            f"{MAKER}, serial: {{common-name: abc}}",
            [".serial.common-name: expected a name in which {serial} stands once for the serial number"],
        ),
        (
            f"{MAKER}, serial: {{dns: ['{{serial}}{{serial}}']}}",
            [".serial.dns[0]: expected a name in which {serial} stands once for the serial number"],
        ),
    ],
)
def test_manufacturers(section: str, problems: list[str]) -> None:
    """A manufacturer's certificate is bound to names, or that is warned about; patterns that match all are too."""
    found = [each.replace(".certificate", "", 1) for each in sentences(altered((CHALLENGE, section)))]
    assert found == [f"profiles.wifi.challenge{each}" for each in problems]
    several = f"type: any-of, providers: [{{{CHALLENGE}}}, {{{section}}}]"
    found = [each.replace(".certificate", "", 1) for each in sentences(altered((CHALLENGE, several)))]
    assert found == [f"profiles.wifi.challenge.providers[1]{each}" for each in problems]


@pytest.mark.proves("AC-055")
def test_agents() -> None:
    """Agents are listed, at least one of them, by digests that cannot be forged."""

    def listed(text: str) -> list[str]:
        return sentences(altered(("    policy:", f"    on-behalf: {text}\n    policy:")))

    digest = "sha256:" + "5a" * 32
    assert listed(f"{{certificates: '{digest}'}}") == listed(f"{{keys: ['{digest}']}}") == []
    assert listed("{}") == ["profiles.wifi.on-behalf: expected certificates or keys, or both"]
    (problem,) = listed("{certificates: ['sha1:" + "5a" * 20 + "']}")
    assert problem.startswith("profiles.wifi.on-behalf.certificates[0]: sha1 can be forged")
    (problem,) = listed("{keys: [CN=agent]}")
    assert problem.startswith("profiles.wifi.on-behalf.keys[0]: expected sha256:")


@pytest.mark.proves("RA-30", "SEC-01")
@pytest.mark.parametrize(
    ("change", "kind", "place", "done"),
    [
        ((RENEWAL[0], RENEWAL[1].format("window: 30d")), "renewal", "renewal", "renew"),
        (
            ("    policy:", f"    on-behalf: {{keys: 'sha256:{'5a' * 32}'}}\n    policy:"),
            "on-behalf",
            "on-behalf",
            "be enrolled",
        ),
        ((CHALLENGE, f"{MAKER}, {SERIAL}"), "a challenge of the type certificate", "challenge", "enrol"),
    ],
)
def test_what_certificates_do_not_go_together_with(change: tuple[str, str], kind: str, place: str, done: str) -> None:
    """MD5 and DES make certificates worthless as credentials; and a CA that asks for a challenge wants it of all."""
    assert sentences(altered(change)) == []
    url = "    url: http://127.0.0.1:8089/scep\n"
    asking = altered(change, (url, f"{url}    authorisation: challenge\n"))
    assert sentences(asking) == [
        f"profiles.wifi.{place}: warning: the upstream lab asks for a challenge: only clients that repeat it can {done}"
        " (RA-30)"
    ]
    broken = altered(change, ("    upstream: lab", "    upstream: lab\n    legacy: [RSA-1024, MD5]"))
    assert [each for each in sentences(broken) if "impossible" in each] == [
        f"profiles.wifi.legacy[1]: MD5 is impossible together with {kind} (SEC-01): serve old devices by a profile of"
        " their own"
    ]
