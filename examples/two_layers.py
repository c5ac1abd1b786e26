"""The two-layer network: was it drawn by he_normal, and what did training move?

python examples/two_layers.py [FOLDER]
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
            keras.Input((64,)),
            keras.layers.Dense(64, "relu", kernel_initializer="he_normal", name="hidden"),
            keras.layers.Dense(10, kernel_initializer="he_normal", name="logits"),
        ]
    )


def save(folder):
    """(the network as it was drawn, the same after three epochs of handwritten digits)."""
    import keras
    from sklearn.datasets import load_digits

    digits = load_digits()
    model = network()
    fresh, trained = folder / "two_layers_fresh.keras", folder / "two_layers.keras"
    model.save(fresh)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(digits.data.astype(np.float32) / 16, digits.target, epochs=3, verbose=0)
    model.save(trained)
    return fresh, trained


def main(folder):
    fresh, trained = save(folder)
    with wtools.open(fresh) as before, wtools.open(trained) as after:
        print(wtools.layer_report(after))
        print(wtools.init(before))
        print(wtools.init(after))
        print(wtools.freeze(before, after))

    onnx = folder / "two_layers.onnx"
    wtools.convert(trained, onnx, overwrite=True)
    proof = wtools.verify(trained, onnx)
    print(proof)
    assert proof.summary["equal"]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
