import numpy as np
import pytest

from disco_lib.distil_settings import DistilSettings
from disco_lib.schedule import Example, Schedule


def settings(**changes):
    """Return settings of small batches, with changes."""
    return DistilSettings.from_dict({"seed": 5, **changes})


def examples(n, seed=0):
    draw = np.random.default_rng(seed)
    return [Example([5] * int(draw.integers(2, 30)), row, row) for row in range(n)]


@pytest.mark.parametrize(("n", "size"), [(30, 4), (8, 4), (4, 4), (3, 4), (1, 4), (300, 4)])
def test_an_epoch_shows_each_example_once_in_whole_batches(n, size):
    wanted = settings(steps=None, epochs=3, batch_size=size)
    schedule = Schedule(examples(n), wanted)
    rows = [(example.row, epoch) for example, epoch in (schedule[i] for i in range(len(schedule)))]
    each = max(1, n // size)
    assert schedule.steps == 3 * each
    for epoch in range(3):
        own = [row for row, of in rows if of == epoch]
        assert len(own) == len(set(own)) == min(n, each * size)
    assert [epoch for _, epoch in rows] == sorted(epoch for _, epoch in rows)
    again = Schedule(examples(n), wanted)
    assert again.order == schedule.order


def test_epochs_and_seeds_are_shuffled_differently():
    schedule = Schedule(examples(40), settings(steps=None, epochs=2, batch_size=4))
    first, second = schedule.order[:40], schedule.order[40:]
    assert [row for row, _ in first] != [row for row, _ in second]
    other = Schedule(examples(40), settings(steps=None, epochs=2, batch_size=4, seed=6))
    assert other.order != schedule.order


def test_batches_hold_turns_of_similar_length():
    some = examples(256)
    schedule = Schedule(some, settings(steps=None, epochs=1, batch_size=8))
    lengths = np.array([len(some[row].ids) for row, _ in schedule.order]).reshape(-1, 8)
    spread = np.ptp(lengths, axis=1).mean()
    assert spread < 4 < np.ptp(np.array([len(e.ids) for e in some]).reshape(-1, 8), axis=1).mean()
    assert np.abs(np.diff(lengths.mean(axis=1))).mean() > 2, "batches are in order of length"


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 5), (1.5, 15), (0.01, 1)])
def test_parts_of_an_epoch(epochs, steps):
    schedule = Schedule(examples(40), settings(steps=None, epochs=epochs, batch_size=4))
    assert schedule.steps == steps and len(schedule) == 4 * steps


def test_steps_replace_epochs():
    schedule = Schedule(examples(10), settings(steps=7, epochs=99, batch_size=4))
    assert schedule.steps == 7 and len(schedule) == 28
    # 2 steps an epoch
    assert {epoch for _, epoch in schedule.order} == {0, 1, 2, 3}
