from dataclasses import dataclass, replace

import pytest

from disco_lib import fresh_rewrites
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.fresh_rewrites import FRESH, rewriter_settings, rewritten
from disco_lib.tiers import Tier, load_tier

SYSTEM = {"run": "rewriter", "model": "smollm2", "prompt": "disco", "max_new_tokens": 7}


@dataclass
class Shouting:
    """A rewriter that writes the utterance in capitals."""

    prompt: str
    max_new_tokens: int = 1

    def settings(self):
        return {"prompt": self.prompt, "max_new_tokens": self.max_new_tokens}

    def prompt_of(self, turn):
        return turn.utterance

    def order(self, turns):
        return list(range(len(turns)))

    def rewrite(self, turns):
        return [turn.utterance.upper() for turn in turns]

    def finish(self, turn, text):
        return f"{text} {self.max_new_tokens}"


@pytest.fixture(autouse=True)
def model(monkeypatch):
    asked = []

    def load(name, prompt, **limits):
        asked.append((name, prompt, limits))
        return Shouting(prompt, **limits)

    monkeypatch.setattr(fresh_rewrites.LanguageModelRewriter, "from_pretrained", load)
    return asked


@pytest.fixture
def tier(collection_folder, encoder_folder):
    return Tier(
        "tiny", "for tests", str(collection_folder), "train", "test", str(encoder_folder),
        seeds=(1,), depth=20, teacher_depth=20, evaluation={"later_turns": True},
        distil={"limits": {"utterance": 30, "total": 48}, "document_length": 48},
        systems={"fresh": SYSTEM},
    )  # fmt: skip


def test_every_turn_gets_a_rewrite(collection, model):
    turns = list(collection.iter_turns("test"))[:5]
    found = rewritten(turns, SYSTEM, progress=False)
    assert [t.rewrites[FRESH] for t in found] == [f"{t.utterance.upper()} 7" for t in turns]
    assert all(FRESH not in turn.rewrites for turn in turns)
    assert model == [("smollm2", "disco", {"max_new_tokens": 7})]


def test_a_laboratory_searches_with_them(tier):
    laboratory = Laboratory(tier, progress=False)
    turns, queries = laboratory.queries("fresh")
    expected = laboratory.encoder.encode([turn.rewrites[FRESH] for turn in turns], 48)
    assert (abs(queries - expected) > 1e-5).nnz == 0
    assert laboratory.measure("fresh").seeds == ["-"] and tier.llm_calls("fresh") == 1


def test_only_turns_with_other_rewrites_where_asked(tier):
    among = replace(tier, systems={"fresh": {**SYSTEM, "among": ["long"]}})
    turns, _ = Laboratory(among, progress=False).queries("fresh")
    assert all(turn.rewrites["long"].strip() for turn in turns)


def test_a_record_is_found_by_the_prompts_text(tier):
    words = rewriter_settings(SYSTEM)["prompt"]
    assert words["name"] == "disco" and words["examples"]
    zero = replace(tier, systems={"fresh": {**SYSTEM, "prompt": "disco-zero-shot"}})
    settings = [Laboratory(t, progress=False).settings("fresh") for t in (tier, zero)]
    assert settings[0]["prompt"] == words != settings[1]["prompt"]
    with pytest.raises(DiscoError, match="no-such-prompt"):
        rewriter_settings({"prompt": "no-such-prompt"})


def test_the_tiers_ask_for_prompts_that_there_are():
    for name in ("mini", "qrecc"):
        tier = load_tier(name)
        asked = [tier.system(system) for system in tier.grid("prompts").values()]
        shots = [len(rewriter_settings(system)["prompt"]["examples"]) for system in asked]
        assert shots == [0, 1] and all(system["run"] == "rewriter" for system in asked)
        assert not any(system["run"] == "rewriter" for system in tier.systems.values())
