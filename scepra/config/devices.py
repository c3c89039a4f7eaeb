"""A file of devices that are expected: CSV with a line of headings, or YAML with a list under ``devices``.

Each device has a name or another thing that names it, and perhaps a challenge; see :data:`COLUMNS`. In CSV the values
of a column that takes several are separated by spaces.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scepra.binding import Binding, NoBinding
from scepra.config.document import Document
from scepra.config.private import NotPrivate, read_private
from scepra.config.refusal import suggestion
from scepra.config.strength import GUESSABLE, WEAK, strength
from scepra.errors import Problem

MAXIMUM = 16 * 1024 * 1024
MOST_USES = 1000
MOST_PROBLEMS = 50
_NAMES = {
    "name": "common_name",
    "serial": "serial_number",
    "dns": "dns",
    "email": "email",
    "upn": "upn",
    "uri": "uri",
    "ip": "ip",
    "sid": "sid",
    "key-usage": "key_usage",
    "device": "device",
}
_SEVERAL = frozenset(("dns", "email", "upn", "uri", "ip", "key-usage"))
COLUMNS = ("challenge", "uses", *_NAMES)
"""What can be said of a device; what is called otherwise elsewhere is a field of :class:`~scepra.binding.Binding`."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that is expected.

    Attributes:
        binding: whom a request must be for.
        challenge: what it must carry, as normalised text; None where its names are all that is known of it.
        uses: for how many keys the challenge is good.
    """

    binding: Binding
    challenge: str | None = field(default=None, repr=False)
    uses: int = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file: the devices that are right by themselves, and what is wrong, at its place."""

    devices: tuple[Device, ...]
    problems: tuple[Problem, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing in it is wrong; warnings are not."""
        return all(problem.severity != "error" for problem in self.problems)


@dataclass(frozen=True, slots=True)
class _Row:
    """What a file says of a device, and where it says so."""

    said: Mapping[str, Any]
    document: Document | None
    file: str
    number: int

    def problem(self, column: str, sentence: str, severity: str = "error") -> Problem:
        """Something wrong with a column; "" is the whole row."""
        if self.document is None:
            return Problem(self.file, self.number, 1, column, sentence, severity)
        path = ("devices", self.number, column) if column else ("devices", self.number)
        return self.document.problem(path, sentence, severity)

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"line {self.problem('', '').line}"


def read_devices(path: Path) -> Reading:
    """Read a file of devices; what it is follows from its name."""
    try:
        content, remark = read_private(path, MAXIMUM), None
    except NotPrivate as error:
        try:
            # Names alone may be read by anybody.
            with path.open("rb") as file:
                content, remark = file.read(MAXIMUM + 1), str(error)
        except (OSError, ValueError):
            return Reading((), (Problem(str(path), 0, 0, "", str(error)),))
    if len(content) > MAXIMUM:
        return Reading((), (Problem(str(path), 0, 0, "", f"is larger than {MAXIMUM} octets"),))
    reading = parse_devices(content, str(path))
    if remark is not None and any(device.challenge is not None for device in reading.devices):
        problem = Problem(str(path), 0, 0, "", f"holds challenges, and {remark}")
        reading = replace(reading, problems=(problem, *reading.problems))
    return reading


def parse_devices(content: bytes, file: str) -> Reading:
    """As :func:`read_devices`, of a content that was read already; *file* is only named."""
    devices: list[Device] = []
    problems: list[Problem] = []
    weak: list[Problem] = []
    seen: dict[str, str] = {}
    suffix = os.path.splitext(file)[1].lower()
    reader = {".csv": _csv_rows, ".yaml": _yaml_rows, ".yml": _yaml_rows}.get(suffix)
    if reader is None:
        return Reading((), (Problem(file, 0, 0, "", "is called neither .csv nor .yaml"),))
    for row in reader(content, file):
        if len(problems) >= MOST_PROBLEMS:
            break
        if isinstance(row, Problem):
            problems.append(row)
            continue
        found = list(_problems(row))
        if not any(problem.severity == "error" for problem in found):
            device = _device(row)
            first = seen.setdefault(device.challenge, row.place) if device.challenge is not None else row.place
            if first != row.place:
                found.append(row.problem("challenge", f"the device at {first} has the same"))
            devices.append(device)
            bits = strength(device.challenge) if device.challenge is not None else WEAK
            if bits < WEAK and not weak:
                weak = [row.problem("challenge", f"is weak: about {bits} bits, {WEAK} are safe", "warning")]
        problems += found
    problems += weak
    return Reading(tuple(devices), tuple(problems))


def _device(row: _Row) -> Device:
    said = {_NAMES[column]: _value(column, value) for column, value in row.said.items() if column in _NAMES}
    challenge = row.said.get("challenge")
    return Device(
        Binding.from_json(said),
        unicodedata.normalize("NFC", str(challenge)) if challenge is not None else None,
        int(row.said.get("uses", 1)),
    )


def _problems(row: _Row) -> Iterator[Problem]:
    """Everything that is wrong with a row."""
    for column, value in row.said.items():
        if column in _NAMES:
            try:
                Binding.from_json({_NAMES[column]: _value(column, value)})
            except NoBinding as error:
                yield row.problem(column, str(error).partition(": ")[2])
        elif column == "challenge":
            yield from _challenge_problems(row, value)
        elif column == "uses":
            if not str(value).isascii() or not str(value).isdigit() or not 1 <= int(str(value)[:9]) <= MOST_USES:
                yield row.problem(column, f"expected a number from 1 to {MOST_USES}")
        else:
            yield row.problem(column, f"unknown key{suggestion(column, COLUMNS)}")
    if not any(column in _NAMES and column not in ("key-usage", "device", "sid") for column in row.said):
        yield row.problem("", "says of no name whom it is for")


def _challenge_problems(row: _Row, value: Any) -> Iterator[Problem]:
    text = str(value)
    if (
        not isinstance(value, str | int)
        or isinstance(value, bool)
        or not 0 < len(text) <= 255
        or not text.isprintable()
    ):
        yield row.problem("challenge", "expected printable text, of 1 to 255 characters")
        return
    bits = strength(text)
    if bits < GUESSABLE:
        yield row.problem("challenge", f"can be guessed: about {bits} bits, at least {GUESSABLE} needed")


def _value(column: str, value: Any) -> Any:
    """What a binding takes for what the file says; numbers of YAML are texts that look like one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if column not in _SEVERAL:
        return value
    return value.split() if isinstance(value, str) else value


def _csv_rows(content: bytes, file: str) -> Iterator[_Row | Problem]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield Problem(file, content[: error.start].count(b"\n") + 1, 1, "", "not UTF-8 text")
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    headings: list[str] = []
    line = 1
    try:
        for cells in reader:
            number, line = line, reader.line_num + 1
            if not headings:
                headings = [cell.strip() for cell in cells]
                wrong = list(_heading_problems(headings, file, number))
                yield from wrong
                if wrong:
                    return
            elif len(cells) > len(headings):
                yield Problem(file, number, 1, "", f"{len(cells)} cells under {len(headings)} headings")
            elif any(cells):
                said = {heading: cell.strip() for heading, cell in zip(headings, cells, strict=False) if cell.strip()}
                yield _Row(said, None, file, number)
    except csv.Error as error:
        yield Problem(file, line, 1, "", f"not CSV: {error}")
    if not headings:
        yield Problem(file, 0, 0, "", "the file is empty")


def _heading_problems(headings: list[str], file: str, line: int) -> Iterator[Problem]:
    for index, heading in enumerate(headings):
        if heading not in COLUMNS:
            yield Problem(file, line, 1, repr(heading[:40]), f"unknown column{suggestion(heading, COLUMNS)}")
        elif heading in headings[:index]:
            yield Problem(file, line, 1, heading, "the column is there twice")


def _yaml_rows(content: bytes, file: str) -> Iterator[_Row | Problem]:
    document = Document.parse(content, file)
    yield from document.problems
    if document.data is None:
        return
    for key in document.data:
        if key != "devices":
            yield document.problem((key,), "unknown key: devices stand in a list under devices")
    listed = document.data.get("devices")
    if not isinstance(listed, list):
        yield document.problem(("devices",), "expected a list of devices under devices")
        return
    for index, said in enumerate(listed):
        if isinstance(said, dict):
            yield _Row({key: value for key, value in said.items() if value is not None}, document, file, index)
        else:
            yield document.problem(("devices", index), "expected a mapping such as {name: ..., challenge: ...}")
