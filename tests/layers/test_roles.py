"""Roles, axes, and layers that their tensors' names give away."""

from __future__ import annotations

import layers_nets as nets
import numpy as np
import pytest
from layers_truth import tree_of
from torch import nn

from wtools.layers import Meaning, layer_map
from wtools.layouts import sizes
from wtools.tree import Tensor, WeightTree


def meanings(shapes: dict[str, tuple[int, ...]], dtype: str = "float32") -> dict[str, Meaning]:
    tensors = [Tensor.of(name, np.zeros(shape, dtype)) for name, shape in shapes.items()]
    found = layer_map(WeightTree(tensors, separator="."))
    return {name: role.meaning for name, role in found.tensors.items()}


def said(meaning: Meaning) -> tuple[str, str, str]:
    return meaning.kind, meaning.role, meaning.axes


def of(model: nn.Module) -> dict[str, Meaning]:
    found = layer_map(tree_of(model.state_dict()))
    return {name: role.meaning for name, role in found.tensors.items()}


@pytest.mark.parametrize(
    ("module", "known", "wanted"),
    [
        (nn.Linear(3, 5), {}, {"i": 3, "o": 5}),
        (nn.Conv1d(3, 5, 7), {}, {"i": 3, "o": 5, "k": 7}),
        (nn.Conv2d(3, 5, (7, 2)), {}, {"i": 3, "o": 5, "h": 7, "w": 2}),
        (nn.Conv3d(3, 5, (7, 2, 4)), {}, {"i": 3, "o": 5, "d": 7, "h": 2, "w": 4}),
        (nn.ConvTranspose2d(3, 5, (7, 2)), {}, {"i": 3, "o": 5, "h": 7, "w": 2}),
        (nn.LSTM(3, 5), {"g": 4}, {"i": 3, "u": 5, "g": 4}),
        (nn.GRU(3, 5), {"g": 3}, {"i": 3, "u": 5, "g": 3}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_axes_are_the_modules_own_sizes(
    module: nn.Module, known: dict[str, int], wanted: dict[str, int]
) -> None:
    name, tensor = next(iter(module.state_dict().items()))
    assert sizes(of(module)[name].axes, tuple(tensor.shape), **known) == wanted


def test_a_dense_kernel_lies_as_its_bias_says() -> None:
    found = meanings({"a.weight": (5, 3), "a.bias": (5,), "b.weight": (3, 5), "b.bias": (5,)})
    assert said(found["a.weight"]) == ("dense", "kernel", "o i")
    assert said(found["b.weight"]) == ("dense", "kernel", "i o")


def test_a_square_kernel_lies_as_those_near_it() -> None:
    shapes = {"h.0.c_attn.weight": (4, 12), "h.0.c_attn.bias": (12,)}
    square = {"h.0.c_proj.weight": (4, 4), "h.0.c_proj.bias": (4,)}
    assert meanings(shapes | square)["h.0.c_proj.weight"].axes == "i o"
    assert meanings(square)["h.0.c_proj.weight"].axes == "o i"


def test_batch_norm_in_full_and_without_weights() -> None:
    found = of(nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)))
    roles = {name: meaning.role for name, meaning in found.items()}
    assert roles == {
        "0.weight": "gamma",
        "0.bias": "beta",
        "0.running_mean": "moving_mean",
        "0.running_var": "moving_variance",
        "0.num_batches_tracked": "num_batches",
        "1.running_mean": "moving_mean",
        "1.running_var": "moving_variance",
        "1.num_batches_tracked": "num_batches",
    }
    assert {meaning.kind for meaning in found.values()} == {"batch_norm"}


def test_recurrent_layers_by_the_ratio_of_their_kernels() -> None:
    found = of(nets.Recurrent(nn.GRU))
    backward = found["rnn.weight_hh_l1_reverse"]
    assert said(backward) == ("gru", "recurrent_kernel", "(g u) v")
    assert (backward.within, backward.part) == ("bidirectional", "l1_reverse")
    assert backward.note == "reset_after"
    assert found["rnn.bias_hh_l0"].role == "recurrent_bias"


def test_attention_fused_and_split() -> None:
    found = of(nets.Attention())
    assert said(found["attn.in_proj_weight"])[:2] == ("multi_head_attention", "qkv_kernel")
    assert said(found["cross.k_proj_weight"])[:2] == ("multi_head_attention", "key_kernel")
    output = found["attn.out_proj.weight"]
    assert (output.kind, output.within, output.part) == ("dense", "multi_head_attention", "output")


@pytest.mark.parametrize(
    "names",
    [
        ("q_proj", "k_proj", "v_proj", "o_proj"),
        ("query", "key", "value", "out"),
        ("to_q", "to_k", "to_v", "to_out.0"),
        ("wq", "wk", "wv", "wo"),
        ("linear_q", "linear_k", "linear_v", "linear_out"),
        ("q_lin", "k_lin", "v_lin", "out_lin"),
    ],
    ids=" ".join,
)
def test_projections_are_dense_and_part_of_an_attention(names: tuple[str, ...]) -> None:
    found = meanings({f"layer.0.attn.{name}.weight": (8, 8) for name in names})
    parts = [(m.kind, m.within, m.part) for m in found.values()]
    wanted = ("query", "key", "value", "output")
    assert parts == [("dense", "multi_head_attention", part) for part in wanted]


def test_a_key_alone_makes_no_attention() -> None:
    assert meanings({"key.weight": (8, 4), "out.weight": (2, 8)})["key.weight"].within == ""


def test_low_rank_pairs() -> None:
    found = meanings(
        {
            "m.q_proj.base_layer.weight": (16, 8),
            "m.q_proj.lora_A.default.weight": (2, 8),
            "m.q_proj.lora_B.default.weight": (16, 2),
            "u.to_k.lora_down.weight": (2, 8),
            "u.to_k.lora_up.weight": (16, 2),
        }
    )
    assert said(found["m.q_proj.lora_A.default.weight"]) == ("lora", "lora_a", "r i")
    assert said(found["m.q_proj.lora_B.default.weight"]) == ("lora", "lora_b", "o r")
    assert said(found["u.to_k.lora_down.weight"]) == ("lora", "lora_a", "r i")
    assert found["m.q_proj.base_layer.weight"].kind == "dense"


def test_quantized_linear_layers() -> None:
    gptq = meanings(
        {"q.qweight": (4, 32), "q.qzeros": (1, 4), "q.scales": (1, 32), "q.g_idx": (32,)}
    )
    assert {m.kind for m in gptq.values()} == {"quantized_linear"}
    assert gptq["q.qweight"].role == "packed_kernel"
    four_bit = meanings(
        {
            "p.weight": (64, 1),
            "p.weight.absmax": (2,),
            "p.weight.quant_map": (16,),
            "p.weight.quant_state.bitsandbytes__nf4": (9,),
        }
    )
    assert {m.kind for m in four_bit.values()} == {"quantized_linear"}
    fp8 = meanings({"p.weight": (64, 32), "p.weight_scale_inv": (1, 1)})
    assert said(fp8["p.weight"]) == ("quantized_linear", "kernel", "o i")


def test_parameters_with_names_of_their_own() -> None:
    found = meanings(
        {
            "cls_token": (1, 1, 8),
            "pos_embed": (1, 17, 8),
            "class_embedding": (8,),
            "blocks.0.attn.relative_position_bias_table": (169, 4),
            "blocks.0.ls1.gamma": (8,),
            "blocks.0.layer_scale_1": (8,),
            "blocks.0.gamma_2": (8, 1, 1),
            "logit_scale": (),
        }
    )
    kinds = {name: meaning.kind for name, meaning in found.items()}
    assert kinds == {
        "cls_token": "token",
        "pos_embed": "positional",
        "class_embedding": "token",
        "blocks.0.attn.relative_position_bias_table": "positional",
        "blocks.0.ls1.gamma": "layer_scale",
        "blocks.0.layer_scale_1": "layer_scale",
        "blocks.0.gamma_2": "layer_scale",
        "logit_scale": "unknown",
    }
    assert found["blocks.0.gamma_2"].axes == "c 1 1"
    assert meanings({"a.position_ids": (1, 5)}, "int64")["a.position_ids"].kind == "buffer"


def test_reparametrized_weights_keep_their_kind() -> None:
    normed = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4))
    found = of(nn.Sequential(normed, nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 3, 5))))
    assert {name.split(".")[0]: meaning.kind for name, meaning in found.items()} == {
        "0": "dense",
        "1": "conv1d",
    }
    assert found["0.parametrizations.weight.original"].role == "kernel"
    assert found["1.parametrizations.weight.original0"].role == "kernel_magnitude"


