"""A stand-in for Microsoft Intune, built from its public documentation and reference client.

The real one was not tried. This one signs applications in, tells where the validation service is, and validates and
records successes and failures there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from scepra.scep.csr import CertificationRequest
from tests.rig.service import Question, Reply

TENANT, APPLICATION = "corp.example", "11111111-2222-3333-4444-555555555555"
CLIENT_SECRET = "canary-client-secret-8Xw2"
SERVICE = "https://fef.manage.microsoft.com/RACerts/StatelessScepRequestValidationService"
GRAPH = "https://graph.microsoft.com"
RESOURCES = {"https://graph.microsoft.com/.default": "graph", "https://api.manage.microsoft.com/.default": "manage"}


@dataclass(slots=True)
class Intune:
    """The services of Intune in one tenant.

    ``challenges`` are good; ``code`` takes the place of what validation would say; ``valid`` are the tokens that are
    taken; ``calls`` what was asked, by its last part; ``instead`` may answer anything otherwise.
    """

    challenges: set[str] = field(default_factory=set)
    code: str = ""
    valid: set[str] = field(default_factory=set)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    instead: Callable[[Question], Reply | Exception | None] = lambda question: None
    address: Any = SERVICE
    made: int = 0

    def __call__(self, question: Question) -> Reply | Exception:
        """Answer."""
        other = self.instead(question)
        if other is not None:
            return other
        parts = urlsplit(question.url)
        if parts.netloc == "login.microsoftonline.com":
            return self._login(parts.path, question)
        bearer = question.headers.get("authorization", "").removeprefix("Bearer ")
        wanted = "graph" if parts.netloc == "graph.microsoft.com" else "manage"
        if bearer not in self.valid or not bearer.startswith(wanted) or "client-request-id" not in question.headers:
            return Reply.of({"error": {"code": "InvalidAuthenticationToken"}}, 401)
        if wanted == "graph":
            self.calls.append(("endpoints", None))
            assert parts.path == "/v1.0/servicePrincipals/appId=0000000a-0000-0000-c000-000000000000/endpoints"
            other_service = {"providerName": "PfxService", "uri": "https://fef.manage.microsoft.com/Pfx"}
            mine = {"providerName": "ScepRequestValidationFEService", "uri": self.address, "capability": "x"}
            return Reply.of({"@odata.context": "x", "value": [other_service, mine]})
        assert question.url.startswith(SERVICE)
        assert question.headers["api-version"] == "2018-02-20"
        return self._act(parts.path.rpartition("/")[2], question.json)

    def _login(self, path: str, question: Question) -> Reply:
        form = {name: values[0] for name, values in parse_qs(question.body.decode(), strict_parsing=True).items()}
        assert path == f"/{TENANT}/oauth2/v2.0/token"
        self.calls.append(("token", form["scope"]))
        right = (form["grant_type"], form["client_id"]) == ("client_credentials", APPLICATION)
        if not right or form["client_secret"] != CLIENT_SECRET:
            return Reply.of({"error": "invalid_client", "error_description": form["client_secret"]}, 401)
        self.made += 1
        token = f"{RESOURCES[form['scope']]}-canary-token-{self.made}"
        self.valid.add(token)
        return Reply.of({"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    def _act(self, action: str, said: Any) -> Reply:
        self.calls.append((action, said))
        if action in ("successNotification", "failureNotification"):
            return Reply.of({"code": self.code or "Success", "errorDescription": ""})
        assert action == "validateRequest"
        asked = said["request"]
        csr = CertificationRequest.parse(base64.b64decode(asked["certificateRequest"], validate=True))
        good = csr.challenge_password in self.challenges
        code = self.code or ("Success" if good else "ChallengeDecryptionError")
        description = "" if code == "Success" else f"something about {csr.challenge_password}"
        return Reply.of({"code": code, "errorDescription": description, "transactionId": asked["transactionId"]})

    def named(self, name: str) -> list[Any]:
        """What was said in calls of a name."""
        return [said for each, said in self.calls if each == name]
