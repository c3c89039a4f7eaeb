"""A file of devices: every mistake at its place, by its line and its column's name, and no challenge quoted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.binding import Binding
from scepra.config.devices import MAXIMUM, MOST_PROBLEMS, Device, parse_devices, read_devices
from scepra.lab.files import write_private

FIRST, SECOND = "canary-7Hq2Lx9Zw4", "canary-1Bn5Tm8Kd3"
CSV = f"""\
\ufeffname,serial,challenge,uses,dns,email,upn,uri,ip,sid,key-usage,device
a.example,,{FIRST},,a.example b.example,,,,,,,
,4711,,,,,ann@corp.example,urn:x,192.0.2.1 2001:DB8::1,S-1-5-21-1,digitalSignature,asset 7

,,,,,,,,,,,
"b, c",,{SECOND},1000,,,,,,,,
"""
YAML = f"""\
devices:
  - name: a.example
    challenge: {FIRST}
    dns: [a.example, b.example]
  - {{serial: 4711, upn: [ann@corp.example], uri: [urn:x], ip: 192.0.2.1 2001:DB8::1, sid: S-1-5-21-1,
     key-usage: digitalSignature, device: asset 7}}
  - {{name: "b, c", challenge: {SECOND}, uses: 1000}}
"""
DEVICES = (
    Device(Binding(common_name="a.example", dns=("a.example", "b.example")), FIRST),
    Device(
        Binding(
            serial_number="4711",
            upn=("ann@corp.example",),
            uri=("urn:x",),
            ip=("192.0.2.1", "2001:db8::1"),
            sid="S-1-5-21-1",
            key_usage=("digitalSignature",),
            device="asset 7",
        )
    ),
    Device(Binding(common_name="b, c"), SECOND, 1000),
)


def said(content: str | bytes, file: str = "d.csv") -> list[str]:
    """What is wrong with a file."""
    octets = content.encode() if isinstance(content, str) else content
    found = [str(problem) for problem in parse_devices(octets, file).problems]
    assert "canary" not in "".join(found)
    return [problem.removeprefix(f"{file}:").removeprefix(" ") for problem in found]


@pytest.mark.parametrize(("content", "file"), [(CSV, "d.csv"), (YAML, "d.yaml"), (YAML, "D.YML")])
def test_both_ways_to_write_devices(content: str, file: str) -> None:
    """A line of CSV and an item of YAML say the same."""
    reading = parse_devices(content.encode(), file)
    assert reading.problems == ()
    assert reading.usable
    assert reading.devices == DEVICES
    assert FIRST not in repr(reading)


LONG, SIZE = "x" * 256, "of 1 to 255 characters"


@pytest.mark.proves("DR-19", "AC-095")
@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["the file is empty"]),
        ("name,nmae,name,challenge \n", [
            "1:1: 'nmae': unknown column; did you mean 'name'?", "1:1: name: the column is there twice",
        ]),
        ("name;challenge\na;b\n", ["1:1: 'name;challenge': unknown column; did you mean 'challenge'?"]),
        (b"name\n\xff\n", ["2:1: not UTF-8 text"]),
        ('name\n"a\n', ["2:1: not CSV: unexpected end of data"]),
        ("name\na,b\n", ["2:1: 2 cells under 1 headings"]),
        ("name,challenge\na\n", []),
        (f"name,challenge\n{LONG},{FIRST}\n", ["2:1: name: expected printable text, of 1 to 255 characters"]),
        ("name,ip\na,192.0.2\n", ["2:1: ip: expected IP addresses"]),
        (f"name,device\na,{'x' * 129}\n", ["2:1: device: expected printable text, of 1 to 128 characters"]),
        (f"name,challenge\na,{LONG}\n", ["2:1: challenge: expected printable text, of 1 to 255 characters"]),
        ("name,challenge\na,a\x07b\n", ["2:1: challenge: expected printable text, of 1 to 255 characters"]),
        ("name,challenge\na,abcabc\n", ["2:1: challenge: can be guessed: about 9 bits, at least 32 needed"]),
        (f"name,challenge,uses\na,{FIRST},0\nb,{SECOND},1001\nc,,-1\nd,,x\ne,,\u0661\n", [
            f"{line}:1: uses: expected a number from 1 to 1000" for line in range(2, 7)
        ]),
        (f"name,challenge\na,{FIRST}\n\nb,{FIRST}\n", ["4:1: challenge: the device at line 2 has the same"]),
        (f"challenge,device,sid\n{FIRST},x,y\n", ["2:1: says of no name whom it is for"]),
        (f"name,challenge\na,{FIRST[:13]}\nb,{SECOND[:13]}\n", [
            "2:1: challenge: warning: is weak: about 46 bits, 64 are safe",
        ]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_csv(content: str | bytes, problems: list[str]) -> None:
    """One sentence for each mistake, at its line, by the name of its column."""
    assert said(content) == problems


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["the file is empty"]),
        ("devices: [}", ["1:11: not YAML: did not find expected node content"]),
        ("device: []", ["1:1: device: unknown key: devices stand in a list under devices",
                        "1:1: devices: expected a list of devices under devices"]),
        ("devices: {a: b}", ["1:1: devices: expected a list of devices under devices"]),
        ("devices: [a]", ["1:11: devices[0]: expected a mapping such as {name: ..., challenge: ...}"]),
        ("devices:\n- {name: a, colour: b}\n", ["2:13: devices[0].colour: unknown key"]),
        ("devices:\n- name:\n  serial: 7\n", ["2:3: devices[0].name: has no value: give it one, or leave it out"]),
        ("devices:\n- {name: true}\n", ["2:4: devices[0].name: expected printable text, of 1 to 255 characters"]),
        ("devices:\n- {name: [a]}\n", ["2:4: devices[0].name: expected printable text, of 1 to 255 characters"]),
        ("devices:\n- {name: a, dns: {a: b}}\n", [f"2:13: devices[0].dns: expected a list of such texts, {SIZE}"]),
        ("devices:\n- {name: a, challenge: true}\n", [f"2:13: devices[0].challenge: expected printable text, {SIZE}"]),
        ("devices:\n- {name: a, challenge: [a]}\n", [f"2:13: devices[0].challenge: expected printable text, {SIZE}"]),
        ("devices:\n- {name: a, uses: [1]}\n", ["2:13: devices[0].uses: expected a number from 1 to 1000"]),
        ("devices:\n- {device: x}\n", ["2:3: devices[0]: says of no name whom it is for"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_yaml(content: str, problems: list[str]) -> None:
    """One sentence for each mistake, at its place."""
    assert said(content, "d.yaml") == problems


def test_other_names() -> None:
    """What a file is follows from its name, and from nothing else."""
    assert said(CSV, "devices.txt") == ["is called neither .csv nor .yaml"]


def test_numbers_are_texts() -> None:
    """A challenge of digits is what it looks like."""
    reading = parse_devices(b"devices: [{name: a, challenge: 918273645546372819}]", "d.yaml")
    assert reading.devices[0].challenge == "918273645546372819"


def test_no_more_problems_than_people_read() -> None:
    """After some dozens the rest is not read."""
    assert len(said("name,challenge\n" + "a,b\n" * 1000)) == MOST_PROBLEMS


@pytest.mark.proves("AC-130")
def test_a_file_with_challenges_is_private(tmp_path: Path) -> None:
    """One with names alone may be read by anybody."""
    file = tmp_path / "d.csv"
    write_private(file, CSV.encode())
    assert read_devices(file).problems == ()
    file.chmod(0o644)
    assert [str(problem) for problem in read_devices(file).problems] == [
        f"{file}: holds challenges, and is open to others (mode 0644): chmod 600 it"
    ]
    file.write_text("name\na\n")
    assert read_devices(file).problems == ()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """What is not there, is no file, or has no end."""
    assert [problem.sentence for problem in read_devices(tmp_path / "d.csv").problems] == [
        "cannot be read: No such file or directory"
    ]
    assert not read_devices(Path("d\0.csv")).usable
    large = tmp_path / "large.csv"
    large.touch(mode=0o600)
    with large.open("wb") as file:
        file.truncate(MAXIMUM + 1)
    assert [problem.sentence for problem in read_devices(large).problems] == [f"is larger than {MAXIMUM} octets"]


@pytest.mark.proves("DR-5")
@given(st.binary(max_size=200) | st.text(alphabet='name,challenge\n"\r;dns 1', max_size=200).map(str.encode))
def test_no_octets_break_it(content: bytes) -> None:
    """Whatever a file holds, it is devices or problems."""
    for file in ("d.csv", "d.yaml"):
        reading = parse_devices(content, file)
        assert all(device.binding.names_somebody for device in reading.devices)
