"""torchvision's classifiers, with random weights and running statistics, compute the same when imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_modules import agree, kinds, trained

from powerplan import UnsupportedOperation, from_torch
from powerplan.examples.vision import import_torchvision

models: Any = import_torchvision("models")


def small_vit() -> nn.Module:
    vit: nn.Module = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    return vit


def small_swin() -> nn.Module:
    swin: nn.Module = models.SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=[4, 4], num_classes=5
    )
    return swin


def vgg_features() -> nn.Module:
    """VGG-11 without its two layers of 4096, which take seconds and show nothing new."""
    vgg = models.vgg
    return nn.Sequential(vgg.make_layers(vgg.cfgs["A"], batch_norm=True), nn.Flatten(), nn.Linear(512, 10))


def small_efficientnet_v2() -> nn.Module:
    """Fused blocks first, as in EfficientNetV2-S, whose 171 layers take ten seconds."""
    family = models.efficientnet
    fused, plain = family.FusedMBConvConfig, family.MBConvConfig
    blocks = [fused(1, 3, 1, 8, 8, 1), fused(4, 3, 2, 8, 16, 1), plain(4, 3, 2, 16, 24, 1)]
    net: nn.Module = family.EfficientNet(blocks, dropout=0.2, num_classes=10, last_channel=32)
    return net


def short_wide_resnet() -> nn.Module:
    """Wide ResNet-50 with one block instead of three to six in a row."""
    bottleneck = models.resnet.Bottleneck
    net: nn.Module = models.ResNet(bottleneck, [1, 1, 1, 1], num_classes=10, width_per_group=128)
    return net


def check(build: Callable[[], nn.Module], size: int, crossbars: int) -> None:
    module = trained(build())
    network = from_torch(module, (3, size, size))
    agree(network, module, tolerance=3e-5)
    assert len(network.crossbars) == crossbars


@pytest.mark.parametrize(
    ("build", "size", "crossbars"),
    [
        (lambda: models.resnet18(num_classes=10), 64, 21),
        (lambda: models.mobilenet_v3_small(num_classes=10), 64, 54),
        (vgg_features, 32, 9),
        (small_vit, 32, 14),
        (small_swin, 32, 19),
        (small_efficientnet_v2, 32, 11),
        (short_wide_resnet, 32, 18),
    ],
)
def test_classifiers(build: Callable[[], nn.Module], size: int, crossbars: int) -> None:
    check(build, size, crossbars)


@pytest.mark.parametrize(
    ("name", "size", "crossbars"),
    [
        ("resnet50", 64, 54),
        ("mobilenet_v2", 64, 53),
        ("mobilenet_v3_large", 64, 64),
        ("efficientnet_b0", 64, 82),
        ("densenet121", 64, 121),
        ("shufflenet_v2_x0_5", 64, 57),
        ("convnext_tiny", 32, 59),
        ("alexnet", 64, 8),
        ("mnasnet0_5", 32, 53),
        ("regnet_y_400mf", 32, 86),
        ("resnext50_32x4d", 32, 54),
        ("squeezenet1_1", 64, 26),
    ],
)
def test_large_classifiers(name: str, size: int, crossbars: int) -> None:
    check(lambda: getattr(models, name)(num_classes=10), size, crossbars)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "crossbars"), [("googlenet", 64, 58), ("inception_v3", 96, 95)])
def test_classifiers_with_outputs_for_training(name: str, size: int, crossbars: int) -> None:
    settings = {"num_classes": 10, "aux_logits": False, "init_weights": False}
    check(lambda: getattr(models, name)(**settings), size, crossbars)


@pytest.mark.slow
def test_windows_of_swin_v2_and_maxvit() -> None:
    block = models.swin_transformer.SwinTransformerBlockV2
    settings = {"depths": [1, 1], "num_heads": [2, 2], "window_size": [4, 4], "num_classes": 5}
    merging = models.swin_transformer.PatchMergingV2
    swin = {"patch_size": [4, 4], "embed_dim": 12, **settings, "block": block, "downsample_layer": merging}
    check(lambda: models.SwinTransformer(**swin), 32, 11)
    sizes = {
        "input_size": (32, 32),
        "stem_channels": 8,
        "partition_size": 4,
        "block_channels": [8],
        "block_layers": [1],
    }
    check(lambda: models.MaxVit(**sizes, head_dim=4, stochastic_depth_prob=0, num_classes=5), 32, 18)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "crossbars"),
    [
        ("fcn_resnet50", 55),
        ("deeplabv3_resnet50", 61),
        ("deeplabv3_mobilenet_v3_large", 70),
        ("lraspp_mobilenet_v3_large", 66),
    ],
)
def test_segmentation(name: str, crossbars: int) -> None:
    """A dict of one output needs no name."""
    build = getattr(models.segmentation, name)
    module = trained(build(weights=None, weights_backbone=None, num_classes=3)).eval()
    network = from_torch(module, (3, 32, 32))
    assert (network.output_shape, len(network.crossbars)) == ((3, 32, 32), crossbars)
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32))
    with torch.no_grad():
        wanted = module.double()(torch.tensor(x))["out"].numpy()
    np.testing.assert_allclose(network(x), wanted, atol=3e-5 * np.abs(wanted).max())


@pytest.mark.slow
def test_detection_models_are_refused_as_such_and_their_backbones_are_networks() -> None:
    build = models.detection.ssdlite320_mobilenet_v3_large
    module = trained(build(weights=None, weights_backbone=None, num_classes=3))
    for unsupported in ("error", "digital"):
        with pytest.raises(UnsupportedOperation, match="SSD, a detection model"):
            from_torch(module, (3, 64, 64), unsupported=unsupported)
    assert from_torch(module.get_submodule("backbone"), (3, 64, 64), output="0").output_shape == (672, 4, 4)


def test_every_batch_norm_of_a_residual_network_is_folded() -> None:
    found = kinds(from_torch(trained(models.resnet18(num_classes=10)), (3, 32, 32)))
    assert set(found) == {"conv", "relu", "max_pool", "add", "adaptive_average_pool", "flatten", "linear"}
