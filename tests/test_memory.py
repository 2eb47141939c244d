"""What autograd keeps, against cases where it is known."""

import torch

from disco_lib.memory import kept_for_backward


def test_a_product_keeps_its_other_factor_once():
    x = torch.randn(1000, requires_grad=True)
    fixed = torch.randn(1000)
    assert kept_for_backward(lambda: (x * fixed).sum(), [x]) == 4000
    # Both results need the same factor: it is one piece of memory.
    assert kept_for_backward(lambda: (x * fixed + x * fixed[:500].repeat(2)).sum(), [x]) == 8000


def test_parameters_do_not_count_but_what_is_made_from_them_does():
    weight = torch.randn(20, 30, requires_grad=True)
    rows = torch.randn(7, 30)
    assert kept_for_backward(lambda: torch.nn.functional.linear(rows, weight), [weight]) == 840
    assert kept_for_backward(lambda: (weight.exp() * 2).sum(), [weight]) == 2400


def test_nothing_is_kept_without_a_graph():
    x = torch.randn(10)
    assert kept_for_backward(lambda: (x * x).sum(), []) == 0
