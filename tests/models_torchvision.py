"""Image models under torchvision's names, since torchvision itself may not be there.

Only what the names and shapes of a state dict need, and a forward pass; random weights. `width`
divides the channels, so that tests can be quick.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    def __init__(self, ins: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(ins, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * 4)
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or ins != planes * 4:
            self.downsample = nn.Sequential(
                nn.Conv2d(ins, planes * 4, 1, stride, bias=False), nn.BatchNorm2d(planes * 4)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    def __init__(self, classes: int = 1000, width: int = 1) -> None:
        super().__init__()
        base = 64 // width
        self.conv1 = nn.Conv2d(3, base, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        ins = base
        for stage, blocks in enumerate((3, 4, 6, 3), start=1):
            planes = base * 2 ** (stage - 1)
            layer = []
            for block in range(blocks):
                layer.append(Bottleneck(ins, planes, 2 if stage > 1 and block == 0 else 1))
                ins = planes * 4
            setattr(self, f"layer{stage}", nn.Sequential(*layer))
        self.fc = nn.Linear(ins, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class VGG16(nn.Module):
    def __init__(self, classes: int = 1000, width: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        ins = 3
        for channels in (64, 64, 0, 128, 128, 0, *(256,) * 3, 0, *(512,) * 3, 0, *(512,) * 3, 0):
            if not channels:
                layers.append(nn.MaxPool2d(2, 2))
                continue
            outs = channels // width
            layers += [nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU()]
            ins = outs
        self.features = nn.Sequential(*layers)
        hidden = 4096 // width
        self.classifier = nn.Sequential(
            nn.Linear(ins * 49, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 7)
        return self.classifier(x.flatten(1))


class BasicConv2d(nn.Module):
    def __init__(self, ins: int, outs: int, **options: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ins, outs, bias=False, **options)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(outs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class InceptionA(nn.Module):
    def __init__(self, ins: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(ins, 64, kernel_size=1)
        self.branch5x5_1 = BasicConv2d(ins, 48, kernel_size=1)
        self.branch5x5_2 = BasicConv2d(48, 64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(ins, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, padding=1)
        self.branch_pool = BasicConv2d(ins, pool, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        five = self.branch5x5_2(self.branch5x5_1(x))
        pool = self.branch_pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.branch1x1(x), five, double, pool], 1)


class InceptionB(nn.Module):
    def __init__(self, ins: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(ins, 384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(ins, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    def __init__(self, ins: int, c7: int) -> None:
        super().__init__()
        wide, tall = (
            {"kernel_size": (1, 7), "padding": (0, 3)},
            {
                "kernel_size": (7, 1),
                "padding": (3, 0),
            },
        )
        self.branch1x1 = BasicConv2d(ins, 192, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(ins, c7, kernel_size=1)
        self.branch7x7_2 = BasicConv2d(c7, c7, **wide)
        self.branch7x7_3 = BasicConv2d(c7, 192, **tall)
        self.branch7x7dbl_1 = BasicConv2d(ins, c7, kernel_size=1)
        self.branch7x7dbl_2 = BasicConv2d(c7, c7, **tall)
        self.branch7x7dbl_3 = BasicConv2d(c7, c7, **wide)
        self.branch7x7dbl_4 = BasicConv2d(c7, c7, **tall)
        self.branch7x7dbl_5 = BasicConv2d(c7, 192, **wide)
        self.branch_pool = BasicConv2d(ins, 192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_2(self.branch7x7dbl_1(x))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(self.branch7x7dbl_3(double)))
        pool = self.branch_pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.branch1x1(x), seven, double, pool], 1)


class InceptionD(nn.Module):
    def __init__(self, ins: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(ins, 192, kernel_size=1)
        self.branch3x3_2 = BasicConv2d(192, 320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(ins, 192, kernel_size=1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        three = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    def __init__(self, ins: int) -> None:
        super().__init__()
        wide, tall = (
            {"kernel_size": (1, 3), "padding": (0, 1)},
            {
                "kernel_size": (3, 1),
                "padding": (1, 0),
            },
        )
        self.branch1x1 = BasicConv2d(ins, 320, kernel_size=1)
        self.branch3x3_1 = BasicConv2d(ins, 384, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(384, 384, **wide)
        self.branch3x3_2b = BasicConv2d(384, 384, **tall)
        self.branch3x3dbl_1 = BasicConv2d(ins, 448, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, **wide)
        self.branch3x3dbl_3b = BasicConv2d(384, 384, **tall)
        self.branch_pool = BasicConv2d(ins, 192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*parts, self.branch_pool(F.avg_pool2d(x, 3, 1, 1))], 1)


class InceptionAux(nn.Module):
    def __init__(self, ins: int, classes: int) -> None:
        super().__init__()
        self.conv0 = BasicConv2d(ins, 128, kernel_size=1)
        self.conv1 = BasicConv2d(128, 768, kernel_size=5)
        self.fc = nn.Linear(768, classes)


class InceptionV3(nn.Module):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.AuxLogits = InceptionAux(768, classes)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.fc = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return self.fc(x.mean((2, 3)))


def conv_bn(ins: int, outs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(ins, outs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    def __init__(self, ins: int, outs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = ins * expand
        layers: list[nn.Module] = [conv_bn(ins, hidden, 1)] if expand != 1 else []
        layers.append(conv_bn(hidden, hidden, 3, stride, hidden))
        layers += [nn.Conv2d(hidden, outs, 1, bias=False), nn.BatchNorm2d(outs)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(3, 32, 3, 2)]
        ins = 32
        for expand, outs, count, stride in (
            *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
            *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
        ):
            for i in range(count):
                layers.append(InvertedResidual(ins, outs, stride if i == 0 else 1, expand))
                ins = outs
        layers.append(conv_bn(ins, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, ins: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(ins)
        self.conv1 = nn.Conv2d(ins, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


class DenseNet121(nn.Module):
    def __init__(self, classes: int = 1000, growth: int = 32) -> None:
        super().__init__()
        channels = 2 * growth
        features: OrderedDict[str, nn.Module] = OrderedDict()
        features["conv0"] = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        features["norm0"] = nn.BatchNorm2d(channels)
        features["relu0"] = nn.ReLU()
        features["pool0"] = nn.MaxPool2d(3, 2, 1)
        for stage, count in enumerate((6, 12, 24, 16), start=1):
            block: OrderedDict[str, nn.Module] = OrderedDict()
            for i in range(count):
                block[f"denselayer{i + 1}"] = DenseLayer(channels + i * growth, growth)
            features[f"denseblock{stage}"] = nn.Sequential(block)
            channels += count * growth
            if stage < 4:
                parts: OrderedDict[str, nn.Module] = OrderedDict()
                parts["norm"] = nn.BatchNorm2d(channels)
                parts["relu"] = nn.ReLU()
                parts["conv"] = nn.Conv2d(channels, channels // 2, 1, bias=False)
                parts["pool"] = nn.AvgPool2d(2, 2)
                features[f"transition{stage}"] = nn.Sequential(parts)
                channels //= 2
        features["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(features)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))
