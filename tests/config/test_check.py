"""What is wrong between sections."""

from __future__ import annotations

from pathlib import Path

import pytest

from scepra.config.strength import strength
from scepra.lab.files import write_private
from tests.config.sample import PIN, altered, reading, said

SECOND = """\
  vpn:
    paths: {paths}
    upstream: lab
    ra: {{certificate: ra.crt, key: ra.key}}
    challenge: {{type: static, environment: CHALLENGE}}
    policy: [{{key: {{rsa: {{}}}}}}, {{subject: {{match: {{CN: "[a-z]+"}}}}}}]
"""


def errors(text: str) -> list[str]:
    """The errors of a text, without warnings."""
    return [problem for problem in said(text) if " warning: " not in problem]


def errors_in(text: str, base: Path) -> list[str]:
    """The same, for a text that names files below a directory."""
    return [problem for problem in said(text, base) if " warning: " not in problem]


def warnings(text: str) -> list[str]:
    """The warnings of a text, which has no errors."""
    found = reading(text)
    assert found.config is not None
    return [str(problem).removeprefix("c.yaml:") for problem in found.problems]


def test_the_small_configuration_has_no_problems() -> None:
    """What the other tests make wrong is right."""
    assert said(altered()) == []


@pytest.mark.parametrize("path", ["/scep/wifi", "/SCEP//Wifi/", "/scep/wifi/pkiclient.exe", "/scep/%77ifi"])
def test_two_profiles_at_one_path(path: str) -> None:
    """Spellings that reach one profile cannot be another's: case, slashes, escapes and a trailing pkiclient.exe."""
    assert said(altered() + SECOND.format(paths=path)) == [
        "16:5: profiles.vpn.paths[0]: the profile wifi is served at this path already, case and slashes aside"
    ]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/a/../b", "a path that plays tricks"),
        ("/a%00", "a path that plays tricks"),
        ("/a%2fb", "a path that plays tricks"),
        ("/%ff", "a path that is not UTF-8"),
        ("scep", "expected the path of a URL, from its first slash on"),
        ("/scep?a", "expected the path of a URL, from its first slash on"),
        ("http://ra/scep", "expected the path of a URL, from its first slash on"),
        ("/certsrv/mscep_admin", "this is NDES's administration page, which is never served (AC-014)"),
    ],
)
def test_paths_that_no_request_can_have(path: str, sentence: str) -> None:
    """A path that requests are refused at is a mistake in the configuration."""
    assert said(altered(("/scep/wifi", path))) == [f"8:5: profiles.wifi.paths[0]: {sentence}"]


def test_ca_identifiers() -> None:
    """A CA identifier may tell profiles apart at a path, with a warning; one identifier may not mean two there."""
    shared = altered() + SECOND.format(paths="/scep/wifi\n    ca-identifiers: [vpn, v]")
    assert warnings(shared) == [
        "16:5: profiles.vpn.paths[0]: warning: PKIOperation names no CA identifier: here it reaches the profile wifi"
    ]
    both = altered(("paths: /scep/wifi", "paths: /scep/wifi\n    ca-identifiers: v"))
    assert errors(both + SECOND.format(paths="/scep/wifi\n    ca-identifiers: [vpn, v]")) == [
        "18:27: profiles.vpn.ca-identifiers[1]: the profile wifi has this identifier at the same path"
    ]
    assert said(both + SECOND.format(paths="/scep/vpn\n    ca-identifiers: v")) == []


@pytest.mark.proves("CAPS-06")
@pytest.mark.parametrize("kept", ["sha1", "sha256", "sha512", None])
def test_some_digest_is_offered(kept: str | None) -> None:
    """A profile that offers none of SHA-1, SHA-256 and SHA-512 is an error, one of them is enough."""
    off = ", ".join(f"{name}: false" for name in ("sha1", "sha256", "sha384", "sha512") if name != kept)
    problems = said(altered(("paths:", f"capabilities: {{{off}}}\n    paths:")))
    assert problems == (
        []
        if kept
        else [
            "8:5: profiles.wifi.capabilities: without SHA-1, SHA-256 and SHA-512 Apple's devices refuse the server"
            " (CAPS-06)"
        ]
    )


