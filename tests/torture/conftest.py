"""A process with everything imported that forks commands, to be killed or run side by side."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# `slow`: MODULE:NAME of a function that notes each of its calls, and takes a while.
# `go`: a file that is waited for, so that two start at once.
SERVER = """
import importlib, json, os, sys, time, traceback
from pathlib import Path
import ranx, sentence_transformers
from sentence_transformers.sparse_encoder.modules import SpladePooling
from transformers import BertForMaskedLM, BertTokenizer, LlamaForCausalLM
import disco_lib.datasets, disco_lib.expansion, disco_lib.rewriting, disco_lib.training
from disco_lib import experiments, records, tiers
from disco_lib.cli import app

def slow(name, notes):
    module, _, path = name.partition(":")
    owner = importlib.import_module(module)
    *inner, last = path.split(".")
    for part in inner:
        owner = getattr(owner, part)
    function = getattr(owner, last)
    def noted(*arguments, **options):
        with open(notes, "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(0.05)
        return function(*arguments, **options)
    setattr(owner, last, noted)

def work(order):
    os.environ.update(order["environment"])
    if order.get("root"):
        records.ROOT, tiers.FOLDER = Path(order["root"]), Path(order["root"]) / "tiers"
    if order.get("slow"):
        slow(order["slow"], order["notes"])
    while order.get("go") and not os.path.exists(order["go"]):
        time.sleep(0.001)
    if order.get("teacher"):
        experiments.Laboratory("tiny", progress=False).teacher(order["teacher"])
    else:
        app(order["arguments"])

for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        status = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        print(status, flush=True)
        continue
    child = os.fork()
    if child == 0:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = 0
        try:
            work(order)
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(child, flush=True)
"""


@pytest.fixture(scope="session")
def full(request) -> bool:
    """Whether everything runs at full size."""
    return request.config.getoption("--torture")


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """One thread, no network, this repository's library."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }


class Forks:
    """start(...) gives a process id, wait(pid) its exit status: below 0 for the signal."""

    def __init__(self, environment, folder):
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder,
        )  # fmt: skip

    def ask(self, order) -> int:
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, cache, log, arguments=(), **order) -> int:
        order |= {"arguments": [str(a) for a in arguments], "log": str(log)}
        return self.ask(order | {"environment": {"DISCO_CACHE": str(cache)}})

    def wait(self, pid) -> int:
        return self.ask({"wait": pid})


@pytest.fixture(scope="session")
def forks(environment, tmp_path_factory):
    """Start `disco ARGUMENTS` in a fork of a process that has everything imported."""
    forks = Forks(environment, tmp_path_factory.mktemp("forks"))
    yield forks
    forks.server.kill()
    forks.server.communicate()


@pytest.fixture
def tier_root(collection_folder, encoder_folder, tmp_path):
    """A repository with one tier, tiny: BM25, an encoder, and a student of one seed."""
    settings = {
        "what": "the tests' collection", "data": str(collection_folder), "train": "train",
        "test": "test", "encoder": str(encoder_folder), "seeds": [1], "depth": 20,
        "teacher_depth": 20, "evaluation": {"later_turns": True},
        "distil": {
            "limits": {"utterance": 16, "answer": 16, "total": 48}, "document_length": 48,
            "sampler": {"negatives": 5, "start": 0, "end": 15}, "objective": {"kl_divergence": 1.0},
            "steps": 10, "batch_size": 4, "learning_rate": 1e-3,
        },
        "systems": {
            "bm25": {"run": "bm25", "input": "conversation"},
            "plain": {"run": "encoder", "input": "conversation"},
            "student": {"run": "student", "teachers": ["gold", "long"]},
        },
    }  # fmt: skip
    folder = tmp_path / "repository"
    (folder / "tiers").mkdir(parents=True)
    (folder / "tiers" / "tiny.yaml").write_text(json.dumps(settings))  # JSON is YAML
    return folder
