"""A named, seeded, cached run: a system of a tier in, a measured record out."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ranx import Run
from scipy import sparse
from tqdm.auto import tqdm

from disco_lib.blend import blend
from disco_lib.bm25 import bm25_search
from disco_lib.bm25_teacher import teach_bm25
from disco_lib.conversations import Turn, context_ids, context_text
from disco_lib.costs import collection_costs, search_ms
from disco_lib.datasets import Collection, load
from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_rows import DenseIndex, DenseRowEncoder, Encoder
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.fresh_rewrites import FRESH, rewriter_settings, rewritten
from disco_lib.fusion import fuse
from disco_lib.ground import Ground
from disco_lib.growth import grow
from disco_lib.index import InvertedIndex
from disco_lib.metrics import evaluate, remove_earlier_answers
from disco_lib.records import Record, find, intervals, provenance, write_record
from disco_lib.runs import run_from_dict
from disco_lib.sparsity import active_terms, flops
from disco_lib.storage import cache_root, settings_hash, sole_writer
from disco_lib.teacher_distance import kl_to_teacher
from disco_lib.teachers import DistillationRun, teach
from disco_lib.text_encoder import Texts
from disco_lib.tiers import AT, Tier, load_tier
from disco_lib.training import DistilSettings, distil, document_encoder_of, read_log
from disco_lib.vectors import cached_vectors

#: What a system says besides its own distillation settings.
NOT_DISTIL = {
    "run", "teachers", "missing", "among", "scorer", "dense", "start", "grow", "seeds", "label",
}  # fmt: skip


class Laboratory:
    """A tier with its data, encoder and index in memory; runs systems and measures them.

    A system is named as in the tier's file: "student-kl", one of a grid ("lambda-q-0.001"), or
    either at another place ("student-kl@ood"), where it is searched and judged as it is.
    """

    def __init__(self, tier: Tier | str | None = None, progress: bool = True) -> None:
        self.tier = tier if isinstance(tier, Tier) else load_tier(tier)
        self.progress = progress
        self._grounds: dict[tuple[str, str], Ground] = {}
        self._dense: dict[str, DenseRowEncoder] = {}
        self._fingerprints: dict[int, tuple[Encoder, str]] = {}

    # What systems are run on

    @cached_property
    def encoder(self) -> SpladeEncoder:
        """The encoder that documents are encoded with and students start from."""
        return SpladeEncoder.from_pretrained(self.tier.encoder)

    def encoder_of(self, name: str) -> Encoder:
        """The encoder of a system's documents and teacher: the tier's, or the dense one named."""
        own = self.tier.system(name).get("dense") if name else None
        if own is None:
            return self.encoder
        if own not in self._dense:
            self._dense[own] = DenseRowEncoder.from_pretrained(own)
        return self._dense[own]

    def _known_by(self, encoder: Encoder) -> str:
        # Reading all weights takes a while, and nothing trains these: students are copies.
        if id(encoder) not in self._fingerprints:
            self._fingerprints[id(encoder)] = (encoder, encoder.fingerprint())
        return self._fingerprints[id(encoder)][1]

    @property
    def collection(self) -> Collection:
        """The tier's data set."""
        return self.ground().collection

    @property
    def documents(self) -> sparse.csr_matrix:
        """The passages' vectors."""
        return self.ground().documents

    @property
    def index(self) -> InvertedIndex | DenseIndex:
        """The index over the passages."""
        return self.ground().index

    @property
    def texts(self) -> dict[str, str]:
        """Text of each passage by its id."""
        return self.ground().texts

    @property
    def base_settings(self) -> DistilSettings:
        """Distillation settings that all of the tier's students share."""
        return DistilSettings.from_dict(self.tier.distil)

    def ground(self, name: str = "") -> Ground:
        """What a system (or, without a name, every system of the tier) is run on."""
        data, base = self.tier.place(name).data, name.partition(AT)[0]
        own = self.tier.system(name).get("dense", "") if base else ""
        if (data, own) not in self._grounds:
            length = self.base_settings.document_length
            plain = self._grounds.get((data, ""))
            collection = load(data) if plain is None else plain.collection
            made = Ground(collection, self.encoder_of(name), length, self.progress)
            self._grounds[data, own] = made
        return self._grounds[data, own]

    def turns(self, split: str, input: str = "utterance") -> list[Turn]:
        """The turns of the tier's data that count in an evaluation and have the input."""
        return self.ground().turns(split, self.tier.evaluation, input)

    # Settings

    def settings(self, name: str) -> dict[str, Any]:
        """Everything that decides a system's record, and under which it is found again."""
        system, place = dict(self.tier.system(name)), self.tier.place(name)
        common = {
            "tier": self.tier.name,
            "system": {key: value for key, value in system.items() if key != "label"},
            "collection": self.ground(name).collection.fingerprint,
            "split": place.split,
            "depth": self.tier.depth,
            "evaluation": dict(place.evaluation),
        }
        if system["run"] == "bm25":
            return common
        if system["run"] == "fusion":
            return common | {"of": [self.settings(part) for part in self._parts(name)]}
        limits = self.base_settings.to_dict()["limits"]
        common |= {"encoder": self._known_by(self.encoder_of(name)), "limits": limits}
        common["document_length"] = self.base_settings.document_length
        if system["run"] == "rewriter":
            common |= rewriter_settings(system)
        if system["run"] == "blend":
            common["of"] = [self.settings(part) for part in self._parts(name)]
        if system["run"] == "student":
            common["distil"] = self.student_settings(name).to_dict() | {"seed": None}
            common["train"] = self.tier.train
            common["seeds"] = list(self._seeds(name))
            common["teacher_depth"] = self.tier.teacher_depth
            if "start" in system:
                common["start"] = self.settings(system["start"])
            if AT in name:
                common["trained_on"] = self.collection.fingerprint
        return common

    def student_settings(self, name: str, seed: int | None = None) -> DistilSettings:
        """Distillation settings of one student of the tier."""
        system = self.tier.system(name)
        own = {key: value for key, value in system.items() if key not in NOT_DISTIL}
        seeded = {"seed": self.tier.seeds[0] if seed is None else seed}
        return DistilSettings.from_dict({**self.tier.distil, **own, **seeded})

    def _parts(self, name: str) -> list[str]:
        there = name.partition(AT)[2]
        return [f"{p}{AT}{there}" if there else p for p in self.tier.system(name)["of"]]

    # Teachers and students

    def teacher(
        self,
        rewrites: Sequence[str],
        missing: str = "rescore",
        scorer: str = "splade",
        encoder: Encoder | None = None,
    ) -> DistillationRun:
        """The (mean) teacher of these rewrites on the training turns, from the cache if there.

        missing: what a document counts that one teacher does not list; see `mean_over_teachers`.
        scorer: "splade", the encoder, or "bm25" (of one rewrite); encoder: the tier's where it is
        not given. DiscoError for another scorer.
        """
        encoder = encoder or self.encoder
        if scorer == "bm25" and len(rewrites) == 1:
            split, depth = self.tier.train, self.tier.teacher_depth
            return teach_bm25(self.collection, split, rewrites[0], depth)
        if scorer != "splade":
            raise DiscoError(
                f"scorer {scorer!r} of {len(rewrites)} rewrites; there are 'splade', and 'bm25' of "
                "one rewrite."
            )
        length = self.base_settings.document_length
        settings = {
            "collection": self.collection.fingerprint,
            "split": self.tier.train,
            "rewrites": list(rewrites),
            "encoder": self._known_by(encoder),
            "depth": self.tier.teacher_depth,
            "length": length,
        }
        key = settings_hash(settings | ({} if missing == "rescore" else {"missing": missing}))
        path = cache_root() / "teachers" / key
        with sole_writer(path):  # a second process waits, and reads what the first has written
            try:
                return DistillationRun.load(path, self.collection.pids)
            except IntegrityError:  # not there yet, or damaged
                run = teach(
                    self.collection, self.tier.train, rewrites, encoder,
                    self.tier.teacher_depth, missing, max_length=length,
                )  # fmt: skip
                run.save(path)
            return DistillationRun.load(path, self.collection.pids)

    def teacher_of(self, name: str) -> DistillationRun:
        """The teacher that a student of the tier learns from.

        A system's "among" lists rewrites: it learns only from turns that have all of them, so that
        students of different teachers can be compared on the same turns.
        """
        system = self.tier.system(name)
        missing, scorer = system.get("missing", "rescore"), system.get("scorer", "splade")
        run = self.teacher(system["teachers"], missing, scorer, self.encoder_of(name))
        among = system.get("among", ())
        if not among:
            return run
        turns = self.collection.iter_turns(self.tier.train)
        return run.of_turns(
            {t.turn_id for t in turns if all(t.rewrites.get(r, "").strip() for r in among)}
        )

    def student(self, name: str, seed: int) -> Encoder:
        """A trained student of the tier, from the cache if it is there."""
        return distil(
            self.start_of(name, seed),
            self.collection,
            self.teacher_of(name),
            self.student_settings(name, seed),
            self.student_folder(name, seed),
            self.tier.train,
            document_encoder=self.encoder_of(name),
            progress=self.progress,
        )

    def start_of(self, name: str, seed: int) -> Encoder:
        """What a student is before its training: the tier's encoder, where it does not say else.

        A system's "start" names another student, which it goes on from; "grow" has the sizes that
        the encoder grows to before (see `growth.grow`).
        """
        system = self.tier.system(name)
        if "start" in system:
            encoder = self.student(system["start"], seed)
        else:
            encoder = copy.deepcopy(self.encoder_of(name))
        return grow(encoder, **system["grow"]) if "grow" in system else encoder

    def training_log(self, name: str, seed: int) -> list[dict[str, float]]:
        """The log of a student's training, which is run if the cache does not hold it."""
        self.student(name, seed)
        return read_log(self.student_folder(name, seed))

    def student_folder(self, name: str, seed: int) -> Path:
        """Where the cache keeps a student: named by all that decides its weights."""
        system = self.tier.system(name)
        decides = {
            "settings": self.student_settings(name, seed).to_dict(),
            "teachers": list(system["teachers"]),
            "teacher_depth": self.tier.teacher_depth,
            "collection": self.collection.fingerprint,
            "train": self.tier.train,
            "encoder": self._known_by(self.encoder_of(name)),
        }
        if system.get("missing", "rescore") != "rescore":
            decides["missing"] = system["missing"]
        if system.get("among"):
            decides["among"] = list(system["among"])
        if "scorer" in system:
            decides["scorer"] = system["scorer"]
        if "grow" in system:
            decides["grow"] = dict(system["grow"])
        if "start" in system:
            decides["start"] = self.student_folder(system["start"], seed).name
        return cache_root() / "students" / settings_hash(decides)

    def blended(self, name: str, seed: int | str) -> SpladeEncoder:
        """The encoder of a system that is a blend (see `blend.blend`).

        Of its students with this seed or, where the system is "pooled", with all the tier's seeds.
        """
        system = self.tier.system(name)
        seeds = self.tier.seeds if system.get("pooled") else [int(seed)]
        students = [self.student(part, own) for part in system["of"] for own in seeds]
        return blend(students, self.start_of(system["of"][0], seeds[0]), system["share"])

    # Records

    def record(self, name: str) -> Record:
        """What a chapter shows: the stored record, or else one made now, as a draft if there is.

        A tier's draft trains more quickly and on fewer seeds; its record says "(draft)".
        """
        found = find(self.tier.name, name, self.settings(name))
        if found is not None:
            return found
        return self._drafts.measure(name) if self._learns(name) else self.measure(name)

    def record_if_there(self, name: str) -> Record | None:
        """`record`, or None for a system that this tier does not have."""
        return self.record(name) if self.tier.has(name) else None

    def measure(self, name: str, publish: bool = False, again: bool = False) -> Record:
        """The record of a system: found by its settings, or run on every seed and kept.

        publish writes it to data/measured instead of the cache. again: measure although there is a
        record; students come from the cache, and what their training took from the old record.
        """
        settings = self.settings(name)
        found = find(self.tier.name, name, settings)
        # Without depths it is from before turns were told apart.
        if found is not None and found.depths and not again:
            if publish:  # it may have been found in the cache
                write_record(found, publish)
            return found
        seeds = self._seeds(name)
        values, unremoved, costs, by_turn, turns = {}, {}, {}, {}, []
        for seed in tqdm(seeds, desc=name, disable=not self.progress or len(seeds) == 1):
            before = {} if found is None else found.costs.get(str(seed), {})
            seconds = {k: before[k] for k in ("seconds",) if k in before} | self._train(name, seed)
            turns, run, queries = self.run(name, seed)
            values[str(seed)], unremoved[str(seed)] = self._evaluate(name, turns, run)
            sums, each = self._costs(name, queries, seed)
            each |= {} if queries is None else {"best_score": _best_scores(turns, run)}
            far = self._distances(name, seed, turns, queries)
            costs[str(seed)] = {**seconds, **sums, **_mean_kl(far)}
            by_turn[str(seed)] = {**each, **far}
        record = Record(
            self.tier.name, name, self.tier.label(name), settings, settings_hash(settings),
            [turn.turn_id for turn in turns], values, unremoved, costs, intervals(values),
            provenance(), [turn.depth for turn in turns], [turn.conv_id for turn in turns], by_turn,
        )  # fmt: skip
        write_record(record, publish)
        return record

    def _train(self, name: str, seed: int | str) -> dict[str, float]:
        # What a training took: turns of the teacher and, where the cache did not hold it, seconds.
        if self.tier.system(name)["run"] != "student":
            return {}
        taught = {"taught_turns": float(len(self.teacher_of(name)))}
        if self.student_folder(name, seed).is_dir():
            return taught
        _ = self.documents  # encoded before, so that it does not count
        start = time.perf_counter()
        self.student(name, int(seed))
        return {"seconds": round(time.perf_counter() - start, 1), **taught}

    def run(
        self, name: str, seed: int | str = "-"
    ) -> tuple[list[Turn], Run, sparse.csr_matrix | None]:
        """(turns, ranking, query vectors) of a system; a fusion and BM25 have no vectors."""
        system, place, ground = self.tier.system(name), self.tier.place(name), self.ground(name)
        if system["run"] == "fusion":
            return self._fuse(name, seed)
        if system["run"] == "bm25":
            turns = ground.turns(place.split, place.evaluation, system["input"])
            run = bm25_search(
                ground.collection.passage_texts(), ground.collection.pids,
                [context_text(turn, system["input"], " ") for turn in turns],
                [turn.turn_id for turn in turns], self.tier.depth,
            )  # fmt: skip
            return turns, run, None
        turns, queries = self.queries(name, seed)
        names = [turn.turn_id for turn in turns]
        return turns, self._index_of(name, seed).search(queries, self.tier.depth, names), queries

    def queries(self, name: str, seed: int | str = "-") -> tuple[list[Turn], sparse.csr_matrix]:
        """(turns, query vectors) of a system that has vectors.

        "aggregate" is the mean of several inputs' vectors, as LLM4CS takes of several rewrites; a
        "rewriter" has a language model write the rewrites now.
        """
        system, place = self.tier.system(name), self.tier.place(name)
        encoder, limits = self.encoder_of(name), self.base_settings.limits
        inputs = system.get("inputs") or [system.get("input", "conversation")]
        if system["run"] == "student":
            own = self.student_settings(name)
            encoder, inputs, limits = self.student(name, int(seed)), [own.input], own.limits
        if system["run"] == "blend":
            own = self.student_settings(system["of"][0])
            encoder, inputs, limits = self.blended(name, seed), [own.input], own.limits
        if system["run"] == "rewriter":
            inputs = [f"rewrite:{rewrite}" for rewrite in system.get("among", ())]
        turns = self.ground(name).turns(place.split, place.evaluation, *inputs)
        if system["run"] == "rewriter":
            turns, inputs = rewritten(turns, system, self.progress), [f"rewrite:{FRESH}"]
        if not turns:
            what = " and ".join(map(repr, inputs))
            raise DiscoError(f"Tier {self.tier.name}: no turn of {place.split} has {what}.")
        vectors = [
            self.encode(
                [context_ids(turn, given, encoder.tokenizer, limits) for turn in turns],
                limits.total,
                encoder,
            )
            for given in inputs
        ]
        return turns, vectors[0] if len(vectors) == 1 else sum(vectors) / np.float32(len(vectors))

    def encode(
        self, queries: Texts, length: int, encoder: Encoder | None = None
    ) -> sparse.csr_matrix:
        """Vectors of texts or token ids, by the tier's encoder or another; kept in the cache.

        They are read into memory, so that what is timed on them waits for no disk.
        """
        encoder = encoder or self.encoder
        lasting = encoder is self.encoder or encoder in self._dense.values()
        known = self._known_by(encoder) if lasting else None
        ids = [str(number) for number in range(len(queries))]
        return cached_vectors(encoder, queries, ids, length, fingerprint=known).rows.copy()

    def _fuse(self, name: str, seed: int | str) -> tuple[list[Turn], Run, None]:
        system = self.tier.system(name)
        found = [self.run(part, seed) for part in self._parts(name)]
        shared = set.intersection(*({t.turn_id for t in turns} for turns, _, _ in found))
        runs = [
            run_from_dict({turn: r for turn, r in run.to_dict().items() if turn in shared})
            for _, run, _ in found
        ]
        run = fuse(
            runs, system.get("method", "mean"), system.get("norm", "min-max"), self.tier.depth
        )
        return [turn for turn in found[0][0] if turn.turn_id in shared], run, None

    def _learns(self, name: str) -> bool:
        system = self.tier.system(name)
        parts = self._parts(name) if system["run"] == "fusion" else []
        return system["run"] in ("student", "blend") or any(map(self._learns, parts))

    def _seeds(self, name: str) -> Sequence[int | str]:
        system = self.tier.system(name)
        if not self._learns(name) or system.get("pooled", False):
            return ("-",)
        return tuple(system.get("seeds", self.tier.seeds))

    @cached_property
    def _drafts(self) -> Laboratory:
        if not self.tier.draft:
            return self
        draft = dict(self.tier.draft)
        seeds = tuple(draft.pop("seeds", self.tier.seeds))
        tier = replace(self.tier, seeds=seeds, distil={**self.tier.distil, **draft}, draft={})
        laboratory = _Draft(tier, self.progress)
        laboratory.whole_steps = self.tier.distil.get("steps")
        laboratory._grounds = self._grounds
        laboratory.__dict__["encoder"] = self.encoder
        return laboratory

    def _index_of(self, name: str, seed: int | str) -> InvertedIndex | DenseIndex:
        own = self._own_documents(name, seed)
        if own is None:
            return self.ground(name).index
        return InvertedIndex.build(own, self.ground(name).collection.pids)

    def _own_documents(self, name: str, seed: int | str) -> sparse.csr_matrix | None:
        """Vectors by the document encoder that was trained with a student; None where frozen."""
        if self.tier.system(name)["run"] != "student":
            return None
        encoder = document_encoder_of(self.student_folder(name, int(seed)))
        if encoder is None:
            return None
        ground = self.ground(name)
        return Ground(ground.collection, encoder, ground.length, self.progress).documents

    def _evaluate(
        self, name: str, turns: Sequence[Turn], run: Run
    ) -> tuple[dict[str, list[float]], dict[str, float]]:
        place, ground = self.tier.place(name), self.ground(name)
        qrels = ground.collection.qrels(place.split)
        names = [turn.turn_id for turn in turns]
        plain = evaluate(qrels, run, turn_ids=names)
        headline = plain
        if place.evaluation.get("remove_earlier_answers", False):
            without = remove_earlier_answers(run, turns, ground.texts)
            headline = evaluate(qrels, without, turn_ids=names)
        values = {m: [round(float(x), 6) for x in v] for m, v in headline.values.items()}
        return values, {m: round(x, 6) for m, x in plain.mean().items()}

    def _costs(
        self, name: str, queries: sparse.csr_matrix | None, seed: int | str
    ) -> tuple[dict[str, float], dict[str, list[float]]]:
        if queries is None or isinstance(self.encoder_of(name), DenseEncoder):
            return {}, {}  # every dimension is active
        own = self._own_documents(name, seed)
        documents = self.ground(name).documents if own is None else own
        active = active_terms(queries)
        sums = {
            "active_terms": round(float(np.mean(active)), 3),
            "flops": round(flops(queries, documents), 4),
            "search_ms": round(search_ms(self._index_of(name, seed), queries), 5),
        }
        if own is not None:
            sums |= collection_costs(own, self._index_of(name, seed))
        return sums, {"active_terms": active.tolist()}

    def _distances(
        self, name: str, seed: int | str, turns: Sequence[Turn], queries: sparse.csr_matrix | None
    ) -> dict[str, list[float | None]]:
        # KL of a student to its teacher, a turn; None where a turn has no rewrite of the teacher's.
        system = self.tier.system(name)
        if system["run"] != "student" or self._own_documents(name, seed) is not None:
            return {}
        if "scorer" in system or "dense" in system:  # another scale, or other dimensions
            return {}
        taught = self._taught(turns, tuple(system["teachers"]))
        documents = self.ground(name).documents
        found = kl_to_teacher(queries, taught, documents, self.tier.teacher_depth)
        return {"kl": [None if np.isnan(x) else round(float(x), 6) for x in found]}

    def _taught(self, turns: Sequence[Turn], teachers: tuple[str, ...]) -> sparse.csr_matrix:
        # The mean vector of the teachers that a turn has: its scores are the mean of theirs.
        length = self.base_settings.limits.total
        total = sparse.csr_matrix((len(turns), self.encoder.vocabulary_size), dtype=np.float32)
        count = np.zeros(len(turns), dtype=np.float32)
        for name in teachers:
            texts = [turn.rewrites.get(name, "") for turn in turns]
            there = np.array([bool(text.strip()) for text in texts])
            total = total + sparse.diags_array(there.astype(np.float32)) @ self.encoder.encode(
                texts, length
            )
            count += there
        return sparse.csr_matrix(sparse.diags_array(1 / np.maximum(count, 1)) @ total)


def _best_scores(turns: Sequence[Turn], run: Run) -> list[float]:
    # The score of each turn's first passage; 0 for a turn that finds none.
    found = run.to_dict()
    best = (max(found.get(turn.turn_id, {}).values(), default=0.0) for turn in turns)
    return [round(float(score), 4) for score in best]


def _mean_kl(distances: dict[str, list[float | None]]) -> dict[str, float]:
    there = [x for x in distances.get("kl", []) if x is not None]
    return {"kl": round(float(np.mean(there)), 6)} if there else {}


class _Draft(Laboratory):
    whole_steps: int | None = None

    def student_settings(self, name: str, seed: int | None = None) -> DistilSettings:
        # A system with steps of its own keeps its share of the tier's.
        settings = super().student_settings(name, seed)
        if self.whole_steps and "steps" in self.tier.system(name):
            share = self.tier.distil["steps"] / self.whole_steps
            settings = replace(settings, steps=max(1, round(settings.steps * share)))
        return settings

    def measure(self, name: str, publish: bool = False, again: bool = False) -> Record:
        record = super().measure(name, again=again)
        return replace(record, label=f"{record.label} (draft)")
