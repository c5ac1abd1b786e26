"""Names for the numbered variables of an optimizer in `.keras` and `.weights.h5` files.

Order as in Keras 3.15 and tf_keras 2.21: the iteration, the learning rate, then the slots of each
trained weight: those of one group next to each other, weight by weight, then the next group.
"""

from __future__ import annotations

from collections.abc import Sequence

from .config import snake

Slots = tuple[tuple[str, ...], ...]

_ADAM: Slots = (("momentum", "velocity"), ("velocity_hat",))
SLOTS: dict[str, Slots] = {
    "SGD": (("momentum",),),
    "RMSprop": (("velocity",), ("momentum",), ("average_gradient",)),
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Nadam": (("momentum", "velocity"),),
    "Adamax": (("momentum", "norm"),),
    "Adagrad": (("accumulator",),),
    "Adadelta": (("accumulated_grad", "accumulated_delta_var"),),
    "Ftrl": (("accumulator", "linear"),),
    "Lion": (("momentum",),),
    "Lamb": (("momentum", "velocity"),),
}

_BY_NAME = {spell(kind): kind for kind in SLOTS for spell in (snake, str.lower)}

Shape = tuple[int, ...]


def names(
    kind: str, shapes: Sequence[Shape], weights: Sequence[tuple[str, Shape]]
) -> list[str] | None:
    """A name for each optimizer variable, or None where class or shapes do not fit.

    kind: the optimizer's class, or its name (`adam`, `rm_sprop`). shapes: of its variables in
    stored order. weights: name and shape of the trained weights in the model's order.
    """
    kind = _BY_NAME.get(kind.lower(), "")
    if not kind:
        return None
    for scalars in (("iteration", "learning_rate"), ("iteration",)):
        fitting = _fit(kind, scalars, shapes, weights)
        if fitting is not None:
            return fitting
    return None


def _fit(
    kind: str,
    scalars: tuple[str, ...],
    shapes: Sequence[Shape],
    weights: Sequence[tuple[str, Shape]],
) -> list[str] | None:
    named: list[str] = list(scalars)
    expected: list[Shape] = [()] * len(scalars)
    for group in SLOTS[kind]:
        if len(named) >= len(shapes):
            break
        for weight, shape in weights:
            for slot in group:
                named.append(f"{weight.replace('/', '_')}_{slot}")
                expected.append(shape)
    if kind == "Nadam" and len(shapes) == len(named) + 1:
        named.append("u_product")
        expected.append(())
    return named if expected == list(shapes) else None