@pytest.mark.proves("SEC-01")
def test_legacy_is_loud_and_never_beside_renewal() -> None:
    """Each broken algorithm is warned about; MD5 and DES exclude renewal, small keys do not."""
    legacy = ("paths:", "legacy: [MD5, RSA-1024, DES-CBC]\n    paths:")
    assert warnings(altered(legacy)) == [
        "8:14: profiles.wifi.legacy[0]: warning: MD5 is accepted although it is broken (SEC-01)",
        "8:19: profiles.wifi.legacy[1]: warning: RSA-1024 is accepted although it is broken (SEC-01)",
        "8:29: profiles.wifi.legacy[2]: warning: DES-CBC is accepted although it is broken (SEC-01)",
    ]
    assert errors(altered(legacy, ("upstream: lab", "upstream: lab\n    renewal: {trust: ca.crt}"))) == [
        "8:14: profiles.wifi.legacy[0]: MD5 is impossible together with renewal (SEC-01): serve old devices by a"
        " profile of their own",
        "8:29: profiles.wifi.legacy[2]: DES-CBC is impossible together with renewal (SEC-01): serve old devices by a"
        " profile of their own",
    ]


@pytest.mark.proves("SEC-01")
def test_legacy_towards_the_upstream() -> None:
    """The RA itself sends MD5 and DES only where they are named as legacy, too."""
    weak = "digest: MD5\n    cipher: DES-CBC\n    ca-fingerprint:"
    assert said(altered(("ca-fingerprint:", weak))) == [
        "5:5: upstreams.lab.digest: MD5 is broken: it is used only where legacy names it too (SEC-01)",
        "6:5: upstreams.lab.cipher: DES-CBC is broken: it is used only where legacy names it too (SEC-01)",
    ]
    assert errors(altered(("ca-fingerprint:", "legacy: [MD5, DES-CBC]\n    " + weak))) == []


@pytest.mark.proves("RA-30")
@pytest.mark.parametrize(
    ("authorisation", "problems"),
    [
        ("network", []),
        ("ra-certificate\n    signer: {strategy: ra-certificate, key: x.p12}", []),
        (
            "challenge",
            [
                "12:5: profiles.wifi.renewal: warning: the upstream lab asks for a challenge: only clients that repeat"
                " it can renew (RA-30)"
            ],
        ),
    ],
)
def test_renewal_needs_an_upstream_that_can_authorise_it(authorisation: str, problems: list[str]) -> None:
    """Renewal is warned about where the upstream would refuse most of it."""
    text = altered(
        ("ca-fingerprint:", f"authorisation: {authorisation}\n    ca-fingerprint:"),
        ("challenge: {", "renewal: {trust: ca.crt}\n    challenge: {"),
    )
    assert warnings(text) == problems


def test_authorisation_by_certificate_needs_one() -> None:
    """An upstream that goes by the RA's certificate needs a signer that has one."""
    assert said(altered(("ca-fingerprint:", "authorisation: ra-certificate\n    ca-fingerprint:"))) == [
        "5:5: upstreams.lab.authorisation: ra-certificate needs a signer with the strategy ra-certificate and its files"
    ]


def test_timeouts() -> None:
    """Connecting cannot take longer than the whole; longer than clients wait is warned about."""
    assert said(altered(("ca-fingerprint:", "connect-timeout: 21s\n    ca-fingerprint:"))) == [
        "5:5: upstreams.lab.connect-timeout: longer than timeout, which includes it"
    ]
    assert warnings(altered(("ca-fingerprint:", "timeout: 26s\n    ca-fingerprint:"))) == [
        "5:5: upstreams.lab.timeout: warning: longer than 25s: clients that give up after 30s never see such an answer"
    ]
    assert said(altered(("upstreams:", "limits: {answer-deadline: 20s}\nupstreams:"))) == [
        "4:3: upstreams.lab.timeout: not shorter than the answer-deadline under limits"
    ]


@pytest.mark.parametrize(
    ("said_of_it", "problems"),
    [
        ("concurrency: 8", []),
        ("concurrency: 7", ["3:3: upstreams.lab.queue.concurrency: {more}"]),
        ("queue: {concurrency: 65}", ["5:13: upstreams.lab.queue.concurrency: {more}"]),
        ("queue: {first-poll: 1h}", []),
        ("queue: {first-poll: 61m}", ["5:13: upstreams.lab.queue.first-poll: longer than longest-poll"]),
        ("queue: {longest-poll: 7d}", ["5:5: upstreams.lab.queue.give-up-after: not longer than longest-poll"]),
        ("queue: {give-up-after: 1h}", ["5:13: upstreams.lab.queue.give-up-after: not longer than longest-poll"]),
        ("queue: {give-up-after: 61m}", []),
    ],
)
def test_queues(said_of_it: str, problems: list[str]) -> None:
    """A backlog is a part of the exchanges with its upstream, and its polls come within the time that it lives."""
    more = "more than the upstream's concurrency, which includes it"
    text = altered(("ca-fingerprint:", f"{said_of_it}\n    ca-fingerprint:"))
    assert said(text) == [problem.format(more=more) for problem in problems]


