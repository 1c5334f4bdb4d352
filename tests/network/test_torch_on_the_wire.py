"""Imported networks go over the wire: every operation that an import makes, digital layers too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn
from torch_modules import Bottleneck, DenseBlock, Encoder, InvertedResidual, SmallViT, UNet, Windows, trained

from powerplan import from_torch
from powerplan_client._generated import v1 as pb
from powerplan_client.networks import network_message
from powerplan_server.wire import Reader
from powerplan_server.wire.networks import network_from_proto


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (Bottleneck, (6, 8, 8)),
        (InvertedResidual, (3, 8, 8)),
        (DenseBlock, (3, 8, 8)),
        (UNet, (1, 8, 8)),
        (SmallViT, (3, 16, 16)),
        (Windows, (8, 8, 12)),
        (Encoder, (6,)),
    ],
)
def test_round_trip(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    network = from_torch(trained(build()), shape, digital=0)
    content = network_message(network).SerializeToString()
    reader = Reader.start()
    back = network_from_proto(reader, pb.Network.FromString(content))
    reader.done()
    assert back is not None
    assert back.digest == network.digest
    assert back.layer_names == network.layer_names