def test_depthwise_needs_more_than_one_input_channel() -> None:
    """A grey image goes into (32, 1, 3, 3) as well; what comes before it tells them apart."""
    grey = nn.Sequential(nn.Conv2d(1, 32, 3), nn.Conv2d(32, 32, 3))
    assert of(grey)["0.weight"].kind == "conv2d"
    deep = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=32))
    assert said(of(deep)["1.weight"]) == ("depthwise_conv2d", "kernel", "(i m) 1 h w")


def test_tied_weights_are_named_where_they_stand() -> None:
    model = nn.Module()
    model.embed_tokens = nn.Embedding(50, 8)
    model.lm_head = nn.Linear(8, 50, bias=False)
    model.lm_head.weight = model.embed_tokens.weight
    found = of(model)
    assert found["embed_tokens.weight"].kind == "embedding"
    assert found["lm_head.weight"].kind == "dense"


@pytest.mark.parametrize("count", [1, 5_000])
def test_large_and_deep_names_end_in_time(count: int) -> None:
    deep = ".".join("a" * 500)
    tensors = [Tensor.of(f"{deep}.{i}.weight", np.zeros((2, 2), "f4")) for i in range(count)]
    found = layer_map(WeightTree(tensors, separator="."))
    assert len(found.tensors) == count


