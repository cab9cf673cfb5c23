"""Twenty seconds of the soak; ``python -m tests.mirror.soak`` runs it for ten minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mirror.soak import soak

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.crash
@pytest.mark.filterwarnings("ignore")
def test_a_soak(tmp_path: Path) -> None:
    counted = soak(tmp_path, 8)
    assert counted["kills"] > 0
    assert counted["acked"] > 20
    assert counted["put"] > 20
