"""The store's section: databases, files, and that no password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from scepra.config.model import Retention, Store
from tests.config.sample import MINIMAL, PASSWORD, reading, said

FORM = "expected sqlite:PATH or postgresql://[USER@]HOST[:PORT]/DATABASE"
BARE = "expected sqlite:PATH, with the path of a file as it is: no slashes before it, nothing after"
KEPT = "expected sqlite:PATH: without a file nothing would be kept"
HIDDEN = "a URL here has no password: put it into a file and name that under password-file"


def store_of(section: str, base: Path) -> Store:
    """The store of a configuration without errors."""
    config = reading(f"{section}\n{MINIMAL}", base).config
    assert config is not None
    return config.store


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """A private file with a password."""
    path = tmp_path / "db.pass"
    path.touch(mode=0o600)
    path.write_text(f"{PASSWORD}\n")
    return path


@pytest.mark.parametrize("section", ["", "store: {}", "store: {timeout: 5s}", "store: {retention: {audit: 400d}}"])
def test_the_default_is_two_files_beside_the_configuration(tmp_path: Path, section: str) -> None:
    """Whatever of the section is left out, its paths start from the configuration's directory."""
    store = store_of(section, tmp_path)
    assert store.sqlite_path == tmp_path / "scepra.db"
    assert store.key_file == tmp_path / "scepra.key"
    assert not store.is_postgresql
    assert store.password_file is None
    assert store.timeout == 5
    days = (store.retention.transactions, store.retention.certificates, store.retention.challenges)
    assert days == (30 * 86400, 90 * 86400, 400 * 86400)
    assert store.retention.audit == 400 * 86400


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.db", "{base}/a.db"),
        ("data/a b.db", "{base}/data/a b.db"),
        ("Prüfung.db", "{base}/Prüfung.db"),
        ("C:a", "{base}/C:a"),
        ("/var/lib/scepra/a.db", "/var/lib/scepra/a.db"),
    ],
)
def test_a_file_of_sqlite(tmp_path: Path, path: str, expected: str) -> None:
    """A path is taken as it stands, from the configuration's directory or absolute."""
    store = store_of(f"store: {{url: 'sqlite:{path}', key-file: /k}}", tmp_path)
    assert store.sqlite_path == Path(expected.format(base=tmp_path))
    assert store.url == f"sqlite:{store.sqlite_path}"
    assert store.key_file == Path("/k")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example/scepra",
        "postgresql://ra@db.example:5433/scepra",
        "postgresql://r%40a@192.0.2.1/scepra?sslmode=verify-full&sslrootcert=/etc/ca.crt",
        "postgresql://[2001:db8::1]:5432/scepra",
        "postgresql:///scepra?host=/run/postgresql",
        "postgresql://ra@/scepra?host=a.example:5432&host=b.example&passfile=/p&application_name=a:b@c",
    ],
)
def test_a_server_of_postgresql(tmp_path: Path, url: str) -> None:
    """A URL is kept as it stands; there is no file then."""
    store = store_of(f"store: {{url: '{url}'}}", tmp_path)
    assert store.url == url
    assert store.is_postgresql
    assert store.sqlite_path is None


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("5", "expected text; put it in quotes"),
        ("''", FORM),
        ("scepra.db", FORM),
        ("file:scepra.db", FORM),
        ("mysql://db/scepra", FORM),
        ("postgres://db/scepra", FORM),
        ("postgresql+psycopg://db/scepra", FORM),
        ("PostgreSQL://db/scepra", FORM),
        ("postgresql://db", FORM),
        ("postgresql://db/", FORM),
        ("postgresql://db/scepra/other", FORM),
        ("'postgresql://db/scepra#x'", FORM),
        ("postgresql://db:port/scepra", FORM),
        ("postgresql://db:0/scepra", FORM),
        ("postgresql://db:65536/scepra", FORM),
        ("'postgresql://[db/scepra'", FORM),
        ("'postgresql://a@b@c/scepra'", FORM),
        ("'postgresql://d b/scepra'", FORM),
        ("postgresql://dä/scepra", FORM),
        ("\"postgresql://db/scepra\\n\"", FORM),
        ("'sqlite:'", KEPT),
        ("'sqlite::memory:'", KEPT),
        ("sqlite:///scepra.db", BARE),
        ("'sqlite:scepra.db?mode=ro'", BARE),
        ("'sqlite:scepra.db#x'", BARE),
        ("\"sqlite:a\\tb\"", BARE),
    ],
)  # fmt: skip
def test_urls_that_are_none(url: str, sentence: str) -> None:
    """What names neither a file nor a database of a server is refused; so is SQLite in memory, which keeps nothing."""
    assert said(f"store: {{url: {url}}}\n{MINIMAL}") == [f"1:9: store.url: {sentence}"]


