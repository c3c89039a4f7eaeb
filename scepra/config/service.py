"""Challenges that somebody or something out there judges: a program of the administrator's, Intune, a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scepra.config.secret import SecretFile
from scepra.config.section import Section
from scepra.config.value import Count, Distinct, FilePath, Flag, HttpsUrl, Listed, Octets, Seconds, ServiceUrl, Text


class WebhookChallenge(Section):
    """A program of yours is asked about every request."""

    type: Literal["webhook"] = Field(description="What kind of challenge the profile asks for.")
    url: ServiceUrl = Field(description="Where it is asked: an https URL, or unix:PATH.")
    secret_file: SecretFile = Field(description="A file with the secret that what is sent is authenticated with.")
    insecure_http: Flag = Field(
        default=False, description="Whether the URL may be http, on this machine: challenges travel in it in clear."
    )
    connect_timeout: Seconds = Field(default=2.0, gt=0, description="How long connecting may take.")
    timeout: Seconds = Field(default=5.0, gt=0, description="How long the whole answer may take.")
    answer: Octets = Field(default=65536, description="Largest answer that is read, in octets.")
    concurrency: Count = Field(default=32, description="How many requests one process may ask about at once.")
    retry_after: Seconds = Field(
        default=30.0, gt=0, description="How long at most it is left alone when it could not be reached."
    )
    hold_approvals: Literal[1, 2] = Field(default=1, description="How many people must approve what it wants held.")
    hold_expires: Seconds = Field(default=604800.0, gt=0, description="How long what it wants held may wait.")
    events: Flag = Field(default=True, description="Whether it is told what became of the requests that it accepted.")
    give_up_after: Seconds = Field(default=86400.0, gt=0, description="For how long it is tried to tell it.")


class IntuneChallenge(Section):
    """Microsoft Intune made the challenge, and is asked about it."""

    type: Literal["intune"] = Field(description="What kind of challenge the profile asks for.")
    tenant: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")] = Field(
        description="The tenant: its domain or its id."
    )
    application_id: Annotated[Text, Field(pattern=r"^[A-Za-z0-9-]+$")] = Field(
        description="The id of the application that is registered there and may validate SCEP challenges."
    )
    secret_file: SecretFile = Field(description="A file with the application's client secret.")
    login: HttpsUrl = Field(default="https://login.microsoftonline.com", description="Where the application signs in.")
    graph: HttpsUrl = Field(default="https://graph.microsoft.com", description="Who knows where Intune's services are.")
    service: HttpsUrl = Field(default="https://api.manage.microsoft.com", description="What tokens are asked for.")
    domains: Annotated[tuple[Text, ...], Field(min_length=1), Distinct, Listed] = Field(
        default=("manage.microsoft.com",), description="In which domains Intune's services may be."
    )
    connect_timeout: Seconds = Field(default=3.0, gt=0, description="How long connecting may take.")
    timeout: Seconds = Field(default=15.0, gt=0, description="How long all that is asked about a request may take.")
    answer: Octets = Field(default=262144, description="Largest answer that is read, in octets.")
    concurrency: Count = Field(default=32, description="How many requests one process may ask about at once.")
    retry_after: Seconds = Field(
        default=30.0, gt=0, description="How long at most it is left alone when it could not be reached."
    )
    give_up_after: Seconds = Field(
        default=86400.0, gt=0, description="For how long it is tried to tell it what became of a request."
    )


class DirectoryChallenge(Section):
    """A file has the devices that are expected, each with its challenge."""

    type: Literal["directory"] = Field(description="What kind of challenge the profile asks for.")
    file: FilePath = Field(description="A .csv or .yaml file of devices; it is read again when it changes.")
