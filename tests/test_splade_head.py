import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from disco_lib import splade_head
from disco_lib.splade_head import active_entries, splade_max


def naive(hidden, mask, weight, bias):
    """Return the head as its formula says: every logit, then the maximum over real positions."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return (torch.log1p(torch.relu(logits)) * mask.unsqueeze(-1)).amax(dim=1)


def problem(batch=3, length=5, width=4, vocabulary=40, seed=0, shift=0.0, bias=True, left=False):
    """Draw float64 inputs with padding: text i keeps a random number of positions, from 1."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (batch, 1), generator=draw)
    mask = (torch.arange(length) < lengths).long()
    sizes = [(batch, length, width), (vocabulary, width), (vocabulary,)]
    hidden, weight, offset = (
        torch.randn(size, generator=draw, dtype=torch.float64, requires_grad=True) for size in sizes
    )
    with torch.no_grad():
        offset += shift
        # What stands behind the padding must not matter, however large it is.
        hidden[mask == 0] *= 100
    return hidden, (mask.flip(1) if left else mask), weight, (offset if bias else None)


def gradients(head, inputs, seed=1):
    """Return the value and the gradients of a random weighting of it."""
    hidden, mask, weight, bias = inputs
    value = head(hidden, mask, weight, bias)
    factor = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
    leaves = [t for t in (hidden, weight, bias) if t is not None]
    return [value, *torch.autograd.grad((value * factor).sum(), leaves, materialize_grads=True)]


def assert_same(inputs):
    for found, expected in zip(
        gradients(splade_max, inputs), gradients(naive, inputs), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 9), st.integers(1, 8), st.integers(1, 70),
    st.integers(0, 10_000), st.sampled_from([-6.0, -2.0, 0.0, 3.0]), st.booleans(),
)  # fmt: skip
@example(1, 1, 1, 1, 0, -6.0, True)
def test_value_and_gradient_are_the_naive_ones(batch, length, width, vocabulary, seed, shift, bias):
    assert_same(problem(batch, length, width, vocabulary, seed, shift, bias))


@pytest.mark.parametrize("size", [1, 7, 39, 40, 41])
def test_the_vocabulary_may_be_sliced_anywhere(monkeypatch, size):
    monkeypatch.setattr(splade_head, "VOCABULARY_SLICE", size)
    assert_same(problem())


def test_padding_may_stand_on_the_left():
    assert_same(problem(left=True, shift=-1.0))


def test_a_text_without_an_active_entry_is_zero_and_learns_nothing():
    inputs = problem(shift=-1000.0)
    value, *slopes = gradients(splade_max, inputs)
    assert not value.any() and not any(slope.any() for slope in slopes)
    assert value.requires_grad


def test_a_text_of_padding_alone_is_zero():
    hidden, mask, weight, bias = problem(shift=3.0)
    mask[1] = 0
    assert_same((hidden, mask, weight, bias))
    assert not splade_max(hidden, mask, weight, bias)[1].any()
    with torch.no_grad():
        assert not splade_max(hidden, mask, weight, bias)[1].any()


def test_the_value_is_the_same_with_and_without_a_graph():
    inputs = problem(shift=-1.0)
    with torch.no_grad():
        plain = splade_max(*inputs)
    assert not plain.requires_grad
    torch.testing.assert_close(plain, splade_max(*inputs).detach(), atol=1e-12, rtol=0)


def test_gradient_against_finite_differences():
    hidden, mask, weight, bias = problem(2, 3, 2, 6, seed=4)
    assert torch.autograd.gradcheck(
        lambda h, w, b: splade_max(h, mask, w, b), (hidden, weight, bias)
    )


