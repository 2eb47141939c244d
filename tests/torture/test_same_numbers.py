"""Two fresh processes give the same numbers; one with another number of threads, nearly so."""

import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import os, sys
import numpy as np, numba, torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer
from disco_lib.datasets import load
from disco_lib.encoders import SpladeEncoder
from disco_lib.expansion import HistoricalExpansion
from disco_lib.index import InvertedIndex
from disco_lib.teachers import teach
from disco_lib.training import DistilSettings, distil

data, model, folder = sys.argv[1:]
threads = int(os.environ["OMP_NUM_THREADS"])
assert torch.get_num_threads() == threads
numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
collection = load(data)
tokenizer = SpladeEncoder.from_pretrained(model).tokenizer
# Wide enough that torch does share its work among threads.
torch.manual_seed(3)
wide = BertForMaskedLM(BertConfig(
    vocab_size=3000, hidden_size=128, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=512, initializer_range=0.1,
))
with torch.no_grad():
    wide.cls.predictions.decoder.bias.normal_(-3, 1)
encoder = SpladeEncoder(wide, tokenizer).eval()
texts = collection.passage_texts()
texts = [" ".join(texts[i:] + texts[:i])[:900] for i in range(len(texts))]
documents = encoder.encode(texts, 128)
queries = encoder.encode([turn.utterance for turn in collection.iter_turns("test")])
found = {"documents": documents.toarray(), "queries": queries.toarray()}
for storage in ("float32", "uint8"):
    index = InvertedIndex.build(documents, collection.pids, storage)
    found[f"scores {storage}"] = index.search_arrays(queries, 45)[1]
turns = collection.iter_turns("test")
found["rewrites"] = np.array(HistoricalExpansion(texts, topic=1.0, subtopic=1.0).rewrite(turns))
settings = DistilSettings.from_dict({
    "steps": 8, "batch_size": 4, "sampler": {"negatives": 4, "start": 0, "end": 20},
    "limits": {"utterance": 16, "answer": 16, "total": 48}, "document_length": 48,
    "objective": {"kl_divergence": 1.0}, "learning_rate": 1e-4, "dropout": 0.1, "seed": 4,
})
teacher = teach(collection, "train", ["gold", "long"], encoder, 40, max_length=48)
found["teacher"] = np.array(teacher.scores)
student = distil(encoder, collection, teacher, settings, folder + "/student", progress=False)
for name, value in student.model.state_dict().items():
    found["weight " + name] = value.numpy()
np.savez(folder + "/found.npz", **found)
"""


@pytest.fixture
def fresh(environment, collection_folder, encoder_folder, tmp_path):
    def run(name, threads):
        folder = tmp_path / name
        folder.mkdir()
        own = {"OMP_NUM_THREADS": str(threads), "DISCO_CACHE": str(folder / "cache")}
        command = [sys.executable, "-c", SCRIPT, collection_folder, encoder_folder, folder]
        result = subprocess.run(
            list(map(str, command)), env=environment | own, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        with np.load(folder / "found.npz", allow_pickle=False) as found:
            return dict(found), (folder / "student" / "model.safetensors").read_bytes()

    return run


def test_fresh_processes_and_threads_give_the_same_numbers(fresh):
    first, weights = fresh("first", 1)
    again, weights_again = fresh("again", 1)
    two, _ = fresh("two threads", 2)
    assert first.keys() == again.keys() == two.keys() and len(first) > 20
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name], name)
    assert weights == weights_again
    for name, value in first.items():
        if value.dtype.kind == "U":
            np.testing.assert_array_equal(value, two[name], name)
        elif not name.startswith("weight ") and name != "scores uint8":
            # Relative: a score is a sum of hundreds of products.
            np.testing.assert_allclose(two[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    # Near the middle between two levels, the last bit of a weight decides its byte.
    np.testing.assert_allclose(two["scores uint8"], first["scores uint8"], rtol=1e-2)
    # Adam divides by a gradient's own size, so the last bits of a gradient near 0 grow: on the
    # machine that this was written on by 9e-6 at most, where 8 steps move a weight by up to 4e-4.
    for name, value in first.items():
        if name.startswith("weight ") and value.dtype.kind == "f":
            assert np.abs(two[name] - value).max() < 5e-5, name
            assert np.abs(two[name] - value).mean() < 1e-5, name
