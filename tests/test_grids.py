import pytest

from disco_lib.distil_settings import DistilSettings
from disco_lib.errors import DiscoError
from disco_lib.grids import expand, value_text
from disco_lib.sampling_arms import MixtureSampler, TopSampler, UniformSampler

SHARED = {"objective": {"kl_divergence": 1.0, "l1": 0.5}, "sampler": {"start": 0, "end": 200}}
SYSTEMS = {
    "student": {"run": "student", "teachers": ["gold"], "label": "A student"},
    "mean": {"run": "student", "teachers": ["gold", "hqe"]},
    "contrast": {"run": "student", "teachers": ["gold"], "objective": {"info_nce": 1.0}},
}


def grid(**fields):
    return expand("g", {"base": "student", **fields}, SYSTEMS, SHARED)


def test_each_value_is_a_system_that_differs_in_one_setting():
    names, new = grid(vary="objective.l1", values=[0, 0.001], label="L1 {value}")
    assert names == {"0": "g-0", "0.001": "g-0.001"}
    assert new["g-0.001"] == {
        "run": "student", "teachers": ["gold"], "label": "L1 0.001",
        "objective": {"kl_divergence": 1.0, "l1": 0.001},
    }  # fmt: skip
    assert SHARED["objective"]["l1"] == 0.5 and "objective" not in SYSTEMS["student"]


def test_a_value_that_is_there_already_is_not_a_new_system():
    names, new = grid(vary="objective.l1", values=[0.5, 0.7])
    assert names == {"0.5": "student", "0.7": "g-0.7"} and set(new) == {"g-0.7"}
    names, new = grid(vary="teachers", values=[["gold"], ["gold", "hqe"], ["hqe"]])
    assert names == {"gold": "student", "gold+hqe": "mean", "hqe": "g-hqe"}
    assert grid(vary="missing", values=["rescore", "zero"])[0]["rescore"] == "student"


def test_several_settings_vary_together_under_a_name():
    names, new = grid(
        vary=["sampler.start", "sampler.end"], values={"the top": [0, 32], "recipe": [10, 960]}
    )
    assert names == {"the top": "g-the-top", "recipe": "g-recipe"}  # it is a file's name too
    assert new["g-recipe"]["sampler"] == {"start": 10, "end": 960}


def test_an_option_of_a_bare_weight_keeps_the_weight():
    _, new = expand(
        "g", {"base": "contrast", "vary": "objective.info_nce.temperature", "values": [0.05]},
        SYSTEMS, SHARED,
    )  # fmt: skip
    assert new["g-0.05"]["objective"] == {"info_nce": {"weight": 1.0, "temperature": 0.05}}


def test_samplers_vary_by_one_setting_or_as_a_whole():
    names, new = grid(vary="sampler.negatives", values=[1, 70])
    assert new["g-70"]["sampler"] == {"start": 0, "end": 200, "negatives": 70}
    parts = [{"kind": "top", "negatives": 8}, {"kind": "uniform", "negatives": 8}]
    whole = {
        "window": {"start": 0, "end": 200},
        "top": {"kind": "top", "negatives": 16},
        "mixture": {"kind": "mixture", "parts": parts},
    }
    names, new = grid(vary="sampler", values=whole)
    assert names == {"window": "student", "top": "g-top", "mixture": "g-mixture"}
    # Nothing of the shared window is left.
    assert new["g-top"]["sampler"] == whole["top"]
    made = DistilSettings.from_dict({"sampler": new["g-mixture"]["sampler"]}).sampler
    assert made == MixtureSampler((TopSampler(8), UniformSampler(8)))
    _, new = grid(vary="objective.kl_divergence.documents", values=["batch"])
    kl = {"weight": 1.0, "documents": "batch"}
    assert new["g-batch"]["objective"] == {"kl_divergence": kl, "l1": 0.5}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"vary": "teachers"}, "lacks 'values'"),
        ({"vary": "teachers", "values": [], "steps": 3}, "no field 'steps'"),
        ({"base": "gone", "vary": "teachers", "values": []}, "there are: student, mean"),
        ({"vary": ["a", "b"], "values": [[1]]}, "does not fit a, b"),
        ({"vary": ["a", "b"], "values": [1]}, "does not fit a, b"),
    ],
)
def test_a_grid_that_cannot_be_read_is_told(fields, named):
    with pytest.raises(DiscoError, match=named):
        grid(**fields)


def test_values_have_short_texts():
    assert [value_text(v) for v in (0.001, 5e-05, 3, True, False, "zero", ["a", "b"])] == [
        "0.001", "5e-05", "3", "on", "off", "zero", "a+b",
    ]  # fmt: skip


def test_a_grid_of_unlike_values_says_what_each_changes():
    grid = {
        "base": "a",
        "values": {"long": {"steps": 9}, "hard": {"objective.l1": 1, "seeds": [1]}},
    }
    names, new = expand("tries", grid, {"a": {"run": "student"}}, {"objective": {"kl": 1.0}})
    assert names == {"long": "tries-long", "hard": "tries-hard"}
    assert new["tries-long"] == {"run": "student", "steps": 9, "label": "tries long"}
    assert new["tries-hard"]["objective"] == {"kl": 1.0, "l1": 1}
    assert new["tries-hard"]["seeds"] == [1]


def test_a_value_that_changes_nothing_known_is_told():
    grid = {"base": "a", "values": [3]}
    with pytest.raises(DiscoError, match="value 3 says no setting"):
        expand("tries", grid, {"a": {"run": "student"}}, {})
