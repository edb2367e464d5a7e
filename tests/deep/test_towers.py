"""Towers: rows stand alone, padding never counts, attention selects."""

import pytest
import torch

from cca_estimators.deep.towers import (
    AttentionOverSteps,
    ConvolutionTower,
    DenseSteps,
    MLPTower,
    RecurrentTower,
    SequenceTower,
    StepNorm,
    n_of_share,
    quarters,
    reversed_steps,
)

SEQUENTIAL = ["dense", "attention", "convolution", "gru", "lstm"]


def make_tower(kind):
    torch.manual_seed(0)
    if kind == "mlp":
        return MLPTower(24, (9, 7), 3, dropout=0.2)
    if kind == "convolution":
        return ConvolutionTower(4, 8, MLPTower(32, (9,), 3), dropout=0.2)
    if kind in ("gru", "lstm"):
        return RecurrentTower(4, 8, MLPTower(64, (9,), 3), cell=kind, dropout=0.2)
    summary = DenseSteps(8, 5, 6) if kind == "dense" else AttentionOverSteps(8, 2)
    top = MLPTower(30 if kind == "dense" else 16, (9,), 3)
    return SequenceTower(4, 8, 2, summary, top, dropout=0.2)


def without_dropout(tower):
    for layer in tower.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
        elif isinstance(layer, torch.nn.LSTM):
            layer.dropout = 0.0


@pytest.fixture
def rows():
    return torch.randn(11, 6, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["mlp", *SEQUENTIAL])
