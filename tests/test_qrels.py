from ranx import Run, evaluate

from disco_lib.qrels import qrels_from_dict


def test_judgements_are_given_back_as_they_were():
    judged = {"q1": {"aa": 2, "bb": 0}, "q2": {"cc": 1}}
    qrels = qrels_from_dict(judged, "some")
    assert (qrels.to_dict(), len(qrels), qrels.name) == (judged, 2, "some")
    qrels.to_dict()["q1"]["aa"] = 7
    assert qrels.to_dict() == judged


def test_ranx_computes_with_them():
    qrels = qrels_from_dict({"q1": {"aa": 2, "bb": 0}, "q2": {"cc": 1}})
    run = Run({"q1": {"bb": 2.0, "aa": 1.0}, "q2": {"cc": 1.0}})
    assert evaluate(qrels, run, "mrr") == 0.75
    # What is changed there counts from then on.
    qrels.add_score("q2", "aa", 1)
    assert qrels.to_dict()["q2"] == {"cc": 1, "aa": 1}
    assert len(qrels) == 2


def test_judgements_may_be_empty():
    qrels = qrels_from_dict({})
    assert (len(qrels), qrels.to_dict()) == (0, {})
    assert len(qrels.keys()) == 0
