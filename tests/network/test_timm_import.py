"""Families of timm, small and with random weights, are imported as they are and compute the same."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch_modules import agree, trained

from powerplan import from_torch
from powerplan.examples.vision import import_torchvision

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here is from a hub
import_torchvision("models")  # timm imports it
import timm  # noqa: E402

_FOUR = {"layers": (1, 1, 1, 1)}
_PATCHES = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
_INNER = {key: value for key, value in _PATCHES.items() if key != "num_heads"}
_WINDOWS = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2)}
_DEPTHS = {"depths": (1, 1, 1, 1)}
_THIN = {"channels": (8, 8, 8, 8)}

#: a model of each family, the size of its images, settings that make it smaller
_FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (32, {**_FOUR, **_THIN}),
    "resnetv2_50": (32, {**_FOUR, "channels": (16, 16, 16, 16), "stem_chs": 8}),
    "seresnet18": (32, {**_FOUR, "channels": (16, 16, 16, 16)}),
    "legacy_seresnet18": (32, {}),
    "skresnet18": (32, _FOUR),
    "res2net50_14w_8s": (32, _FOUR),
    "resnest14d": (32, _FOUR),
    "densenet121": (32, {"block_config": (1, 1, 1, 1), "growth_rate": 8}),
    "regnety_002": (32, {}),
    "dla46_c": (32, {}),
    "dpn48b": (32, {}),
    "hrnet_w18_small": (32, {}),
    "ese_vovnet19b_slim": (32, {}),
    "mobilenetv3_small_050": (32, {}),
    "mobilenetv4_conv_small_035": (32, {}),
    "efficientnet_lite0": (32, {}),
    "edgenext_xx_small": (64, {}),
    "convnext_tiny": (32, {**_DEPTHS, "dims": (8, 8, 8, 8)}),
    "inception_next_tiny": (32, {**_DEPTHS, "dims": (16, 16, 16, 16)}),
    "mambaout_femto": (32, {**_DEPTHS, "dims": (8, 8, 8, 8)}),
    "vit_tiny_patch16_224": (32, _PATCHES),
    "deit_tiny_distilled_patch16_224": (32, _PATCHES),
    "beit_base_patch16_224": (32, _PATCHES),
    "eva02_tiny_patch14_224": (28, {**_PATCHES, "img_size": 28, "patch_size": 7}),
    "cait_xxs24_224": (32, _PATCHES),
    "xcit_nano_12_p16_224": (32, _PATCHES),
    "swin_tiny_patch4_window7_224": (32, _WINDOWS),
    "swinv2_tiny_window8_256": (32, _WINDOWS),
    "davit_tiny": (64, {**_DEPTHS, "embed_dims": (8, 8, 8, 8), "num_heads": (1, 1, 1, 1)}),
    "hiera_tiny_224": (64, {"img_size": (64, 64), "embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1, 1)}),
    "pit_ti_224": (
        32,
        {"img_size": 32, "patch_size": 8, "stride": 4, "base_dims": (8, 8, 8), "depth": (1, 1, 1), "heads": (1, 1, 1)},
    ),
    "tnt_s_patch16_224": (32, {**_INNER, "inner_dim": 8, "num_heads_inner": 2, "num_heads_outer": 2}),
    "twins_pcpvt_small": (
        32,
        {"img_size": 32, **_DEPTHS, "embed_dims": (8, 8, 8, 8), "num_heads": (1, 1, 2, 2)},
    ),
    "visformer_tiny": (
        32,
        {"img_size": 32, "embed_dim": 32, "depth": (1, 1, 1), "num_heads": 2, "init_channels": 8},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _FAMILIES)
def test_families_are_imported_as_they_are(name: str) -> None:
    size, settings = _FAMILIES[name]
    torch.manual_seed(0)
    module = trained(timm.create_model(name, num_classes=5, **settings)).eval()
    network = from_torch(module, (3, size, size))
    assert not any(node.op.type == "torch_call" for node in network.nodes)
    agree(network, module)
