"""What becomes of a query's terms from one system to another: kept, dropped, or new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.gains import span
from disco_lib.significance import compare
from disco_lib.tables import Table, p_value

KEPT, DROPPED, NEW = "kept", "dropped", "new"


@dataclass(frozen=True)
class Fates:
    """Terms of every query by what became of them, and the weight they had or, if new, have.

    Each CSR (turns, vocabulary): kept and dropped with the weights before, new with those after.
    """

    kept: sparse.csr_matrix
    dropped: sparse.csr_matrix
    new: sparse.csr_matrix

    def groups(self) -> dict[str, sparse.csr_matrix]:
        """{"kept", "dropped", "new": their terms}."""
        return {KEPT: self.kept, DROPPED: self.dropped, NEW: self.new}


def fates(before: sparse.csr_matrix, after: sparse.csr_matrix) -> Fates:
    """What became of the active terms of `before` in `after`, both (turns, vocabulary).

    Raises DiscoError for shapes that differ.
    """
    if before.shape != after.shape:
        raise DiscoError(f"before {before.shape}, after {after.shape}: give the same turns.")
    was, is_ = (_active(vectors) for vectors in (before, after))
    both = was.multiply(is_)
    return Fates(*(_rows(x) for x in (before.multiply(both), before - before.multiply(both),
                                      after - after.multiply(both))))  # fmt: skip


def share_inside(terms: sparse.csr_matrix, mark: sparse.csr_matrix) -> np.ndarray:
    """Share of each turn's terms (turns, vocabulary) that `mark` has too; NaN without a term."""
    if terms.shape != mark.shape:
        raise DiscoError(f"terms {terms.shape}, mark {mark.shape}: give the same turns.")
    active = _active(terms)
    total = np.asarray(active.sum(axis=1)).ravel()
    inside = np.asarray(active.multiply(_active(mark)).sum(axis=1)).ravel()
    return np.where(total > 0, inside / np.maximum(total, 1), np.nan)


def fate_table(
    found: Fates, marks: Mapping[str, sparse.csr_matrix], activation: np.ndarray
) -> Table:
    """One row a fate: terms a query, their mean weight and FLOPS, and their share in each mark.

    marks: {head: vectors (turns, vocabulary)}. Shares are means over the turns that have a term of
    this fate. activation (vocabulary,): share of passages in which each term is active; FLOPS are
    its sum over a query's terms. Raises DiscoError for another vocabulary.
    """
    if np.shape(activation) != (found.kept.shape[1],):
        raise DiscoError(f"activation {np.shape(activation)}: give one share a term.")
    rows = []
    for name, terms in found.groups().items():
        turns = max(1, terms.shape[0])
        row = {"terms": name, "a query": f"{terms.nnz / turns:.1f}"}
        row["FLOPS"] = f"{activation[terms.indices].sum() / turns:.2f}"
        row["mean weight"] = f"{terms.data.mean():.2f}" if terms.nnz else ""
        for head, mark in marks.items():
            shares = share_inside(terms, mark)
            there = ~np.isnan(shares)
            row[head] = f"{shares[there].mean():.0%}" if there.any() else ""
        rows.append(row)
    return Table.of(rows)


def fate_difference_rows(
    found: Fates, marks: Mapping[str, sparse.csr_matrix], digits: int = 2
) -> list[dict[str, object]]:
    """One row a mark: share of the dropped terms in it minus that of the kept ones, by turn.

    Over turns with terms of both fates, with the 95 % interval; p of a paired t-test, corrected for
    the number of marks (Bonferroni). A mark that fewer than two turns can say is left out.
    """
    rows: list[dict[str, object]] = []
    for head, mark in marks.items():
        dropped, kept = (share_inside(terms, mark) for terms in (found.dropped, found.kept))
        both = ~np.isnan(dropped) & ~np.isnan(kept)
        if both.sum() < 2:
            continue
        test = compare(dropped[both], kept[both], comparisons=len(marks))
        rows.append(
            {
                "share of terms": head,
                "turns": test.n,
                "dropped minus kept": span(test.difference, test.low, test.high, digits),
                "p": p_value(test.p_t),
            }
        )
    return rows


def _active(vectors: sparse.csr_matrix) -> sparse.csr_matrix:
    rows = sparse.csr_matrix(vectors, copy=True)
    rows.data = (rows.data > 0).astype(np.float32)
    rows.eliminate_zeros()
    return rows


def _rows(vectors: sparse.spmatrix) -> sparse.csr_matrix:
    rows = sparse.csr_matrix(vectors)
    rows.eliminate_zeros()
    rows.sort_indices()
    return rows
