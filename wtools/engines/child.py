"""The child's side of an engine: `python child.py ENGINE PATH MODULE`, see the package docstring.

Run as a script: this folder, where a `torch.py` lies, must not be on the path for imports.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])


def main(engine: str, path: str, module: str) -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no answer
    loaded: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if loaded is None:
                loaded = _load(engine, path, module)
            if request["do"] == "describe":
                answer = loaded.describe()
            else:
                answer = _run(loaded, request)
        except BaseException as error:
            answer = _failure(error, "run" if loaded is not None else "load")
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _load(engine: str, path: str, module: str) -> Any:
    from importlib import import_module

    return import_module(f"wtools.engines.{engine}").load(path, module)


def _run(loaded: Any, request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    arrays = [np.load(file, allow_pickle=False) for file in request["inputs"]]
    outputs, seen = loaded.run(arrays, request["layers"])
    count = 0

    def put(array: Any) -> str:
        nonlocal count
        count += 1
        file = f"{request['stem']}{count}.npy"
        array = np.asarray(array)
        if array.dtype.kind == "V":  # bfloat16 and such: numpy alone cannot read them back
            array = array.astype(np.float32)
        np.save(file, array, allow_pickle=False)
        return file

    return {
        "outputs": [put(array) for array in outputs],
        "layers": {
            name: {side: [put(array) for array in arrays] for side, arrays in sides.items()}
            for name, sides in seen.items()
        },
    }


def _failure(error: BaseException, when: str) -> dict[str, Any]:
    from wtools.errors import MissingExtraError

    if isinstance(error, MissingExtraError):
        return {"missing": error.reason, "advice": error.advice}
    text = " ".join(str(error).split())
    text = text if len(text) < 1500 else f"{text[:1500]}..."
    return {"error": f"{type(error).__name__}: {text}", "when": when}


if __name__ == "__main__":
    main(*sys.argv[1:4])
