"""What the tests prove: joins their ``proves`` marks with the lists of IDs in docs/*.toml into docs/*.rst.

``python -m tests.proofs`` writes the pages; ``--check`` writes nothing and fails when a page has drifted. Both fail
when an ID has neither a proof nor a reason, when a mark names an unknown ID, or when a test that proves something does
not say in a sentence what. The tests are read, not imported, so this takes no time and needs nothing installed.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGES = ("conformance", "security")
ABSENT = ("Not applicable: ", "Not yet: ")
PARTIAL = "In part: "


@dataclass(frozen=True, slots=True)
class Proof:
    """One test that proves something.

    Attributes:
        test: ``tests/x/test_y.py::Class::test_z``, as pytest names it.
        says: its docstring's first paragraph, on one line.
        ids: what its marks and those of its class name.
    """

    test: str
    says: str
    ids: tuple[str, ...]


def marked(decorators: list[ast.expr]) -> Iterator[str]:
    """The IDs that these decorators name, ``pytest.param(..., marks=...)`` within ``parametrize`` included."""
    for decorator in decorators:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.proves"):
                for argument in node.args:
                    spelled = [str(each.value) for each in ast.walk(argument) if isinstance(each, ast.Constant)]
                    # What is not spelled out here is passed on as it stands, and no list has it.
                    yield from spelled or [ast.unparse(argument)]


def proofs_in(source: str, path: str) -> Iterator[Proof]:
    """The proofs in one file's source; ``path`` is what they are named by."""

    def visit(body: list[ast.stmt], prefix: str, inherited: tuple[str, ...]) -> Iterator[Proof]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from visit(node.body, f"{prefix}::{node.name}", (*inherited, *marked(node.decorator_list)))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                ids = tuple(dict.fromkeys((*inherited, *marked(node.decorator_list))))
                if ids:
                    says = (ast.get_docstring(node) or "").partition("\n\n")[0]
                    yield Proof(f"{prefix}::{node.name}", " ".join(says.split()), ids)

    yield from visit(ast.parse(source).body, path, ())


def all_proofs(root: Path) -> list[Proof]:
    """The proofs of every test file below ``root/tests``, in the order of their names."""
    files = sorted((root / "tests").rglob("test_*.py"))
    return [proof for file in files for proof in proofs_in(file.read_text(), file.relative_to(root).as_posix())]


def plain(text: str) -> str:
    """``text`` as reStructuredText that shows it as it is, except for its ``literals``."""
    parts = re.split(r"(``[^`]+``)", text)
    return "".join(part if i % 2 else re.sub(r"([\\*`|_])", r"\\\1", part) for i, part in enumerate(parts))


def problems(pages: dict[str, dict[str, Any]], proofs: list[Proof]) -> Iterator[str]:
    """What is wrong, one sentence each."""
    proven = {name for proof in proofs for name in proof.ids}
    sections = [section for page in pages.values() for section in page["section"]]
    known = {name for section in sections for name in section["items"]}
    for proof in proofs:
        if not proof.says:
            yield f"{proof.test} has no docstring that says what it proves"
        for name in proof.ids:
            if name not in known:
                yield f"{proof.test} names {name}, which no list has"
    for section in sections:
        reasons = section.get("reasons", {})
        for name in section["items"]:
            reason = reasons.get(name)
            if reason is None:
                if section["complete"] and name not in proven:
                    yield f"{name} has neither a test nor a reason"
            elif not reason.startswith((PARTIAL, *ABSENT)):
                yield f"the reason of {name} starts with none of {(PARTIAL, *ABSENT)}"
            elif reason.startswith(PARTIAL) != (name in proven):
                yield f"{name} has {'a' if name in proven else 'no'} test, and its reason says {reason!r}"
        yield from (
            f"there is a reason for {name}, which the list lacks" for name in reasons.keys() - section["items"].keys()
        )


def page_text(page: dict[str, Any], proofs: list[Proof]) -> str:
    """One page of reStructuredText: each ID, what it asks for, and the tests or the reason."""
    tests = defaultdict(list)
    for proof in proofs:
        for name in proof.ids:
            tests[name].append(f"   * ``{proof.test}``:\n     {plain(proof.says)}")
    lines = [".. Made by `python -m tests.proofs` from the tests and the .toml file beside it. Do not edit.", ""]
    lines += [page["title"], "=" * len(page["title"]), "", page["intro"].strip(), ""]
    for section in page["section"]:
        reasons = section.get("reasons", {})
        shown = {name: asks for name, asks in section["items"].items() if section["complete"] or name in tests}
        shown |= {name: asks for name, asks in section["items"].items() if name in reasons}
        if not shown:
            continue
        lines += [section["title"], "-" * len(section["title"]), ""]
        for name, asks in shown.items():
            lines += [f"**{name}** {plain(asks)}"]
            if name in reasons:
                lines += [f"   {plain(reasons[name])}", ""]
            lines += [*tests[name], ""]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them; the exit code."""
    proofs = all_proofs(ROOT)
    pages = {name: tomllib.loads((ROOT / "docs" / f"{name}.toml").read_text()) for name in PAGES}
    wrong = list(problems(pages, proofs))
    for name, page in pages.items():
        file = ROOT / "docs" / f"{name}.rst"
        text = page_text(page, proofs)
        if "--check" not in arguments:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            wrong.append(f"docs/{name}.rst has drifted from the tests: run python -m tests.proofs")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    proven = {name for proof in proofs for name in proof.ids}
    print(f"{len(proofs)} tests prove {len(proven)} IDs; {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
