import copy

import pytest

from disco_lib.dense_costs import TRAINING, encoding_flops, training_flops
from disco_lib.dense_head import projection_head


def expected(length, width=16, inner=32, layers=2, projected=0):
    # Products alone: four projections, two of the feed-forward, scores and their use.
    layer = 2 * length * (4 * width * width + 2 * width * inner) + 4 * length * length * width
    return layers * layer + 2 * width * projected


def test_the_count_is_that_of_the_products(dense_encoder):
    found = encoding_flops(dense_encoder, [3, 7, 3])
    assert found.tolist() == [expected(3), expected(7), expected(3)]


def test_fewer_layers_cost_less_and_a_head_a_little_more(dense_encoder):
    one = dense_encoder.first_layers(1)
    assert encoding_flops(one, [5]).tolist() == [expected(5, layers=1)]
    headed = copy.deepcopy(dense_encoder)
    headed.head = projection_head(16, 8)
    assert encoding_flops(headed, [5]).tolist() == [expected(5, projected=8)]


def test_the_encoder_stays_as_it_was(dense_encoder):
    dense_encoder.train()
    before = dense_encoder.model.config._attn_implementation
    encoding_flops(dense_encoder, [4])
    assert dense_encoder.training
    assert dense_encoder.model.config._attn_implementation == before


def test_a_training_counts_every_text_shown_forward_and_backward(dense_encoder):
    queries, documents = [[1] * 3, [1] * 4], [[1] * 6, [1] * 8]
    each = expected(3) + expected(4), expected(6) + expected(8)
    assert training_flops(dense_encoder, queries, documents, 2.5) == pytest.approx(
        TRAINING * 2.5 * sum(each)
    )
    more = training_flops(dense_encoder, queries, documents, 1, negatives=2)
    assert more == pytest.approx(TRAINING * (each[0] + 3 * each[1]))
