"""The words of names, and what people mean by them. No name of any model is in here."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


@lru_cache(maxsize=65536)
def words(name: str) -> tuple[str, ...]:
    """The lower-case words of a name: "LayerNorm_1.fc2" -> ("layer", "norm", "fc")."""
    return tuple(word.lower() for word in _WORD.findall(name))


@lru_cache(maxsize=65536)
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts numbers in names by value."""
    pieces = re.findall(r"\d+|\D+", name)
    return tuple((0, int(p), "") if p.isdigit() and len(p) < 20 else (1, 0, p) for p in pieces)


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


EMBEDDING = word_set(
    "embed embeds embedding embeddings embedder emb embs wte wpe vocab vocabulary lookup "
    "tok token tokens word char"
)
POSITION = word_set("pos position positions positional relative rel posenc wpe segment type")
PROJECTION = word_set(
    "fc linear lin dense proj projection projector project head classifier classification "
    "cls query key value q k v o qkv kv out output gate up down mlp ffn ff feedforward wi "
    "wo wq wk wv w attn score logits router decoder pooler reduction expert experts "
    "predictions adapter hidden intermediate regressor bottleneck excite squeeze transform"
)
LINEAR = word_set("linear lin dense fc proj projection")
CONVOLUTION = word_set("conv convs convolution conv1d conv2d conv3d cnn dwconv dw pw stem")
UPWARDS = word_set(
    "up ups upsample upsampler upsampling upconv deconv deconvolution transpose transposed "
    "convtranspose tconv trans unpool decoder decode generator dec resize"
)
SURELY_UPWARDS = word_set(
    "convt convtr upconv deconv deconvolution transposed convtranspose tconv transpose"
)
NORM = word_set("norm norms ln layernorm rms rmsnorm bn gn groupnorm instancenorm normalization")
LAYER_NORM = word_set("ln layernorm")
GROUP_NORM = word_set("gn groupnorm")
INSTANCE_NORM = word_set("instancenorm")
RMS_NORM = word_set("rms rmsnorm")
ACTIVATION = word_set("act acts activation prelu relu nonlin nonlinearity nonlinear")
TOKEN = word_set("cls class mask dist distillation register registers token tokens prompt")
SCALE = word_set("gamma lambda ls layerscale")
EXPERTS = word_set("expert experts moe")


def says(found: tuple[str, ...], *phrase: str) -> bool:
    """Do these words stand in `found` next to one another?"""
    n = len(phrase)
    return any(found[i : i + n] == phrase for i in range(len(found) - n + 1))
