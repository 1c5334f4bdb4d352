"""A layer whose name is only a number is shown with its kind; where it is named to the program, names stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import powerplan as pp
from powerplan.planning import Plan
from powerplan.planning.explain.explanation import BindingLimit, Explanation, LayerShare
from powerplan.planning.explain.sentences import in_sentences
from powerplan.planning.outcome import LimitPrice, ShadowPrices
from powerplan.report.cards import plan_card
from powerplan.report.html import write_report
from powerplan.report.tables import plan_table


def test_modules_in_a_sequence_have_their_kind() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Sequential(nn.Linear(8, 3)), nn.Identity())
    module.add_module("head", nn.Linear(3, 2))
    network = pp.from_torch(module.eval(), input_shape=(1, 4, 4))
    assert network.layer_names == ("0", "2.0", "head")
    assert network.layer_labels == ("0 (Conv2d)", "2.0 (Linear)", "head")
    assert pp.Network.mlp([torch.ones(2, 3).numpy()]).layer_labels == ("linear1",)


def test_every_place_has_the_labels(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_plan()
    prediction = replace(plan.prediction, layer_names=("0", "2", "head"), layer_kinds=("Conv2d", "Linear", "Linear"))
    prices = ShadowPrices(target=-0.5, limits=(LimitPrice(layer="2", limit="conductance_max", price=-0.02),))
    plan = replace(plan, prediction=prediction, shadow_prices=prices)
    explanation = Explanation(
        objective="power",
        value=1.0,
        layers=(LayerShare(layer="0", power=1.0, error=1.0),),
        limits=(BindingLimit(layer="2", limit="conductance_max", count=1, price=-0.02),),
        relaxations=(),
        unlimited=1.0,
        sentences=(),
    )
    report = tmp_path / "report.html"
    write_report([plan], report)
    sentences = " ".join(in_sentences(explanation, plan))
    for text in (plan_table(plan), plan_card(plan), report.read_text("utf-8"), sentences):
        assert "0 (Conv2d)" in text.replace("\u00a0", " ")
        assert "2 (Linear)" in text.replace("\u00a0", " ")
        assert "head (" not in text
    unknown = replace(prediction, layer_kinds=())  # as in plan files written before kinds were kept
    assert unknown.layer_labels == ("0", "2", "head")
