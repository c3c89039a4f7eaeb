"""HRESULTs as people read them."""

from __future__ import annotations

import re

import pytest

from scepra.scep.hresult import TEXTS, describe


@pytest.mark.proves("MSG-08")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x80070057, "0x80070057, E_INVALIDARG: invalid argument"),
        (0x80094014, "0x80094014, CERTSRV_E_ADMIN_DENIED_REQUEST: somebody has denied it"),
        (0x8123ABCD, "0x8123abcd"),
        (0, "0x00000000"),
    ],
)
def test_a_number_is_shown_with_what_it_means(code: int, text: str) -> None:
    """Those of the list have a name and a text; of others the number has to do."""
    assert describe(code) == text


def test_the_list_holds_failures_alone() -> None:
    """Each is a failure of 32 bits, with a name of Windows' own and a text that is no sentence yet."""
    for code, text in TEXTS.items():
        assert 0x80000000 <= code <= 0xFFFFFFFF
        assert re.fullmatch(r"[A-Z0-9_]+: [a-z].*[a-z]", text), text
