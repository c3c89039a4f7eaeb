"""``scepra policy``: decisions explained, policies tried on what is stored, and one proposed from it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scepra.cli import main
from scepra.cli.seen import PAGE
from scepra.config.policyfile import parse_policy
from scepra.store.vault import read_vault
from scepra.transaction import Event, State, Transaction
from tests import csrs
from tests.config.sample import ENVIRONMENT, MINIMAL
from tests.rig.enrolments import CANARY, HOSTILE, NOW, Desk
from tests.store.sample import DAY

STRICT = 'policy:\n  - key: {ec: [P-256]}\n  - subject: {match: {CN: "laptop-[0-9]+"}}\n'
RULES = {"challenge": "ok", "key": "ok", "subject": "ok", "hold": "ok"}


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """A desk whose store has a key of its own."""
    read_vault(desk.file.parent / "scepra.key", create=True)
    return desk


def put(desk: Desk, name: str = "laptop-1", *, record: dict[str, Any] | None = None, **changes: Any) -> Transaction:
    """Store a request of a device, sealed; its CSR holds the canary."""
    vault = read_vault(desk.file.parent / "scepra.key")
    csr = csrs.build(csrs.challenge(CANARY), subject=csrs.subject(name))
    settings = {"state": State.QUEUED, "csr": vault.seal(csr)} | changes
    intent = desk.request(name, **settings)
    kept = {"enrolment": intent.values["id"], "profile": "wifi", "outcome": "authorised", "rules": RULES}
    return desk.bench.record(replace(intent, record=kept | (record or {})), intent.values["received"])


def write(desk: Desk, text: str, name: str = "new.yaml") -> str:
    """A file beside the configuration."""
    file = desk.file.parent / name
    file.write_text(text, "utf-8")
    return str(file)


def unbound(*words: str, text: str = "") -> Result:
    """The outcome of a command without a configuration."""
    return CliRunner().invoke(main, words, input=text, env=ENVIRONMENT, catch_exceptions=False)


# --- Replay ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-19")
def test_what_would_have_changed_is_counted_and_listed(shop: Desk) -> None:
    """Counts come first, then why, then each request that differs; the exit status says that some do."""
    put(shop)
    odd = put(shop, "printer", received=NOW + DAY)
    result = shop.run("policy", "replay", write(shop, STRICT), "--profile", "wifi")
    assert result.output.splitlines() == [
        "  2  judged anew",
        "  1  would be decided the same",
        "  1  would be refused, and was approved",
        "",
        "REQUESTS  BECAUSE OF",
        "1         subject: subject.CN: does not match laptop-[0-9]+",
        "",
        "ID                RECEIVED    WAS       WOULD BE  RULES    SUBJECT",
        f"{odd.id}  2026-05-05  approved  refused   subject  CN=printer",
    ]
    assert result.exit_code == 1
    assert CANARY not in result.output


def test_nothing_changes_by_the_same_policy(shop: Desk) -> None:
    """What every request satisfies changes nothing, and the exit status says so."""
    put(shop)
    put(shop, "held-1", state=State.HELD, record={"rules": RULES | {"hold": "waits for one approval"}})
    text = STRICT.replace("laptop", "(laptop|held)") + "  - hold: {when: {subject: {CN: held-.+}}}\n"
    result = shop.run("policy", "replay", write(shop, text), "--profile", "wifi")
    assert result.output == "  2  judged anew\n  2  would be decided the same\n"
    assert result.exit_code == 0


def test_holding_more_and_less_is_a_change(shop: Desk) -> None:
    """Whoever would wait now, or would not wait any more, is listed with the rule that says so."""
    put(shop)
    put(shop, "held-1", state=State.HELD, record={"rules": RULES | {"hold": "waits for one approval"}})
    put(shop, "held-2", state=State.HELD, record={"rules": None})
    text = STRICT.replace("laptop", "(laptop|held)") + "  - hold: {when: {subject: {CN: laptop-.+}}}\n"
    result = shop.run("policy", "replay", write(shop, text), "--profile", "wifi", "--json")
    report = json.loads(result.output)
    assert report["changes"] == [
        {"was": "hold", "would_be": "approve", "count": 2},
        {"was": "approve", "would_be": "hold", "count": 1},
    ]
    assert {each["subject"]: each["rules"] for each in report["differences"]} == {
        "CN=laptop-1": {"hold": "waits for one approval, 7d at most: subject.CN matches laptop-.+"},
        "CN=held-1": {},
        "CN=held-2": {},
    }
    assert (report["judged"], report["same"], report["skipped"]) == (3, 0, [])


def test_what_waited_for_the_challenge_s_sake_is_no_change(shop: Desk) -> None:
    """A provider may ask people whatever the policy says: that is not the policy's doing, then or now."""
    put(shop, state=State.HELD)
    assert shop.run("policy", "replay", write(shop, STRICT), "--profile", "wifi").exit_code == 0


