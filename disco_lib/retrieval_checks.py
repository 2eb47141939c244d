"""Whether an authored collection is hard where it should be: rewrites help, and do not give away.

MRR@10 on the later turns of the test split, by BM25 and by an untrained SPLADE encoder, for each
thing that a system may read: the utterance, every rewrite, the full conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disco_lib.bm25 import bm25_search
from disco_lib.conversations import Limits, Turn, context_ids, context_text
from disco_lib.datasets import Collection
from disco_lib.encoders import SpladeEncoder
from disco_lib.index import InvertedIndex
from disco_lib.metrics import evaluate
from disco_lib.vectors import cached_vectors
from disco_lib.verification import Check

SPLIT = "test"
ENCODER = "splade-tiny"
REFERENCE = "gold"
LENGTH = 192
CLEARLY = 0.1  # of MRR@10: the least by which the utterance alone falls behind
SOLVABLE = (0.55, 0.90)  # MRR@10 of the encoder on the careful rewrite: not hopeless, not saturated


def retrieval_checks(collection: Collection) -> list[Check]:
    """A check for each system and input; [] without later test turns that have a gold rewrite."""
    qrels = collection.qrels(SPLIT).to_dict() if SPLIT in collection.splits else {}
    turns = [
        turn
        for turn in (collection.iter_turns(SPLIT) if qrels else [])
        if turn.history and turn.turn_id in qrels and turn.rewrites.get(REFERENCE, "").strip()
    ]
    if not turns:
        return []
    names = {name for turn in turns for name in turn.rewrites}
    others = sorted(n for n in names if n != REFERENCE and all(n in t.rewrites for t in turns))
    inputs = ["utterance", *(f"rewrite:{name}" for name in [*others, REFERENCE]), "conversation"]
    checks: list[Check] = []
    for system, values in _measured(collection, turns, inputs):
        checks += _judged(system, values, f"rewrite:{REFERENCE}", len(turns))
    return checks


def _measured(
    collection: Collection, turns: Sequence[Turn], inputs: Sequence[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    passages, pids = collection.passage_texts(), collection.pids
    names, qrels = [turn.turn_id for turn in turns], collection.qrels(SPLIT)

    def score(run) -> float:
        return round(evaluate(qrels, run, turn_ids=names).mean()["MRR@10"], 4)

    yield (
        "BM25",
        {
            given: score(
                bm25_search(passages, pids, [context_text(t, given, " ") for t in turns], names, 10)
            )
            for given in inputs
        },
    )
    encoder, limits = SpladeEncoder.from_pretrained(ENCODER), Limits(total=LENGTH)
    index = InvertedIndex.build(cached_vectors(encoder, passages, pids, LENGTH).rows, pids)
    values = {}
    for given in inputs:
        ids = [context_ids(turn, given, encoder.tokenizer, limits) for turn in turns]
        values[given] = score(index.search(encoder.encode(ids, LENGTH), 10, names))
    yield "SPLADE-tiny", values


def _judged(system: str, values: dict[str, float], best: str, count: int) -> Iterator[Check]:
    gold, bare = values[best], values["utterance"]
    for given, value in values.items():
        name = f"MRR@10 of {system}, {given}"
        if given == best:
            low, high = SOLVABLE
            judged = system != "BM25"
            ok = low <= value <= high if judged else True
            note = f"from {low:.2f} to {high:.2f}; {count} later turns" if judged else ""
            yield Check(name, value, ok, note, judged)
        elif given == "utterance":
            note = f"at least {CLEARLY} below the {REFERENCE} rewrite"
            yield Check(name, value, value <= gold - CLEARLY, note)
        elif given == "conversation":
            yield Check(name, value, value < gold, f"below the {REFERENCE} rewrite")
        else:
            note = f"between the utterance and the {REFERENCE} rewrite"
            yield Check(name, value, bare < value < gold, note)
