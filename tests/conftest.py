"""Fixtures that every test may use: a private cache, tiny models and data, bench records."""

import copy
import gc
import json

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from disco_lib.datasets import Collection, load
from disco_lib.dense_encoder import DenseEncoder
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
#: Engines of a benchmark's record: milliseconds a query, overlap with the exact ranking.
ENGINES = {
    "plain accumulator": (12.0, 1.0),
    "InvertedIndex uint8": (3.0, 0.998),
    "InvertedIndex float32": (4.0, 1.0),
    "Seismic": (6.0, 0.9),
    "BMP": (90.0, 0.99),
    "Lucene impact": (30.0, 0.995),
}


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
def dense_encoder(encoder) -> DenseEncoder:
    """Return a random two-layer dense encoder of width 16, mean pooling, vectors of length 1."""
    return DenseEncoder(encoder.model.bert, encoder.tokenizer).eval()


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


@pytest.fixture
def bench_records():
    """Return records in the shape of those of benchmarks/, with numbers that are easy to divide."""
    speed = {"multiply-adds a second of the vocabulary product": 39.06816, "batch": 10}
    return {
        "search": _bench_record("search", {"threads": 1}, _search_rows()),
        "growth": _bench_record("growth", {"threads": 1}, _growth_rows()),
        "encoding": _bench_record("encoding", {"tokens": 128}, _encoding_rows()),
        "training": _bench_record("training", speed, _training_rows()),
    }


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


def _search_rows():
    for engine, (ms, overlap) in ENGINES.items():
        for size in (200_000, 1_000_000):
            if engine == "Lucene impact" and size == 1_000_000:
                continue
            for kind, factor in (("short", 1.0), ("long", 2.0)):
                for k in (100, 1_000):
                    yield {
                        "engine": engine,
                        "documents": size,
                        "queries": kind,
                        "k": k,
                        "median ms": ms * factor * size / 1_000_000 + (k == 1_000),
                        "p99 ms": 2 * ms,
                        "overlap": overlap,
                        "bytes a posting": 2.0,
                        "share of 8 bytes": 0.25,
                        "build s": 1.0,
                        "times faster": 12.0 / ms,
                    }


def _growth_rows():
    for size in (10_000, 100_000, 1_000_000):
        row = {
            "documents": size,
            "postings a document": 200.0,
            "documents a second, built": 150_000 - size // 100,
            "ms to open": 120.0 * size / 1_000_000,
            "MB": 400 * size / 1_000_000,
            "share of 8 bytes": 0.25,
        }
        for kind, touched in (("short", 2), ("long", 10)):
            row[f"postings, {kind}"] = touched * size
            row[f"ms, {kind}, index"] = touched * size / 1_000_000
            row[f"ms, {kind}, plain"] = 4.0 * touched * size / 1_000_000
        yield row


def _training_rows():
    for tokens, ratio, memory in ((64, 16.0, 0.15), (128, 24.0, 0.1)):
        for way in ("public recipe", "disco_lib"):
            own = way == "disco_lib"
            yield {
                "way": way,
                "document tokens": tokens,
                "query tokens": 100.0,
                "ms a step": 250.0,
                "queries a second": 40.0,
                "peak MiB": 1000,
                "MiB above start": 500,
                "times public recipe": ratio if own else 1.0,
                "times sentence-transformers": ratio + 2 if own else 1.1,
                "share of its memory": memory if own else 1.0,
            }


def _encoding_rows():
    rows = (
        ("sentence-transformers", 50.0, 1.0, 0.0, 1.0),
        ("disco_lib", 160.0, 3.2, 1e-6, 0.999),
        ("bfloat16 product (not used)", None, None, 0.09, 0.95),
    )
    names = ("encoder", "passages a second", "times faster", "largest difference", "overlap at 100")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _bench_record(name, settings, rows):
    about = {"date": "2026-01-02", "commit": "abc", "machine": "Linux, 2 cores", "threads": 2}
    about["versions"] = {"torch": "2.9", "numba": "0.62"}
    settings = {"data": "mini", **settings}
    return {"name": name, "settings": settings, "provenance": about, "rows": list(rows)}
