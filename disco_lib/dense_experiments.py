"""Runs of dense encoders: a dense system of a tier in, a measured record out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ranx import Run
from tqdm.auto import tqdm

from disco_lib.agreement import DEPTHS, agreement_at, list_ndcg_at
from disco_lib.alignment import align
from disco_lib.conversations import Turn
from disco_lib.datasets import Collection, load
from disco_lib.dense_costs import encoding_flops, training_flops
from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_rows import DenseIndex
from disco_lib.dense_settings import DenseSettings
from disco_lib.dense_training import (
    distil_dense,
    read_dense_log,
    read_validation_log,
    selected_turns,
    starting_student,
)
from disco_lib.embedding_cache import Annotation
from disco_lib.errors import DiscoError
from disco_lib.ground import counted_turns
from disco_lib.metrics import METRICS, evaluate, remove_earlier_answers
from disco_lib.pair_set import Chosen, PairSet, choose
from disco_lib.pair_values import pair_values
from disco_lib.pairs import Pair, pairs_of_collection
from disco_lib.precision import multiplies_bfloat16
from disco_lib.records import Record, find, intervals, provenance, write_record
from disco_lib.storage import cache_root, settings_hash, sha256_texts
from disco_lib.tiers import Place, Tier, load_tier
from disco_lib.trainer_arguments import VALIDATION_LOSS

#: What a dense system says besides its own settings of the student.
NOT_STUDENT = {"run", "encoder", "label"}
#: Metrics of the search, every query's own.
SEARCH_METRICS = (*METRICS, "nDCG@10")


@dataclass(frozen=True)
class Held:
    """What an encoder made of the held-out turns and of the collection.

    queries, documents: of each turn's pair, (turns, dimensions); passages (passages, dimensions).
    """

    queries: np.ndarray
    documents: np.ndarray
    passages: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Similarity of each turn's pair, float64 (turns,)."""
        return Annotation(self.queries, self.documents).scores.astype(np.float64)