@pytest.mark.proves("AC-131")
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ra:{PASSWORD}@db/scepra",
        f"postgresql://ra:{PASSWORD}@/scepra?host=/run",
        f"postgresql://:{PASSWORD}@db/scepra",
        f"postgresql://ra:5432/{PASSWORD}@db/scepra",
        "postgresql://ra:@db/scepra",
        f"postgres://ra:{PASSWORD}@db/scepra",
        f"postgresql://db/scepra?password={PASSWORD}",
        f"postgresql://db/scepra?sslmode=require&pass%77ord={PASSWORD}",
        f"postgresql://db/scepra?sslpassword={PASSWORD}",
        "postgresql://db/scepra?password=",
    ],
)
def test_a_url_has_no_password(url: str) -> None:
    """A password in a URL, in whichever of its places, is refused and not repeated."""
    assert said(f"store: {{url: '{url}'}}\n{MINIMAL}") == [f"1:9: store.url: {HIDDEN}"]


@pytest.mark.proves("AC-131")
def test_the_password_is_in_a_file_and_not_shown(password: Path) -> None:
    """The password of a server comes from a private file, and no text form of the store holds it."""
    section = f"store: {{url: 'postgresql://ra@db/scepra', password-file: {password.name}}}"
    store = store_of(section, password.parent)
    assert store.password_file is not None
    assert store.password_file.reveal() == PASSWORD.encode()
    shown = repr(store) + str(store) + str(store.model_dump()) + store.model_dump_json()
    assert PASSWORD not in shown
    assert "<Secret from the file db.pass>" in repr(store)
    password.chmod(0o644)
    assert said(f"{section}\n{MINIMAL}", password.parent) == [
        "1:43: store.password-file: the file db.pass is open to others (mode 0644): chmod 600 it"
    ]


def test_sqlite_has_no_password(password: Path) -> None:
    """A password beside a file of SQLite is a mistake, found beside others too."""
    text = f"store: {{password-file: db.pass}}\n{MINIMAL}"
    sentence = "1:9: store.password-file: a password is for PostgreSQL: SQLite asks for none"
    assert said(text, password.parent) == [sentence]
    assert said(text + "  vpn: 5\n", password.parent)[0] == sentence


def test_bounds() -> None:
    """Nothing that has ended is forgotten within a day, and waiting for nothing is no waiting."""
    section = "store: {timeout: 0s, retention: {transactions: 23h, certificates: 0s, challenges: 1h, audit: 1ms}}"
    assert said(f"{section}\n{MINIMAL}") == [
        "1:9: store.timeout: must be more than 0s",
        "1:34: store.retention.transactions: must be at least 1d",
        "1:53: store.retention.certificates: must be at least 1d",
        "1:71: store.retention.challenges: must be at least 1d",
        "1:87: store.retention.audit: must be at least 1d",
    ]


def test_a_store_made_in_python(tmp_path: Path) -> None:
    """In Python a store is made by attribute names, from the same texts and of paths; it cannot be changed."""
    store = Store(url=f"sqlite:{tmp_path}/a.db", key_file=tmp_path / "k", retention=Retention(audit=86400.0))
    assert (store.sqlite_path, store.key_file, store.retention.audit) == (tmp_path / "a.db", tmp_path / "k", 86400)
    assert Store().sqlite_path == Path("scepra.db")
    assert Store().key_file == Path("scepra.key")
    with pytest.raises(ValidationError):
        store.url = "sqlite:b.db"
