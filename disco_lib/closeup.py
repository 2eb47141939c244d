"""Queries seen up close: what a system reads, which terms it activates, what it finds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ranx import Run
from scipy import sparse
from transformers import PreTrainedTokenizerBase

from disco_lib.bm25 import bm25_search, bm25_terms
from disco_lib.conversations import Turn, context_ids, context_text
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.metrics import Evaluation, evaluate, remove_earlier_answers


@dataclass(frozen=True)
class Look:
    """What one system made of one turn.

    reads: the text it was given, uncut. terms: {term: weight}, heaviest first; word pieces for an
    encoder, stems for BM25. pids: the ranking, best first. rank: of the first relevant passage,
    counted from 1, or None where it was not found.
    """

    system: str
    label: str
    reads: str
    terms: dict[str, float]
    pids: list[str]
    rank: int | None


def look(lab: Laboratory, name: str, turn: Turn, seed: int | None = None) -> Look:
    """Follow a turn of the tier's test split through one of the tier's systems.

    A student is trained first if it is not in the cache (`seed`: by default the tier's first).
    Raises DiscoError for an unknown system, or a rewrite that the turn lacks.
    """
    system = lab.tier.system(name)
    settings = lab.student_settings(name) if system["run"] == "student" else lab.base_settings
    given = settings.input if system["run"] == "student" else system["input"]
    if system["run"] == "bm25":
        terms, run = _bm25(lab, turn, given)
    else:
        first = lab.tier.seeds[0] if seed is None else seed
        encoder = lab.student(name, first) if system["run"] == "student" else lab.encoder
        ids = context_ids(turn, given, encoder.tokenizer, settings.limits)
        vector = encoder.encode([ids], settings.limits.total)
        terms = weighted_terms(vector, encoder.tokenizer)
        run = lab.index.search(vector, lab.tier.depth, [turn.turn_id])
    results = _without_earlier_answers(lab, run, [turn]).to_dict().get(turn.turn_id, {})
    pids = sorted(results, key=lambda pid: -results[pid])
    relevant = relevant_pids(lab, turn)
    rank = next((place for place, pid in enumerate(pids, 1) if pid in relevant), None)
    return Look(name, system.get("label", name), context_text(turn, given), terms, pids, rank)


def weighted_terms(
    vector: sparse.csr_matrix, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """The active terms of one vector (1, vocabulary) and their weights, heaviest first.

    Raises DiscoError for more or fewer vectors than one.
    """
    if vector.shape[0] != 1:
        raise DiscoError(f"weighted_terms takes one vector, not {vector.shape[0]}.")
    row = sparse.csr_matrix(vector)
    names = tokenizer.convert_ids_to_tokens(row.indices.tolist())
    pairs = zip(names, row.data.tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def relevant_pids(lab: Laboratory, turn: Turn) -> set[str]:
    """The passages judged relevant for a turn of the tier's test split."""
    grades = lab.collection.judgements(lab.tier.test).get(turn.turn_id, {})
    return {pid for pid, grade in grades.items() if grade > 0}


def evaluate_queries(
    lab: Laboratory, queries: sparse.csr_matrix, turns: Sequence[Turn]
) -> Evaluation:
    """Search with vectors (turns, vocabulary) and evaluate as the tier does; see `lab.measure`."""
    names = [turn.turn_id for turn in turns]
    run = lab.index.search(queries, lab.tier.depth, names)
    run = _without_earlier_answers(lab, run, turns)
    return evaluate(lab.collection.qrels(lab.tier.test), run, turn_ids=names)


def telling_turn(lab: Laboratory, solved: str, lost: str, noisy: str) -> Turn:
    """A turn of the test split to explain the problem with.

    `solved` ranks a relevant passage first, `lost` none among its ten best, `noisy` none among its
    two best. Of such turns one marked as an ellipsis is taken, or else any; of these the one with
    the shortest utterance. A turn picked like this explains, it proves nothing. Raises DiscoError
    when there is none.
    """
    found = {}
    for name in (solved, lost, noisy):
        record = lab.measure(name)
        found[name] = dict(zip(record.turn_ids, record.per_turn("MRR"), strict=True))
    shared = set.intersection(*(set(values) for values in found.values()))
    turns = [
        turn
        for turn in lab.turns(lab.tier.test)
        if turn.turn_id in shared
        and found[solved][turn.turn_id] == 1
        and found[lost][turn.turn_id] < 1 / 10
        and found[noisy][turn.turn_id] < 1 / 2
    ]
    if not turns:
        raise DiscoError(f"No turn that {solved} finds and both {lost} and {noisy} miss.")
    return min(turns, key=lambda turn: (turn.kind != "ellipsis", len(turn.utterance)))


def transcript(turn: Turn, width: int = 72) -> str:
    """The conversation up to a turn, oldest first, as lines of at most `width` characters."""
    said = []
    for utterance, answer in turn.history:
        said += [("user", utterance), ("system", answer or "(no answer is kept)")]
    return "\n".join(
        textwrap.fill(f"{who + ':':8}{text}", width, subsequent_indent=" " * 8)
        for who, text in [*said, ("user", turn.utterance)]
    )


def titles(lab: Laboratory) -> dict[str, str]:
    """A short name of each passage: its title, or the beginning of its text."""
    return {
        row["pid"]: row["title"] or textwrap.shorten(row["text"], 48, placeholder=" ...")
        for row in lab.collection.passages
    }


def side_by_side(
    looks: Sequence[Look], names: Mapping[str, str], relevant: set[str], k: int = 3
) -> list[dict[str, object]]:
    """One row a system for a table: rank of the relevant passage, active terms, k best titles."""
    rows = []
    for seen in looks:
        best = [f"{names[pid]}{' ✓' if pid in relevant else ''}" for pid in seen.pids[:k]]
        row = {
            "system": seen.label,
            "rank of a relevant passage": seen.rank or "not found",
            "active terms": len(seen.terms),
        }
        rows.append(row | {f"result {place}": title for place, title in enumerate(best, 1)})
    return rows


def _bm25(lab: Laboratory, turn: Turn, given: str) -> tuple[dict[str, float], Run]:
    passages = lab.collection.passage_texts()
    query = context_text(turn, given, " ")
    run = bm25_search(passages, lab.collection.pids, [query], [turn.turn_id], lab.tier.depth)
    return bm25_terms(passages, query), run


def _without_earlier_answers(lab: Laboratory, run: Run, turns: Sequence[Turn]) -> Run:
    if not lab.tier.evaluation.get("remove_earlier_answers", False):
        return run
    return remove_earlier_answers(run, turns, lab.texts)
