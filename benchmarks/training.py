"""Training: queries a second and peak memory of one DiSCo step, each way in a process of its own.

A step: ten conversations of up to 256 tokens, 1 + 16 documents each, KL divergence to given teacher
scores, L1, backward, AdamW. The ways:

    public recipe      the frozen documents are encoded again at every step; whole logits
    sentence-transformers   SpladeLoss over SparseDistillKLDivLoss, a Router with frozen documents
    cached, whole logits    document vectors looked up; whole logits for the queries
    disco_lib          document vectors looked up; only active entries get a gradient graph
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.report import REPEATS, Row, median_seconds, peak_memory, show, write_report
from benchmarks.vectors import source
from disco_lib.conversations import Limits, context_ids
from disco_lib.datasets import load
from disco_lib.encoders import SpladeEncoder
from disco_lib.losses import kl_divergence, l1

BATCH, DOCUMENTS, LENGTH, L1 = 10, 17, 256, 1e-3
WAYS = ("public recipe", "sentence-transformers", "cached, whole logits", "disco_lib")


@dataclass(frozen=True)
class Batch:
    """Token ids of queries and of their documents, ten times seventeen, and teacher scores."""

    queries: list[list[int]]
    documents: list[list[int]]
    scores: Tensor


def measure_training(lengths: list[int]) -> None:
    """Measure each way at each document length and write data/measured/bench/training.json."""
    rows: list[Row] = []
    for tokens in lengths:
        found = [_apart(way, tokens) for way in WAYS]
        for row in found:
            for peer in found[:2]:
                ratio = row["queries a second"] / peer["queries a second"]
                row[f"times {peer['way']}"] = round(ratio, 1)
            row["share of its memory"] = round(row["peak MiB"] / found[0]["peak MiB"], 3)
        rows += found
        show(found, f"A training step, documents of {tokens} tokens")
    floor = _floor()
    settings = {"data": source()[0], "batch": BATCH, "documents": DOCUMENTS, "tokens": LENGTH}
    settings |= {"repeats": REPEATS, "multiply-adds a second of the vocabulary product": floor}
    write_report("training", settings, rows)


def _apart(way: str, tokens: int) -> Row:
    """One way in a fresh process, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.training", way, str(tokens)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(way: str, tokens: int) -> Row:
    """Time one way in this process."""
    encoder = SpladeEncoder.from_pretrained("splade-tiny")
    batches = list(_batches(encoder, tokens, REPEATS + 1))
    before = peak_memory()
    step = _STEPS[way](encoder, batches)
    turn = iter(range(10**6))
    seconds = median_seconds(lambda: step(batches[next(turn) % len(batches)]))
    return {
        "way": way,
        "document tokens": tokens,
        "query tokens": round(float(np.mean([len(q) for b in batches for q in b.queries])), 1),
        "ms a step": round(1e3 * seconds, 1),
        "queries a second": round(BATCH / seconds, 2),
        "peak MiB": round(peak_memory()),
        "MiB above start": round(peak_memory() - before),
    }


def _batches(encoder: SpladeEncoder, tokens: int, count: int) -> Iterator[Batch]:
    data, split, _ = source()
    collection, rng = load(data), np.random.default_rng(1)
    turns = [turn for turn in collection.iter_turns(split) if len(turn.history) > 3]
    ids = [context_ids(t, "conversation", encoder.tokenizer, Limits()) for t in turns]
    plain = [row[1:-1] for row in encoder.token_ids(collection.passage_texts()[:4000], 256)]
    stream = [token for row in plain for token in row]
    first, last = encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id
    width = tokens - 2
    passages = [[first, *stream[i : i + width], last] for i in range(0, len(stream) - width, width)]
    for _ in range(count):
        yield Batch(
            [ids[i] for i in rng.choice(len(ids), BATCH, replace=False)],
            [passages[i] for i in rng.choice(len(passages), BATCH * DOCUMENTS)],
            torch.as_tensor(rng.gamma(9.0, 1.5, (BATCH, DOCUMENTS)), dtype=torch.float32),
        )


def _whole_logits(encoder: SpladeEncoder, ids: list[list[int]]) -> Tensor:
    """Max over positions of log(1 + relu(logits)), as in public SPLADE code."""
    tokens, mask = encoder.pad(ids)
    logits = encoder.model(input_ids=tokens, attention_mask=mask).logits
    return (torch.log1p(torch.relu(logits)) * mask[..., None]).amax(dim=1)


