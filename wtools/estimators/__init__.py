"""Estimators of scikit-learn as weight trees, without scikit-learn.

    described   what is known of an estimator: settings, learned values, arrays, estimators in it
    live        the same of an object in memory, by its attributes (`wtools.from_estimator`)

The reader of `.skops` files (formats/skops) fills the same description, and what is made of a
tree (a runnable ONNX graph, a torch module) does not know which of the two it came from.
"""
