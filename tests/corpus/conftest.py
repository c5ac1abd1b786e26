"""The real model files that nobody here wrote, fetched once by fetch.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DEFAULT = Path(__file__).resolve().parent.parent.parent / ".corpus"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of packages' weight files: WTOOLS_CORPUS, else .corpus in the checkout."""
    folder = Path(os.environ.get("WTOOLS_CORPUS", DEFAULT)) / "files"
    if not folder.is_dir():
        pytest.fail(f"no corpus at {folder}: run python tests/corpus/fetch.py")
    return folder
