"""LSTM(50, activation="relu") on 100 steps of one number: gates, ONNX and PyTorch.

python examples/lstm.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import wtools


def network():
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((100, 1)),
            keras.layers.LSTM(50, activation="relu"),
            keras.layers.Dense(1),
        ]
    )


def save(folder):
    """The network after it has seen some sines go on."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 6.28, (256, 1)) + np.linspace(0, 12, 101)
    series = np.sin(phase)[..., None].astype(np.float32)
    model = network()
    model.compile("adam", "mse")
    model.fit(series[:, :-1], series[:, -1], epochs=2, verbose=0)
    path = folder / "lstm.keras"
    model.save(path)
    return path


def main(folder):
    path = save(folder)
    with wtools.open(path) as tree:
        print(wtools.layer_report(tree))
        print(wtools.init(tree))

    onnx = folder / "lstm.onnx"
    wtools.convert(path, onnx, overwrite=True)
    proof = wtools.verify(path, onnx)
    print(proof)
    assert proof.summary["equal"]

    # torch's own LSTM knows tanh alone: the module has one that takes the activation.
    weights, module = folder / "lstm.pt", folder / "lstm_module.py"
    wtools.convert(path, weights, module=module, overwrite=True)
    proof = wtools.verify(path, weights, module=str(module))
    print(proof)
    assert proof.summary["equal"]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
