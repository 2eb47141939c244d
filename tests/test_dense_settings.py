import pytest
import yaml

from disco_lib.dense_negatives import HardNegatives
from disco_lib.dense_settings import DenseSettings
from disco_lib.errors import DiscoError
from disco_lib.selection import PercentileRule, StratifiedRule
from disco_lib.tiers import load_tier, tier_names


def test_the_defaults_are_the_reports():
    settings = DenseSettings()
    assert settings.selection == PercentileRule(80.0) and settings.pooling == "cls"
    assert (settings.projection, settings.epochs, settings.batch_size) == (256, 8, 16)
    assert (settings.learning_rate, settings.weight_decay, settings.warmup) == (5e-5, 0.01, 0.1)
    assert settings.objective["diagonal_mse"] == 0.1


def test_settings_are_read_as_yaml_holds_them_and_written_again():
    text = """
    selection: {kind: stratified, share: 0.5}
    negatives: {kind: hard, negatives: 2, end: 8}
    objective: {batch_kl: {weight: 1.0, temperature: 0.2}}
    learning_rate: 5e-4
    projection: null
    """
    settings = DenseSettings.from_dict(yaml.safe_load(text))
    assert settings.selection == StratifiedRule(share=0.5)
    assert settings.negatives == HardNegatives(negatives=2, end=8)
    assert settings.learning_rate == 5e-4 and settings.projection is None
    assert DenseSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize("name", tier_names())
def test_every_dense_student_of_every_tier_has_settings(name):
    tier = load_tier(name)
    for system, own in tier.dense_systems.items():
        if own["run"] == "dense-student":
            values = {k: v for k, v in own.items() if k not in ("run", "label")}
            made = DenseSettings.from_dict({**tier.dense["student"], **values})
            assert made.seed == DenseSettings().seed, system


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lerning_rate": 1}, "No setting 'lerning_rate'.*learning_rate"),
        ({"steps": 0}, "'steps' is 0; give a whole number from 1"),
        ({"share": 1.5}, "'share' is 1.5; give a number above 0 to 1"),
        ({"keep": 0}, "'keep' is 0; give a number above 0 to 1"),
        ({"patience": 0}, "'patience' is 0; give a whole number from 1"),
        ({"validation": 0.8}, "'validation' is 0.8; give a number above 0 to 0.5"),
        ({"queue": -1}, "'queue' is -1"),
        ({"seed": "x"}, "'seed' is 'x'"),
        ({"objective": 3}, "'objective' is 3"),
        ({"objective": {"kl": 1}}, "No loss 'kl'.*batch_kl"),
        ({"selection": 80}, "'selection' is 80.*percentile"),
        ({"selection": {"kind": "best"}}, "no kind 'best'"),
        ({"negatives": "hard"}, "'negatives' is 'hard'.*in-batch"),
        ({"pooling": "max"}, "'pooling' is 'max'; use one of mean, cls"),
        ({"layer_norm": "both"}, "'layer_norm' is 'both'"),
    ],
)
def test_faults_are_named(values, message):
    with pytest.raises(DiscoError, match=message):
        DenseSettings.from_dict(values)
