import json

import pytest

from disco_lib.conversations import Limits
from disco_lib.distil_settings import DistilSettings
from disco_lib.errors import DiscoError
from disco_lib.experiments import NOT_DISTIL
from disco_lib.sampling import WindowSampler
from disco_lib.sampling_arms import MixtureSampler, TopSampler, UniformSampler
from disco_lib.storage import settings_hash
from disco_lib.tiers import load_tier

OTHER = DistilSettings(
    objective={"kl_divergence": 1.0, "info_nce": {"weight": 0.1, "negatives": "batch"}, "l1": 0.01},
    limits=Limits(16, 16, 48),
    sampler=WindowSampler(negatives=6, start=1, end=20),
    steps=12,
    dropout=0.1,
    seed=5,
)


def test_students_trained_before_keep_their_names():
    # A student's folder is found under the hash of its settings. A setting that is added later
    # must be left out while it has its default, or every student would be trained again.
    assert settings_hash(DistilSettings().to_dict()) == "4a79b8b0f017"
    values = {
        "objective": {"margin_mse": 1.0},
        "steps": 224,
        "dropout": 0.0,
        "sampler": {"negatives": 32, "start": 0, "end": 200},
    }
    assert settings_hash(DistilSettings.from_dict(values).to_dict()) == "af161180f60d"
    frozen = DistilSettings.from_dict({**values, "documents": "frozen"})
    assert settings_hash(frozen.to_dict()) == "af161180f60d"


def test_the_students_of_the_mini_tier_keep_their_names():
    tier = load_tier("mini")
    own = {k: v for k, v in tier.system("student-kl").items() if k not in NOT_DISTIL}
    settings = DistilSettings.from_dict({**tier.distil, **own, "seed": 1})
    assert settings_hash(settings.to_dict()) == "435a581fb57f"
    # Byte for byte, for a student's folder holds them.
    sampler = '{"negatives": 32, "start": 0, "end": 200, "positive": "window"}'
    assert json.dumps(settings.to_dict()["sampler"]) == sampler
    assert list(settings.to_dict())[:4] == ["objective", "input", "limits", "sampler"]


def test_a_sampler_of_any_kind_is_a_setting():
    mixture = MixtureSampler((TopSampler(8), UniformSampler(4), WindowSampler(2, 0, 20)))
    settings = DistilSettings(sampler=mixture)
    stored = json.loads(json.dumps(settings.to_dict()))
    assert stored["sampler"]["kind"] == "mixture"
    assert [part.get("kind") for part in stored["sampler"]["parts"]] == ["top", "uniform", None]
    assert DistilSettings.from_dict(stored) == settings
    named = DistilSettings.from_dict({"sampler": {"kind": "window", "negatives": 16}})
    assert named.to_dict() == DistilSettings().to_dict()


def test_trained_documents_have_a_name_of_their_own():
    trained = DistilSettings(documents="trained")
    assert trained.to_dict() == DistilSettings().to_dict() | {"documents": "trained"}
    assert DistilSettings.from_dict(trained.to_dict()) == trained


def test_settings_there_and_back():
    stored = json.loads(json.dumps(OTHER.to_dict()))
    assert DistilSettings.from_dict(stored) == OTHER
    assert DistilSettings.from_dict({}) == DistilSettings()


def test_numbers_without_a_point_are_numbers():
    # YAML 1.1 reads 5e-4 as text.
    assert DistilSettings.from_dict({"learning_rate": "5e-4"}).learning_rate == 5e-4


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"lr": 1}, "No setting 'lr'; there are: batch_size, .*learning_rate"),
        ({"limits": {"answers": 3}}, "limits: no setting 'answers'; there are: utterance, answer"),
        ({"sampler": {"top": 3}}, "sampler: no setting 'top'; there are: negatives"),
        ({"sampler": {"negatives": 0}}, "negatives is 0; at least 1"),
        ({"sampler": {"kind": "best"}}, "no kind 'best'; there are: window, top"),
        ({"sampler": 5}, "'sampler' is 5; give a mapping of its settings, .*: window, top"),
        ({"limits": {"total": 5}}, "64 tokens and two special tokens do not fit into 5"),
        ({"limits": 5}, "'limits' is 5; give a mapping of: utterance, answer, total"),
        ({"epochs": 0}, "'epochs' is 0; give a number above 0"),
        ({"steps": 2.5}, "'steps' is 2.5; give a whole number from 1"),
        ({"batch_size": 0}, "'batch_size' is 0; give a whole number from 1"),
        ({"learning_rate": "fast"}, "'learning_rate' is 'fast'; give a number above 0"),
        ({"learning_rate": float("nan")}, "'learning_rate' is nan"),
        ({"dropout": 1.5}, "'dropout' is 1.5; give a number from 0 to 1"),
        ({"seed": -1}, "'seed' is -1"),
        ({"seed": True}, "'seed' is True"),
        ({"objective": "kl_divergence"}, "'objective' is 'kl_divergence'; give a loss"),
        ({"documents": "thawed"}, "'documents' is 'thawed'; use one of frozen, trained"),
        ({"documents": True}, "'documents' is True; use one of frozen, trained"),
        ({"documents": ["frozen"]}, "'documents' is .*; use one of frozen, trained"),
        ({"input": "history"}, "'input' is 'history'; use one of utterance"),
    ],
)
def test_settings_that_cannot_be_used_are_named(changes, problem):
    with pytest.raises(DiscoError, match=problem):
        DistilSettings.from_dict(changes)
