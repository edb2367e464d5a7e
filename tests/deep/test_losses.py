"""Losses against closed forms, explicit expansions and loops; gradients by finite differences."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cca_estimators import CCA, CCCA
from cca_estimators.deep.losses import (
    category_correlation_loss,
    category_loss,
    correlation_loss,
    triplet_loss,
)
from cca_estimators.deep.losses import correlation as correlation_module
from cca_estimators.deep.losses import triplets as triplets_module
from cca_estimators.deep.losses.correlation import PRODUCTS, inverse_roots, polar_factor


@pytest.fixture
def outputs():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4))
    y = 0.7 * x @ rng.standard_normal((4, 3)) + rng.standard_normal((40, 3))
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.fixture(params=["LAPACK", "products"])
def form(request, monkeypatch):
    """Let the algebra of the CPU be that of other devices too."""
    if request.param == "products":
        monkeypatch.setattr(correlation_module, "LAPACK", PRODUCTS)


@pytest.fixture(params=["padded", "static"])
def shapes(request, monkeypatch):
    """Let the shapes on the CPU be those of other devices too."""
    if request.param == "static":
        monkeypatch.setattr(triplets_module, "PADDED_ON", set())


@pytest.fixture
def labels():
    return torch.from_numpy(
        np.random.default_rng(1).permutation(np.repeat([0, 1, 2, 5], [20, 12, 7, 1]))
    )


def test_correlation_loss_is_minus_the_canonical_correlations(outputs):
    views = dict(zip("xy", (view.numpy() for view in outputs), strict=True))
    expected = CCA(3, reg=0.05).fit(views).correlations_.sum()
    assert correlation_loss(*outputs, ridge=0.05).item() == pytest.approx(-expected, rel=1e-9)


def test_correlation_loss_of_equal_views_is_minus_their_number(outputs):
    x, _ = outputs
    mixed = x @ torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert correlation_loss(x, mixed, ridge=1e-12).item() == pytest.approx(-4, abs=1e-6)


def test_correlation_loss_in_single_precision_is_formed_in_double(outputs):
    double = correlation_loss(*outputs)
    single = correlation_loss(*(view.float() for view in outputs))
    assert single.item() == pytest.approx(double.item(), abs=1e-6)


def test_covariances_are_formed_in_double_precision(outputs, labels):
    """Of outputs whose squares need more digits than float32 has."""
    single = [1e3 + view.float() for view in outputs]
    for function in (correlation_loss, partial(category_correlation_loss, labels=labels)):
        loss = function(*single)
        assert loss.dtype == torch.float64
        assert loss.item() == function(*(view.double() for view in single)).item()


def test_the_cpu_takes_lapack(outputs, monkeypatch):
    monkeypatch.setattr(correlation_module, "PRODUCTS", None)
    assert torch.isfinite(correlation_loss(*outputs))


@pytest.mark.usefixtures("form")
def test_regular_batches_need_no_ridge(outputs):
    expected = CCA(3, reg=0.0).fit(dict(zip("xy", (view.numpy() for view in outputs), strict=True)))
    loss = correlation_loss(*outputs, ridge=0.0)
    assert loss.item() == pytest.approx(-expected.correlations_.sum(), rel=1e-9)


def test_category_loss_of_a_known_number_of_classes(outputs, labels):
    expected = category_correlation_loss(*outputs, labels)
    for n_classes in (6, 9):  # of which some have no row
        loss = category_correlation_loss(*outputs, labels, n_classes=n_classes)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


SPECTRA = {
    "spread": np.geomspace(1, 1e-5, 10),
    "repeated": np.full(10, 0.7),
    "rank deficient": np.repeat([0.9, 0.0], 5),
    "tiny": np.geomspace(1, 1e-9, 10),
}


def orthogonal(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def roots_of_covariances(shape, condition):
    """Return symmetric roots of two matrices of some condition."""
    q = [orthogonal(n, seed) for seed, n in enumerate(shape)]
    return [v * np.geomspace(1, condition**-0.5, len(v)) @ v.T for v in q]


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("shape", [(10, 10), (12, 10)])
def test_inverse_roots_by_products(shape, condition):
    roots = roots_of_covariances(shape, condition)
    inverse = inverse_roots(*(torch.from_numpy(root @ root) for root in roots), ridge=1 / condition)
    for ours, root in zip(inverse, roots, strict=True):
        np.testing.assert_allclose(ours.numpy() @ root, np.eye(len(root)), atol=1e-7)


@pytest.mark.parametrize("shape", [(10, 10), (12, 10)])
@pytest.mark.parametrize("spectrum", list(SPECTRA))
def test_polar_factor_by_products_is_that_of_the_svd(spectrum, shape):
    values = SPECTRA[spectrum]
    u, v = orthogonal(shape[0], 2)[:, :10], orthogonal(10, 3)
    factor = polar_factor(torch.from_numpy(u * values @ v.T)).numpy()
    seen = values > 1e-6 * values[0]
    in_range = u[:, seen].T @ factor @ v[:, seen]
    np.testing.assert_allclose(in_range, np.eye(seen.sum()), atol=1e-8)
    assert np.linalg.norm(factor, 2) < 1 + 1e-8
    assert np.abs(u[:, values == 0].T @ factor).max(initial=0) < 1e-4
    if spectrum == "rank deficient":
        np.testing.assert_allclose(factor, u[:, seen] @ v[:, seen].T, atol=1e-8)


@pytest.mark.parametrize("ridge", [1e-3, 1e-6])
@pytest.mark.parametrize("spectrum", list(SPECTRA))
def test_products_give_loss_and_gradient_of_lapack(spectrum, ridge, monkeypatch):
    """Batches made from correlations, with outputs in units between 1 and 0.1."""
    basis = np.random.default_rng(0).standard_normal((80, 20))
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    values = SPECTRA[spectrum] * (1 - 1e-3)
    partner = values * basis[:, :10] + np.sqrt(1 - values**2) * basis[:, 10:]
    units = np.geomspace(1, 0.1, 10)
    x, y = (view @ orthogonal(10, 4) * units for view in (basis[:, :10], partner))
    results = []
    for form in (correlation_module.LAPACK, PRODUCTS):
        monkeypatch.setattr(correlation_module, "LAPACK", form)
        inputs = [torch.from_numpy(view).requires_grad_() for view in (x, y)]
        loss = correlation_loss(*inputs, ridge)
        results.append((loss.item(), *torch.autograd.grad(loss, inputs)))
    assert results[1][0] == pytest.approx(results[0][0], abs=1e-6)
    if spectrum in ("spread", "repeated"):  # elsewhere the gradient is not unique
        for ours, theirs in zip(results[1][1:], results[0][1:], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("condition", [1e4, 1e6, 1e8, 1e9])
def test_products_are_as_exact_as_lapack_where_covariances_lose_digits(condition):
    """The gradient in the cross moment, among the singular directions, is to be the identity."""
    roots = roots_of_covariances((10, 10), condition)
    u, v = orthogonal(10, 2), orthogonal(10, 3)
    cross = roots[0] @ (u * np.geomspace(1, 1.1e-6, 10) @ v.T) @ roots[1]
    xx, yy, xy = (
        torch.from_numpy(each) for each in (roots[0] @ roots[0], roots[1] @ roots[1], cross)
    )
    errors = []
    for whiten, polar in (correlation_module.LAPACK, PRODUCTS):
        from_x, from_y = whiten(xx, yy, 1 / condition)
        gradient = from_x.T @ polar(from_x @ xy @ from_y.T) @ from_y
        seen = u.T @ (roots[0] @ gradient.numpy() @ roots[1]) @ v
        errors.append(np.abs(seen - np.eye(10)).max())
    assert errors[1] < max(1e-6 if condition < 1e8 else 0, 5 * errors[0])


@pytest.mark.parametrize("pair_weight", [0.0, 0.2, 1.0])
def test_category_loss_is_that_of_the_linear_method(outputs, labels, pair_weight):
    views = dict(zip("xy", (view.numpy() for view in outputs), strict=True))
    ccca = CCCA(3, reg=0.05, pair_weight=pair_weight).fit(views, labels.numpy())
    loss = category_correlation_loss(*outputs, labels, pair_weight, ridge=0.05)
    assert loss.item() == pytest.approx(-ccca.correlations_.sum(), rel=1e-8)


def test_category_loss_is_the_correlation_loss_of_all_pairs(outputs, labels):
    j, k = torch.nonzero(labels[:, None] == labels, as_tuple=True)
    expected = correlation_loss(outputs[0][j], outputs[1][k], ridge=0.01)
    loss = category_correlation_loss(*outputs, labels, pair_weight=0.0, ridge=0.01)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)


def test_category_loss_cannot_be_gamed_by_a_large_class():
    labels = torch.tensor([0] * 37 + [1, 2, 3])
    x = F.one_hot(labels).double() + 1e-3 * torch.randn(40, 4, dtype=torch.float64)
    assert category_correlation_loss(x, x, labels, 0.2, ridge=1e-9).item() >= -4


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("loss", ["pairs", "classes"])
def test_gradients_of_correlation_losses(outputs, labels, loss):
    labels = labels[:14]
    inputs = [view[:14].clone().requires_grad_() for view in outputs]
    function = {
        "pairs": correlation_loss,
        "classes": lambda x, y: category_correlation_loss(x, y, labels),
    }[loss]
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    "case", ["dead unit", "constant", "rank deficient", "fewer rows than units"]
)
def test_degenerate_batches_have_finite_losses_and_gradients(outputs, labels, case):
    x, y = (view.clone() for view in outputs)
    if case == "dead unit":
        x[:, 0] = 0
    elif case == "constant":
        x[:] = 3
    elif case == "rank deficient":
        x[:, 1] = x[:, 0]
    else:
        x, y, labels = x[:3], y[:3], labels[:3]
    x.requires_grad_()
    for loss in (correlation_loss(x, y), category_correlation_loss(x, y, labels)):
        (gradient,) = torch.autograd.grad(loss, x)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("scale", [1e-15, 1e-6, 1e6])
def test_correlation_losses_do_not_depend_on_scale(outputs, labels, scale):
    x, y = outputs
    for loss in (correlation_loss, partial(category_correlation_loss, labels=labels)):
        expected = loss(x, y, ridge=0.1).item()
        assert loss(scale * x, y, ridge=0.1).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("scale", [0.0, 1e-40, 1e-20])
def test_vanishing_outputs_have_finite_gradients_in_single_precision(outputs, labels, scale):
    x, y = (view.float() for view in outputs)
    x = (scale * x).requires_grad_()
    for loss in (correlation_loss(x, y), category_correlation_loss(x, y, labels)):
        (gradient,) = torch.autograd.grad(loss, x)
        assert torch.isfinite(gradient).all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_outputs_that_are_not_finite_give_a_loss_that_is_not(outputs, labels, value):
    x, y = outputs
    y[3, 1] = value
    assert correlation_loss(x, y).isnan()
    assert category_correlation_loss(x, y, labels).isnan()
    for mining in ("batch_all", "batch_hard", "semi_hard", "random"):
        assert triplet_loss(x[:, :3], y, labels, mining=mining).isnan()


@pytest.mark.usefixtures("shapes")
@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_batches_are_finite(outputs, n):
    x, y = (view[:n].clone().requires_grad_() for view in outputs)
    labels = torch.arange(n)
    losses = [correlation_loss(x, y), category_correlation_loss(x, y, labels)]
    losses += [
        triplet_loss(x[:, :3], y, labels, mining=mining, include_pair=include_pair)
        for mining in ("batch_all", "batch_hard", "semi_hard", "random")
        for include_pair in (True, False)
    ]
    for loss in losses:
        assert torch.isfinite(loss)
        assert all(torch.isfinite(part).all() for part in torch.autograd.grad(loss, (x, y)))


def loop(x, y, labels, margin, distance, include_pair, mining):
    """Return the mean hinge of the triplets with anchors in x, one after the other."""
    if distance == "cosine":
        distances = 1 - F.normalize(x) @ F.normalize(y).T
    else:
        distances = torch.cdist(x, y) ** 2
    hinges = []
    for i, row in enumerate(distances):
        negatives = row[labels != labels[i]]
        positives = [
            row[j] for j in range(len(y)) if labels[j] == labels[i] and (include_pair or j != i)
        ]
        if not len(negatives) or not positives:
            continue
        if mining == "batch_hard":
            hinges.append(F.relu(max(positives) - negatives.min() + margin))
        for positive in positives:
            if mining == "batch_all":
                hinges += [F.relu(positive - negative + margin) for negative in negatives]
            elif mining == "semi_hard":
                beyond = negatives[negatives > positive]
                negative = beyond.min() if len(beyond) else negatives.max()
                hinges.append(F.relu(positive - negative + margin))
    return torch.stack(hinges).mean()


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("mining", ["batch_all", "batch_hard", "semi_hard"])
@pytest.mark.parametrize("distance", ["cosine", "sqeuclidean"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("include_pair", [True, False])
def test_triplet_loss_is_that_of_a_loop(labels, mining, distance, symmetric, include_pair):
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(2, 40, 5, dtype=torch.float64, generator=generator)
    x, y = x.requires_grad_(), y.requires_grad_()
    loss = triplet_loss(x, y, labels, 0.4, mining, distance, symmetric, include_pair)
    expected = loop(x, y, labels, 0.4, distance, include_pair, mining)
    if symmetric:
        expected = (expected + loop(y, x, labels, 0.4, distance, include_pair, mining)) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    gradients = torch.autograd.grad(loss, (x, y))
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, (x, y)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("mining", ["batch_all", "batch_hard", "semi_hard"])
def test_anchors_with_one_negative(mining):
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(2, 7, 3, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 0])
    loss = triplet_loss(x, y, labels, 0.4, mining, symmetric=False)
    expected = loop(x, y, labels, 0.4, "cosine", True, mining)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)


def test_batch_all_counts_ties_as_the_hinge_does():
    x = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    loss = triplet_loss(x, x.detach(), labels, 0.3, distance="sqeuclidean")
    assert loss.item() == pytest.approx(0.3)


def test_batch_all_in_single_precision_far_from_the_origin():
    """The squares of the outputs are 10^5 times the distances that decide."""
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(2, 200, 6, generator=generator)
    labels = torch.randint(7, (200,), generator=generator)
    near, far = (
        triplet_loss(x + shift, y + shift, labels, 2.0, distance="sqeuclidean").item()
        for shift in (0, 1e3)
    )
    assert far == pytest.approx(near, rel=1e-4)


def test_random_mining_by_a_generator_leaves_the_global_one_alone():
    x, y = torch.randn(2, 30, 4)
    labels = torch.arange(30) % 3
    state = torch.get_rng_state()
    losses = [
        triplet_loss(x, y, labels, mining="random", generator=torch.Generator().manual_seed(seed))
        for seed in (5, 5, 6)
    ]
    assert losses[0] == losses[1] != losses[2]
    assert (torch.get_rng_state() == state).all()


@pytest.mark.usefixtures("shapes")
def test_random_mining_draws_every_negative_alike():
    x, y = torch.tensor([[1.0, 0]] * 6), F.normalize(torch.randn(6, 2))
    labels = torch.tensor([0, 1, 1, 1, 1, 1])
    torch.manual_seed(0)
    losses = [triplet_loss(x, y, labels, 0.2, "random", symmetric=False) for _ in range(4000)]
    distances = 1 - (F.normalize(x) @ y.T)
    hinges = [F.relu(distances[0, 0] - distances[0, 1:] + 0.2).mean()]
    hinges += [
        F.relu(distances[i, j] - distances[i, 0] + 0.2) for i in range(1, 6) for j in range(1, 6)
    ]
    assert torch.stack(losses).mean().item() == pytest.approx(np.mean(hinges), abs=0.01)


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("mining", ["batch_all", "batch_hard", "semi_hard", "random"])
@pytest.mark.parametrize("labels", [[3, 3, 3, 3], [0, 1, 2, 3]])
def test_batches_without_triplets_have_no_gradient(mining, labels):
    x = torch.randn(4, 3, requires_grad=True)
    loss = triplet_loss(x, x.detach(), torch.tensor(labels), mining=mining, include_pair=False)
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


def test_several_labels_are_weighed_in_the_type_of_the_logits():
    labels = torch.tensor([[True, True, False], [False, False, True]])
    logits = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    expected = -logits.log_softmax(dim=1)
    loss = category_loss(logits, labels)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx((expected[0, :2].mean() + expected[1, 2]).item() / 2, 1e-12)