def test_a_whole_configuration_is_judged_by_profile(shop: Desk) -> None:
    """Each request meets the policy of its profile in the new file; a profile that is gone refuses."""
    put(shop, "printer1")
    put(shop, "x", profile="gone")
    new = write(shop, MINIMAL)
    report = json.loads(shop.run("policy", "replay", new, "--json").output)
    reasons = {each["reason"] for each in report["reasons"]}
    assert reasons == {"profile: there is no such profile", "key: key.ec: the curve P-256: no rule names it"}
    result = shop.run("policy", "replay", new, "--profile", "wifi")
    assert result.output.startswith("  1  judged anew\n  0  would be decided the same\n")
    observing = write(shop, MINIMAL.replace("    policy:", "    observe: true\n    policy:"))
    assert shop.run("policy", "replay", observing, "--profile", "wifi").exit_code == 0
    unknown = shop.run("policy", "replay", new, "--profile", "lan")
    assert (unknown.exit_code, "there is no profile 'lan'" in unknown.output) == (2, True)


def test_only_some_are_judged(shop: Desk) -> None:
    """--since leaves out what is older, by a date, a moment, or a duration before now; --limit lists fewer than all."""
    for day in range(3):
        put(shop, f"printer-{day}", received=NOW + day * DAY)
    new = write(shop, STRICT)
    for since, judged in (("2026-05-05", 2), ("2026-05-06T12:00:00+00:00", 1), ("36500d", 3), ("2026-05-07", 0)):
        result = shop.run("policy", "replay", new, "--profile", "wifi", "--since", since)
        assert result.output.startswith(f"  {judged}  judged anew\n")
    limited = shop.run("policy", "replay", new, "--profile", "wifi", "--limit", "1").output
    assert "CN=printer-2" in limited
    assert "CN=printer-1" not in limited
    assert limited.endswith("The newest 1 of 3; --limit says how many.\n")
    for since in ("soon", "99x", "2026-13-01"):
        result = shop.run("policy", "replay", new, "--profile", "wifi", "--since", since)
        assert result.exit_code == 2
        assert "expected a duration" in result.output


def test_many_are_read_page_by_page(shop: Desk) -> None:
    """More than a page of requests are all judged, once each."""
    for number in range(PAGE + 5):
        put(shop, f"laptop-{number}")
    result = shop.run("policy", "replay", write(shop, STRICT), "--profile", "wifi")
    assert (result.exit_code, result.output.split()[0]) == (0, str(PAGE + 5))