@pytest.mark.parametrize(("period", "refused"), [("30d", False), ("31d", True)])
def test_the_period_of_signer_keys(period: str, refused: bool) -> None:
    """A key is not taken out of the store while it is still used: it is kept as long as transactions are."""
    signer = f"signer: {{strategy: ephemeral-self-signed, period: {period}}}"
    sentence = "longer than transactions are kept (store: retention)"
    found = said(altered(("ca-fingerprint:", f"{signer}\n    ca-fingerprint:")))
    assert any(each.endswith(f"upstreams.lab.signer.period: {sentence}") for each in found) == refused
    assert len(found) == refused


@pytest.mark.parametrize(
    ("endpoint", "workers", "refused"),
    [
        ("tcp:8080", 2, False),
        ("[tcp:8080, ssl:8443]", 2, True),
        ("unix:/run/scep", 2, True),
        ("unix:/run/scep", 1, False),
    ],
)
def test_workers_share_tcp_endpoints_only(endpoint: str, workers: int, refused: bool) -> None:
    """Several processes with an endpoint that they cannot share are an error, beside other errors too."""
    text = altered(('"tcp:8080"}', f"{endpoint}}}\nworkers: {workers}"))
    sentence = "2:1: workers: several processes can share no endpoints under listen but those of tcp:PORT"
    assert said(text) == [sentence] * refused
    assert said(text + "  vpn: 5\n") == [sentence] * refused + ["16:3: profiles.vpn: expected a mapping"]


@pytest.mark.parametrize(
    ("retention", "problems"),
    [
        ("transactions: 7d", []),
        (
            "transactions: 6d",
            ["1:21: store.retention.transactions: warning: shorter than 7d: clients may come back for days (MSG-44)"],
        ),
        ("transactions: 400d", []),
        (
            "transactions: 401d",
            [
                "1:9: store.retention.challenges: shorter than transactions: a used challenge would be good again"
                " (SEC-07)"
            ],
        ),
        (
            "challenges: 29d",
            [
                "1:21: store.retention.challenges: shorter than transactions: a used challenge would be good again"
                " (SEC-07)"
            ],
        ),
    ],
)
def test_retention(retention: str, problems: list[str]) -> None:
    """Transactions are kept for a week at least, or that is warned about; used challenges as long as they."""
    assert said(f"store: {{retention: {{{retention}}}}}\n" + altered()) == problems


@pytest.mark.parametrize("hold", ["{}", "{when: {credential: initial}, approvals: 2}"])
def test_a_profile_that_holds_requests_needs_clients_that_poll(hold: str) -> None:
    """What waits for people cannot be answered but to who asks again."""
    held = altered(("    policy:", f"    policy:\n      - hold: {hold}"))
    assert errors(held) == []
    assert errors(held.replace("upstream: lab", "upstream: lab\n    polling: true")) == []
    assert errors(held.replace("upstream: lab", "upstream: lab\n    polling: false")) == [
        "10:5: profiles.wifi.polling: must be true: what the rule hold keeps back can only be polled for"
    ]
    assert errors(altered(("upstream: lab", "upstream: lab\n    polling: false"))) == []


def test_unused_upstreams() -> None:
    """An upstream that no profile uses is warned about, unless a profile that cannot be read may mean it."""
    other = f"  other: {{url: 'http://a/', ca-fingerprint: '{PIN}'}}\nprofiles:"
    text = altered(("profiles:", other))
    assert warnings(text) == ["6:3: upstreams.other: warning: no profile uses this upstream"]
    assert len(said(text + "  vpn: {}\n")) == 4
    assert len(said(text.replace("upstream: lab", "upstream: x"))) == 1


