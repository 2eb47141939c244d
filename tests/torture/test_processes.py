"""Two processes that want the same result at the same time: one works, the other waits or reads."""

from collections import Counter

import pytest

from disco_lib.teachers import teach


def files(folder):
    """Every file below a folder and its bytes, but for locks."""
    return {
        # The notes of rewrites say where they were written to.
        path.relative_to(folder).as_posix(): path.read_bytes().replace(str(folder).encode(), b"")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture
def together(forks, tmp_path):
    """Run an order in one process, then elsewhere in two at once; notes of the two's calls.

    HERE in the order's texts is a folder of its own each time. What is written has to be the same.
    """

    def run(slow, processes, **order):
        folder = tmp_path / f"{processes}"
        folder.mkdir()

        def here(value):
            if isinstance(value, list):
                return [here(v) for v in value]
            return str(value).replace("HERE", str(folder))

        order = {name: here(value) for name, value in order.items()}
        notes, go = tmp_path / f"notes-{processes}", tmp_path / f"go-{processes}"
        order |= {"slow": slow, "notes": str(notes), "go": str(go)}
        logs = [tmp_path / f"log-{processes}-{i}" for i in range(processes)]
        pids = [forks.start(folder / "cache", log, **order) for log in logs]
        go.touch()
        for pid, log in zip(pids, logs, strict=True):
            assert forks.wait(pid) == 0, log.read_text()
        return Counter(notes.read_text().split()), files(folder)

    def compare(slow, **order):
        alone, expected = run(slow, 1, **order)
        calls, found = run(slow, 2, **order)
        assert found.keys() == expected.keys()
        assert [path for path in expected if found[path] != expected[path]] == []
        assert calls.total() == alone.total(), "some of the work was done twice"
        return calls

    return compare


@pytest.fixture
def data(collection_folder, encoder_folder):
    return ["--data", str(collection_folder), "--model", str(encoder_folder)]


def test_the_same_vectors(together, data):
    arguments = ["encode", *data, "--shard", "9", "--out", "HERE/vectors"]
    calls = together("disco_lib.encoders:SpladeEncoder.encode", arguments=arguments)
    assert list(calls.values()) == [5]


def test_the_same_cached_vectors_of_two_teachers(together, data):
    arguments = ["teach", *data, "--rewrite", "gold", "--out", "HERE/teacher"]
    calls = together("disco_lib.vectors:_encode", arguments=arguments)
    assert list(calls.values()) == [1]


def test_the_same_teacher_of_a_tier(together, tier_root):
    calls = together("disco_lib.experiments:teach", teacher=["gold", "long"], root=str(tier_root))
    assert list(calls.values()) == [1]


def test_the_same_student(together, data, collection, encoder, tmp_path):
    teach(collection, "train", ["gold"], encoder).save(tmp_path / "teacher")
    arguments = ["distil", *data, "--teacher", str(tmp_path / "teacher"), "--out", "HERE/student"]
    arguments += ["--set=epochs=1", "--set=batch_size=5", "--set=sampler={negatives: 5, start: 0}"]
    calls = together("disco_lib.training:Collator.__call__", arguments=arguments)
    assert list(calls.values()) == [6]


def test_the_same_rewrites(together, data):
    arguments = ["rewrite", *data[:2], "--model", "hqe", "--set", "topic=1.0"]
    arguments += ["--set", "subtopic=1.0", "--name", "hqe", "--batch-size", "5"]
    arguments += ["--out", "HERE/copy"]
    calls = together("disco_lib.expansion:HistoricalExpansion.rewrite", arguments=arguments)
    assert calls.total() == 9
