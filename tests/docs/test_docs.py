"""The documentation is true because it runs.

In README.md and docs/*.md a ```console block is a session: each line that begins with `$ ` is run,
and the lines below it are what it prints (`...` stands for any lines). A ```python block with
`>>>` is a doctest. Both run in an empty folder that holds the fixtures; blocks of one page share it.

    WTOOLS_UPDATE_DOCS=1 python -m pytest tests/docs      writes what is printed into the pages
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UPDATE = bool(os.environ.get("WTOOLS_UPDATE_DOCS"))
WIDTH = "100"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    monkeypatch.chdir(tmp_path)
    bin_folder = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", bin_folder + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("COLUMNS", WIDTH)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_snippet_runs(page: Path, folder: Path) -> None:
    text = page.read_text()
    globs: dict[str, object] = {}
    replaced = BLOCK.sub(lambda block: run_block(block, globs, page), text)
    if UPDATE:
        page.write_text(replaced)


def run_block(block: re.Match[str], globs: dict[str, object], page: Path) -> str:
    language, body = block.groups()
    if language == "python":
        run_python(body, globs, page)
        return block.group()
    steps = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not steps[0].strip(), f"{page.name}: a console block begins with a command"
    return "```console\n" + "".join(run_step(step, page) for step in steps[1:]) + "```"


def run_step(step: str, page: Path) -> str:
    """Run one command, compare its output, and return the step as it should stand."""
    command, _, expected = step.partition("\n")
    while command.endswith("\\"):
        more, _, expected = expected.partition("\n")
        command += "\n" + more
    done = subprocess.run(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    output = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    wanted = "\n".join(line.rstrip() for line in expected.strip("\n").splitlines())
    if UPDATE and "..." not in wanted.splitlines():
        wanted = output.strip("\n")
    pattern = re.escape(wanted).replace(re.escape("..."), ".*?")
    assert re.fullmatch(pattern, output.strip("\n"), re.DOTALL), (
        f"{page.name}: $ {command}\n--- expected\n{wanted}\n--- printed\n{output}"
    )
    return f"$ {command}\n" + (wanted + "\n" if wanted else "")


def run_python(body: str, globs: dict[str, object], page: Path) -> None:
    test = doctest.DocTestParser().get_doctest(body, globs, page.name, str(page), 0)
    assert test.examples, f"{page.name}: a python block without >>>"
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    printed: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags).run(
        test, out=printed.append, clear_globs=False
    )
    globs.update(test.globs)
    assert not result.failed, "".join(printed)


def test_the_readme_has_exactly_two_set_up_lines() -> None:
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if "-m venv" in line]
    assert len(lines) == 2
    assert "wtools stats fixtures/" in lines[0] and "pytest" in lines[1]
    assert [line.split(" ")[3] for line in lines] == [".venv", ".venv-test"]


def test_pages_link_to_pages_that_exist() -> None:
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
