"""The keys that sign to the CAs, and requests with challenges: stored, and not to be read in the database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepra.signing import REMEMBERED, StoredKeys
from scepra.store.vault import Vault
from scepra.transaction import Event
from tests.rig.denial import forms
from tests.rig.material import key, request
from tests.store.sample import NOW, Bench, certificate, digest
from tests.store.threaded import run

VAULT = Vault((Fernet.generate_key(),))
CANARY = "Pa55word-canary-7Qx"


def keys(bench: Bench, vault: Vault = VAULT) -> StoredKeys:
    """The signer keys of an upstream, as one process has them."""

    async def make_key() -> rsa.RSAPrivateKey:
        return key("signer")

    return StoredKeys("ca", make_key, bench.database, vault, lambda: NOW)


def written(bench: Bench) -> bytes:
    """All that is on the disk of a store: SQLite's files as they are, or what a server gives out."""
    path = bench.settings.sqlite_path
    if path is not None:
        files = sorted(path.parent.glob(f"{path.name}*"))
        assert {each.name.removeprefix(path.name) for each in files} >= {"", "-wal"}
        return b"\n".join(each.read_bytes() for each in files)
    # Octets as they are, and everything else as text.
    values = [value for rows in bench.content().values() for row in rows for value in row.values()]
    return b"\n".join(value if isinstance(value, bytes) else repr(value).encode() for value in values)


@pytest.mark.proves("RA-20", "FT-43")
def test_a_key_is_stored_before_it_is_used_and_loaded_by_another_process(bench: Bench) -> None:
    """Its id leads every process to the same key."""
    first, second = keys(bench), keys(bench)
    key_id, made = run(first.make())
    (row,) = bench.rows("signer_keys")
    assert (row["id"], row["upstream"], row["made"]) == (key_id, "ca", NOW)
    loaded = run(second.load(key_id))
    assert loaded is not made
    assert loaded.public.der == made.public.der
    assert run(second.load(key_id)) is loaded, "it is read once"
    assert run(first.load(key_id)) is made


@pytest.mark.proves("RA-20")
def test_a_key_that_is_not_there_or_does_not_open_is_told(bench: Bench) -> None:
    """Neither is taken for another; the id is all that is said."""
    key_id, _ = run(keys(bench).make())
    with pytest.raises(LookupError, match=r"^signer key nothing is not stored$"):
        run(keys(bench).load("nothing"))
    with pytest.raises(LookupError, match="do not open"):
        run(keys(bench, Vault((Fernet.generate_key(),))).load(key_id))


def test_no_more_keys_than_so_many_stay_in_memory(bench: Bench) -> None:
    """The one that was not used for the longest time is read again."""
    stored = keys(bench)
    ids = [run(stored.make())[0] for _ in range(REMEMBERED)]
    oldest, next_one = run(stored.load(ids[0])), run(stored.load(ids[1]))
    assert run(stored.load(ids[0])) is oldest
    for _ in range(REMEMBERED - 2):
        run(stored.make())
    assert run(stored.load(ids[0])) is oldest
    run(stored.make())
    assert run(stored.load(ids[1])) is not next_one


@pytest.mark.proves("I10", "RA-20")
def test_a_signer_key_cannot_be_read_in_the_database(bench: Bench) -> None:
    """Neither its encoding nor any of its numbers stands in any file of it."""
    run(keys(bench).make())
    content = written(bench)
    private = key("signer")
    numbers = private.private_numbers()
    secrets = [
        private.private_bytes(Encoding.DER, form, NoEncryption())
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ]
    secrets += [number.to_bytes(128, "big") for number in (numbers.p, numbers.q, numbers.dmp1)]
    for secret in secrets:
        assert secret not in content
        assert secret[8:72] not in content
        assert secret.hex().encode() not in content.lower()
    assert b"PRIVATE KEY" not in content


@pytest.mark.proves("I10")
def test_a_challenge_cannot_be_read_in_the_database(bench: Bench) -> None:
    """What a request holds is sealed: no form of its challenge is in the file, in its log or in any column, whatever
    becomes of the transaction."""
    csr = request(challenge=CANARY)
    assert CANARY.encode() in csr.der
    record = {"csr": VAULT.seal(csr.der), "csr_digest": digest("csr"), "subject": str(csr.subject)}
    held = bench.record(**record, once="static 1")
    bench.happen(held, Event.GRANTED, certificate=certificate())
    bench.record(request="held", **record)
    content = written(bench)
    assert b"device.example" in content, "what is written is looked at"
    for form in forms(CANARY):
        assert form.encode("latin-1") not in content
    assert csr.der not in content
    (row, _) = bench.rows("transactions")
    assert VAULT.open(row["csr"]) == csr.der


@pytest.mark.proves("AC-130")
@pytest.mark.parametrize("product", ["sqlite"])
def test_files_of_the_database_are_private(empty: object, tmp_path: Path) -> None:
    """The file is for this user only."""
    (file,) = tmp_path.iterdir()
    assert re.fullmatch("scepra.db", file.name)
    assert file.stat().st_mode & 0o7777 == 0o600
