"""Small networks of every kind of layer, under names that people give them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


def double_conv(ins: int, outs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(ins, outs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outs),
        nn.ReLU(),
        nn.Conv2d(outs, outs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outs),
        nn.ReLU(),
    )


class Up(nn.Module):
    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(ins, ins // 2, 2, 2)
        self.conv = double_conv(ins, outs)


class UNet(nn.Module):
    def __init__(self, base: int = 16) -> None:
        super().__init__()
        self.inc = double_conv(3, base)
        self.down1 = double_conv(base, base * 2)
        self.down2 = double_conv(base * 2, base * 4)
        self.down3 = double_conv(base * 4, base * 8)
        self.up1 = Up(base * 8, base * 4)
        self.up2 = Up(base * 4, base * 2)
        self.up3 = Up(base * 2, base)
        self.outc = nn.Conv2d(base, 2, 1)


def generator() -> nn.Module:
    """A DCGAN generator: transposed convolutions without bias, in a list without names."""
    return nn.Sequential(
        nn.ConvTranspose2d(100, 128, 4, 1, 0, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False),
    )


def discriminator() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 4, 2, 1, bias=False),
        nn.LeakyReLU(),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(),
        nn.Conv2d(128, 1, 4, 1, 0, bias=False),
    )


class Recurrent(nn.Module):
    def __init__(self, cls: Any, **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 24)
        self.rnn = cls(24, 32, num_layers=2, bidirectional=True, batch_first=True, **options)
        self.fc = nn.Linear((options.get("proj_size") or 32) * 2, 5)


def unnamed_language_model() -> nn.Module:
    return nn.Sequential(nn.Embedding(200, 24), nn.LSTM(24, 32), nn.Linear(32, 200))


def mnist() -> nn.Module:
    model = nn.Module()
    model.conv1 = nn.Conv2d(1, 32, 3)
    model.conv2 = nn.Conv2d(32, 64, 3)
    model.fc1 = nn.Linear(9216, 128)
    model.fc2 = nn.Linear(128, 10)
    return model


def mnist_module() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(4 * 24 * 24, 10)
    )


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.Linear(64, 3)
    )


def group_normed() -> nn.Module:
    layers: list[nn.Module] = []
    ins = 3
    for outs in (16, 32, 64):
        layers += [nn.Conv2d(ins, outs, 3), nn.GroupNorm(8, outs), nn.ReLU()]
        ins = outs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def instance_normed() -> nn.Module:
    layers: list[nn.Module] = []
    ins = 3
    for outs in (16, 32):
        layers += [nn.Conv2d(ins, outs, 3), nn.InstanceNorm2d(outs, affine=True), nn.ReLU()]
        ins = outs
    return nn.Sequential(*layers)


class Transformer(nn.Module):
    """RMS norms, a fused projection, a gated feed-forward layer; no biases anywhere."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(300, width)
        self.blocks = nn.ModuleList()
        for _ in range(3):
            block = nn.Module()
            block.attention_norm = nn.RMSNorm(width)
            block.attention = nn.Module()
            block.attention.qkv = nn.Linear(width, 3 * width, bias=False)
            block.attention.out = nn.Linear(width, width, bias=False)
            block.ffn_norm = nn.RMSNorm(width)
            block.ffn = nn.Module()
            block.ffn.w1 = nn.Linear(width, 96, bias=False)
            block.ffn.w2 = nn.Linear(96, width, bias=False)
            block.ffn.w3 = nn.Linear(width, 96, bias=False)
            self.blocks.append(block)
        self.norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, 300, bias=False)


class Mtcnn(nn.Module):
    """Convolutions with PReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv4_1 = nn.Conv2d(16, 2, 1)


class ConvNext(nn.Module):
    """Depthwise convolutions, layer norms, layer scales."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 4, 4), nn.LayerNorm(24))
        self.blocks = nn.ModuleList()
        for _ in range(3):
            block = nn.Module()
            block.gamma = nn.Parameter(torch.ones(24))
            block.dwconv = nn.Conv2d(24, 24, 7, padding=3, groups=24)
            block.norm = nn.LayerNorm(24)
            block.pwconv1 = nn.Linear(24, 96)
            block.pwconv2 = nn.Linear(96, 24)
            self.blocks.append(block)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 10)


class Vocoder(nn.Module):
    """Weight-normed 1-D convolutions that go up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_pre = weight_norm(nn.Conv1d(80, 64, 7, padding=3))
        self.ups = nn.ModuleList(
            [
                weight_norm(nn.ConvTranspose1d(64, 32, 16, 8)),
                weight_norm(nn.ConvTranspose1d(32, 16, 16, 8)),
            ]
        )
        self.conv_post = weight_norm(nn.Conv1d(16, 1, 7, padding=3))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(32, 4)
        self.cross = nn.MultiheadAttention(32, 4, kdim=24, vdim=16, bias=False)


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTMCell(10, 20)
        self.second = nn.GRUCell(20, 20)
        self.third = nn.RNNCell(20, 5)


def torch_transformer() -> nn.Module:
    return nn.Transformer(32, 4, 2, 2, 64)


def cnn3d() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 16, 3), nn.BatchNorm3d(16)
    )
