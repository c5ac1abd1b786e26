"""A small CNN on handwritten digits: statistics, L1 against no L1, ONNX and a PyTorch module.

python examples/small_cnn.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import wtools


def network(regularizer=None):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, "relu", kernel_regularizer=regularizer, name="hidden"),
            layers.Dense(10, name="logits"),
        ]
    )


def save(folder, name, regularizer=None):
    """The network after fifteen epochs; (its file, its accuracy on digits it has not seen)."""
    import keras
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[..., None].astype(np.float32) / 16
    model = network(regularizer)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(images[:1500], digits.target[:1500], epochs=15, verbose=0)
    path = folder / f"{name}.h5"
    model.save(path)
    return path, model.evaluate(images[1500:], digits.target[1500:], verbose=0)[1]


def main(folder):
    plain, accuracy = save(folder, "small_cnn")
    sparse, sparse_accuracy = save(folder, "small_cnn_l1", "l1")
    print(f"accuracy {accuracy:.3f}, with L1 {sparse_accuracy:.3f}\n")

    with wtools.open(plain) as tree, wtools.open(sparse) as twin:
        print(wtools.layer_report(tree))
        print(wtools.stats(tree).sort("l2", descending=True))
        print(wtools.sparsity(twin, compare=tree, threshold=1e-3))

    onnx = folder / "small_cnn.onnx"
    wtools.convert(plain, onnx, overwrite=True)
    proof = wtools.verify(plain, onnx)
    print(proof)
    assert proof.summary["equal"]

    weights, module = folder / "small_cnn.pt", folder / "small_cnn_module.py"
    wtools.convert(plain, weights, module=module, overwrite=True)
    print(module.read_text())
    proof = wtools.verify(plain, weights, module=str(module))
    print(proof)
    assert proof.summary["equal"]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
