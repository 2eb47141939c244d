"""Deployment: teacher, student, student in ONNX and int8, and BM25, on the same queries."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import show, write_report
from disco_lib.dense_experiments import DenseLaboratory
from disco_lib.deployment import serve_bm25, serve_dense, serving_rows, weight_bytes
from disco_lib.onnx_export import OnnxEncoder, export_onnx, quantize_int8

STUDENT = "dense-hybrid"
BATCH = 32


def measure_deployment() -> Path:
    """Serve a tier's test queries by every system and write data/measured/bench/deployment.json."""
    lab = DenseLaboratory()
    pairs, collection = lab.held_pairs().pairs, lab.collection()
    seed = lab.tier.seeds[0]
    student, settings = lab.student(STUDENT, seed), lab.student_settings(STUDENT, seed)
    length, passages = lab.setup["teacher_length"], collection.passage_texts()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(student, Path(folder) / "float32")
        quantize_int8(Path(folder) / "float32", Path(folder) / "int8")
        encoders = {
            "teacher": (lab.teacher, length, length),
            "student": (student, settings.query_length, settings.document_length),
        }
        for name, part in (("student, ONNX", "float32"), ("student, ONNX int8", "int8")):
            encoder = OnnxEncoder.load(Path(folder) / part, threads=1)
            encoders[name] = (encoder, settings.query_length, settings.document_length)
        systems = [
            serve_dense(
                name,
                encoder,
                np.asarray(encoder.encode(passages, documents)),
                collection.pids,
                weight_bytes(encoder),
                max_length=queries,
            )
            for name, (encoder, queries, documents) in encoders.items()
        ]
        systems.append(serve_bm25("BM25", passages, collection.pids))
        names = [pair.turn_id for pair in pairs]
        qrels = collection.qrels(lab.tier.test)
        rows = serving_rows(systems, [pair.query for pair in pairs], names, qrels, BATCH)
    show(rows, f"{len(names)} queries over {len(passages)} passages, one thread")
    about = {"data": lab.tier.data, "system": STUDENT, "seed": seed, "threads": 1, "batch": BATCH}
    return write_report("deployment", about | {"queries": len(names)}, rows)