def test_what_cannot_be_read_is_named_and_skipped(shop: Desk) -> None:
    """A row that is no transaction, octets that do not open, and what is no CSR are named; the others are judged."""
    vault = read_vault(shop.file.parent / "scepra.key")
    put(shop)
    bad = [put(shop, f"bad-{number}") for number in range(3)]
    shop.spoil(bad[0], csr_digest=b"short")
    shop.spoil(bad[1], csr=b"not sealed")
    shop.spoil(bad[2], csr=vault.seal(b"no request"))
    result = shop.run("policy", "replay", write(shop, STRICT), "--profile", "wifi")
    assert result.exit_code == 0
    assert "  1  judged anew\n" in result.output
    assert "  3  cannot be read, and were skipped\n" in result.output
    for each in bad:
        assert f"skipped: transaction {each.id}: " in result.output
    report = json.loads(shop.run("policy", "replay", write(shop, STRICT), "--profile", "wifi", "--json").stdout)
    assert sorted(report["skipped"]) == sorted(each.id for each in bad)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (STRICT.replace("[P-256]", "[P-257]"), "new.yaml:2:16: policy[0].key.ec[0]: expected"),
        (MINIMAL.replace("[a-z0-9]+", "["), "a pattern that cannot be used"),
        ("policy: [", "new.yaml:2:1: not YAML"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_with_its_place(shop: Desk, text: str, sentence: str) -> None:
    """A mistake in the new file is told like one in the configuration, with exit status 2."""
    result = shop.run("policy", "replay", write(shop, text), "--profile", "wifi")
    assert result.exit_code == 2
    assert sentence in result.output


def test_what_cannot_be_told_is_exit_status_2(desk: Desk) -> None:
    """A missing file, a policy of nobody's, a missing key and a missing store are no answers."""
    new = write(desk, STRICT)
    assert desk.run("policy", "replay", new + "x", "--profile", "wifi").exit_code == 2
    alone = desk.run("policy", "replay", new)
    assert (alone.exit_code, "say with --profile whose it would be" in alone.output) == (2, True)
    without_key = desk.run("policy", "replay", new, "--profile", "wifi")
    assert (without_key.exit_code, "store.key-file" in without_key.output) == (2, True)
    (desk.file.parent / "scepra.db").unlink()
    missing = desk.run("policy", "replay", new, "--profile", "wifi")
    assert (missing.exit_code, "there is no such file" in missing.output) == (2, True)


# --- Learn -----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-19", "I10")
def test_a_proposal_passes_and_approves_what_it_was_learned_from(shop: Desk) -> None:
    """What learn writes is a right policy file by which replay refuses nothing; it holds counts and no challenge."""
    for number in range(12):
        put(shop, f"laptop-{number}", source=f"192.0.2.{number}")
    put(shop, "printer")
    result = shop.run("policy", "learn", "--profile", "wifi")
    assert result.exit_code == 0
    assert result.output.startswith("# Proposed from 13 requests to profile wifi until ")
    assert "# 12 of 13: laptop-[0-9]{1,2}\n" in result.output
    assert CANARY not in result.output
    assert parse_policy(result.output.encode(), "learned").problems == ()
    again = shop.run("policy", "replay", write(shop, result.output), "--profile", "wifi")
    assert (again.exit_code, again.output) == (0, "  13  judged anew\n  13  would be decided the same\n")


def test_what_was_refused_or_waits_is_not_learned_from(shop: Desk) -> None:
    """Denied and waiting requests, other profiles', older ones and unreadable ones leave no trace but a count."""
    put(shop, "laptop-1", received=NOW + DAY)
    put(shop, "stranger", received=NOW + DAY, state=State.HELD)
    refused = put(shop, "thief", received=NOW + DAY, state=State.SENDING)
    assert shop.bench.apply(refused, Event.REFUSED, reason="no", fail_info=None) is not None
    put(shop, "other", received=NOW + DAY, profile="lan")
    put(shop, "older")
    no_policy = put(shop, "x" * 65, received=NOW + DAY)
    result = shop.run("policy", "learn", "--profile", "wifi", "--since", "2026-05-05")
    assert "# Proposed from 1 requests" in result.output
    assert "# Not learned from 2 requests that were refused, or wait for people.\n" in result.output
    assert "# 1 request is such that no policy approves it:\n" in result.output
    assert f"#   {no_policy.id}: subject: subject.CN: has 65 characters, more than 64\n" in result.output
    for name in ("stranger", "thief", "other", "older"):
        assert name not in result.output.replace("another", "")


def test_nothing_to_learn_from_is_said(shop: Desk) -> None:
    """Without a request there is no proposal, and exit status 1."""
    result = shop.run("policy", "learn", "--profile", "wifi")
    assert result.exit_code == 1
    assert result.output == "Error: there is no stored request of profile wifi to learn from\n"


# --- Explain ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-19", "I7")
def test_a_stored_decision_is_shown_rule_by_rule(shop: Desk) -> None:
    """Which policy judged, what each rule said, what refused nothing, and what a shadow policy would have done."""
    held = put(
        shop,
        state=State.HELD,
        record={
            "outcome": "held",
            "policy": "0123456789abcdef",
            "subject": "CN=laptop-1",
            "source": "192.0.2.1",
            "rules": {
                "challenge": "ok",
                "key": ["key.rsa: a modulus of 1024 bits, expected 2048 to 8192"],
                "hold": "waits for one approval, 7d at most: every request",
            },
            "reported": ["key: key.rsa: a modulus of 1024 bits, expected 2048 to 8192"],
            "shadow": {"policy": "f" * 16, "outcome": "reject", "rules": {"san": ["san.dns[0]: one", "san.dns: two"]}},
        },
    )
    result = shop.run("policy", "explain", held.id[:6])
    lines = result.output.splitlines()
    version = lines.pop(9)
    assert lines == [
        f"transaction {held.id} of profile wifi was held for people by policy 0123456789abcdef",
        "  subject  CN=laptop-1",
        "  source   192.0.2.1",
        "",
        "ok     challenge",
        "REPORT key        key.rsa: a modulus of 1024 bits, expected 2048 to 8192",
        "HOLD   hold       waits for one approval, 7d at most: every request",
        "What is marked REPORT refused nothing: the rule, or the whole policy, only",
        "reports.",
        "",
        f"The shadow policy {'f' * 16} would have refused it.",
        "REFUSE san  san.dns[0]: one",
        "            san.dns: two",
    ]
    assert version.startswith("The profile has another policy now: ")
    report = shop.ask("policy", "explain", held.id)
    assert report["rules"]["key"] == ["key.rsa: a modulus of 1024 bits, expected 2048 to 8192"]
    assert report["shadow"]["outcome"] == "reject"
    assert len(report["current_policy"]) == 16
    assert report["current_policy"] in version


def test_a_refusal_is_shown_from_the_log(shop: Desk) -> None:
    """Lines of the log, whatever stands before them, are explained; what is no record is passed over."""
    record = {
        "profile": "wifi",
        "outcome": "refused",
        "reference": "0a1b2c3d4e5f",
        "policy": "0123456789abcdef",
        "subject": "CN=x",
        "reasons": ["challenge: wrong challenge"],
        "rules": {"challenge": ["wrong challenge"], "key": "ok"},
    }
    line = f"2026-05-04T12:00:00+0000 [scepra.audit#warn] {json.dumps(record)}"
    text = "\n".join(["Log opened.", "{broken", '{"outcome": 1}', line, ""])
    result = unbound("policy", "explain", "--record", "-", text=text)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "request with ref 0a1b2c3d4e5f of profile wifi was refused by policy 0123456789abcdef",
        "  subject  CN=x",
        "",
        "REFUSE challenge  wrong challenge",
        "ok     key",
    ]
    (report,) = shop.ask("policy", "explain", "--record", write(shop, text, "log"))
    assert report["reasons"] == ["challenge: wrong challenge"]
    assert report["current_policy"] is not None


