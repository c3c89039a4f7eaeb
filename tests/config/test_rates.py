"""The section about how often may be asked."""

from __future__ import annotations

import pytest

from scepra.config.rates import Rate
from tests.config.sample import altered, reading, said


def test_a_budget_is_a_count_and_a_period_or_the_word_unlimited() -> None:
    """Both are read; what is not said has a default that bounds it."""
    text = altered(("upstreams:", "rates: {source: {count: 5, per: 10s}, key: unlimited}\nupstreams:"))
    config = reading(text).config
    assert config is not None
    assert config.rates.source == Rate(count=5, per=10.0)
    assert config.rates.key is None
    assert config.rates.failures == Rate(count=300, per=600.0)


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ("{source: off}", "rates.source: expected a mapping with count and per, or the word unlimited"),
        ("{source: 5}", "rates.source: expected a mapping"),
        ("{source: {count: 0, per: 1m}}", "rates.source.count: must be at least 1"),
        ("{source: {count: 1}}", "rates.source.per: required key is missing"),
        ("{source: {count: 1, per: 0s}}", "rates.source.per: must be more than 0s"),
        ("{ipv6-prefix: 129}", "rates.ipv6-prefix: must be at most 128"),
        ("{sources: unlimited}", "rates.sources: unknown key; did you mean 'source'?"),
    ],
)
def test_mistakes_are_found_where_they_are(rates: str, sentence: str) -> None:
    """No mistake leaves a budget open without a word."""
    (problem,) = said(altered(("upstreams:", f"rates: {rates}\nupstreams:")))
    assert problem.endswith(sentence)
