"""A named, seeded, cached run: a system of a tier in, a measured record out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ranx import Run
from scipy import sparse
from tqdm.auto import tqdm

from disco_lib.bm25 import bm25_search
from disco_lib.conversations import Limits, Turn, context_ids, context_text
from disco_lib.datasets import Collection, load
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.index import InvertedIndex
from disco_lib.metrics import evaluate, remove_earlier_answers
from disco_lib.records import Record, find, intervals, provenance, write_record
from disco_lib.sparsity import active_terms, flops
from disco_lib.storage import cache_root, settings_hash, sole_writer
from disco_lib.teachers import DistillationRun, teach
from disco_lib.tiers import Tier, load_tier
from disco_lib.training import DistilSettings, distil, read_log
from disco_lib.vectors import cached_vectors

NOT_DISTIL = {"run", "teachers", "label"}


class Laboratory:
    """A tier with its data, encoder and index in memory; runs systems and measures them."""

    def __init__(self, tier: Tier | str | None = None, progress: bool = True) -> None:
        self.tier = tier if isinstance(tier, Tier) else load_tier(tier)
        self.progress = progress

    @cached_property
    def collection(self) -> Collection:
        """The tier's data set."""
        return load(self.tier.data)

    @cached_property
    def encoder(self) -> SpladeEncoder:
        """The encoder that documents are encoded with and students start from."""
        return SpladeEncoder.from_pretrained(self.tier.encoder)

    @cached_property
    def documents(self) -> sparse.csr_matrix:
        """The passages' vectors."""
        length = self.base_settings.document_length
        texts, pids = self.collection.passage_texts(), self.collection.pids
        return cached_vectors(self.encoder, texts, pids, length, self.progress).rows

    @cached_property
    def index(self) -> InvertedIndex:
        """The index over the passages."""
        return InvertedIndex.build(self.documents, self.collection.pids)

    @cached_property
    def texts(self) -> dict[str, str]:
        """Text of each passage by its id."""
        return {row["pid"]: row["text"] for row in self.collection.passages}

    @property
    def base_settings(self) -> DistilSettings:
        """Distillation settings that all of the tier's students share."""
        return DistilSettings.from_dict(self.tier.distil)

    def turns(self, split: str, input: str = "utterance") -> list[Turn]:
        """The turns that count in an evaluation, and for which the input exists."""
        qrels = self.collection.qrels(split).to_dict()
        later = self.tier.evaluation.get("later_turns", False)
        rewrite = input.removeprefix("rewrite:") if input.startswith("rewrite:") else None
        return [
            turn
            for turn in self.collection.iter_turns(split)
            if any(grade > 0 for grade in qrels.get(turn.turn_id, {}).values())
            and (turn.history or not later)
            and (rewrite is None or turn.rewrites.get(rewrite, "").strip())
        ]

    def settings(self, name: str) -> dict[str, Any]:
        """Everything that decides a system's record, and under which it is found again."""
        system = dict(self.tier.system(name))
        common = {
            "tier": self.tier.name,
            "system": {key: value for key, value in system.items() if key != "label"},
            "collection": self.collection.fingerprint,
            "split": self.tier.test,
            "depth": self.tier.depth,
            "evaluation": dict(self.tier.evaluation),
        }
        if system["run"] == "bm25":
            return common
        limits = self.base_settings.to_dict()["limits"]
        common |= {"encoder": self.encoder.fingerprint(), "limits": limits}
        common["document_length"] = self.base_settings.document_length
        if system["run"] == "student":
            common["distil"] = self.student_settings(name).to_dict() | {"seed": None}
            common["train"] = self.tier.train
            common["seeds"] = list(self.tier.seeds)
            common["teacher_depth"] = self.tier.teacher_depth
        return common

    def student_settings(self, name: str, seed: int | None = None) -> DistilSettings:
        """Distillation settings of one student of the tier."""
        system = self.tier.system(name)
        own = {key: value for key, value in system.items() if key not in NOT_DISTIL}
        seeded = {"seed": self.tier.seeds[0] if seed is None else seed}
        return DistilSettings.from_dict({**self.tier.distil, **own, **seeded})

    def teacher(self, rewrites: Sequence[str]) -> DistillationRun:
        """The (mean) teacher of these rewrites on the training turns, from the cache if there."""
        length = self.base_settings.document_length
        key = settings_hash(
            {
                "collection": self.collection.fingerprint,
                "split": self.tier.train,
                "rewrites": list(rewrites),
                "encoder": self.encoder.fingerprint(),
                "depth": self.tier.teacher_depth,
                "length": length,
            }
        )
        path = cache_root() / "teachers" / key
        with sole_writer(path):  # a second process waits, and reads what the first has written
            try:
                return DistillationRun.load(path, self.collection.pids)
            except IntegrityError:  # not there yet, or damaged
                run = teach(
                    self.collection, self.tier.train, rewrites, self.encoder,
                    self.tier.teacher_depth, max_length=length,
                )  # fmt: skip
                run.save(path)
            return DistillationRun.load(path, self.collection.pids)

    def student(self, name: str, seed: int) -> SpladeEncoder:
        """A trained student of the tier, from the cache if it is there."""
        return distil(
            SpladeEncoder.from_pretrained(self.tier.encoder),
            self.collection,
            self.teacher(self.tier.system(name)["teachers"]),
            self.student_settings(name, seed),
            self.student_folder(name, seed),
            self.tier.train,
            progress=self.progress,
        )

    def training_log(self, name: str, seed: int) -> list[dict[str, float]]:
        """The log of a student's training, which is run if the cache does not hold it."""
        self.student(name, seed)
        return read_log(self.student_folder(name, seed))

    def find_or_measure(self, name: str) -> Record | None:
        """`measure`, or None for a system that this tier does not have."""
        return self.measure(name) if name in self.tier.systems else None

    def student_folder(self, name: str, seed: int) -> Path:
        """Where the cache keeps a student: named by all that decides its weights."""
        key = settings_hash(
            {
                "settings": self.student_settings(name, seed).to_dict(),
                "teachers": list(self.tier.system(name)["teachers"]),
                "teacher_depth": self.tier.teacher_depth,
                "collection": self.collection.fingerprint,
                "train": self.tier.train,
                "encoder": self.encoder.fingerprint(),
            }
        )
        return cache_root() / "students" / key

    def measure(self, name: str, publish: bool = False) -> Record:
        """The record of a system: found by its settings, or run on every seed and kept.

        publish writes it to data/measured instead of the cache.
        """
        settings = self.settings(name)
        found = find(self.tier.name, name, settings)
        if found is not None:
            if publish:  # it may have been found in the cache
                write_record(found, publish)
            return found
        system = self.tier.system(name)
        seeds = self.tier.seeds if system["run"] == "student" else ("-",)
        values, unremoved, costs, turn_ids = {}, {}, {}, []
        for seed in tqdm(seeds, desc=name, disable=not self.progress or len(seeds) == 1):
            start = time.perf_counter()
            turns, run, queries = self._run(name, seed)
            seconds = time.perf_counter() - start
            turn_ids = [turn.turn_id for turn in turns]
            values[str(seed)], unremoved[str(seed)] = self._evaluate(turns, run)
            costs[str(seed)] = {"seconds": round(seconds, 1), **self._sparsity(queries)}
        record = Record(
            self.tier.name, name, system.get("label", name), settings, settings_hash(settings),
            turn_ids, values, unremoved, costs, intervals(values), provenance(),
        )  # fmt: skip
        write_record(record, publish)
        return record

    def _run(self, name: str, seed: int | str) -> tuple[list[Turn], Run, sparse.csr_matrix | None]:
        system = self.tier.system(name)
        if system["run"] == "student":
            own = self.student_settings(name)
            return self._search(self.student(name, int(seed)), own.input, own.limits)
        if system["run"] == "encoder":
            return self._search(self.encoder, system["input"], self.base_settings.limits)
        turns = self.turns(self.tier.test, system["input"])
        run = bm25_search(
            self.collection.passage_texts(), self.collection.pids,
            [context_text(turn, system["input"], " ") for turn in turns],
            [turn.turn_id for turn in turns], self.tier.depth,
        )  # fmt: skip
        return turns, run, None

    def _search(
        self, encoder: SpladeEncoder, given: str, limits: Limits
    ) -> tuple[list[Turn], Run, sparse.csr_matrix]:
        turns = self.turns(self.tier.test, given)
        if not turns:
            raise DiscoError(f"Tier {self.tier.name}: no turn of {self.tier.test} has {given!r}.")
        ids = [context_ids(turn, given, encoder.tokenizer, limits) for turn in turns]
        queries = encoder.encode(ids, limits.total)
        names = [turn.turn_id for turn in turns]
        return turns, self.index.search(queries, self.tier.depth, names), queries

    def _evaluate(
        self, turns: Sequence[Turn], run: Run
    ) -> tuple[dict[str, list[float]], dict[str, float]]:
        qrels = self.collection.qrels(self.tier.test)
        names = [turn.turn_id for turn in turns]
        plain = evaluate(qrels, run, turn_ids=names)
        headline = plain
        if self.tier.evaluation.get("remove_earlier_answers", False):
            headline = evaluate(
                qrels, remove_earlier_answers(run, turns, self.texts), turn_ids=names
            )
        values = {m: [round(float(x), 6) for x in v] for m, v in headline.values.items()}
        return values, {m: round(x, 6) for m, x in plain.mean().items()}

    def _sparsity(self, queries: sparse.csr_matrix | None) -> dict[str, float]:
        if queries is None:
            return {}
        return {
            "active_terms": round(float(np.mean(active_terms(queries))), 3),
            "flops": round(flops(queries, self.documents), 4),
        }
