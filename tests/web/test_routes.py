from __future__ import annotations

import pytest

from scepra.errors import Refused
from scepra.scep.transport import read_path
from scepra.web.routes import Authority, Route, Routes
from tests.web.authority import Fake

WIFI, VPN, NDES = Fake("wifi"), Fake("vpn"), Fake("ndes")
ROUTES = Routes(
    [
        Route(WIFI, ["/scep", "/scep/wifi", "/cgi-bin/pkiclient.exe"], ["wifi", "CAIdentifier"]),
        Route(VPN, ["/scep", "/scep/vpn"], ["vpn"]),
        Route(NDES, ["/certsrv/mscep/mscep.dll", "/certsrv/mscep", "/certsrv/mscep_admin/mscep.dll"]),
    ]
)


def resolve(path: bytes, identifier: str | None = None) -> Authority | None:
    return ROUTES.resolve(read_path(path), identifier)


@pytest.mark.proves("HTTP-14")
@pytest.mark.parametrize(
    ("path", "authority"),
    [
        (b"/scep", WIFI),
        (b"/SCEP/", WIFI),
        (b"//scep//pkiclient.exe", WIFI),
        (b"/cgi-bin/pkiclient.exe", WIFI),
        (b"/cgi-bin", WIFI),
        (b"/scep/wifi/pkiclient.exe", WIFI),
        (b"/scep/VPN", VPN),
        (b"/certsrv/mscep", NDES),
        (b"/CertSrv/mscep/", NDES),
        (b"/certsrv/mscep/mscep.dll", NDES),
        (b"/certsrv/mscep/mscep.dll/pkiclient.exe", NDES),
        (b"/certsrv/mscep/pkiclient.exe", NDES),
        (b"/certsrv/mscep_admin/mscep.dll", NDES),
        (b"/certsrv/mscep_admin/mscep.dll/pkiclient.exe", NDES),
        (b"/", None),
        (b"/pkiclient.exe", None),
        (b"/scep/other", None),
        (b"/other/pkiclient.exe", None),
        (b"/certsrv", None),
    ],
)
def test_the_usual_paths_lead_to_the_profile_that_lists_them(path: bytes, authority: Fake | None) -> None:
    """Each spelling of a listed path leads to its profile, and no other path leads anywhere."""
    assert resolve(path) is authority


@pytest.mark.proves("CERT-20")
@pytest.mark.parametrize(
    ("path", "identifier", "authority"),
    [
        (b"/scep", "vpn", VPN),
        (b"/scep", "wifi", WIFI),
        (b"/scep", "CAIdentifier", WIFI),
        (b"/scep", "", WIFI),
        (b"/scep", "*", WIFI),
        (b"/scep", "0", WIFI),
        (b"/scep", "ignored", WIFI),
        (b"/scep", "ra.example.com", WIFI),
        (b"/scep/vpn", "wifi", VPN),
        (b"/scep/vpn", "default", VPN),
        (b"/certsrv/mscep", "vpn", NDES),
        (b"/nowhere", "vpn", None),
    ],
)
def test_an_identifier_chooses_among_the_profiles_of_a_path(
    path: bytes, identifier: str, authority: Fake | None
) -> None:
    """A CA identifier chooses among those that list the path; one that nobody there has, means the path's default."""
    assert resolve(path, identifier) is authority


@pytest.mark.proves("AC-014")
@pytest.mark.parametrize(
    "path", [b"/certsrv/mscep_admin/", b"/certsrv/mscep_admin", b"/CertSrv/MSCEP_Admin/pkiclient.exe"]
)
def test_the_page_of_ndes_for_administrators_is_never_served(path: bytes) -> None:
    """The page where NDES hands out passwords is not found, and no profile can list it."""
    assert resolve(path) is None
    with pytest.raises(ValueError, match="not served"):
        Routes([Route(NDES, [path.decode()])])


@pytest.mark.proves("AC-008", "AC-014")
@pytest.mark.parametrize(
    "path",
    [b"/healthz", b"/metrics", b"/admin", b"/api/v1/challenges", b"/scep/%2e%2e/metrics", b"/scep/..%2f..%2fadmin"],
)
def test_nothing_else_is_on_this_listener(path: bytes) -> None:
    """Paths of other listeners are not found here, whichever way they are reached."""
    try:
        assert resolve(path) is None
    except Refused as refused:
        assert refused.status == 404


def test_profiles_that_nothing_tells_apart_are_an_error() -> None:
    """Two profiles at one path need identifiers, and different ones."""
    with pytest.raises(ValueError, match="vpn is shadowed by wifi"):
        Routes([Route(WIFI, ["/scep"]), Route(VPN, ["/SCEP/pkiclient.exe"])])
    with pytest.raises(ValueError, match="vpn and wifi share 'x'"):
        Routes([Route(WIFI, ["/scep"], ["x"]), Route(VPN, ["/scep"], ["y", "x"])])
    with pytest.raises(ValueError, match=r"/a/\.\./b: a path that plays tricks"):
        Routes([Route(WIFI, ["/a/../b"])])


def test_one_profile_may_list_a_path_twice() -> None:
    """Two spellings of one path are no conflict."""
    assert Routes([Route(WIFI, ["/scep", "/scep/"], ["x"])]).resolve(("scep",)) is WIFI
