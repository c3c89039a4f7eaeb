"""NDES's administration page, served by the RA: for those who fetch challenges from NDES and know nothing else (RA-11).

Each profile that gives out challenges has its page at ``/certsrv/PROFILE/mscep_admin/``. At NDES's own path,
``/certsrv/mscep_admin/``, is that of the only one that a token reaches.
"""

from __future__ import annotations

from collections.abc import Mapping

from scepra.binding import Binding
from scepra.minting import Exhausted, NotMinted, Order, settings_of
from scepra.ndes import page
from scepra.ndes.page import Obstacle, Password
from scepra.store.tokens import Role, Token
from scepra.web.admin.giver import Giver
from scepra.web.admin.route import AdminRoute, Answer, Call, Denied

_ROLES = frozenset((Role.UNBOUND_MINTER,))


class NdesPages:
    """The routes below ``/certsrv``.

    What the page says is what NDES says in its place; whoever asks for a challenge here cannot say whom it is for, so
    that it names nobody.
    """

    def __init__(self, giver: Giver, thumbprints: Mapping[str, bytes]) -> None:
        """
        Args:
            giver: makes challenges, or has them.
            thumbprints: the SHA-256 digest of the CA certificate of each profile, by its name.
        """
        self._giver = giver
        self._thumbprints = thumbprints

    @property
    def routes(self) -> tuple[AdminRoute, ...]:
        """For the registry."""
        made = []
        forbidden = Answer(403, page.write_obstacle(Obstacle.NO_PERMISSION), page.CONTENT_TYPE)
        for path in (("certsrv", "mscep_admin"), ("certsrv", "{profile}", "mscep_admin")):
            for each, handler in ((path, self.moved), ((*path, ""), self.show)):
                made.append(AdminRoute("GET", each, _ROLES, handler, basic=True, forbidden=forbidden))
        return tuple(made)

    async def moved(self, call: Call) -> Answer:
        """Without its final slash the page is elsewhere, as NDES's is."""
        within = f"{call.parts['profile']}/" if "profile" in call.parts else ""
        if within and not self._reaches(call.token, call.parts["profile"]):
            raise Denied(404, "not found")
        return Answer(301, b"", page.CONTENT_TYPE, {"Location": f"/certsrv/{within}mscep_admin/"})

    async def show(self, call: Call) -> Answer:
        """The page, with a challenge that nobody else has."""
        profile = call.parts["profile"] if "profile" in call.parts else self._only(call.token)
        if not self._reaches(call.token, profile):
            raise Denied(404, "not found")
        order = Order(profile, Binding(), call.token.name, unbound=True)
        try:
            minted = await self._giver.give(order)
        except Exhausted:
            return Answer(200, page.write_obstacle(Obstacle.CACHE_FULL), page.CONTENT_TYPE)
        except NotMinted as refused:
            raise Denied(400, str(refused)) from None
        left = (minted.kept.expires - self._giver.now()).total_seconds()
        # Rounded down, so that nobody believes in it for too long.
        password = Password(minted.text, max(int(left // 60), 1), reusable=False)
        return Answer(200, page.write(password, self._thumbprints[profile]), page.CONTENT_TYPE)

    def _reaches(self, token: Token, profile: str) -> bool:
        try:
            settings_of(profile, self._giver.profiles)
        except NotMinted:
            return False
        return token.reaches(profile)

    def _only(self, token: Token) -> str:
        """The profile that is meant where none is named.

        Raises:
            Denied: there are several, or none.
        """
        found = [name for name in self._giver.profiles if self._reaches(token, name)]
        if len(found) != 1:
            sentence = "the token reaches no profile that gives out challenges"
            if found:
                sentence = "the token reaches several profiles: each has its page at /certsrv/PROFILE/mscep_admin/"
            raise Denied(404, sentence)
        return found[0]
