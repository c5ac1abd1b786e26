"""What the tests of conversion share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_sync(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files need not reach the disk, except where that is what is tested."""
    if "syncs" not in request.keywords:
        monkeypatch.setattr(os, "fsync", lambda fd: None)
