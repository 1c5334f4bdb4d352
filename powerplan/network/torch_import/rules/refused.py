"""Operations of Core ATen that no network has, and why; docs/aten.md lists them."""

from __future__ import annotations

_BACKWARD = "it belongs to the gradients of training"
_BATCH = "it mixes the inputs of a batch"
_COMPLEX = "its values are complex numbers"
_DECISION = "the shape of its result depends on values"

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            "_adaptive_avg_pool2d_backward",
            "avg_pool2d_backward",
            "convolution_backward",
            "embedding_dense_backward",
            "max_pool2d_with_indices_backward",
            "native_group_norm_backward",
            "native_layer_norm_backward",
        ),
        _BACKWARD,
    ),
    **dict.fromkeys(("_native_batch_norm_legit", "_pdist_forward"), _BATCH),
    **dict.fromkeys(("_fft_c2r", "_fft_r2c"), _COMPLEX),
    **dict.fromkeys(("nonzero", "masked_scatter"), _DECISION),
    "_local_scalar_dense": "it makes a number of a value, by which Python code decides",
    "_embedding_bag": "it looks up the tokens of all inputs in one list; sum the vectors of an Embedding instead",
    "resize_": "it changes a shape in place",
    "native_dropout": "it is random",
    **dict.fromkeys(
        ("col2im", "index_put", "scatter_reduce", "fill"), "there is no rule for it; write it in other operations"
    ),
}