@pytest.mark.proves("AC-094")
@pytest.mark.parametrize(
    ("secret", "bits"),
    [
        ("a", 0),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0),
        ("secret", 13),
        ("changeme", 22),
        ("hunter2hunter2", 39),
        ("4F1C9A7E02B6D835", 64),
        ("correct horse battery staple", 103),
    ],
)
def test_strength(secret: str, bits: int) -> None:
    """A password is worth its length times the logarithm of the number of its characters."""
    assert strength(secret) == bits


@pytest.mark.proves("AC-094")
def test_static_challenges_are_judged() -> None:
    """A static challenge that can be guessed is an error, a weak one a warning, and so is one written in the file."""
    inline = 'static, insecure-inline: "{}"'
    place = "11:31: profiles.wifi.challenge.insecure-inline"
    known = f"{place}: warning: whoever reads this file knows the challenge"
    old = "static, environment: CHALLENGE"
    assert said(altered((old, inline.format("hunter2")))) == [
        known,
        f"{place}: the challenge can be guessed: about 19 bits, at least 32 needed",
    ]
    assert warnings(altered((old, inline.format("hunter2hunter2")))) == [
        known,
        f"{place}: warning: the challenge is weak: about 39 bits, 64 are safe",
    ]
    assert warnings(altered((old, inline.format("correct horse battery staple")))) == [known]
    assert "hunter2" not in "".join(said(altered((old, inline.format("hunter2")))))


def test_no_challenge_is_warned_about() -> None:
    """A profile without a challenge can be had by its ugly key only, and is warned about even then."""
    old, new = "static, environment: CHALLENGE", "none, anyone-may-enrol-without-a-challenge: true"
    assert warnings(altered((old, new))) == [
        "11:5: profiles.wifi.challenge: warning: anyone who reaches this profile may enrol, as far as its policy lets"
        " them"
    ]


@pytest.mark.proves("DR-19")
def test_openness() -> None:
    """What a policy lets in unseen is warned about at the rule that does."""
    assert warnings(altered(("min: 2048", "min: 1024"), ("    policy:", "    ca-identifiers: x\n    policy:"))) == [
        "14:21: profiles.wifi.policy[0].key.rsa.min: warning: RSA keys below 2048 bits can be broken"
    ]


def test_waiting_for_a_busy_upstream_is_no_longer_than_clients_wait() -> None:
    """How long a new request waits for its turn counts as much as how long the exchange takes."""

    def problems(timeout: str, patience: str) -> list[str]:
        settings = f"{PIN}\n    timeout: {timeout}\n    queue: {{patience: {patience}}}"
        return said(altered((PIN, settings)))

    assert problems("20s", "5s") == []
    (late,) = problems("20s", "6s")
    assert late.endswith(
        "queue.patience: warning: together with timeout longer than 25s: clients that give up after 30s never see"
        " such an answer"
    )
    refused = problems("24s", "36s")
    assert any(
        problem.endswith("queue.patience: together with timeout not shorter than the answer-deadline under limits")
        for problem in refused
    )


def test_no_more_is_held_for_an_address_than_in_all() -> None:
    """A bound that another one makes void is a mistake."""
    challenge = "challenge: {type: static, environment: CHALLENGE}"
    (problem,) = said(altered((challenge, f"{challenge}\n    held: {{requests: 10, per-address: 11}}")))
    assert problem.endswith("profiles.wifi.held.per-address: more than requests in all")


NDES = "{{type: ndes, url: {url}, user: CORP\\\\ra, password-file: ndes.pass{more}}}"


def ndes(
    tmp_path: Path, url: str = "https://ndes.example/certsrv/mscep_admin/", more: str = "", **changes: str
) -> list[str]:
    """The problems of a profile with NDES's passwords, without their places."""
    write_private(tmp_path / "ndes.pass", b"password\n")
    spelled = changes.get("challenge", "NDES").replace("NDES", NDES.format(url=url, more=more))
    authorised = f"authorisation: {changes.get('authorisation', 'challenge')}\n    ca-fingerprint:"
    text = altered(("{type: static, environment: CHALLENGE}", spelled), ("ca-fingerprint:", authorised))
    text += changes.get("policy", "")
    return [problem.partition(": ")[2] for problem in said(text, tmp_path)]


