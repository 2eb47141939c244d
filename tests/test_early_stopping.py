import math

import torch
from torch import nn

from disco_lib.early_stopping import BestWeights


def moved(model, by):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by


def test_the_weights_of_the_lowest_loss_are_kept():
    torch.manual_seed(0)
    model, best = nn.Linear(3, 2), BestWeights()
    for loss in (2.0, 1.0, 1.5):
        best.see(loss, model)
        if loss == 1.0:
            wanted = model.weight.detach().clone()
        moved(model, 1.0)
    best.restore(model)
    assert best.loss == 1.0 and torch.equal(model.weight, wanted)


def test_what_was_seen_survives_a_checkpoint(tmp_path):
    model, best = nn.Linear(3, 2), BestWeights()
    best.see(0.1, model)
    best.save(tmp_path)
    read = BestWeights.load(tmp_path)
    assert read.loss == 0.1
    assert all(torch.equal(read.weights[name], value) for name, value in best.weights.items())


def test_nothing_seen_is_nothing_written(tmp_path):
    BestWeights().save(tmp_path)
    assert not list(tmp_path.iterdir())
    read, model = BestWeights.load(tmp_path), nn.Linear(3, 2)
    before = model.weight.detach().clone()
    read.restore(model)
    assert read.loss == math.inf and torch.equal(model.weight, before)
