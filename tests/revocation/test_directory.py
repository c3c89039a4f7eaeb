"""Lists that stand in a directory: OpenLDAP's, and one that does not do as it should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from scepra.config.listurl import parse_list_url
from scepra.listsource import LdapSource, Unavailable
from scepra.provenance import Revocation
from scepra.scep import der
from tests.revocation.test_lists import CA, DEVICE, KEY, lists
from tests.rig.crls import crl
from tests.rig.directory import ENTRY, Directory
from tests.rig.house import Day, at_once, run

PLAIN = crl(KEY, CA, [5])


def source(place: str, limit: int = 100000, timeout: float = 10.0) -> LdapSource:
    """The source that a URL names."""
    return LdapSource(place, parse_list_url(place), at_once, limit, timeout)


@pytest.fixture(scope="module")
def ca(directory: Callable[[bytes], Directory]) -> Directory:
    """A directory with the entry of a CA."""
    return directory(PLAIN)


# --- OpenLDAP --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-049", "FT-57", "MSG-52")
def test_a_list_in_a_directory(ca: Directory) -> None:
    """The list of an entry is read, whatever the attribute is called in the URL, and again when it is replaced."""
    for attribute in (
        "",
        "?certificateRevocationList;binary",
        "?certificateRevocationList",
        "?CERTIFICATEREVOCATIONLIST;BINARY?base",
    ):
        assert run(source(f"ldap://127.0.0.1:{ca.port}/{ENTRY}{attribute}").fetch()) == PLAIN
    day = Day()
    made = lists(day, source(f"ldap://127.0.0.1:{ca.port}/{ENTRY}"))
    assert run(made.standing(DEVICE)) is Revocation.REVOKED
    ca.publish(crl(KEY, CA, [], this_update=day.now(), next_update=day.now() + timedelta(days=1)))
    run(made.look())
    assert run(made.standing(DEVICE)) is Revocation.GOOD
    ca.publish(PLAIN)


@pytest.mark.proves("AC-049", "I11")
@pytest.mark.parametrize(
    ("path", "because"),
    [
        ("cn=missing,o=Example", "result 32"),
        ("cn=guarded,o=Example", "has 0 lists|result (32|50)"),
        ("o=Example", "has 0 lists"),
        (f"{ENTRY}?authorityRevocationList;binary", "has 0 lists"),
        # It says that another directory has it, which nobody asks.
        ("cn=elsewhere,o=Example", "result 10"),
        ("no=such,o=Example", "result"),
    ],
)
def test_entries_without_a_list(ca: Directory, path: str, because: str) -> None:
    """An entry that is missing, closed, elsewhere or without a list gives none."""
    with pytest.raises(Unavailable, match=because):
        run(source(f"ldap://127.0.0.1:{ca.port}/{path}").fetch())


@pytest.mark.proves("AC-049")
def test_an_entry_with_several_lists(ca: Directory) -> None:
    """One source is one list: which of several counts, nobody has said."""
    ca.publish(PLAIN, crl(KEY, CA, [6]))
    with pytest.raises(Unavailable, match="has 2 lists"):
        run(source(f"ldap://127.0.0.1:{ca.port}/{ENTRY}").fetch())
    ca.publish(PLAIN)


@pytest.mark.proves("AC-049", "FT-57")
def test_what_is_too_large(ca: Directory) -> None:
    """No more is read than may be."""
    with pytest.raises(Unavailable, match="larger than 200 octets"):
        run(source(f"ldap://127.0.0.1:{ca.port}/{ENTRY}", limit=200).fetch())
    large = crl(KEY, CA, range(1, 30000))
    ca.publish(large)
    assert run(source(f"ldap://127.0.0.1:{ca.port}/{ENTRY}", limit=len(large) + 1000).fetch()) == large
    with pytest.raises(Unavailable, match="larger than"):
        run(source(f"ldap://127.0.0.1:{ca.port}/{ENTRY}", limit=len(large)).fetch())
    ca.publish(PLAIN)


def test_a_directory_with_tls(ca: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ldaps the directory must show a certificate that the machine trusts, for the name in the URL."""
    with pytest.raises(Unavailable, match="does not answer"):
        run(source(f"ldaps://localhost:{ca.tls_port}/{ENTRY}").fetch())
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.trust))
    assert run(source(f"ldaps://localhost:{ca.tls_port}/{ENTRY}").fetch()) == PLAIN
    with pytest.raises(Unavailable, match="does not answer"):
        run(source(f"ldaps://127.0.0.1:{ca.tls_port}/{ENTRY}").fetch())
    with pytest.raises(Unavailable, match="does not answer"):
        run(source(f"ldaps://localhost:{ca.port}/{ENTRY}", timeout=1).fetch())


# --- Anything else ---------------------------------------------------------------------------------------------------


@contextmanager
def speaking(answer: Callable[[socket.socket], Any]) -> Iterator[int]:
    """The port of somebody who says what a test wants, once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(4096)
                with suppress(OSError):
                    answer(accepted)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _drip(connection: socket.socket) -> None:
    done = threading.Event()
    connection.sendall(b"\x30\x82\xff\xff")
    for _ in range(100):
        done.wait(0.05)
        connection.sendall(b"\x02")


def _entry(connection: socket.socket, name: bytes = ENTRY.encode()) -> bytes:
    attribute = der.sequence(der.octet_string(b"certificateRevocationList"), der.tlv(der.SET, der.octet_string(b"x")))
    return der.sequence(der.integer(1), der.tlv(0x64, der.octet_string(name), der.sequence(attribute)))


@pytest.mark.proves("FT-57", "AC-049", "I9")
@pytest.mark.parametrize(
    ("answer", "because"),
    [
        (lambda connection: connection.sendall(b"HTTP/1.0 400\r\n\r\n" * 10), "cannot be read|does not answer"),
        (lambda connection: None, "cannot be read|does not answer"),
        (lambda connection: connection.sendall(b"\x30\x84\x7f\xff\xff\xff" + bytes(200000)), "larger than 100000"),
        (lambda connection: connection.sendall(b"\x30\x03\x02\x01\x01"), "cannot be read|does not answer"),
        (lambda connection: connection.sendall(b"\x30\x05\x02\x01\x01\x65\x00"), "cannot be read|does not answer"),
        (lambda connection: connection.sendall(_entry(connection)), "cannot be read|does not answer"),
        (lambda connection: connection.recv(1), "takes too long"),
        (_drip, "takes too long"),
    ],
    ids=["http", "closed", "endless", "short", "no result", "no end", "silent", "drip"],
)
def test_somebody_else(answer: Callable[[socket.socket], Any], because: str) -> None:
    """Whatever stands there instead of a directory, and however slowly it speaks, it gives no list, in time."""
    with speaking(answer) as port, pytest.raises(Unavailable, match=because):
        run(source(f"ldap://127.0.0.1:{port}/{ENTRY}", timeout=1.0).fetch())


def test_nobody() -> None:
    """Where nobody listens there is no list."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="does not answer"):
        run(source(f"ldap://127.0.0.1:{port}/{ENTRY}").fetch())
    assert not source(f"ldap://127.0.0.1:{port}/{ENTRY}").changed()
