"""Linear regression and Ridge of scikit-learn: what regularisation did, and both as ONNX models.

python examples/linear_models.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge

import wtools


def fitted():
    """Both models of the same data, in which two of the three features say nearly the same."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    x[:, 2] = x[:, 1] + 0.01 * x[:, 2]
    y = x @ [3.0, -2.0, 0.5] + 1 + rng.normal(scale=0.1, size=200)
    return {"linear": LinearRegression().fit(x, y), "ridge": Ridge(alpha=1.0).fit(x, y)}


def save(model, path):
    """As scikit-learn's users do, through skl2onnx."""
    from skl2onnx import to_onnx

    x = np.zeros((1, model.n_features_in_), np.float32)
    path.write_bytes(to_onnx(model, x).SerializeToString())
    return path


def main(folder):
    models = fitted()
    for name, model in models.items():
        tree = wtools.from_estimator(model)  # no file in between
        print(wtools.stats(tree).choose(["name", "shape", "l2", "min", "max"]))
        wtools.convert(tree, folder / f"{name}.safetensors", overwrite=True)

        saved = save(model, folder / f"{name}_skl2onnx.onnx")
        with wtools.open(saved) as tree:
            print(wtools.layer_report(tree))
        own = folder / f"{name}.onnx"
        wtools.convert(wtools.from_estimator(model), own, overwrite=True)
        proof = wtools.verify(saved, own)
        print(proof)
        assert proof.summary["equal"]

    linear, ridge = (np.linalg.norm(models[name].coef_) for name in ("linear", "ridge"))
    print(f"the coefficients' length: {linear:.3f} as they fit best, {ridge:.3f} with Ridge")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
