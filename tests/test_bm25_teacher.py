import pytest

from disco_lib.bm25 import bm25_search
from disco_lib.bm25_teacher import teach_bm25
from disco_lib.datasets import load
from disco_lib.errors import DiscoError


@pytest.fixture
def collection(collection_folder):
    return load(collection_folder)


def test_the_run_holds_bm25s_best_passages_and_scores(collection):
    run = teach_bm25(collection, "train", "gold", 10)
    turns = {turn.turn_id: turn for turn in collection.iter_turns("train")}
    assert run.queries is None and 0 < len(run) <= len(turns)
    turn = run.turn_ids[3]
    expected = bm25_search(
        collection.passage_texts(), collection.pids, [turns[turn].rewrites["gold"]], [turn], 10
    ).to_dict()[turn]
    documents, scores = run.ranking(3)
    found = {run.pids[d]: s for d, s in zip(documents, scores, strict=True)}
    assert found == pytest.approx(expected, rel=1e-5)
    assert (scores[:-1] >= scores[1:]).all()


def test_a_run_of_it_is_kept_and_read_again(collection, tmp_path):
    run = teach_bm25(collection, "train", "gold", 5)
    run.save(tmp_path / "run")
    again = run.load(tmp_path / "run", collection.pids)
    assert again.turn_ids == run.turn_ids and (again.documents == run.documents).all()


def test_a_rewrite_that_no_turn_has_is_told(collection):
    with pytest.raises(DiscoError, match="No turn of 'train' has the rewrite 'nobody'"):
        teach_bm25(collection, "train", "nobody", 5)