@pytest.mark.proves("AC-118")
@pytest.mark.parametrize(
    ("url", "more", "problems"),
    [
        ("https://ndes.example/", "", []),
        ("https://ndes.example/", ", authentication: basic, trust: ca.crt", []),
        (
            "http://ndes.example/",
            "",
            [
                "profiles.wifi.challenge.url: without TLS the account can be misused: use https, or set"
                " credentials-may-travel-without-tls (AC-118)"
            ],
        ),
        (
            "http://ndes.example/",
            ", credentials-may-travel-without-tls: true",
            [
                "profiles.wifi.challenge.credentials-may-travel-without-tls: warning: whoever is on the way to NDES can"
                " misuse the account"
            ],
        ),
        (
            "http://ndes.example/",
            ", credentials-may-travel-without-tls: true, authentication: basic",
            ["profiles.wifi.challenge.authentication: basic sends the password itself: only over https (AC-118)"],
        ),
        (
            "http://ndes.example/",
            ", credentials-may-travel-without-tls: true, trust: ca.crt",
            [
                "profiles.wifi.challenge.credentials-may-travel-without-tls: warning: whoever is on the way to NDES can"
                " misuse the account",
                "profiles.wifi.challenge.trust: there is nothing to trust over http",
            ],
        ),
        (
            "https://ndes.example/",
            ", pool: 3, cache: 2",
            ["profiles.wifi.challenge.pool: more than cache: NDES keeps no more than that"],
        ),
    ],
)
def test_the_account_for_ndes(tmp_path: Path, url: str, more: str, problems: list[str]) -> None:
    """Without TLS an account is shown only where that is said in as many words, and its password never."""
    assert sorted(ndes(tmp_path, url, more)) == sorted(problems)


@pytest.mark.proves("RA-11")
@pytest.mark.parametrize(
    ("url", "pool", "problems"),
    [
        (
            "https://NDES.example/other/",
            4,
            [
                "profiles.vpn.challenge.pool: warning: the profiles in front of ndes ndes.example want 6 together, and"
                " it keeps 5 (cache): one may never have a password"
            ],
        ),
        ("https://ndes.example/", 3, []),
        ("https://second.example/", 5, []),
    ],
)
def test_profiles_share_the_places_of_one_ndes(tmp_path: Path, url: str, pool: int, problems: list[str]) -> None:
    """What all of them want to keep ready must find room there, or the last may wait for ever."""
    write_private(tmp_path / "ndes.pass", b"password\n")
    first = NDES.format(url="https://ndes.example/", more="")
    text = altered(
        ("{type: static, environment: CHALLENGE}", first),
        ("ca-fingerprint:", "authorisation: challenge\n    ca-fingerprint:"),
    )
    other = NDES.format(url=url, more=f", pool: {pool}")
    second = SECOND.format(paths="/scep/vpn").replace("{type: static, environment: CHALLENGE}", other)
    assert [problem.partition(": ")[2] for problem in said(text + second, tmp_path)] == problems


@pytest.mark.proves("RA-11", "RA-10")
def test_what_ndes_s_passwords_go_with(tmp_path: Path) -> None:
    """They are of use only where the CA asks for them, with no other challenges given out beside them; waiting for
    people costs them their life."""
    assert ndes(tmp_path, authorisation="network") == [
        "profiles.wifi.challenge.type: the upstream lab does not ask for a challenge (authorisation): use minted ones"
    ]
    two = "{type: any-of, providers: [NDES, NDES]}"
    assert ndes(tmp_path, challenge=two) == [
        "profiles.wifi.challenge.providers[1].type: the profile gives out challenges of another provider already"
    ]
    held = "      - hold: {approvals: 1}\n"
    assert ndes(tmp_path, policy=held) == [
        "profiles.wifi.challenge: warning: what the rule hold keeps back too long, NDES refuses: its passwords expire"
    ]


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ('- time: {hours: "08:00-08:00"}', "15:16: profiles.wifi.policy[2].time.hours: the time between is empty, so"
         " that every request is refused"),
        ("- limit: {per: device, active: 1}", "15:9: profiles.wifi.policy[2].limit[0].per: challenges of this"
         " profile are given to no device: nothing is ever counted"),
        ("- hold: {when: {subject: {OU: servers}}}", "15:33: profiles.wifi.policy[2].hold.when.subject.OU: the rule"
         " subject accepts no OU: nothing is ever held"),
        ("- hold: {when: {credential: renewal}}", "15:23: profiles.wifi.policy[2].hold.when.credential: this profile"
         " renews nothing: nothing is ever held"),
        ("- limit: {per: profile, active: 0}", "15:31: profiles.wifi.policy[2].limit.active: must be at least 1"),
        ("- limit: [{per: subject, active: 1}, {per: device, active: 1}]", "15:45:"
         " profiles.wifi.policy[2].limit[1].per: challenges of this profile are given to no device: nothing is ever"
         " counted"),
        ("- key-usage: {allow: digitalSignature}\n        severity: report", "16:9: profiles.wifi.policy[2].severity:"
         " warning: what the rule objects to is reported and not refused"),
    ],
)  # fmt: skip
def test_rules_that_do_nothing(rules: str, sentence: str) -> None:
    """A rule that can never match, or contradicts another, is found at its place in the file."""
    found = reading(altered(("\n", "\n")) + f"      {rules}\n").problems
    shown = [str(problem).removeprefix("c.yaml:") for problem in found]
    assert sentence in shown


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("- limit: {per: subject, active: 1, then: hold}", "limit"),
        ("- unique: {names: profile, takeover: hold}", "unique"),
    ],
)
def test_whatever_holds_needs_polling(rule: str, kind: str) -> None:
    """Clients that cannot poll never learn what becomes of what is put before people, whichever rule does it."""
    text = altered(("    policy:", "    polling: false\n    policy:")) + f"      {rule}\n"
    said = [problem.sentence for problem in reading(text).problems if problem.severity == "error"]
    assert said == [f"must be true: what the rule {kind} keeps back can only be polled for"]