def _loss(queries: Tensor, documents: Tensor, scores: Tensor) -> Tensor:
    found = torch.einsum("qv,qdv->qd", queries, documents.view(BATCH, DOCUMENTS, -1))
    return kl_divergence(found, scores) + L1 * l1(queries)


def _stepper(parameters, loss_of: Callable[[Batch], Tensor]) -> Callable[[Batch], None]:
    optimiser = torch.optim.AdamW(list(parameters), lr=1e-4)

    def step(batch: Batch) -> None:
        loss = loss_of(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def _public(encoder: SpladeEncoder, _: list[Batch]) -> Callable[[Batch], None]:
    frozen = SpladeEncoder.from_pretrained("splade-tiny")

    def loss_of(batch: Batch) -> Tensor:
        with torch.no_grad():
            documents = _whole_logits(frozen, batch.documents)
        return _loss(_whole_logits(encoder, batch.queries), documents, batch.scores)

    return _stepper(encoder.parameters(), loss_of)


def _cached(
    queries_of: Callable[[SpladeEncoder, list[list[int]]], Tensor],
) -> Callable[[SpladeEncoder, list[Batch]], Callable[[Batch], None]]:
    def make(encoder: SpladeEncoder, batches: list[Batch]) -> Callable[[Batch], None]:
        known = {id(b): encoder.encode(b.documents, LENGTH) for b in batches}

        def loss_of(batch: Batch) -> Tensor:
            rows = known[id(batch)]
            queries = queries_of(encoder, batch.queries)
            return _sparse_loss(queries, rows, batch.scores)

        return _stepper(encoder.parameters(), loss_of)

    return make


def _sparse_loss(queries: Tensor, rows, scores: Tensor) -> Tensor:
    row = torch.as_tensor(np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)))
    query = row // DOCUMENTS
    values = queries[query, torch.as_tensor(rows.indices, dtype=torch.long)]
    products = values * torch.as_tensor(rows.data)
    found = torch.zeros(rows.shape[0]).index_add(0, row, products).view(BATCH, DOCUMENTS)
    return kl_divergence(found, scores) + L1 * l1(queries)


def _own(encoder: SpladeEncoder, ids: list[list[int]]) -> Tensor:
    return encoder(*encoder.pad(ids))


def _sentence_transformers(encoder: SpladeEncoder, _: list[Batch]) -> Callable[[Batch], None]:
    import tempfile

    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.losses import SparseDistillKLDivLoss, SpladeLoss

    with tempfile.TemporaryDirectory() as folder:
        encoder.save_pretrained(folder)
        query, document = (list(SparseEncoder(folder, device="cpu")) for _ in range(2))
    model = SparseEncoder(
        modules=[Router.for_query_document(query_modules=query, document_modules=document)],
        device="cpu",
    )
    for parameter in nn.ModuleList(document).parameters():
        parameter.requires_grad_(False)
    loss = SpladeLoss(
        model,
        SparseDistillKLDivLoss(model),
        document_regularizer_weight=0.0,
        query_regularizer_weight=L1,
    )

    def features(ids: list[list[int]], task: str) -> dict:
        tokens, mask = encoder.pad(ids)
        return {"input_ids": tokens, "attention_mask": mask, "task": task, "modality": "text"}

    def loss_of(batch: Batch) -> Tensor:
        columns = [
            features([batch.documents[i * DOCUMENTS + d] for i in range(BATCH)], "document")
            for d in range(DOCUMENTS)
        ]
        parts = loss([features(batch.queries, "query"), *columns], batch.scores)
        return sum(parts.values())

    return _stepper((p for p in model.parameters() if p.requires_grad), loss_of)


_STEPS = {
    "public recipe": _public,
    "sentence-transformers": _sentence_transformers,
    "cached, whole logits": _cached(_whole_logits),
    "disco_lib": _cached(_own),
}


def _floor() -> float:
    """Multiply-adds a second of the product that no step can do without, in float32."""
    hidden, weight = torch.randn(2260, 128), torch.randn(30_522, 128)
    seconds = median_seconds(lambda: hidden @ weight.T)
    return round(2260 * 128 * 30_522 / seconds / 1e9, 1)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