def test_every_tensor_gets_a_meaning_whatever_it_is() -> None:
    rng = np.random.default_rng(0)
    leaves = [
        "weight",
        "bias",
        "kernel",
        "gamma",
        "running_mean",
        "weight_ih_l0",
        "qweight",
        "x",
        "",
    ]
    for _ in range(300):
        shapes = {
            f"{rng.choice(['a', 'b.0', 'conv', 'q'])}.{rng.choice(leaves)}": tuple(
                int(n) for n in rng.integers(0, 4, rng.integers(0, 7))
            )
            for _ in range(5)
        }
        for meaning in meanings(shapes).values():
            assert 0 <= meaning.confidence <= 1 and meaning.kind and meaning.role is not None


def test_arrays_that_are_only_numbered() -> None:
    """numpy.savez(path, *model.get_weights()) keeps the order and nothing else."""
    shapes = [(3, 3, 1, 8), (8,), *[(8,)] * 4, (72, 16), (16,), (16, 2), (2,)]
    found = meanings({f"arr_{i}": shape for i, shape in enumerate(shapes)})
    assert said(found["arr_0"]) == ("conv2d", "kernel", "h w i o")
    assert [found[f"arr_{i}"].role for i in range(2, 6)] == [
        *("gamma", "beta"),
        *("moving_mean", "moving_variance"),
    ]
    assert said(found["arr_6"]) == ("dense", "kernel", "i o")
    assert said(found["arr_9"]) == ("dense", "bias", "o")
    torch_like = meanings({"params.0": (16, 72), "params.1": (16,), "params.2": (2, 16)})
    assert said(torch_like["params.0"]) == ("dense", "kernel", "o i")


def test_an_empty_tree_has_no_layers() -> None:
    assert layer_map(WeightTree([])).tensors == {}