def test_a_row_does_not_depend_on_its_batch(kind, rows):
    tower = make_tower(kind)
    tower.train()(rows)
    tower.eval()
    torch.testing.assert_close(tower(rows)[3:4], tower(rows[3:4]))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_padded_steps_never_count(kind, rows, training):
    tower = make_tower(kind).train(training)
    without_dropout(tower)
    short = rows[:, :4]
    padded = torch.cat([short, torch.full((11, 2, 4), torch.nan)], dim=1)
    torch.testing.assert_close(tower(padded), tower(short))
    ragged = rows.clone()
    ragged[2, 3:] = torch.nan
    if not training:  # in training, the batch statistics differ
        torch.testing.assert_close(tower(ragged)[2:3], tower(rows[2:3, :3]))
        assert (tower(ragged)[2] - tower(rows)[2]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_padding_changes_no_gradient_and_no_statistic(kind, rows):
    towers = []
    for n_padded in (0, 2):
        tower = make_tower(kind).train().double()
        without_dropout(tower)
        padding = torch.full((11, n_padded, 4), torch.nan)
        tower(torch.cat([rows[:, :4], padding], dim=1).double()).square().sum().backward()
        towers.append(tower)
    torch.testing.assert_close(towers[1].state_dict(), towers[0].state_dict())
    gradients = ([weights.grad for weights in tower.parameters()] for tower in towers)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_rows_without_steps_are_sequences_of_one(kind, rows):
    tower = make_tower(kind).eval()
    torch.testing.assert_close(tower(rows[:, 0]), tower(rows[:, :1]))


@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_a_row_of_padding_alone_is_finite(kind, rows):
    rows[0] = torch.nan
    output = make_tower(kind).train()(rows)
    output.sum().backward()
    assert torch.isfinite(output).all()


def test_too_many_steps_are_refused(rows):
    with pytest.raises(ValueError, match="has 7 steps, but the longest in fit had 6"):
        make_tower("dense")(torch.cat([rows, rows[:, :1]], dim=1))


def test_attention_selects_the_highest_scores_in_their_order(rows):
    attention = AttentionOverSteps(4, 2).eval()
    real = torch.ones(11, 6, dtype=bool)
    real[0, 1:] = False
    steps, weights = attention.select(attention.weights(rows, real), real)
    highest = attention.score(rows).squeeze(2)[1:].topk(2, dim=1).indices.sort(dim=1).values
    assert torch.equal(steps[1:], highest)
    torch.testing.assert_close(weights.sum(dim=1), torch.full((11,), 2.0))
    expected = torch.cat(
        [rows[1:].gather(1, highest[:, [i, i]][:, :1, None].expand(-1, -1, 4)) for i in (0, 1)], 1
    )
    summary = attention(rows, real).reshape(11, 2, 4)
    torch.testing.assert_close(summary[1:], expected * weights[1:, :, None])
    assert not summary[0, 1].any()


@pytest.mark.parametrize(
    ("share", "length", "n"), [(0.5, 6, 3), (0.5, 5, 3), (0.5, 4, 2), (0.7, 6, 5), (1, 4, 4)]
)
def test_attention_selects_a_share_of_the_true_length(rows, share, length, n):
    attention = AttentionOverSteps(4, int(n_of_share(share, 6)), share).eval()
    real = (torch.arange(6) < length).expand(11, 6)
    weights = attention.weights(rows, real)
    steps, selected = attention.select(weights, real)
    assert ((selected > 0).sum(dim=1) == n).all()
    assert (selected[:, :n] > 0).all()
    highest = weights.topk(n, dim=1).indices.sort(dim=1).values
    assert torch.equal(steps[:, :n], highest)


def test_a_share_is_rounded_up_but_not_by_rounding_errors():
    shares = [(0.7, 10, 7), (0.1, 30, 3), (0.5, 7, 4), (1.0, 9, 9), (0.01, 5, 1)]
    for share, n_steps, expected in shares:
        assert n_of_share(share, n_steps) == expected
        assert n_of_share(share, torch.tensor(n_steps)).item() == expected


def test_attention_learns_through_steps_left_out(rows):
    attention = AttentionOverSteps(4, 1).train()
    real = torch.ones(11, 6, dtype=bool)
    weights = attention.weights(rows, real)
    weights.retain_grad()
    _, selected = attention.select(weights, real)
    torch.testing.assert_close(selected.detach(), torch.ones(11, 1))
    selected.sum().backward()
    assert attention.score[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("training", [True, False])
def test_step_norm_is_batch_normalisation_of_the_real_steps(rows, training):
    rows = rows.double()
    real = torch.arange(6) < torch.randint(1, 7, (11, 1), generator=torch.manual_seed(0))
    ours, reference = StepNorm(4).double(), torch.nn.BatchNorm1d(4).double()
    reference.load_state_dict(ours.state_dict())
    for norm in (ours, reference):
        norm.train(training)
    normed = ours(rows, real)
    torch.testing.assert_close(normed[real], reference(rows[real]))
    torch.testing.assert_close(ours.state_dict(), reference.state_dict())


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6])
def test_quarters_are_those_of_the_true_length(rows, length):
    real = (torch.arange(6) < length).expand(11, 6)
    expected = torch.nn.functional.adaptive_avg_pool1d(rows[:, :length].mT, 4).mT.flatten(1)
    torch.testing.assert_close(quarters(rows, real), expected)


def test_only_the_real_steps_are_reversed(rows):
    real = torch.ones(11, 6, dtype=bool)
    real[1, 4:] = False
    turned = reversed_steps(rows, real)
    assert torch.equal(turned[0], rows[0].flip(0))
    assert torch.equal(turned[1], torch.cat([rows[1, :4].flip(0), rows[1, 4:]]))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_recurrent_states_are_those_of_pytorch_in_both_directions(rows, kind):
    tower = make_tower(kind).eval()
    tower.top = torch.nn.Identity()
    reference = type(tower.forwards)(4, 8, batch_first=True, bidirectional=True)
    states = {name: value for name, value in tower.forwards.state_dict().items()}
    back = tower.backwards.state_dict()
    states |= {f"{name}_reverse": value for name, value in back.items()}
    reference.load_state_dict(states)
    short = rows[:, :5]
    padded = torch.cat([short, torch.full((11, 1, 4), torch.nan)], dim=1)
    real = torch.ones(11, 5, dtype=bool)
    expected = quarters(reference(tower.norm(short, real))[0], real)
    torch.testing.assert_close(tower(padded), expected)


@pytest.mark.parametrize("kind", ["convolution", "gru", "lstm"])
def test_the_order_of_the_steps_survives_pooling(rows, kind):
    tower = make_tower(kind).eval()
    assert (tower(rows) - tower(rows.flip(1))).abs().max() > 1e-3
