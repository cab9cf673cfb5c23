"""Every input of the corpus, those among it that once broke something, breaks nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")


@pytest.mark.parametrize("target", list(TARGETS))
def test_nothing_in_the_corpus_breaks_its_target(target: str) -> None:
    found = sorted((CORPUS / target).iterdir())
    assert found, f"no seeds for {target}"
    for path in found:
        TARGETS[target](path.read_bytes())