class DenseLaboratory:
    """A tier's pairs, teacher and dense systems; runs systems and measures them.

    A system is named as in the tier: "dense-hybrid", one of a grid ("selection-none"), or either at
    another place ("dense-hybrid@ood"), where it is searched and judged as it is. Raises DiscoError
    for a tier without dense systems.
    """

    def __init__(self, tier: Tier | str | None = None, progress: bool = True) -> None:
        self.tier = tier if isinstance(tier, Tier) else load_tier(tier)
        self.progress = progress
        if not self.tier.dense:
            raise DiscoError(f"Tier {self.tier.name} has no dense systems; give it a part 'dense'.")
        self.setup: Mapping[str, Any] = self.tier.dense
        self._held: dict[tuple[str, str], PairSet] = {}
        self._loaded: dict[str, Collection] = {}
        self._latest: tuple[Path, DenseEncoder] | None = None

    # What systems are run on

    @cached_property
    def teacher(self) -> DenseEncoder:
        """The encoder whose similarities students learn."""
        return DenseEncoder.from_pretrained(self.setup["teacher"])

    @cached_property
    def base(self) -> DenseEncoder:
        """The encoder of whose first layers students are made."""
        name = self.setup.get("base")
        return self.teacher if name is None else DenseEncoder.from_pretrained(name)

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
        # Of hundreds of megabytes, and asked for by every name of a student.
        return {"teacher": self.teacher.fingerprint(), "base": self.base.fingerprint()}

    @cached_property
    def train_pairs(self) -> PairSet:
        """The training split's pairs with the teacher's embeddings."""
        return self._pair_set(self.tier.data, self.tier.train)

    def held_pairs(self, name: str = "") -> PairSet:
        """Pairs of the turns that count where a system is evaluated, with the teacher's."""
        place = self.tier.place(name)
        every = self._pair_set(place.data, place.split)
        counted = {turn.turn_id for turn in self._counted(place)}
        kept = [i for i, pair in enumerate(every.pairs) if pair.turn_id in counted]
        if not kept:
            raise DiscoError(f"Tier {self.tier.name}: no turn of {place.split} has a pair.")
        annotation = Annotation(every.annotation.queries[kept], every.annotation.documents[kept])
        return replace(every, pairs=[every.pairs[i] for i in kept], annotation=annotation)

    @cached_property
    def selected_from(self) -> float:
        """The teacher's score from which a held-out pair counts as selected.

        The percentile setup["selected"] of its scores of the training pairs.
        """
        return float(np.percentile(self.train_pairs.annotation.scores, self.setup["selected"]))

    def collection(self, name: str = "") -> Collection:
        """The data set that a system is searched in."""
        return self._collection(self.tier.place(name).data)

    # Settings

    def student_settings(self, name: str, seed: int | None = None) -> DenseSettings:
        """Settings of one student of the tier; of the untrained one, those that all share."""
        system = self.tier.system(name)
        own = {key: value for key, value in system.items() if key not in NOT_STUDENT}
        seeded = {"seed": self.tier.seeds[0] if seed is None else seed}
        settings = DenseSettings.from_dict({**self.setup["student"], **own, **seeded})
        return self._shorter(settings)

    def settings(self, name: str) -> dict[str, Any]:
        """Everything that decides a system's record, and under which it is found again."""
        system, place = self.tier.system(name), self.tier.place(name)
        common = {
            "tier": self.tier.name,
            "system": {key: value for key, value in system.items() if key != "label"},
            "collection": self.collection(name).fingerprint,
            "split": place.split,
            "depth": self.tier.depth,
            "evaluation": dict(place.evaluation),
            "train": self.tier.train,
            "trained_on": self._collection(self.tier.data).fingerprint,
            **{key: self.setup[key] for key in ("rewriter", "teacher_length", "selected")},
            "teacher": self._fingerprints["teacher"],
        }
        if system.get("encoder") == "teacher":
            return common
        common |= {"base": self._fingerprints["base"], "seeds": list(self.tier.seeds)}
        return common | {"student": self.student_settings(name).to_dict() | {"seed": None}}

    # Students

    def learns(self, name: str) -> bool:
        """Whether a system is trained."""
        return self.tier.system(name)["run"] == "dense-student"

    def encoder_of(self, name: str, seed: int | str = "-") -> DenseEncoder:
        """The encoder of a system: the teacher, the start of a student, or the trained student."""
        if self.learns(name):
            return self.student(name, int(seed))
        if self.tier.system(name)["encoder"] == "teacher":
            return self.teacher
        return starting_student(self.base, self.student_settings(name, int(seed))).eval()

    def chosen(self, name: str, seed: int) -> Chosen:
        """The pairs that a student learns from, and what its selection did."""
        return choose(self.train_pairs, self.student_settings(name, seed))

    def student(self, name: str, seed: int) -> DenseEncoder:
        """A trained student of the tier, from the cache if it is there; the latest is held."""
        folder = self.student_folder(name, seed)
        if self._latest is None or self._latest[0] != folder:
            student = distil_dense(
                self.teacher,
                self.train_pairs.pairs,
                self.student_settings(name, seed),
                folder,
                self.base,
                self.setup["teacher_length"],
                progress=self.progress,
            )
            self._latest = (folder, student)
        return self._latest[1]

    def training_log(self, name: str, seed: int) -> list[dict[str, float]]:
        """The log of a student's training, which is run if the cache does not hold it."""
        self.student(name, seed)
        return read_dense_log(self.student_folder(name, seed))

    def validation_log(self, name: str, seed: int) -> list[dict[str, float]]:
        """`read_validation_log` of a student, which is trained if the cache does not hold it."""
        self.student(name, seed)
        return read_validation_log(self.student_folder(name, seed))

    def student_folder(self, name: str, seed: int) -> Path:
        """Where the cache keeps a student: named by all that decides its weights."""
        decides = {
            "settings": self.student_settings(name, seed).to_dict(),
            "teacher_length": self.setup["teacher_length"],
            **self._fingerprints,
            "pairs": sha256_texts(_texts(self.train_pairs.pairs)),
            "bfloat16": multiplies_bfloat16(self.base.device),
        }
        return cache_root() / "dense-students" / settings_hash(decides)

    # Records

    def record(self, name: str) -> Record:
        """The stored record, or else one made now, as a draft if the tier has one."""
        found = find(self.tier.name, name, self.settings(name))
        if found is not None:
            return found
        return self._drafts.measure(name) if self.learns(name) else self.measure(name)

    def record_if_there(self, name: str) -> Record | None:
        """`record`, or None for a system that this tier does not have."""
        return self.record(name) if self.tier.has(name) else None

    def measure(self, name: str, publish: bool = False, again: bool = False) -> Record:
        """The record of a system: found by its settings, or run on every seed and kept.

        publish writes it to data/measured instead of the cache; again measures although there is
        a record. Values of turns: those of the search (SEARCH_METRICS), and of the turn's own pair
        (`pair_values`). turn_costs: score and teacher_score, similarities of the pair; query_flops,
        operations to encode the query. costs: see `_costs`.
        """
        settings = self.settings(name)
        found = find(self.tier.name, name, settings)
        if found is not None and not again:
            if publish:
                write_record(found, publish)
            return found
        values, unremoved, costs, by_turn = {}, {}, {}, {}
        held, turns = self.held_pairs(name), self.turns(name)
        seeds = ["-"] if self.tier.system(name).get("encoder") == "teacher" else self.tier.seeds
        for seed in tqdm(seeds, desc=name, disable=not self.progress or len(seeds) == 1):
            seconds = self._train(name, seed)
            encoded = self.encoded(name, seed)
            key, teacher = str(seed), held.annotation.scores.astype(np.float64)
            searched, unremoved[key] = self._evaluate(name, turns, self._search(name, encoded))
            values[key] = _rounded(searched | pair_values(teacher, encoded.scores))
            operations = self._query_flops(name, seed, held.pairs)
            costs[key] = {**seconds, **self._costs(name, seed, teacher, encoded.scores, operations)}
            pairs = {"score": encoded.scores, "teacher_score": teacher, "query_flops": operations}
            by_turn[key] = _rounded(pairs)
        record = Record(
            self.tier.name, name, self.tier.label(name), settings, settings_hash(settings),
            [turn.turn_id for turn in turns], values, unremoved, costs, intervals(values),
            self._provenance(), [turn.depth for turn in turns],
            [turn.conv_id for turn in turns], by_turn,
        )  # fmt: skip
        write_record(record, publish)
        return record

    def _provenance(self) -> dict[str, Any]:
        return provenance() | {"bfloat16_training": multiplies_bfloat16(self.base.device)}

    def turns(self, name: str = "") -> list[Turn]:
        """The turns that a system is evaluated on, in the order of `held_pairs`."""
        by_id = {turn.turn_id: turn for turn in self._counted(self.tier.place(name))}
        return [by_id[pair.turn_id] for pair in self.held_pairs(name).pairs]

    def encoded(self, name: str, seed: int | str = "-") -> Held:
        """What a system's encoder makes of the held-out pairs and of the collection."""
        encoder, pairs = self.encoder_of(name, seed), self.held_pairs(name)
        queries, documents = self._lengths(name)
        passages = self.collection(name).passage_texts()
        return Held(
            encoder.encode([pair.query for pair in pairs.pairs], queries),
            encoder.encode([pair.document for pair in pairs.pairs], documents),
            encoder.encode(passages, documents, progress=self.progress),
        )

    def run(self, name: str, seed: int | str = "-") -> tuple[list[Turn], Run, None]:
        """(turns, ranking of the collection, None) of a system."""
        return self.turns(name), self._search(name, self.encoded(name, seed)), None

    def _search(self, name: str, encoded: Held) -> Run:
        names = [pair.turn_id for pair in self.held_pairs(name).pairs]
        index = DenseIndex.build(encoded.passages, self.collection(name).pids)
        return index.search(encoded.queries, self.tier.depth, names)

    def _evaluate(
        self, name: str, turns: Sequence[Turn], run: Run
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        place, collection = self.tier.place(name), self.collection(name)
        qrels, names = collection.qrels(place.split), [turn.turn_id for turn in turns]
        plain = headline = evaluate(qrels, run, SEARCH_METRICS, names)
        if place.evaluation.get("remove_earlier_answers", False):
            texts = {row["pid"]: row["text"] for row in collection.passages}
            without = remove_earlier_answers(run, turns, texts)
            headline = evaluate(qrels, without, SEARCH_METRICS, names)
        return dict(headline.values), {m: round(x, 6) for m, x in plain.mean().items()}

    def _train(self, name: str, seed: int | str) -> dict[str, float]:
        # Seconds of the processor, where the cache did not hold the student.
        if not self.learns(name) or self.student_folder(name, int(seed)).is_dir():
            return {}
        _ = self.train_pairs  # annotated before, so that it does not count
        start = time.process_time()
        self.student(name, int(seed))
        return {"seconds": round(time.process_time() - start, 1)}

    def _costs(
        self,
        name: str,
        seed: int | str,
        teacher: np.ndarray,
        student: np.ndarray,
        query_flops: np.ndarray,
    ) -> dict[str, float]:
        """pairs, steps, training_flops of a training; query_flops; what is of the whole list.

        The last: agreement@K, list nDCG@10, and MAE and Pearson of the pairs that count as
        selected. With early stopping, best_step and its validation_loss besides; validation is no
        part of training_flops.
        """
        costs = {"query_flops": float(query_flops.mean())}
        depths = [k for k in DEPTHS if k <= len(teacher)]
        costs |= {f"agreement@{k}": x for k, x in agreement_at(teacher, student, depths).items()}
        gains, k = np.clip(teacher, 0, None), min(10, len(teacher))
        costs["list nDCG@10"] = list_ndcg_at(gains, student, [k])[k]
        selected = teacher >= self.selected_from
        if selected.any():
            found = asdict(align(teacher[selected], student[selected]))
            named = {"MAE, selected": found["mae"], "Pearson, selected": found["pearson"]}
            costs |= {key: value for key, value in named.items() if value == value}
            costs["selected"] = float(selected.sum())
        if self.learns(name):
            costs |= self._training_costs(name, int(seed))
        return {key: round(float(value), 6) for key, value in costs.items()}

    def _training_costs(self, name: str, seed: int) -> dict[str, float]:
        settings, encoder = self.student_settings(name, seed), self.student(name, seed)
        by_id = {pair.turn_id: pair for pair in self.train_pairs.pairs}
        kept = [by_id[turn] for turn in selected_turns(self.student_folder(name, seed))]
        steps = self.training_log(name, seed)[-1]["step"]
        queries = encoder.token_ids([pair.query for pair in kept], settings.query_length)
        documents = encoder.token_ids([pair.document for pair in kept], settings.document_length)
        shown = steps * min(settings.batch_size, len(kept)) / len(kept)
        further = getattr(settings.negatives, "negatives", 0)
        costs = {
            "pairs": float(len(kept)),
            "steps": float(steps),
            "training_flops": training_flops(encoder, queries, documents, shown, further),
        }
        validated = self.validation_log(name, seed)
        if validated:
            best = min(validated, key=lambda entry: entry[VALIDATION_LOSS])
            costs |= {"best_step": best["step"], "validation_loss": best[VALIDATION_LOSS]}
        return costs

    def _query_flops(self, name: str, seed: int | str, pairs: Sequence[Pair]) -> np.ndarray:
        encoder = self.encoder_of(name, seed)
        ids = encoder.token_ids([pair.query for pair in pairs], self._lengths(name)[0])
        return encoding_flops(encoder, map(len, ids)).astype(np.float64)

    def _lengths(self, name: str) -> tuple[int, int]:
        if self.tier.system(name).get("encoder") == "teacher":
            return self.setup["teacher_length"], self.setup["teacher_length"]
        settings = self.student_settings(name)
        return settings.query_length, settings.document_length

    def _collection(self, data: str) -> Collection:
        if data not in self._loaded:
            self._loaded[data] = load(data)
        return self._loaded[data]

    def _pair_set(self, data: str, split: str) -> PairSet:
        if (data, split) not in self._held:
            pairs = pairs_of_collection(self._collection(data), split, self.setup["rewriter"]).pairs
            length = self.setup["teacher_length"]
            self._held[data, split] = PairSet.of(pairs, self.teacher, length, self.progress)
        return self._held[data, split]

    def _counted(self, place: Place) -> list[Turn]:
        collection, given = self._collection(place.data), f"rewrite:{self.setup['rewriter']}"
        return counted_turns(collection, place.split, place.evaluation, given)

    def _shorter(self, settings: DenseSettings) -> DenseSettings:
        return settings

    @cached_property
    def _drafts(self) -> DenseLaboratory:
        share = self.setup.get("draft_share")
        if share is None:
            return self
        seeds = tuple(self.tier.draft.get("seeds", self.tier.seeds))
        own = {key: value for key, value in self.setup.items() if key != "draft_share"}
        drafts = _DenseDraft(replace(self.tier, seeds=seeds, dense=own), self.progress)
        drafts.share = share
        drafts._held, drafts._loaded = self._held, self._loaded
        drafts.__dict__["teacher"] = self.teacher
        return drafts


class _DenseDraft(DenseLaboratory):
    share: float = 1.0

    def _shorter(self, settings: DenseSettings) -> DenseSettings:
        if settings.steps is None:
            return replace(settings, epochs=settings.epochs * self.share)
        return replace(settings, steps=max(1, round(settings.steps * self.share)))

    def measure(self, name: str, publish: bool = False, again: bool = False) -> Record:
        record = super().measure(name, again=again)
        return replace(record, label=f"{record.label} (draft)")


def _texts(pairs: Sequence[Pair]) -> list[str]:
    return [text for pair in pairs for text in (pair.query, pair.document)]


def _rounded(values: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [round(float(x), 6) for x in each] for name, each in values.items()}
