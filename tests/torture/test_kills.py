"""Commands killed with -9 at random moments, as often as it takes: they end as if never killed."""

import contextlib
import json
import os
import random
import shutil
import signal
import string
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from disco_lib.datasets import load
from disco_lib.records import read_record
from disco_lib.rewrites import NOTES
from disco_lib.storage import MANIFEST, open_sealed
from disco_lib.teachers import teach
from disco_lib.vectors import Vectors, save_vectors

#: Kills of each command, in the sample and at full size: 10 and 100.
KILLS = {
    "encode": (3, 17), "index": (1, 10), "teach": (1, 13), "distil": (2, 22),
    "rewrite": (1, 10), "rewrite in place": (1, 10), "measure": (1, 18),
}  # fmt: skip


@dataclass
class Job:
    """A command: its arguments, with OUT for what it writes; `data`: what is copied there first."""

    arguments: list
    data: Path | None = None
    order: dict = field(default_factory=dict)


@pytest.fixture
def model_folder(tmp_path):
    """A random Llama of two layers that reads and writes single characters."""
    tokens = ["<pad>", "<eos>", "<unk>", *string.ascii_letters, *"0123456789 \n.,:;?!'\"-|<>"]
    backend = Tokenizer(models.WordLevel({t: n for n, t in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    names = {name: f"<{name[:3]}>" for name in ("pad_token", "eos_token", "unk_token")}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(tmp_path / "model")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=len(tokens), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, initializer_range=0.5, max_position_embeddings=2048,
            pad_token_id=0, eos_token_id=1,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    (tmp_path / "prompt.yaml").write_text('source: "a test"\nform: joined\nseparator: " | "\n')
    return tmp_path / "model"


@pytest.fixture
def job(request, collection, collection_folder, encoder, encoder_folder, tmp_path):
    """The command of that name."""
    data, model = ["--data", collection_folder], ["--model", encoder_folder]
    if request.param == "encode":
        return Job(["encode", *data, *model, "--shard", 3, "--out", "OUT/vectors"])
    if request.param == "index":
        rows = sparse.random(20_000, 400, 0.05, "csr", np.float32, np.random.default_rng(7))
        ids = [f"d{i}" for i in range(20_000)]
        save_vectors(tmp_path / "vectors", Vectors(rows, ids, {}))
        return Job(["index", tmp_path / "vectors", "--out", "OUT/index"])
    if request.param == "teach":
        forms = ["--json", "OUT/t.json", "--trec", "OUT/t.trec"]
        rewrites = ["--rewrite", "gold", "--rewrite", "long", "--depth", 40]
        return Job(["teach", *data, *model, *rewrites, "--out", "OUT/teacher", *forms])
    if request.param == "distil":
        teach(collection, "train", ["gold", "long"], encoder).save(tmp_path / "teacher")
        settings = {
            "epochs": 3, "batch_size": 4, "sampler": "{negatives: 5, start: 0, end: 30}",
            "objective": "{kl_divergence: 1.0, l1: 0.001}", "dropout": 0.1, "ramp": 0.8,
        }  # fmt: skip
        changes = [f"--set={name}={value}" for name, value in settings.items()]
        teacher = ["--teacher", tmp_path / "teacher", "--save-steps", 2]
        return Job(["distil", *data, *model, *teacher, *changes, "--out", "OUT/student"])
    if request.param == "rewrite":
        settings = ["--model", "hqe", "--set", "topic=1.0", "--set", "subtopic=1.0"]
        rest = ["--name", "hqe", "--batch-size", 2, "--out", "OUT/copy"]
        return Job(["rewrite", *data, *settings, *rest])
    if request.param == "rewrite in place":
        model = ["--model", request.getfixturevalue("model_folder")]
        model += ["--prompt", tmp_path / "prompt.yaml", "--set", "max_new_tokens=8"]
        rest = ["--name", "tiny", "--batch-size", 4, "--data", "OUT/tiny", "--out", "OUT/tiny"]
        return Job(["rewrite", *model, *rest], data=collection_folder)
    root = request.getfixturevalue("tier_root")
    return Job(["measure", "--tier", "tiny"], data=root, order={"root": "OUT/tiny"})


class Round:
    """A folder of its own, with a cache of its own, in which a job is run until it ends."""

    def __init__(self, forks, job, folder):
        self.forks, self.job, self.folder = forks, job, folder
        folder.mkdir()
        if job.data is not None:
            shutil.copytree(job.data, folder / "tiny")

    def start(self):
        here = [str(a).replace("OUT", str(self.folder)) for a in self.job.arguments]
        order = {k: v.replace("OUT", str(self.folder)) for k, v in self.job.order.items()}
        log = self.folder.with_suffix(".log")
        return self.forks.start(self.folder / "cache", log, here, **order)

    def finish(self):
        """Run to the end; the seconds it took."""
        begin = time.monotonic()
        assert self.forks.wait(self.start()) == 0, self.folder.with_suffix(".log").read_text()
        return time.monotonic() - begin

    def kill_after(self, seconds):
        """Whether the kill came before the end."""
        pid = self.start()
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = self.forks.wait(pid)
        assert status in (0, -signal.SIGKILL), self.folder.with_suffix(".log").read_text()
        return status != 0

    def check_whole(self):
        """Nothing that a reader would open is half there."""
        for path in self.folder.rglob("*"):
            if any(part.endswith(".part") for part in path.relative_to(self.folder).parts):
                continue
            if path.name == MANIFEST:
                open_sealed(path.parent, "")
            elif "measured" in path.parts and path.suffix == ".json":
                read_record(path)
            elif path.suffix == ".trec":
                assert path.read_text().endswith(" disco\n") or path.read_text().endswith("her\n")
            elif path == self.folder / "t.json":
                json.loads(path.read_text())
            elif path.name == "collection.jsonl" and path.is_relative_to(self.folder):
                load(path.parent)

    def contents(self):
        """Every file and its bytes, but for locks; of a record what does not depend on time.

        Tables of what is read, of which a half rewritten data set adds its own, are not compared.
        """
        found = {}
        for path in self.folder.rglob("*"):
            if not path.is_file() or path.suffix == ".lock" or "arrow" in path.parts:
                continue
            content = path.read_bytes()
            if "measured" in path.parts:
                record = json.loads(content)
                for name in ("provenance", "checksum"):
                    del record[name]
                for costs in record["costs"].values():
                    for name in ("seconds", "search_ms"):
                        costs.pop(name, None)
                content = record
            elif path.name == NOTES:  # it says where the rewrites were written to
                content = content.replace(str(self.folder).encode(), b"OUT")
            found[path.relative_to(self.folder).as_posix()] = content
        return found


@pytest.mark.parametrize("job", KILLS, indirect=True, ids=lambda name: name.replace(" ", "-"))
def test_killed_at_any_moment_and_gone_on_with_it_ends_the_same(
    job, full, forks, tmp_path, request
):
    name = request.node.callspec.params["job"]
    wanted = KILLS[name][full]
    rng = random.Random(f"20261122 {name}")
    undisturbed = Round(forks, job, tmp_path / "undisturbed")
    seconds = undisturbed.finish()
    expected = undisturbed.contents()
    assert not [path for path in expected if path.split("/")[-1].startswith(".")]

    hits, rounds = 0, 0
    while hits < wanted:
        rounds += 1
        assert rounds <= 10 + 5 * wanted, f"only {hits} of {wanted} kills came before the end"
        disturbed = Round(forks, job, tmp_path / f"round-{rounds}")
        for _ in range(min(rng.randint(1, 4), wanted - hits)):
            begin = time.monotonic()
            if not disturbed.kill_after(rng.uniform(0, seconds)):
                # The first run may have compiled what later ones read.
                seconds = min(seconds, time.monotonic() - begin)
                break
            hits += 1
            disturbed.check_whole()
        disturbed.finish()
        found = disturbed.contents()
        assert found.keys() == expected.keys()
        assert [path for path in expected if found[path] != expected[path]] == []
        shutil.rmtree(disturbed.folder)