def test_a_record_without_rules_says_why(shop: Desk) -> None:
    """What was refused before any policy was asked shows its reasons; without any record that is said."""
    record = {"profile": "wifi", "outcome": "refused", "reference": "0a", "reasons": ["not a PKCS#10 request"]}
    result = unbound("policy", "explain", "--record", "-", text=json.dumps(record))
    assert result.output.splitlines()[1:] == [
        "The record does not say what each rule said: no policy was asked.",
        "  not a PKCS#10 request",
    ]
    nothing = unbound("policy", "explain", "--record", "-", text="nothing\n")
    assert (nothing.exit_code, nothing.output) == (1, "Error: there is no audit record in it\n")
    transaction = put(shop)
    shop.bench(lambda connection: connection.exec_driver_sql("DELETE FROM audit"))
    gone = shop.run("policy", "explain", transaction.id)
    assert gone.exit_code == 1
    assert "it is older than records are kept" in gone.output
    for words in ((), (transaction.id, "--record", "-")):
        assert shop.run("policy", "explain", *words).exit_code == 2
    assert unbound("policy", "explain", transaction.id).exit_code == 2


@pytest.mark.proves("AC-121", "AC-028")
def test_hostile_text_does_not_act_on_the_terminal(shop: Desk) -> None:
    """Whatever stands in names, records and lines of a log, every line that comes out can be printed."""
    rules = {HOSTILE: [HOSTILE], "hold": HOSTILE}
    record = {"profile": HOSTILE, "subject": HOSTILE, "rules": rules, "reported": [HOSTILE], "shadow": {"rules": rules}}
    bad = put(shop, subject=HOSTILE, record=record)
    log = json.dumps(record | {"outcome": "refused", "policy": HOSTILE, "reasons": [HOSTILE]})
    for result in (
        shop.run("policy", "explain", bad.id),
        shop.run("policy", "explain", bad.id, "--json"),
        unbound("policy", "explain", "--record", "-", text=log),
        shop.run("policy", "replay", write(shop, STRICT), "--profile", "wifi"),
        shop.run("policy", "replay", write(shop, MINIMAL), "--profile", "wifi"),
        shop.run("policy", "replay", write(shop, MINIMAL), "--profile", "wifi", "--json"),
        shop.run("policy", "learn", "--profile", "wifi"),
    ):
        assert all(line.isprintable() for line in result.output.split("\n")), result.output


@pytest.mark.slow
def test_somebody_at_a_terminal_sees_how_far_it_is(shop: Desk) -> None:
    """Progress stands on standard error, and only where that is a terminal."""
    put(shop)
    code, output, seen = shop.at_terminal("policy", "replay", write(shop, STRICT), "--profile", "wifi", answer="")
    assert (code, output.splitlines()[0]) == (0, "  1  judged anew")
    assert "stored requests" in seen
    assert "stored requests" not in shop.run("policy", "replay", write(shop, STRICT), "--profile", "wifi").output
