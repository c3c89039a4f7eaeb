"""What must not be read from the database alone: sealed under keys of a file outside of it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from scepra.errors import ConfigError, StoreError
from scepra.store.vault import Vault, read_vault
from tests.store.sample import together

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
FORM = "holds something else than keys, one a line, each 32 octets in URL-safe base64"


def key_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """A file with these octets."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def complaint(path: Path, *, create: bool = False) -> str:
    """The one problem of a file, which names the file and the configuration's key."""
    with pytest.raises(ConfigError) as caught:
        read_vault(path, create=create)
    (problem,) = caught.value.problems
    assert (problem.file, problem.path) == (str(path), "store.key-file")
    return problem.sentence


@pytest.mark.proves("I10", "RA-20")
def test_what_is_sealed_opens_under_the_same_key_only() -> None:
    """The content cannot be seen; it is told apart from what was changed, cut, or sealed under another key."""
    vault, content = Vault((OLD,)), b"a request with a challenge"
    sealed = vault.seal(content)
    assert content not in sealed and content not in base64.urlsafe_b64decode(sealed)
    assert vault.open(sealed) == content
    assert vault.seal(content) != sealed, "the same content is sealed differently each time"
    assert Vault((OLD,)).open(sealed) == content
    middle = len(sealed) // 2
    changed = sealed[:middle] + bytes((sealed[middle] ^ 1,)) + sealed[middle + 1 :]
    for wrong in (changed, sealed[:-8], b"", b"no token", content):
        with pytest.raises(StoreError, match="do not open: changed, or sealed under another key") as caught:
            vault.open(wrong)
        assert content.decode() not in str(caught.value)
    with pytest.raises(StoreError):
        Vault((NEW,)).open(sealed)


@pytest.mark.proves("RA-20")
def test_a_key_that_is_put_above_seals_and_the_old_one_still_opens() -> None:
    """Requests are found by the same digests, what was sealed before opens, and the old key opens nothing new."""
    before, after = Vault((OLD,)), Vault((NEW, OLD))
    assert after.open(before.seal(b"x")) == b"x"
    assert Vault((NEW,)).open(after.seal(b"x")) == b"x"
    with pytest.raises(StoreError):
        before.open(after.seal(b"x"))
    assert after.digest(b"x") == before.digest(b"x") != Vault((NEW,)).digest(b"x")


@pytest.mark.proves("DR-9")
def test_a_digest_is_of_the_content_and_the_key() -> None:
    """32 octets, the same for the same content, and no plain digest that could be tried out."""
    import hashlib

    vault = Vault((OLD,))
    assert vault.digest(b"a") == vault.digest(b"a") != vault.digest(b"b")
    assert len(vault.digest(b"")) == 32
    assert vault.digest(b"a") != hashlib.sha256(b"a").digest()


@pytest.mark.proves("RA-20")
def test_a_file_may_hold_several_keys(tmp_path: Path) -> None:
    """One a line, whatever ends the lines."""
    path = key_file(tmp_path / "key", NEW + b"\r\n" + OLD)
    assert read_vault(path).open(Vault((OLD,)).seal(b"x")) == b"x"
    assert Vault((NEW,)).open(read_vault(path).seal(b"x")) == b"x"


@pytest.mark.proves("AC-130")
def test_a_new_key_is_made_private_once(tmp_path: Path) -> None:
    """Whatever the umask, nobody else may read it; it stays, and nothing lies beside it."""
    path, umask = tmp_path / "key", os.umask(0)
    try:
        vault = read_vault(path, create=True)
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert read_vault(path).open(vault.seal(b"x")) == b"x"
    made = path.read_bytes()
    assert read_vault(path, create=True).digest(b"x") == vault.digest(b"x")
    assert path.read_bytes() == made


@pytest.mark.proves("AC-130", "FT-38")
def test_threads_that_make_a_key_at_once_have_the_same(tmp_path: Path) -> None:
    """What one of them made, all use."""
    path = tmp_path / "key"
    vaults = together(*[lambda: read_vault(path, create=True) for _ in range(8)])
    assert len({vault.digest(b"x") for vault in vaults}) == 1, vaults
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.proves("AC-130", "FT-38")
def test_processes_that_make_a_key_at_once_have_the_same(tmp_path: Path) -> None:
    """So do two first starts in the same moment."""
    path = tmp_path / "key"
    program = (
        "import sys; from pathlib import Path; from scepra.store.vault import read_vault;"
        "print('ready', flush=True); sys.stdin.readline();"
        "print(read_vault(Path(sys.argv[1]), create=True).digest(b'x').hex())"
    )
    words = [sys.executable, "-c", program, str(path)]
    started = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        digests = [process.communicate(timeout=30)[0].strip() for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert set(digests) == {read_vault(path).digest(b"x").hex()}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.proves("AC-130")
def test_a_key_that_is_missing_is_not_made_unless_it_is_asked_for(tmp_path: Path) -> None:
    """Several instances share one key: none of them makes its own."""
    path = tmp_path / "key"
    assert complaint(path) == "cannot be read: No such file or directory"
    assert not path.exists()
    assert complaint(tmp_path / "nowhere" / "key", create=True) == "cannot be made: No such file or directory"


@pytest.mark.proves("AC-130")
def test_a_name_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    """Where a symbolic link lies, no key is made, neither there nor where it leads."""
    path = tmp_path / "key"
    path.symlink_to(tmp_path / "elsewhere")
    assert complaint(path, create=True) == "cannot be read: No such file or directory"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


@pytest.mark.proves("AC-130")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", FORM),
        (b"\n \n", FORM),
        (b"secret", FORM),
        (OLD + b"\nsecret", FORM),
        (OLD[:-4], FORM),
        (b"\xff" * 44, FORM),
        (base64.urlsafe_b64encode(bytes(31)), FORM),
        (b"A" * 20_000, "is larger than 16384 octets"),
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    """The problem names the file and the key of the configuration, and repeats nothing of what it holds."""
    assert complaint(key_file(tmp_path / "key", content)) == sentence


@pytest.mark.proves("AC-130")
def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """So is a directory in the place of a file."""
    path = key_file(tmp_path / "key", OLD, 0o644)
    assert complaint(path) == "is open to others (mode 0644): chmod 600 it"
    assert complaint(path, create=True) == "is open to others (mode 0644): chmod 600 it"
    (tmp_path / "directory").mkdir()
    assert complaint(tmp_path / "directory") == "is not a regular file"


def test_no_key_is_no_vault() -> None:
    """A vault is made of keys."""
    with pytest.raises(ValueError, match="key"):
        Vault((b"no key",))
