"""Fixtures that every test may use: a cache of its own, a tiny encoder, a tiny collection."""

import copy
import gc
import json

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from disco_lib.datasets import Collection, load
from disco_lib.encoders import SpladeEncoder

TOPICS = (
    "violin cello trumpet drum glacier volcano river desert comet planet "
    "bakery cheese lemon tea coffee"
).split()
ASPECTS = {
    "made": "a master makes the {} by hand from old wood in the winter",
    "cost": "the price of a good {} is high and buyers pay in silver",
    "history": "people first wrote about the {} long ago in the north",
}
QUESTIONS = {"made": "how is {} made", "cost": "what does {} cost", "history": "who first had {}"}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MORE = "it them one this that again is was are be ? . , and or not why when where ##s ##ed".split()


def pytest_addoption(parser):
    parser.addoption("--torture", action="store_true", help="tests/torture at full size")


def pytest_configure(config):
    """Name how many examples the property tests of tests/torture take."""
    full = config.getoption("--torture")
    settings.register_profile(
        "torture",
        max_examples=10_000 if full else 300,
        derandomize=not full,  # a sample is the same every time
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def vocabulary() -> dict[str, int]:
    """Return tokens to numbers: special tokens, letters, and every word of the texts."""
    texts = " ".join([*ASPECTS.values(), *QUESTIONS.values()]).replace("{}", "").split()
    letters = [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz" for mark in ("", "##")]
    tokens = dict.fromkeys([*SPECIAL, *TOPICS, *texts, *MORE, *letters])
    return {token: number for number, token in enumerate(tokens)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Give each test an empty cache; nobody's real cache is read or written."""
    monkeypatch.setenv("DISCO_CACHE", str(tmp_path / "disco-cache"))


@pytest.fixture
def short_collections():
    """Spare a training's closing garbage collection all that was there before the test."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def _original() -> SpladeEncoder:
    words = vocabulary()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = BertForMaskedLM(config)
        with torch.no_grad():
            # As in trained models: most entries of a vector are 0, and no two words alike.
            model.cls.predictions.decoder.bias.normal_(-1.5, 0.5)
    return SpladeEncoder(model, BertTokenizer(vocab=words)).eval()


@pytest.fixture
def encoder(_original) -> SpladeEncoder:
    """Return a random two-layer SPLADE of width 16, the same for every test, free to be changed."""
    return copy.deepcopy(_original)


@pytest.fixture(scope="session")
def encoder_folder(_original, tmp_path_factory):
    """Return a folder that holds the tiny encoder; for reading only."""
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    _original.save_pretrained(folder)
    return folder


@pytest.fixture
def collection_folder(tmp_path):
    """Write 45 passages and 15 conversations of 3 turns (10 to train, 5 to test) in native form."""
    folder = tmp_path / "tiny-collection"
    folder.mkdir()
    passages = [
        {"pid": f"{topic}-{aspect}", "text": text.format(topic)}
        for topic in TOPICS
        for aspect, text in ASPECTS.items()
    ]
    _write(folder / "collection.jsonl", passages)
    for split, topics in (("train", TOPICS[:10]), ("test", TOPICS[10:])):
        rows = [row for number, topic in enumerate(topics) for row in _conversation(topic, number)]
        _write(folder / f"turns_{split}.jsonl", rows)
    return folder


@pytest.fixture
def collection(collection_folder) -> Collection:
    """Return the tiny collection, loaded."""
    return load(collection_folder)


def _conversation(topic, number):
    order = list(QUESTIONS)[number % 3 :] + list(QUESTIONS)[: number % 3]
    for place, aspect in enumerate(order):
        question = QUESTIONS[aspect]
        utterance = question.format(f"the {topic}" if place == 0 else "it")
        rewrites = {"gold": question.format(f"the {topic}"), "long": f"{topic} {topic} {aspect}"}
        if place == 2:
            del rewrites["long"]
        yield {
            "conv_id": topic,
            "turn_id": f"{topic}_{place + 1}",
            "utterance": utterance,
            "answer": ASPECTS[aspect].format(topic),
            "rewrites": rewrites,
            "positives": [f"{topic}-{aspect}"],
        }


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
