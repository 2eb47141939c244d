from disco_lib.bm25 import bm25_search
from disco_lib.conversations import context_text
def test_x(collection):
    turns=[t for t in collection.iter_turns("test") if t.depth>1]
    run=bm25_search(collection.passage_texts(), collection.pids, [context_text(t,"conversation"," ") for t in turns],[t.turn_id for t in turns],10).to_dict()
    for t in turns[:4]:
        print(t.turn_id, t.positives, context_text(t,"conversation"," ")); print(run.get(t.turn_id))
    assert 0
