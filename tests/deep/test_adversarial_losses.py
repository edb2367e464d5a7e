"""Adversarial and hashing losses against closed forms, enumeration and finite differences."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cca_estimators.deep.losses.adversarial import (
    covariance_loss,
    critic_loss,
    gradient_reversal,
    modality_loss,
    pair_distance,
    reversal_scale,
    variance_loss,
)
from cca_estimators.deep.losses.hashing import (
    code_map_loss,
    policy_gradient_loss,
    quantisation_loss,
    ranking_hinges,
    saturation_loss,
    update_code_map,
)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def x():
    return torch.randn(7, 4, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def y():
    return torch.randn(7, 4, dtype=torch.float64, requires_grad=True)


LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 2])
CODE_MAP = torch.tensor([[1, 1, -1, 1], [-1, 1, 1, -1], [1, -1, 1, 1]], dtype=torch.float64)
OF_ONE = {
    "variance": variance_loss,
    "covariance": covariance_loss,
    "quantisation": quantisation_loss,
    "saturation": saturation_loss,
    "code map": lambda x: code_map_loss(x, CODE_MAP, LABELS[: len(x)]),
}
OF_TWO = {
    "modality": modality_loss,
    "pairs": pair_distance,
    "hinges": lambda x, y: ranking_hinges(x, y, y.flip(0), 2.0).mean(),
}


@pytest.mark.parametrize("name", OF_ONE)
def test_gradients_of_one_view(name, x):
    assert torch.autograd.gradcheck(OF_ONE[name], x)


@pytest.mark.parametrize("name", OF_TWO)
def test_gradients_of_two_views(name, x, y):
    assert torch.autograd.gradcheck(OF_TWO[name], (x, y))


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
def test_constant_outputs_and_single_rows_stay_finite(name, value, n):
    rows = torch.full((n, 4), value, dtype=torch.float64, requires_grad=True)
    loss = OF_ONE[name](rows) if name in OF_ONE else OF_TWO[name](rows, rows)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rows.grad).all()


def test_reversal_turns_the_gradient_around(x):
    (plain,) = torch.autograd.grad(x.sin().sum(), x)
    reversed_ = gradient_reversal(x, 0.3)
    (turned,) = torch.autograd.grad(reversed_.sin().sum(), x)
    torch.testing.assert_close(reversed_, x)
    torch.testing.assert_close(turned, -0.3 * plain)


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.5, 1.0])
def test_reversal_scale_is_the_authors_schedule(progress):
    expected = 2 / (1 + math.exp(-10 * progress)) - 1
    assert reversal_scale(progress) == pytest.approx(expected, abs=1e-15)


def test_adversary_behind_a_reversal_makes_views_alike():
    """What tells the views apart, a shift of one feature, is what the projection gives up."""
    views = torch.randn(2, 400, 3)
    views[1, :, 0] += 4.0
    projection = nn.Linear(3, 2, bias=False)
    critic = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))

    def gap():
        means = projection(views).mean(dim=1)
        return (means[0] - means[1]).norm() / projection(views).std()

    before = gap()
    optimizer = torch.optim.Adam([*projection.parameters(), *critic.parameters()], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        modality_loss(*critic(gradient_reversal(projection(views)))).backward()
        optimizer.step()
    assert gap() < 0.2 * before


def test_modality_loss_is_a_log_loss(x, y):
    expected = F.binary_cross_entropy_with_logits(
        torch.cat([x, y]), torch.cat([torch.ones_like(x), torch.zeros_like(y)])
    )
    torch.testing.assert_close(modality_loss(x, y), expected)


def test_modality_loss_of_sure_classifiers():
    assert modality_loss(torch.tensor([1e4]), torch.tensor([-1e4])) == 0
    assert modality_loss(torch.tensor([-1e4]), torch.tensor([1e4])) == 1e4


def test_spread_losses_against_numpy(x):
    rows = x.detach().numpy()
    covariance = np.cov(rows.T, bias=True)
    deviations = np.sqrt(covariance.diagonal() + 1e-4)
    expected = np.maximum(0.9 - deviations, 0).mean()
    assert variance_loss(x, 0.9).item() == pytest.approx(expected)
    off_diagonal = covariance - np.diag(covariance.diagonal())
    assert covariance_loss(x).item() == pytest.approx((off_diagonal**2).sum() / 4)


@pytest.mark.parametrize("slope", [0.0, 0.5, 3.0])
def test_critic_loss_of_a_linear_critic(x, y, slope):
    direction = slope * torch.tensor([0.6, 0, 0.8, 0], dtype=torch.float64)
    loss = critic_loss(lambda rows: rows @ direction, x, y, penalty=7.0)
    expected = (y - x).mean(dim=0) @ direction + 7.0 * (slope - 1) ** 2
    torch.testing.assert_close(loss, expected)
    assert not loss.requires_grad  # towers do not learn from it


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_critic_learns_from_its_penalty(x, y, shape):
    """For D(z) = w |z|^2 / 2 the slope at z is w z, and the penalty a quadratic of w."""
    weight = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    share = torch.rand(7, 1, dtype=torch.float64)
    lengths = torch.lerp(y, x, share).detach().norm(dim=1)
    torch.manual_seed(1)
    loss = critic_loss(lambda rows: (weight * rows.square().sum(1) / 2).reshape(shape), x, y)
    loss.backward()
    gaps = (y.square() - x.square()).sum(dim=1).mean() / 2
    expected = gaps + 20 * ((1.3 * lengths - 1) * lengths).mean()
    torch.testing.assert_close(weight.grad, expected.detach())


def test_a_dead_critic_stays_finite(x, y):
    critic = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    critic[0].bias.data[:] = -1e3
    loss = critic_loss(critic, x, y)
    loss.backward()
    assert loss.item() == pytest.approx(10.0)
    assert all(torch.isfinite(weight.grad).all() for weight in critic.parameters())


def test_quantisation_loss_is_the_distance_to_the_bits(x):
    expected = torch.minimum((x - 1) ** 2, (x + 1) ** 2).mean()
    torch.testing.assert_close(quantisation_loss(x), expected)


def test_saturation_turns_codes_to_the_corners():
    h = torch.tensor([[0.1, -0.7, 0.4]], requires_grad=True)
    optimizer = torch.optim.SGD([h], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        saturation_loss(h).backward()
        optimizer.step()
    magnitudes = h.detach().abs()
    torch.testing.assert_close(magnitudes / magnitudes.mean(), torch.ones(1, 3), rtol=1e-3, atol=0)
    assert (h.sign() == torch.tensor([[1, -1, 1]])).all()


def objective(code_map, codes):
    return code_map_loss(codes, code_map, LABELS).item()


def test_code_map_loss_against_loops(x):
    terms = [
        ((row @ code).item() - 4 * (1 if label == c else -1)) ** 2
        for row, label in zip(x, LABELS, strict=True)
        for c, code in enumerate(CODE_MAP)
    ]
    assert code_map_loss(x, CODE_MAP, LABELS).item() == pytest.approx(np.mean(terms))


def test_each_step_on_the_code_map_is_the_best_of_all_values(x):
    """One bit: a sweep is one step, compared with every value of the bit in all classes."""
    for bit in range(4):
        order = [bit, *(other for other in range(4) if other != bit)]
        codes, code_map = x.detach()[:, order], CODE_MAP[:, order]
        stepped = code_map.clone()
        stepped[:, 0] = update_code_map(code_map, codes, LABELS)[:, 0]
        candidates = []
        for values in itertools.product([-1.0, 1.0], repeat=3):
            candidate = code_map.clone()
            candidate[:, 0] = torch.tensor(values)
            candidates.append(objective(candidate, codes))
        assert objective(stepped, codes) == pytest.approx(min(candidates), rel=1e-12)


def test_sweeps_lower_the_objective_to_a_fixed_point(x):
    codes = x.detach().sign()
    code_map, previous = torch.ones(3, 4, dtype=torch.float64), torch.inf
    for _ in range(10):
        code_map = update_code_map(code_map, codes, LABELS)
        assert objective(code_map, codes) <= previous + 1e-12
        previous = objective(code_map, codes)
    torch.testing.assert_close(update_code_map(code_map, codes, LABELS), code_map)
    assert set(code_map.unique().tolist()) <= {-1.0, 1.0}


def test_sweeps_find_the_codes_of_separated_classes():
    """Orthogonal class codes reach their bound: (K - K)^2 at the class, (0 + K)^2 elsewhere."""
    truth = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]])
    codes = truth[LABELS]
    start = torch.tensor([[1.0, 1, 1, -1], [1, -1, -1, -1], [-1, 1, -1, -1]])
    swept = start
    for _ in range(5):
        swept = update_code_map(swept, codes, LABELS)
    maps = itertools.product([-1.0, 1.0], repeat=12)
    best = min(objective(torch.tensor(values).reshape(3, 4), codes) for values in maps)
    assert objective(swept, codes) == pytest.approx(best)


def test_a_code_map_does_not_change_in_place(x):
    before = CODE_MAP.clone()
    update_code_map(CODE_MAP, x.detach(), LABELS)
    torch.testing.assert_close(CODE_MAP, before)


def test_ranking_hinges_against_loops(x, y):
    negatives = torch.randn(7, 5, 4, dtype=torch.float64)
    hinges = ranking_hinges(x[:, None], y[:, None], negatives, 0.5)
    expected = [
        [max(0.0, (0.5 + (q - p) @ (q - p) - (q - n) @ (q - n)).item()) for n in drawn]
        for q, p, drawn in zip(x, y, negatives, strict=True)
    ]
    torch.testing.assert_close(hinges, torch.tensor(expected, dtype=torch.float64))
    assert (hinges > 0).any()
    assert (hinges == 0).any()


def test_policy_gradient_is_unbiased():
    """The mean over all possible pairs of draws, weighted by their probability, is exact."""
    scores = torch.tensor([[0.3, -1.0, 0.8]], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([1.0, 4.0, -2.0], dtype=torch.float64)
    probabilities = scores.softmax(dim=1)[0]
    (expected,) = torch.autograd.grad(-(probabilities @ rewards), scores, retain_graph=True)
    mean = torch.zeros_like(scores)
    for pair in itertools.product(range(3), repeat=2):
        drawn = torch.tensor([pair])
        loss = policy_gradient_loss(scores, drawn, rewards[drawn])
        (gradient,) = torch.autograd.grad(loss, scores)
        mean += probabilities[list(pair)].prod().detach() * gradient
    torch.testing.assert_close(mean, expected)


def test_equal_rewards_teach_nothing():
    scores = torch.randn(3, 6, requires_grad=True)
    drawn = torch.randint(6, (3, 2))
    policy_gradient_loss(scores, drawn, torch.full((3, 2), 0.7)).backward()
    assert scores.grad.abs().max() < 1e-7


def test_policy_gradient_of_a_single_draw_takes_the_reward_itself():
    scores = torch.zeros(1, 2, requires_grad=True)
    policy_gradient_loss(scores, torch.tensor([[1]]), torch.tensor([[2.0]])).backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[1.0, -1.0]]))
