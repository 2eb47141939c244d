"""What a rewrite costs: seconds for each token, and the memory that a language model needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    T5Config,
)

from disco_lib import plots
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.rewriting import LanguageModelRewriter

T = TypeVar("T")
#: Bytes of a number in bfloat16 and float16.
HALF = 2

# Time


def seconds_a_query(answer: Callable[[T], object], queries: Iterable[T]) -> np.ndarray:
    """Seconds that `answer` takes for each query, one after the other (queries,).

    The first query is answered once before, untimed: what is loaded or compiled then is no part of
    the time. Raises DiscoError without a query.
    """
    queries = list(queries)
    if not queries:
        raise DiscoError("No query to time: give at least one.")
    answer(queries[0])
    seconds = []
    for query in queries:
        start = time.perf_counter()
        answer(query)
        seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def token_seconds(
    rewriter: LanguageModelRewriter, turn: Turn, tokens: int | None = None
) -> np.ndarray:
    """Seconds from the prompt's text until each token of a rewrite is there (tokens,).

    tokens: as many as that, with the model going on where it would have ended before (only a prompt
    in the form of a completion stops at the end of its line); None: until the rewrite ends by
    itself, so that the last entry is what the whole rewrite takes. Raises DiscoError for a first
    turn, which no model reads, and for fewer than 1 token.
    """
    if (tokens is not None and tokens < 1) or not turn.history:
        raise DiscoError("token_seconds needs 1 token or more, and a turn with a history.")
    times: list[float] = []

    def look(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        if output.is_cuda:
            torch.cuda.synchronize(output.device)
        times.append(time.perf_counter())

    model = rewriter.model
    least = model.generation_config.min_new_tokens
    # The last layer is passed once for each token.
    watch = model.get_output_embeddings().register_forward_hook(look)
    try:
        model.generation_config.min_new_tokens = tokens or least
        start = time.perf_counter()
        replace(rewriter, max_new_tokens=tokens or rewriter.max_new_tokens).rewrite([turn])
    finally:
        model.generation_config.min_new_tokens = least
        watch.remove()
    return np.array(times) - start


def spread(seconds: np.ndarray) -> Point:
    """Median of some times in milliseconds, with their 10th and 90th percentiles."""
    median, low, high = (1e3 * float(np.percentile(seconds, p)) for p in (50, 10, 90))
    return Point(median, low, high)


# Memory


#: The published configurations of the paper's rewriters, by the names that the paper gives.
CONFIGURATIONS: Mapping[str, PretrainedConfig] = {
    "meta-llama/meta-llama-3.1-8B-Instruct": LlamaConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False,
    ),
    "mistralai/mistral-7B-Instruct-v0.2": MistralConfig(
        vocab_size=32_000, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False,
    ),
    "castorini/t5-base-canard": T5Config(
        vocab_size=32_128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12,
    ),
}  # fmt: skip


def parameters(config: PretrainedConfig) -> int:
    """Number of weights of a model of this configuration; none of them is made."""
    family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.device("meta"):
        model = family.from_config(config)
    return sum(weight.numel() for weight in model.parameters())


def kept_a_token(config: PretrainedConfig) -> int:
    """Numbers that a decoder keeps of each token for the next: a key and a value in each layer.

    A sequence-to-sequence model keeps as many of each token of its input, for cross-attention.
    """
    if config.is_encoder_decoder:
        return 2 * config.num_decoder_layers * config.num_heads * config.d_kv
    width = config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * config.num_key_value_heads * width


def memory_row(config: PretrainedConfig, tokens: int, batch: int) -> dict[str, str]:
    """Computed: weights, and what is kept of a batch of prompts and rewrites, in 16-bit numbers.

    tokens: of a prompt with its rewrite. What the layers need in passing is not counted.
    """
    weights = parameters(config)
    kept = kept_a_token(config) * tokens * batch
    return {
        "parameters": f"{weights / 1e6:,.0f} million",
        "weights (GB)": f"{HALF * weights / 1e9:.1f}",
        "kept of a batch (GB)": f"{HALF * kept / 1e9:.1f}",
        "together (GB)": f"{HALF * (weights + kept) / 1e9:.1f}",
    }


# Figures


def time_dots(measured: Mapping[str, Point], published: Mapping[str, float], xlabel: str) -> Figure:
    """Times on a logarithmic axis: measured ones with their spread, published ones as diamonds.

    measured: {what: Point in the axis's unit}; published: {what: value}. Raises DiscoError where
    nothing was measured.
    """
    if not measured:
        raise DiscoError("Nothing to draw: give at least one time.")
    names = [*measured, *published]
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.36 * len(names) + 0.9))
        points = list(measured.values())
        values = np.array([p.value for p in points])
        axis.errorbar(
            values, range(len(points)), label="measured in this run", linestyle="none", marker="o",
            xerr=[values - [p.low for p in points], [p.high for p in points] - values],
            color=plots.COLOURS[0],
        )  # fmt: skip
        if published:
            axis.plot(
                list(published.values()), range(len(points), len(names)), label="published",
                linestyle="none", marker="D", color=plots.COLOURS[1],
            )  # fmt: skip
        for place, value in enumerate([*values, *published.values()]):
            axis.annotate(
                f"{value:,.{0 if value >= 100 else 1}f}", (value, place), (0, 5),
                textcoords="offset points", fontsize=8, ha="center", va="bottom",
            )  # fmt: skip
        axis.set_yticks(range(len(names)), names)
        axis.set(xscale="log", xlabel=xlabel, ylim=(len(names) - 0.5, -0.8))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside upper left", ncols=2)
        plt.close(figure)
    return figure


def writing_curve(seconds: np.ndarray, level: float, name: str) -> Figure:
    """Milliseconds until each token of a rewrite, and a level to hold against it, logarithmic.

    seconds: from `token_seconds`; level: milliseconds; name: what the level is.
    """
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 3.0))
        axis.plot(np.arange(1, len(seconds) + 1), 1e3 * seconds, color=plots.COLOURS[0], marker="o")
        axis.axhline(level, color=plots.COLOURS[1], linestyle="--")
        axis.annotate(
            name, (0.99, level), (0, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right",
        )  # fmt: skip
        axis.set(
            yscale="log", xlabel="tokens of the rewrite",
            ylabel="milliseconds since the question", ylim=(level / 2, 2e3 * seconds[-1]),
        )  # fmt: skip
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.xaxis.get_major_locator().set_params(integer=True)
        plt.close(figure)
    return figure
