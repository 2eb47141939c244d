"""A teacher that is no encoder: BM25 scores of a rewrite, as any scorer can be distilled."""

from __future__ import annotations

from disco_lib.bm25 import Bm25Index
from disco_lib.datasets import Collection
from disco_lib.errors import DiscoError
from disco_lib.teachers import DistillationRun, from_scores


def teach_bm25(collection: Collection, split: str, rewrite: str, depth: int) -> DistillationRun:
    """The `depth` best passages of every turn that has the rewrite, by BM25, with their scores.

    The run has no query vectors, so samplers and losses that ask for scores of passages outside of
    it, or for vectors, cannot be used. Raises DiscoError where no turn has the rewrite.
    """
    turns = [t for t in collection.iter_turns(split) if t.rewrites.get(rewrite, "").strip()]
    if not turns:
        raise DiscoError(
            f"No turn of {split!r} has the rewrite {rewrite!r}. `disco data verify` lists those "
            "there are."
        )
    names = [turn.turn_id for turn in turns]
    index = Bm25Index(collection.passage_texts(), collection.pids)
    found = index.search([turn.rewrites[rewrite] for turn in turns], names, depth).to_dict()
    # A turn whose words no passage has is one that BM25 cannot teach.
    scores = {turn: found[turn] for turn in names if found.get(turn)}
    run = from_scores(scores, collection.pids, "BM25")
    run.settings = {
        "collection": collection.fingerprint,
        "split": split,
        "rewrites": [rewrite],
        "scorer": "bm25",
        "depth": depth,
    }
    return run
