import copy

import numpy as np
import pytest
import torch

from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError
from disco_lib.growth import grow

TEXTS = ["who wrote the second symphony", "a", "why do leaves turn red in autumn, and where"]


@pytest.mark.parametrize(
    "sizes",
    [{"layers": 3}, {"layers": 5}, {"feed_forward": 700}, {"layers": 4, "feed_forward": 1024}],
)
def test_a_grown_encoder_says_the_same(encoder, sizes):
    before = encoder.fingerprint()
    grown = grow(encoder, **sizes)
    a, b = encoder.encode(TEXTS).toarray(), grown.encode(TEXTS).toarray()
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert (a > 0).any() and encoder.fingerprint() == before != grown.fingerprint()
    count = [sum(p.numel() for p in e.model.parameters()) for e in (encoder, grown)]
    assert count[1] > count[0]


def test_the_new_weights_learn(encoder):
    grown = grow(encoder, layers=encoder.model.config.num_hidden_layers + 1, feed_forward=640)
    ids, mask = grown.pad(grown.token_ids(TEXTS, 32))
    grown(ids, mask).sum().backward()
    for layer in grown.model.bert.encoder.layer:
        for part in (layer.attention.output.dense, layer.output.dense):
            assert part.weight.grad.abs().sum() > 0
    new_units = grown.model.bert.encoder.layer[0].output.dense.weight.grad[:, -1]
    assert new_units.abs().sum() > 0


def test_a_grown_encoder_is_saved_and_loaded(encoder, tmp_path):
    grown = grow(encoder, layers=3, feed_forward=640)
    grown.save_pretrained(tmp_path / "grown")
    loaded = SpladeEncoder.from_pretrained(tmp_path / "grown")
    assert loaded.fingerprint() == grown.fingerprint()
    assert (abs(loaded.encode(TEXTS) - grown.encode(TEXTS)) > 1e-5).nnz == 0


def test_the_same_growth_gives_the_same_weights(encoder):
    first, second = (grow(encoder, feed_forward=640) for _ in range(2))
    assert first.fingerprint() == second.fingerprint()


def test_what_cannot_grow_is_told(encoder):
    with pytest.raises(DiscoError, match="num_hidden_layers is . and can grow, not become 0"):
        grow(encoder, layers=0)
    with pytest.raises(DiscoError, match="intermediate_size"):
        grow(encoder, feed_forward=3)
    other = copy.copy(encoder)
    other.model = torch.nn.Linear(2, 2)
    with pytest.raises(DiscoError, match="Only BERT can grow, not Linear"):
        grow(other, layers=3)
