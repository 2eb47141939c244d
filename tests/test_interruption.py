"""Commands killed at any moment and started again give what an undisturbed one gives."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from disco_lib.errors import IntegrityError
from disco_lib.storage import open_sealed, sole_writer
from disco_lib.teachers import teach
from disco_lib.training import read_log
from disco_lib.vectors import load_vectors

ROOT = Path(__file__).resolve().parent.parent
KILLS = 5
POLL = 0.001

# Importing torch takes seconds; this process does it once, and forks one that runs the command.
FORKS = """
import json, os, sys
import disco_lib.datasets, disco_lib.training
from disco_lib.cli import app
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        log = os.open(json.loads(line)["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        app(json.loads(line)["arguments"])
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def environment(tmp_path):
    """One thread, no network, a cache of its own."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "DISCO_CACHE": str(tmp_path / "disco-cache"),
    }


@pytest.fixture
def forks(environment, tmp_path):
    """Start `disco ARGUMENTS` in a fork of a process that has everything imported."""
    server = subprocess.Popen(
        [sys.executable, "-c", FORKS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip

    def start(arguments):
        order = {"arguments": [str(a) for a in arguments], "log": str(tmp_path / "log")}
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        running = Path(f"/proc/{pid}").exists  # until the server has waited for it
        return pid, running, lambda: int(server.stdout.readline())

    yield start
    server.kill()
    server.communicate()


@pytest.fixture
def command(environment, tmp_path):
    """Start `python -m disco_lib.cli ARGUMENTS`."""

    def start(arguments):
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "disco_lib.cli", *map(str, arguments)],
                stdout=log, stderr=log, env=environment, cwd=tmp_path,
            )  # fmt: skip
        return process.pid, lambda: process.poll() is None, process.wait

    return start


def finish(start, arguments, log):
    _, _, wait = start(arguments)
    assert wait() == 0, log.read_text()


def kill(start, arguments, reached, delay):
    """Start, wait until `reached()` is true and `delay` seconds more, kill; the exit status."""
    pid, running, wait = start(arguments)
    deadline = time.monotonic() + 600
    while running() and not reached() and time.monotonic() < deadline:
        time.sleep(POLL)
    time.sleep(delay)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return wait()


def numbers(folder, pattern):
    """The numbers at the ends of the names that match, such as 2 of checkpoint-2."""
    with contextlib.suppress(FileNotFoundError):  # removed while it is listed
        return {int(path.name.split("-")[1]) for path in folder.glob(pattern)}
    return set()


def files(folder):
    """Every file below a folder and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def leftovers(folder):
    """Hidden files and folders below a folder, apart from locks."""
    return [p for p in folder.rglob(".*") if not p.name.endswith(".lock")]


def test_encoding_killed_five_times_gives_the_same_bytes(
    collection_folder, encoder_folder, forks, command, tmp_path
):
    rng = random.Random(20260101)
    folder, log = tmp_path / "out", tmp_path / "log"
    arguments = ["encode", "--data", collection_folder, "--model", encoder_folder, "--shard", 2]
    finish(forks, [*arguments, "--out", tmp_path / "undisturbed"], log)
    shards = 23  # of 45 passages
    arguments += ["--out", folder / "vectors"]

    def shard_files():
        return sorted(folder.glob(".vectors.*.work/shard-*"))

    kept, hits = {}, 0
    for turn, target in enumerate(sorted(rng.sample(range(1, shards - 2), KILLS))):
        start = command if turn == 0 else forks
        status = kill(
            start, arguments, lambda n=target: len(shard_files()) >= n, rng.uniform(0, 0.01)
        )
        if status == 0 or (folder / "vectors").exists():
            break  # on a busy machine it may end before the kill arrives
        assert status == -signal.SIGKILL, log.read_text()
        hits += 1
        with pytest.raises(IntegrityError):
            load_vectors(folder / "vectors")
        for shard in shard_files():
            open_sealed(shard, "")
        # What was encoded before the last kill was not encoded again.
        found = {shard.name: shard.stat().st_ino for shard in shard_files()}
        assert kept.items() <= found.items()
        assert len(found) >= target
        kept = found
    assert hits >= 3, f"only {hits} of {KILLS} kills came before the end"

    finish(command, arguments, log)
    assert files(folder / "vectors") == files(tmp_path / "undisturbed")
    assert leftovers(folder) == []
    assert leftovers(tmp_path / "disco-cache") == []


def test_distillation_killed_five_times_gives_the_same_weights(
    collection, collection_folder, encoder, encoder_folder, forks, command, tmp_path
):
    rng = random.Random(20260102)
    folder, log = tmp_path / "out", tmp_path / "log"
    teach(collection, "train", ["gold", "long"], encoder).save(tmp_path / "teacher")
    steps = 42
    settings = {
        "epochs": 6,
        "batch_size": 4,
        "sampler": "{negatives: 5, start: 0, end: 30}",
        "objective": "{kl_divergence: 1.0, l1: 0.001}",
        "dropout": 0.1,  # draws at random in every step, so its generator has to be restored too
        "ramp": 0.8,
    }
    arguments = ["distil", "--data", collection_folder, "--teacher", tmp_path / "teacher"]
    arguments += ["--model", encoder_folder, "--save-steps", 2]
    arguments += [f"--set={name}={value}" for name, value in settings.items()]
    finish(forks, [*arguments, "--out", tmp_path / "undisturbed"], log)
    assert [entry["step"] for entry in read_log(tmp_path / "undisturbed")][-1] == steps
    arguments += ["--out", folder / "student"]

    seen = []

    def checkpoint():
        seen.extend(numbers(folder, ".student.*.work/checkpoint-*"))
        return max(seen, default=0)

    def writing_the_student():
        return any(folder.glob(".student.*.part/model.safetensors"))

    hits, last = 0, 0
    targets = sorted(rng.sample(range(2, steps - 4, 2), KILLS - 1))
    moments = [lambda n=n: checkpoint() >= n for n in targets] + [writing_the_student]
    for turn, reached in enumerate(moments):
        seen.clear()
        # A kill between a checkpoint's renaming and the removal of the one before leaves both.
        before = set(numbers(folder, ".student.*.work/checkpoint-*"))
        status = kill(command if turn == 0 else forks, arguments, reached, rng.uniform(0, 0.05))
        if status == 0 or (folder / "student").exists():
            break
        assert status == -signal.SIGKILL, log.read_text()
        hits += 1
        # It went on from the last checkpoint: none of an earlier step was written again.
        checkpoint()
        assert min(set(seen) - before, default=last) >= last
        last = max(numbers(folder, ".student.*.work/checkpoint-*"))
        open_sealed(next(folder.glob(f".student.*.work/checkpoint-{last}")), "")
    assert hits >= 3, f"only {hits} of {KILLS} kills came before the end"

    finish(command, arguments, log)
    found, expected = files(folder / "student"), files(tmp_path / "undisturbed")
    assert found["model.safetensors"] == expected["model.safetensors"]
    assert found["model.safetensors"] != (encoder_folder / "model.safetensors").read_bytes()
    assert found == expected
    assert leftovers(folder) == []
    assert leftovers(tmp_path / "disco-cache") == []


def test_what_killed_writers_left_is_removed_but_nothing_else(tmp_path):
    code = (
        "import os, sys\n"
        "from disco_lib.storage import atomic_folder, atomic_path\n"
        "for name in ('vectors', 'vectors.2', 'run'):\n"
        "    if os.fork() == 0:\n"
        "        writer = atomic_path if name == 'run' else atomic_folder\n"
        "        with writer(os.path.join(sys.argv[1], name)) as part:\n"
        "            (part if name == 'run' else part / 'half').write_text('half')\n"
        "            os.kill(os.getpid(), 9)\n"
        "    os.wait()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True)
    (tmp_path / ".vectors.notes.part").write_text("the user's")
    (tmp_path / "vectors.part").write_text("the user's")

    def parts():
        return sorted(path.name.rsplit(".", 2)[0] for path in leftovers(tmp_path))

    assert parts() == [".run", ".vectors", ".vectors", ".vectors.2"]
    for name, left in (
        ("vectors", [".run", ".vectors", ".vectors.2"]),
        ("run", [".vectors", ".vectors.2"]),
        ("vectors.2", [".vectors"]),
    ):
        with sole_writer(tmp_path / name):
            assert parts() == left
    assert (tmp_path / ".vectors.notes.part").exists() and (tmp_path / "vectors.part").exists()
