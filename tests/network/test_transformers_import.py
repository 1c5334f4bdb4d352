"""Models of transformers, tiny and with random weights, are imported as they are and compute the same."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_modules import trained

from powerplan import InvalidInput, from_torch
from powerplan.examples.vision import import_torchvision
from powerplan.network import Network

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here is from a hub
import_torchvision("models")  # transformers and timm import it
import transformers  # noqa: E402

#: names of settings differ by family
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_TEXT = {"vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_ENCODER = {**_SIZES, **_TEXT, "max_position_embeddings": 40}
_DECODER = {**_ENCODER, "num_key_value_heads": 1}
_RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
_GPT2 = {**_TEXT, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
_IMAGE = {**_SIZES, "image_size": 16, "patch_size": 4}
_TOKENS, _PIXELS = (7,), (3, 16, 16)

#: model, settings that differ from the defaults, shape of an input, number of arrays, output
_MODELS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], int, str]] = {
    "BERT": ("BertForSequenceClassification", _ENCODER, _TOKENS, 14, ""),
    "RoBERTa": ("RobertaForSequenceClassification", _ENCODER, _TOKENS, 14, ""),
    "DistilBERT": (
        "DistilBertForSequenceClassification",
        {**_TEXT, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 40},
        _TOKENS,
        14,
        "",
    ),
    "ALBERT": ("AlbertForSequenceClassification", {**_ENCODER, "embedding_size": 8}, _TOKENS, 9, ""),
    "DeBERTa": ("DebertaForSequenceClassification", {**_ENCODER, **_RELATIVE}, _TOKENS, 10, ""),
    "DeBERTa v2": (
        "DebertaV2ForSequenceClassification",
        {**_ENCODER, **_RELATIVE, "position_buckets": 8},
        _TOKENS,
        14,
        "",
    ),
    "ELECTRA": ("ElectraForSequenceClassification", {**_ENCODER, "embedding_size": 8}, _TOKENS, 15, ""),
    "MobileBERT": (
        "MobileBertForSequenceClassification",
        {**_ENCODER, "embedding_size": 8, "intra_bottleneck_size": 8},
        _TOKENS,
        33,
        "",
    ),
    "GPT-2": ("GPT2LMHeadModel", _GPT2, _TOKENS, 9, ""),
    "OPT": (
        "OPTForCausalLM",
        {
            **_SIZES,
            **_TEXT,
            "ffn_dim": 32,
            "max_position_embeddings": 40,
            "word_embed_proj_dim": 16,
        },
        _TOKENS,
        13,
        "",
    ),
    "BLOOM": ("BloomForCausalLM", {**_TEXT, "hidden_size": 16, "n_layer": 2, "n_head": 2}, _TOKENS, 9, ""),
    "Phi": ("PhiForCausalLM", {**_DECODER, "num_key_value_heads": 2}, _TOKENS, 13, ""),
    "LLaMA": ("LlamaForCausalLM", _DECODER, _TOKENS, 15, ""),
    "Mistral": ("MistralForCausalLM", _DECODER, _TOKENS, 15, ""),
    "Phi-3": ("Phi3ForCausalLM", _DECODER, _TOKENS, 9, ""),  # of whose heads nothing is left unrotated
    "Qwen2": ("Qwen2ForCausalLM", _DECODER, _TOKENS, 15, ""),
    "Gemma": ("GemmaForCausalLM", {**_DECODER, "head_dim": 8}, _TOKENS, 15, ""),
    "T5 encoder": (
        "T5EncoderModel",
        {**_TEXT, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
        _TOKENS,
        12,
        "",
    ),
    "Mamba": (
        "MambaForCausalLM",
        {**_TEXT, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2},
        _TOKENS,
        11,
        "",
    ),
    "Whisper encoder": (
        "WhisperEncoder",
        {
            **_TEXT,
            "d_model": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "num_mel_bins": 8,
            "max_source_positions": 10,
        },
        (8, 20),
        14,
        "",
    ),
    "wav2vec2": (
        "Wav2Vec2Model",
        {
            **_SIZES,
            "conv_dim": (8, 8),
            "conv_stride": (5, 2),
            "conv_kernel": (10, 3),
            "num_feat_extract_layers": 2,
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
        },
        (400,),
        16,
        "last_hidden_state",
    ),
    "ViT": ("ViTForImageClassification", _IMAGE, _PIXELS, 14, ""),
    "DeiT": ("DeiTForImageClassification", _IMAGE, _PIXELS, 14, ""),
    "BEiT": ("BeitForImageClassification", _IMAGE, _PIXELS, 14, ""),
    "DINOv2": ("Dinov2ForImageClassification", _IMAGE, _PIXELS, 14, ""),
    "Swin": (
        "SwinForImageClassification",
        {
            "image_size": 16,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [2, 2],
            "num_heads": [2, 2],
            "window_size": 4,
        },
        _PIXELS,
        27,
        "",
    ),
}
_QUICK = ("BERT", "GPT-2", "LLaMA")


def tiny(model: str, settings: dict[str, Any]) -> nn.Module:
    """A model by its class, with random weights."""
    if model == "WhisperEncoder":
        kind = transformers.models.whisper.modeling_whisper.WhisperEncoder
        module: nn.Module = kind(transformers.WhisperConfig(**settings))
    else:
        kind = getattr(transformers, model)
        module = kind(kind.config_class(**settings))
    return trained(module).eval()


def inputs_of(shape: tuple[int, ...]) -> np.ndarray:
    """Token ids other than those with a meaning of their own, or numbers."""
    generator = np.random.default_rng(0)
    return generator.integers(3, 50, (2, *shape)) if shape == _TOKENS else generator.normal(size=(2, *shape))


def agree(network: Network, module: nn.Module, output: str, *args: Any, **kwargs: Any) -> None:
    """Assert that a network computes a named output of a module, in double precision to 1e-5 of the largest entry."""
    given = (args[0] if args else next(iter(kwargs.values()))).numpy()
    with torch.no_grad():
        wanted = module.double()(*args, **kwargs)[output].numpy()
    assert np.ptp(wanted) > 0
    np.testing.assert_allclose(network(given), wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "name", [*_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in _MODELS if name not in _QUICK)]
)
def test_models_are_imported_as_they_are(name: str) -> None:
    """Without a wrapper and without kept modules; token ids in, the logits (or the only output) out."""
    model, settings, shape, arrays, output = _MODELS[name]
    module = tiny(model, settings)
    network = from_torch(module, shape, output=output)
    assert len(network.layer_names) == arrays
    assert not any(node.op.type == "torch_call" for node in network.nodes)
    first = "logits" if hasattr(module, "classifier") or model.endswith(("LM", "HeadModel", "Classification")) else ""
    agree(network, module, output or first or "last_hidden_state", torch.tensor(inputs_of(shape)))


@pytest.mark.parametrize("name", ["LLaMA", "Gemma", pytest.param("T5 encoder", marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_norms_in_single_precision_are_imported_in_double_precision(name: str, seed: int) -> None:
    """They compute in float32 whatever the model is in, and round more than double precision allows."""
    model, settings, shape, _, _ = _MODELS[name]
    torch.manual_seed(seed)
    kind = getattr(transformers, model)
    module = kind(kind.config_class(**settings)).eval().double()
    output = "logits" if "LM" in model else "last_hidden_state"
    agree(from_torch(module, shape), module, output, torch.tensor(inputs_of(shape)))


def test_named_arguments_and_outputs() -> None:
    """A padding mask is a constant, embeddings may be the input, and each of several outputs can be chosen."""
    config = transformers.BertConfig(**_ENCODER)
    module = trained(transformers.BertModel(config)).eval()
    tokens = torch.tensor(inputs_of(_TOKENS))
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0]])
    with pytest.raises(InvalidInput, match=r"output='last_hidden_state'; there are last_hidden_state, pooler_output"):
        from_torch(module, _TOKENS)
    outputs = {}
    for masked, given in ((True, {"attention_mask": mask}), (False, {"attention_mask": np.ones((1, 7), dtype=int)})):
        outputs[masked] = from_torch(module, _TOKENS, constants=given, output="pooler_output")
        rows = torch.as_tensor(given["attention_mask"]).expand(2, 7)
        agree(outputs[masked], module, "pooler_output", tokens, attention_mask=rows)
    padded = tokens.clone()
    padded[:, 5:] = 7  # what the mask hides
    assert np.array_equal(outputs[True](padded.numpy()), outputs[True](tokens.numpy()))
    assert not np.allclose(outputs[False](padded.numpy()), outputs[False](tokens.numpy()))
    behind = from_torch(module, (7, 16), input_name="inputs_embeds", output="last_hidden_state")
    embedded = torch.randn((2, 7, 16), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    agree(behind, module, "last_hidden_state", inputs_embeds=embedded)


def test_constants_that_nothing_reads_are_refused() -> None:
    """``forward(**kwargs)`` takes any name: a mask with an error in its name would be ignored."""
    module = trained(transformers.GPT2LMHeadModel(transformers.GPT2Config(**_GPT2))).eval()
    with pytest.raises(InvalidInput, match=r"constants: got 'attn_mask'.*input_ids.*'attention_mask'"):
        from_torch(module, _TOKENS, constants={"attn_mask": np.array([[1, 1, 1, 1, 1, 0, 0]])})


def test_wrong_tokens_are_named() -> None:
    network = from_torch(nn.Sequential(nn.Embedding(60, 4), nn.Linear(4, 3)), (3,))
    for wrong in (60, -1, 1.5):
        with pytest.raises(
            InvalidInput, match=rf"inputs: got '{wrong} at \[1, 2\]'; allowed: whole numbers from 0 to 59"
        ):
            network(np.array([[0, 1, 2], [3, 4, wrong]]))


@pytest.mark.slow
def test_outputs_of_a_tuple_go_by_number() -> None:
    module = trained(transformers.BertModel(transformers.BertConfig(**_ENCODER, return_dict=False))).eval()
    with pytest.raises(InvalidInput, match=r"output='0'; there are 0, 1"):
        from_torch(module, _TOKENS)
    tokens = torch.tensor(inputs_of(_TOKENS))
    for number in (0, 1):
        network = from_torch(module, _TOKENS, output=str(number))
        with torch.no_grad():
            wanted = module(tokens)[number].numpy()
        np.testing.assert_allclose(network(tokens.numpy()), wanted, atol=1e-4)
