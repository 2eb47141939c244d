"""Encoding: passages a second against sentence-transformers, same weights, and what drift does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from benchmarks.report import REPEATS, Row, median_seconds, show, write_report
from benchmarks.vectors import source
from disco_lib.datasets import load
from disco_lib.encoders import SpladeEncoder
from disco_lib.index import InvertedIndex

TOKENS = 128
PASSAGES = 256
BATCH = 32


def measure_encoding() -> Path:
    """Encode the same passages both ways and write data/measured/bench/encoding.json."""
    data, split, rewrite = source()
    encoder, collection = SpladeEncoder.from_pretrained("splade-tiny"), load(data)
    ids = _ids(encoder, collection.passage_texts())
    texts = [encoder.tokenizer.decode(row[1:-1]) for row in ids]
    ids = encoder.token_ids(texts, TOKENS)  # reading again may cut a word at the end otherwise
    peer = _peer(encoder)
    work = {
        "sentence-transformers": lambda: _sentence_transformers(peer, texts),
        "disco_lib": lambda: encoder.encode(texts, TOKENS, BATCH),
    }
    seconds = {name: median_seconds(call) for name, call in work.items()}
    theirs, ours = (call() for call in work.values())
    drift = float(abs(ours - theirs).max())
    coarse = _bfloat16(encoder, ids)
    queries = encoder.encode(
        [t.rewrites[rewrite] for t in collection.iter_turns(split) if t.rewrites.get(rewrite)][:100]
    )
    rows: list[Row] = []
    for name, vectors in (("sentence-transformers", theirs), ("disco_lib", ours)):
        rows.append(
            {
                "encoder": name,
                "passages a second": round(PASSAGES / seconds[name], 1),
                "times faster": round(seconds["sentence-transformers"] / seconds[name], 2),
                "largest difference": 0.0 if name != "disco_lib" else drift,
                "overlap at 100": _overlap(theirs, vectors, queries),
            }
        )
    rows.append(
        {
            "encoder": "bfloat16 product (not used)",
            "passages a second": None,
            "times faster": None,
            "largest difference": float(abs(coarse - theirs).max()),
            "overlap at 100": _overlap(theirs, coarse, queries),
        }
    )
    show(rows, f"Encoding {PASSAGES} passages of {TOKENS} tokens")
    settings = {"data": data, "tokens": TOKENS, "passages": PASSAGES, "batch": BATCH}
    return write_report("encoding", {**settings, "repeats": REPEATS}, rows)


def _ids(encoder: SpladeEncoder, texts: list[str]) -> list[list[int]]:
    """Passages of exactly TOKENS tokens: short ones are continued by the next."""
    plain = [row[1:-1] for row in encoder.token_ids(texts[: 20 * PASSAGES], TOKENS)]
    stream = [token for row in plain for token in row]
    width = TOKENS - 2
    first, last = encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id
    count = min(PASSAGES, len(stream) // width)
    return [[first, *stream[i * width : (i + 1) * width], last] for i in range(count)]


def _peer(encoder: SpladeEncoder):
    from sentence_transformers import SparseEncoder

    with tempfile.TemporaryDirectory() as folder:
        encoder.save_pretrained(folder)
        peer = SparseEncoder(folder, device="cpu")
    peer.max_seq_length = TOKENS
    return peer


def _sentence_transformers(peer, texts: list[str]) -> sparse.csr_matrix:
    found = peer.encode(
        texts, batch_size=BATCH, convert_to_sparse_tensor=False, show_progress_bar=False
    )
    return sparse.csr_matrix(np.asarray(torch.as_tensor(found)))


@torch.inference_mode()
def _bfloat16(encoder: SpladeEncoder, ids: list[list[int]]) -> sparse.csr_matrix:
    """What a product in bfloat16 gives, without the exact recomputation that follows it here."""
    decoder = encoder.model.get_output_embeddings()
    weight, bias = decoder.weight.bfloat16(), decoder.bias.bfloat16()
    rows = []
    for start in range(0, len(ids), BATCH):
        tokens, mask = encoder.pad(ids[start : start + BATCH])
        hidden = encoder.model.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        hidden = encoder.model.cls.predictions.transform(hidden).bfloat16()
        scores = torch.nn.functional.linear(hidden, weight, bias).float()
        scores = scores.masked_fill(mask[..., None] == 0, float("-inf")).amax(dim=1)
        rows.append(sparse.csr_matrix(torch.log1p(scores.relu()).numpy()))
    return sparse.vstack(rows, format="csr")


def _overlap(theirs: sparse.csr_matrix, vectors: sparse.csr_matrix, queries) -> float:
    """Share of the 100 best documents that both vectors give, on average over queries."""
    names = [str(i) for i in range(theirs.shape[0])]
    expected = InvertedIndex.build(theirs, names).search_arrays(queries, 100)[0]
    found = InvertedIndex.build(vectors, names).search_arrays(queries, 100)[0]
    pairs = zip(expected, found, strict=True)
    return round(float(np.mean([len(set(a) & set(b)) / len(set(a)) for a, b in pairs])), 5)