@pytest.mark.proves("DR-18")
@pytest.mark.parametrize(
    ("endpoint", "listens", "warned"),
    [
        ("tcp:8081", "tcp:8081:interface=127.0.0.1", False),
        ("tcp:8081:interface=127.0.0.2", "tcp:8081:interface=127.0.0.2", False),
        ("tcp:8081:interface=\\:\\:1", "tcp:8081:interface=\\:\\:1", False),
        ("tcp:8081:interface=0.0.0.0", "tcp:8081:interface=0.0.0.0", True),
        ("ssl:8443:privateKey=a.key", "ssl:8443:privateKey=a.key:interface=127.0.0.1", False),
        ("ssl:8443:interface=192.0.2.1", "ssl:8443:interface=192.0.2.1", False),
        ("unix:/run/scepra.sock", "unix:/run/scepra.sock", False),
    ],
)
def test_the_administration_is_on_this_machine(endpoint: str, listens: str, warned: bool) -> None:
    """Unless it says otherwise; where others can reach it without TLS, that is warned about."""
    text = altered(('scep: "tcp:8080"', f"scep: 'tcp:8080', admin: '{endpoint}'"))
    assert any("travel in clear to other machines" in problem for problem in said(text)) is warned
    config = reading(text).config
    assert config is not None
    assert config.listen.administration == (listens,)


@pytest.mark.proves("AC-104", "RA-11")
def test_minted_challenges_and_what_is_around_them() -> None:
    """Lifetimes fit each other and what is kept, and a CA that asks for challenges of its own knows no minted ones."""
    old = "{type: static, environment: CHALLENGE}"
    assert errors(altered((old, "{type: minted, lifetime: 1d, longest: 1d}"))) == []
    (longer,) = errors(altered((old, "{type: minted, lifetime: 2d, longest: 1d}")))
    assert longer.endswith("challenge.lifetime: longer than longest")
    (kept,) = errors(altered((old, "{type: minted, longest: 401d}")))
    assert kept.endswith("challenge.longest: longer than used challenges are kept (store: retention)")
    asking = ("ca-fingerprint:", "authorisation: challenge\n    ca-fingerprint:")
    (unknown,) = errors(altered((old, "{type: minted}"), asking))
    assert unknown.endswith("asks for a challenge, and does not know those that the RA makes")


# --- Several upstreams -----------------------------------------------------------------------------------------------

OTHER = f"  other:\n    url: http://127.0.0.1:8090/scep\n    ca-fingerprint: {PIN}\n"
BOTH = ("profiles:", f"{OTHER}profiles:")


def test_equal_upstreams_are_right() -> None:
    """Several upstreams, taken in turns, and routes to one of them."""
    routes = 'routes: [{when: {subject: {CN: "server.*"}}, upstream: other}]'
    text = altered(BOTH, ("upstream: lab\n", f"upstream: [lab, other]\n    balance: evenly\n    {routes}\n"))
    assert said(text) == []
    config = reading(text).config
    assert config is not None
    assert config.profiles["wifi"].upstream_names == ("lab", "other")
    assert config.profiles["wifi"].upstream_groups == (("other",), ("lab", "other"))


