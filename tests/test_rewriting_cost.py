"""What a rewrite costs: times that count every query and token once, memory counted by hand."""

import string
import time

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from disco_lib import rewriting_cost
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.papers import load_paper
from disco_lib.plots import Point
from disco_lib.prompting import Prompt
from disco_lib.rewriting import LanguageModelRewriter
from disco_lib.rewriting_cost import (
    CONFIGURATIONS,
    kept_a_token,
    memory_row,
    parameters,
    seconds_a_query,
    spread,
    time_dots,
    token_seconds,
    writing_curve,
)

TOKENS = ["<pad>", "<eos>", "<unk>", *string.ascii_letters, *" .,?'|"]

TINY = LlamaConfig(
    vocab_size=len(TOKENS), hidden_size=16, intermediate_size=32, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, pad_token_id=0, eos_token_id=1,
)  # fmt: skip
TINY_T5 = T5Config(
    vocab_size=len(TOKENS), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
    pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
)  # fmt: skip


def tokenizer():
    """A tokenizer of single characters."""
    numbers = {token: number for number, token in enumerate(TOKENS)}
    backend = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    names = {name: f"<{name[:3]}>" for name in ("pad_token", "eos_token", "unk_token")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def turn(*history):
    return Turn("c", "c_1", "And when?", tuple(history), "", {}, (), None, {})


def test_every_query_is_timed_and_the_first_one_answered_once_before():
    seen = []
    seconds = seconds_a_query(lambda q: (seen.append(q), time.sleep(q))[0], iter([0.02, 0.0]))
    assert seen == [0.02, 0.02, 0.0]
    assert seconds.shape == (2,) and seconds[0] >= 0.02 > seconds[1]
    with pytest.raises(DiscoError, match="at least one"):
        seconds_a_query(print, [])


def test_a_spread_is_in_milliseconds():
    found = spread(np.array([0.001, 0.002, 0.003]))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 1.2, 2.8))


@pytest.mark.parametrize(
    ("model", "config"), [(LlamaForCausalLM, TINY), (T5ForConditionalGeneration, TINY_T5)]
)
def test_each_token_has_its_time_and_the_model_is_left_as_it_was(model, config):
    torch.manual_seed(3)
    made = model(config).eval()
    rewriter = LanguageModelRewriter(made, tokenizer(), Prompt("x", "joined"), max_new_tokens=2)
    asked = turn(("Who is Ada?", "A countess."))
    before = rewriter.rewrite([asked])
    seconds = token_seconds(rewriter, asked, 6)
    assert seconds.shape == (6,) and seconds[0] > 0 and (np.diff(seconds) > 0).all()
    assert 1 <= len(token_seconds(rewriter, asked)) <= 2, "where it ends by itself"
    assert rewriter.max_new_tokens == 2 and rewriter.rewrite([asked]) == before
    assert made.generation_config.min_new_tokens is None
    assert not made.get_output_embeddings()._forward_hooks


def test_what_cannot_be_timed_is_refused():
    rewriter = LanguageModelRewriter(LlamaForCausalLM(TINY), tokenizer(), Prompt("x", "joined"))
    for asked, tokens in ((turn(("a", "b")), 0), (turn(), 3)):
        with pytest.raises(DiscoError, match="token_seconds"):
            token_seconds(rewriter, asked, tokens)


@pytest.mark.parametrize(
    ("model", "config"), [(LlamaForCausalLM, TINY), (T5ForConditionalGeneration, TINY_T5)]
)
def test_weights_are_counted_without_making_any(model, config):
    assert parameters(config) == sum(weight.numel() for weight in model(config).parameters())


def test_what_is_kept_of_a_token_is_what_the_cache_holds():
    with torch.no_grad():
        cache = LlamaForCausalLM(TINY)(torch.arange(5)[None], use_cache=True).past_key_values
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert 5 * kept_a_token(TINY) == held == 5 * 2 * 3 * 2 * 4


def test_the_papers_rewriters_have_their_published_sizes():
    rewriters = load_paper("disco").recipe["rewriters"]
    assert set(CONFIGURATIONS) == set(rewriters.values()) - {"human"}
    sizes = {
        name.split("/")[0]: round(parameters(c) / 1e9, 2) for name, c in CONFIGURATIONS.items()
    }
    assert sizes == {"meta-llama": 8.03, "mistralai": 7.24, "castorini": 0.22}


def test_a_row_of_memory_is_weights_and_what_is_kept(monkeypatch):
    monkeypatch.setattr(rewriting_cost, "parameters", lambda config: 2_000_000_000)
    monkeypatch.setattr(rewriting_cost, "kept_a_token", lambda config: 50_000)
    assert memory_row(TINY, tokens=1_000, batch=10) == {
        "parameters": "2,000 million",
        "weights (GB)": "4.0",
        "kept of a batch (GB)": "1.0",
        "together (GB)": "5.0",
    }


def test_figures_show_every_time():
    axis = time_dots({"write": Point(900, 800, 1000)}, {"theirs": 4400.0}, "ms").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["write", "theirs"]
    assert axis.get_xscale() == "log" and {t.get_text() for t in axis.texts} == {"900", "4,400"}
    with pytest.raises(DiscoError, match="at least one"):
        time_dots({}, {"theirs": 1.0}, "ms")
    curve = writing_curve(np.array([0.5, 0.6]), 8.0, "a query").axes[0]
    assert curve.lines[0].get_ydata() == pytest.approx([500, 600])
    assert curve.get_yscale() == "log" and curve.texts[0].get_text() == "a query"