def test_active_entries_and_their_positions():
    # Two positions of width 1 and a padded one; three entries of weight 1, -1, 0, bias 0, 0, -5:
    # logits 2, -2, -5 at position 0, and 3, -3, -5 at position 1.
    hidden = torch.tensor([[[2.0], [3.0], [90.0]]])
    mask = torch.tensor([[1, 1, 0]])
    weight, bias = torch.tensor([[1.0], [-1.0], [0.0]]), torch.tensor([0.0, 0.0, -5.0])
    text, entry, position = active_entries(hidden, mask, weight, bias)
    assert (text.tolist(), entry.tolist(), position.tolist()) == ([0], [0], [1])
    # log(1 + 3)
    found = splade_max(hidden, mask, weight, bias)
    assert found.tolist() == [[pytest.approx(1.3862944), 0.0, 0.0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10_000), st.sampled_from([1e-3, 1.0, 30.0]))
def test_a_coarse_first_step_loses_no_entry(width, seed, scale):
    hidden, mask, weight, bias = (
        t if t.dtype == torch.int64 else (t.detach() * scale).float()
        for t in problem(4, 7, width, 300, seed)
    )
    exact = active_entries(hidden, mask, weight, bias, torch.float32)
    coarse = active_entries(hidden, mask, weight, bias, torch.bfloat16)
    assert [t.tolist() for t in coarse] == [t.tolist() for t in exact]


def test_a_logit_that_rounding_to_bfloat16_would_make_negative_is_kept():
    # 1.003 - 1 > 0, but to the nearest bfloat16 both factors are 1.
    hidden = torch.tensor([[[1.003, 1.0]]])
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert hidden.bfloat16()[0, 0].tolist() == [1.0, 1.0]
    text, entry, _ = active_entries(hidden, torch.tensor([[1]]), weight, None, torch.bfloat16)
    assert (text.tolist(), entry.tolist()) == ([0], [0])


def test_not_a_number_is_not_hidden_as_an_empty_vector():
    hidden, mask, weight, bias = problem()
    hidden = hidden.detach().clone()
    hidden[0, 0] = torch.nan
    for head in (naive, splade_max):
        assert torch.isnan(head(hidden, mask, weight, bias)[0]).all()
        assert not torch.isnan(head(hidden, mask, weight, bias)[1:]).any()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 8.0]),
    st.sampled_from([-8.0, -1.0, 0.0, 2.0]),
)  # fmt: skip
def test_a_coarse_first_step_loses_no_entry_beside_a_large_bias(width, seed, scale, shift):
    hidden, mask, weight, bias = (
        t if t.dtype == torch.int64 else t.detach().float()
        for t in problem(4, 7, width, 300, seed, shift)
    )
    # A bias that all but cancels the product at the best position: the sign hangs on rounding.
    best = torch.nn.functional.linear(hidden[0, :1] * scale, weight)[0]
    bias = torch.where(torch.arange(300) % 2 == 0, 1e-4 * (1 + best.abs()) - best, bias * scale)
    exact = active_entries(hidden * scale, mask, weight, bias, torch.float32)
    coarse = active_entries(hidden * scale, mask, weight, bias, torch.bfloat16)
    assert len(exact[0]) and [t.tolist() for t in coarse] == [t.tolist() for t in exact]


def test_not_a_number_is_not_lost_in_bfloat16_either():
    hidden, mask, weight, bias = (
        t if t.dtype == torch.int64 else t.detach().float() for t in problem(shift=-100.0)
    )
    for sign in (1.0, -1.0):
        hidden[0, 0] = sign * torch.nan
        text, _, _ = active_entries(hidden, mask, weight, bias, torch.bfloat16)
        assert (text == 0).sum() == weight.shape[0] and not (text > 0).any()


def test_the_graph_keeps_only_active_entries():
    batch, length, vocabulary, width = 4, 30, 5000, 8
    hidden, mask, weight, bias = problem(batch, length, width, vocabulary, shift=-9.0)
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        vectors = splade_max(hidden, mask, weight, bias)
    active = int((vectors > 0).sum())
    assert 0 < active < batch * vocabulary / 4
    # Rows of both factors of the dot products, or the two matrices themselves.
    assert max(sizes) <= max(active * width, vocabulary * width)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        sizes.clear()
        naive(hidden, mask, weight, bias)
    assert max(sizes) == batch * length * vocabulary, "the measuring itself does not work"