@pytest.mark.parametrize(
    ("upstream", "sentences"),
    [
        ("[lab, othr]", ["profiles.wifi.upstream[1]: no upstream has this name; did you mean 'other'?"]),
        ("[lab, lab]", ["profiles.wifi.upstream: the same item stands twice in this list"]),
        ("lab\n    balance: evenly", ["profiles.wifi.balance: warning: there is only one upstream to go to"]),
        (
            "lab\n    routes: [{when: {credential: renewal}, upstream: othr}]",
            [
                "profiles.wifi.routes[0].when.credential: this profile renews nothing: nothing ever goes there",
                "profiles.wifi.routes[0].upstream[0]: no upstream has this name; did you mean 'other'?",
            ],
        ),
        (
            "lab\n    routes: [{when: {}, upstream: other}]",
            [
                "profiles.wifi.routes[0].when: without a condition every request goes there: name these under upstream"
                " instead"
            ],
        ),
        (
            "lab\n    routes:"
            " [{when: {source: 192.0.2.1}, upstream: other}, {when: {source: 192.0.2.1}, upstream: lab}]",
            ["profiles.wifi.routes[1].when: an earlier route has the same conditions: nothing ever goes there"],
        ),
        (
            'lab\n    routes: [{when: {dns: ".*"}, upstream: other}]',
            [
                "profiles.wifi.routes[0].when.dns: no rule san accepts names of the type dns: nothing ever goes there",
            ],
        ),
        (
            'lab\n    routes: [{when: {uri: "a b"}, upstream: other}]',
            [
                "profiles.wifi.routes[0].when.uri: nothing that may stand there matches the pattern",
                "profiles.wifi.routes[0].when.uri: no rule san accepts names of the type uri: nothing ever goes there",
            ],
        ),
    ],
)
def test_upstreams_that_lead_nowhere(upstream: str, sentences: list[str]) -> None:
    """Names of none, routes that nothing takes or everything, and a balance of one are found at their places."""
    found = said(altered(BOTH, ("upstream: lab", f"upstream: {upstream}")))
    assert [each.split(": ", 1)[1] for each in found if "no profile uses" not in each] == sentences


@pytest.mark.proves("I4")
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("authorisation: challenge", "its authorisation is another"),
        (
            "signer: {strategy: ra-certificate, certificate: up.crt, key: up.key}",
            "the strategy of its signer is another",
        ),
    ],
)
def test_upstreams_that_are_not_equal(settings: str, sentence: str) -> None:
    """What was not sent to one CA could not be sent to the other as it is."""
    both = (BOTH[0], f"{OTHER}    {settings}\nprofiles:")
    found = errors(altered(both, ("upstream: lab\n", "upstream: [lab, other]\n")))
    assert f"profiles.wifi.upstream[1]: is not equal to lab: {sentence}" in [each.split(": ", 1)[1] for each in found]


def test_ndes_passwords_are_good_at_one_ca(tmp_path: Path) -> None:
    """A profile that gives out NDES's passwords has one upstream."""
    challenge = "{type: ndes, url: https://n.example/certsrv/mscep_admin, user: ra, password-file: ndes.pass}"
    text = altered(
        (BOTH[0], f"    authorisation: challenge\n{OTHER}    authorisation: challenge\nprofiles:"),
        ("upstream: lab\n", "upstream: [lab, other]\n"),
        ("{type: static, environment: CHALLENGE}", challenge),
    )
    write_private(tmp_path / "ndes.pass", b"a password\n")
    (found,) = errors_in(text, tmp_path)
    assert "a password of NDES is good at that one only" in found


def test_health_is_a_duration_or_off() -> None:
    """It can be switched off; another word is no duration."""
    for written, expected in (("off", None), ("90s", 90.0)):
        config = reading(altered(("    ca-fingerprint", f"    health: {written}\n    ca-fingerprint"))).config
        assert config is not None
        assert config.upstreams["lab"].health == expected
    (refused,) = said(altered(("    ca-fingerprint", "    health: never\n    ca-fingerprint")))
    assert "upstreams.lab.health: expected a duration such as" in refused
