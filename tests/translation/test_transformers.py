"""State dicts of transformers: what nn.Linear holds is turned, what GPT-2's Conv1D holds is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import wtools
from wtools.translation import translated

transformers = pytest.importorskip("transformers")


def gpt2() -> Any:
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=12)
    return transformers.GPT2LMHeadModel(config)


def bert() -> Any:
    config = transformers.BertConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=24,
        vocab_size=50,
        max_position_embeddings=12,
    )
    return transformers.BertModel(config)


def llama() -> Any:
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=16,
        intermediate_size=24,
        vocab_size=50,
    )
    return transformers.LlamaForCausalLM(config)


def vit() -> Any:
    config = transformers.ViTConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=24,
        image_size=8,
        patch_size=4,
    )
    return transformers.ViTModel(config)


@pytest.mark.parametrize("build", [gpt2, bert, llama, vit])
def test_matrices_are_turned_as_their_modules_say(build: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build().eval()
    torch.save(model.state_dict(), tmp_path / "m.pt")
    with wtools.open(tmp_path / "m.pt") as tree:
        found = translated(tree, "keras")
        assert not found.problems
        source = {entry.sources[0]: entry.name for entry in found.entries.values()}
        for path, module in model.named_modules():
            if f"{path}.weight" not in tree:
                continue
            value = module.weight.detach().numpy()
            if isinstance(module, nn.Linear):
                value = value.T
            elif isinstance(module, nn.Conv2d):
                value = value.transpose(2, 3, 1, 0)
            assert np.array_equal(found.tree[source[f"{path}.weight"]].read(), value), path
        back = wtools.translate(found.tree, "torch")
        assert {n: t.read().tobytes() for n, t in back.items()} == {
            n: t.read().tobytes() for n, t in tree.items()
        }
