"""Predict and plan a language model from its configuration, layer by layer.

    pip install transformers
    python examples/language_model.py gpt2                     # 124 million weights
    python examples/language_model.py llama                    # 1.2 billion weights, 16 GB of memory are enough
    python examples/language_model.py llama --layers 2 --no-plan

Weights are random: put `from_pretrained` and real text in their place. The head is included, so that the error is that
of the logits of every token. Writes the plan to MODEL.json in the current folder.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time

import numpy as np
import torch

import powerplan as pp
from powerplan.examples.vision import import_torchvision


def model(name: str, layers: int | None) -> torch.nn.Module:
    """The model with random weights: GPT-2 small's shape, or that of Llama 3.2 1B."""
    import_torchvision("models")  # transformers imports it
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    module: torch.nn.Module
    if name == "gpt2":
        module = GPT2LMHeadModel(GPT2Config(n_layer=layers or 12))
    else:
        module = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=128256,
                hidden_size=2048,
                intermediate_size=8192,
                num_hidden_layers=layers or 16,
                num_attention_heads=32,
                num_key_value_heads=8,
                head_dim=64,
                tie_word_embeddings=True,
                rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
            )
        )
    return module.eval()


def told(what: str, wall: float, processor: float) -> tuple[float, float]:
    """Print how long something took; the times now."""
    now = time.perf_counter(), time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{what}: {now[0] - wall:.1f} s, {now[1] - processor:.1f} s of processor time, peak so far {peak:.1f} GB",
        flush=True,
    )
    return now


def main() -> None:
    """Import, predict, plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["gpt2", "llama"])
    parser.add_argument("--layers", type=int, help="fewer than the model has")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--combinations", type=int, default=4, help="of the outputs, whose adjoints are pulled back")
    parser.add_argument("--max-nmse", type=float, default=0.01)
    parser.add_argument("--minutes", type=float, default=60.0, help="after which the best plan so far is taken")
    parser.add_argument("--no-plan", action="store_true")
    arguments = parser.parse_args()

    module = model(arguments.model, arguments.layers)
    vocabulary = module.get_input_embeddings().weight.shape[0]
    inputs = np.random.default_rng(0).integers(0, vocabulary, size=(1, arguments.tokens))
    now = time.perf_counter(), time.process_time()
    network = pp.from_torch(module, (arguments.tokens,), output="logits")
    now = told("import", *now)
    with torch.no_grad():
        for _ in range(2):
            now = time.perf_counter(), time.process_time()
            module(torch.as_tensor(inputs))
    passed = time.process_time() - now[1]
    now = told("forward pass in torch", *now)
    del module
    gc.collect()

    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=5e-8)
    gains = pp.Gains.full_range(network, hardware, inputs)
    options = {"dtype": "float32", "output_combinations": arguments.combinations}
    now = time.perf_counter(), time.process_time()
    prediction = pp.predict(network, hardware, gains, inputs, **options)
    passes = (time.process_time() - now[1]) / passed
    now = told(f"prediction ({passes:.0f} forward passes)", *now)
    error = prediction.mse_standard_error / prediction.mse
    print(f"NMSE {prediction.nmse:.3e}, known to {100 * error:.1f} %, on the whole conductance range", flush=True)
    if arguments.no_plan:
        return

    plan = pp.plan(
        network,
        hardware,
        inputs,
        pp.MaxNMSE(arguments.max_nmse),
        tolerance=1e-3,
        deadline=60 * arguments.minutes,
        progress=lambda what, done: print(f"{what}, {100 * done:.0f} %", file=sys.stderr),
        **options,
    )
    told("plan", *now)
    print(f"{plan.prediction.power:.4g} W at NMSE {plan.prediction.nmse:.3e}")
    print(plan.termination.message)
    plan.save(f"{arguments.model}.json")


if __name__ == "__main__":
    main()
