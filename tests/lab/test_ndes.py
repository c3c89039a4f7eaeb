"""The lab's NDES: as far as it imitates the real one, it does so in what is documented."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from treq.testing import StubTreq

from scepra.errors import FailInfo
from scepra.lab import AdministrationPage, CertificationService, Client, Passwords, WithPage
from scepra.lab.ndes import write_users
from scepra.ndes.page import Obstacle, Password, read
from scepra.scep.message import PKIStatus
from tests.ndes.administration import PASSWORD, USER
from tests.ndes.test_page import OTHERS
from tests.rig.house import run
from tests.rig.material import NOW, authority, key

PAGE = "http://ndes.example/certsrv/mscep_admin/"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Ndes:
    """A CA with the page; ``now`` is its time of day."""

    def __init__(self, *, ntlm: bool = False, **changes: Any) -> None:
        self.now: datetime = NOW
        self.passwords = Passwords(lambda: self.now, **changes)
        self.service = CertificationService(authority(), one_time=self.passwords.take)
        self.page = AdministrationPage(authority(), self.passwords, {USER: PASSWORD}, ntlm=ntlm)
        self.http = StubTreq(WithPage(self.service, self.page))

    def get(self, url: str = PAGE, authorization: str | None = BASIC) -> tuple[int, bytes, Any]:
        """Status, body and header fields."""
        return run(self._get(url, {} if authorization is None else {"Authorization": authorization}))

    async def _get(self, url: str, headers: dict[str, str]) -> tuple[int, bytes, Any]:
        response = await self.http.get(url, headers=headers, allow_redirects=False)
        return response.code, await response.content(), response.headers

    def password(self) -> str:
        """A new one."""
        found = read(self.get()[1])
        assert isinstance(found, Password)
        return found.text


def test_what_is_on_the_page() -> None:
    """UTF-16LE without a mark though its header says otherwise, a thumbprint before the password, sixteen digits, an
    hour; and those who read NDES's page read it."""
    ndes = Ndes()
    status, body, headers = ndes.get()
    assert (status, headers.getRawHeaders("content-type")) == (200, ["text/html; charset=UTF-8"])
    assert body[1::2].count(0) == len(body) // 2
    found = read(body)
    assert isinstance(found, Password)
    assert (len(found.text), found.minutes, found.reusable) == (16, 60, False)
    assert body.decode("utf-16-le").index("thumbprint") < body.decode("utf-16-le").index(found.text)
    for other in OTHERS:
        assert other(body) == found.text


def test_the_cache() -> None:
    """Five unused passwords at most; used, expired or forgotten ones make room; each is good once."""
    ndes = Ndes()
    first, *_ = [ndes.password() for _ in range(5)]
    assert read(ndes.get()[1]) is Obstacle.CACHE_FULL
    assert ndes.passwords.take(first)
    assert not ndes.passwords.take(first)
    second = ndes.password()
    ndes.now += timedelta(hours=1)
    assert not ndes.passwords.take(second)
    third = ndes.password()
    ndes.passwords.forget()
    assert not ndes.passwords.take(third)


def test_a_single_password() -> None:
    """It is the same for everybody, any number of times, and the page says so."""
    ndes = Ndes(single=True)
    found = read(ndes.get()[1])
    assert isinstance(found, Password)
    assert found.reusable
    assert ndes.password() == found.text
    assert ndes.passwords.take(found.text)
    assert ndes.passwords.take(found.text)
    assert not ndes.passwords.take("another")


def test_who_sees_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows the account; who may not enrol is told so with status 200; others are told what is spoken there."""
    ndes = Ndes()
    for wrong in (None, "Basic", "Basic !", "Basic Og==", BASIC[:-4] + "AAAA", "NTLM TlRMTVNTUAAB", "Bearer x"):
        status, body, headers = ndes.get(authorization=wrong)
        assert (status, body, headers.getRawHeaders("www-authenticate")) == (401, b"denied", ['Basic realm="ndes"'])
    assert ndes.passwords.outstanding == 0
    ndes.page.permitted = False
    assert read(ndes.get()[1]) is Obstacle.NO_PERMISSION
    monkeypatch.setenv("NTLM_USER_FILE", "")  # so that it is as before afterwards
    write_users(tmp_path / "users.txt", {USER: PASSWORD})
    offers = Ndes(ntlm=True).get(authorization=None)[2].getRawHeaders("www-authenticate")
    assert offers == ["Negotiate", "NTLM", 'Basic realm="ndes"']
    assert Ndes(ntlm=True).get(authorization="NTLM AAAA")[0] == 401


@pytest.mark.parametrize("path", ["/certsrv/mscep_admin", "/CertSrv/MSCEP_Admin"])
def test_without_its_final_slash_it_is_elsewhere(path: str) -> None:
    """A redirect, that takes no password."""
    ndes = Ndes()
    status, _, headers = ndes.get(f"http://ndes.example{path}")
    assert (status, headers.getRawHeaders("location")) == (301, ["/certsrv/mscep_admin/"])
    assert ndes.passwords.outstanding == 0


def test_the_ca_takes_each_password_once() -> None:
    """With a new password a client enrols; without one, with a used one or with nonsense it does not; what was answered
    before is answered again."""
    ndes = Ndes()
    client = Client("http://ndes.example/certsrv/mscep/mscep.dll", ndes.http)
    text = ndes.password()
    enrolment = run(client.enrol("a.example", key=key(), challenge=text))
    assert enrolment.status is PKIStatus.SUCCESS
    for challenge in (text, None, "nonsense"):
        refused = run(client.enrol("b.example", key=key("another"), challenge=challenge))
        assert (refused.status, refused.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST)
        assert refused.fail_info_text == "the password is wrong, used, expired or forgotten"
    last = ndes.service.received[-4]
    assert last.request is not None
    again = replace(last, status=None)
    ndes.service._pki_operation(again)
    assert again.status is PKIStatus.SUCCESS
