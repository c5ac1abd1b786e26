"""ResNet50 with a frozen base and a new head: what is trained, what moved, and its ONNX model.

python examples/transfer_resnet50.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import wtools


def network(weights=None):
    """weights="imagenet" downloads the real ones; random ones show the same."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.ResNet50(
        include_top=False, weights=weights, input_shape=(96, 96, 3), pooling="avg"
    )
    base.trainable = False
    inputs = keras.Input((96, 96, 3))
    features = base(inputs, training=False)  # batch norm keeps its statistics
    return keras.Model(inputs, keras.layers.Dense(5, name="new_head")(features))


def save(folder):
    """(the network with its new head, the same after some steps of training)."""
    import keras

    model = network()
    before, after = folder / "resnet50_start.keras", folder / "resnet50_tuned.keras"
    model.save(before)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, 96, 96, 3)).astype(np.float32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(images, rng.integers(0, 5, 16), batch_size=8, epochs=2, verbose=0)
    model.save(after)
    return before, after


def main(folder):
    before, after = save(folder)
    with wtools.open(before) as start, wtools.open(after) as tuned:
        print(wtools.layer_report(tuned, by="layer").limit(6))
        print(wtools.freeze(tuned).sort("trained_count", descending=True).limit(3))
        print(wtools.freeze(start, tuned).sort("relative_l2", descending=True).limit(4))

    onnx = folder / "resnet50.onnx"
    wtools.convert(after, onnx, overwrite=True)
    proof = wtools.verify(after, onnx, batches=[1, 2])
    print(proof)
    assert proof.summary["equal"]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
