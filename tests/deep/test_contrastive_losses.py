"""Contrastive losses against loops, closed forms and identities; gradients by differences."""

import math

import pytest
import torch
from torch.nn import functional as F

from cca_estimators.deep.contrastive import ClassContrast, SigmoidContrast
from cca_estimators.deep.losses.contrastive import (
    class_loss,
    mixed,
    pair_loss,
    prototype_loss,
    robust_prototype_loss,
    sigmoid_pair_loss,
)

LABELS = [0, 2, 0, 1, 1, 0, 2, 3]
SOME_LABELS = [0, -1, 0, 1, -1, 0, 2, -1]


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(8, 5, dtype=torch.float64, generator=generator) for _ in range(2)]


@pytest.fixture
def prototypes():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 5, dtype=torch.float64, generator=generator)


def cosine(a, b):
    return (a @ b / (a.norm() * b.norm())).item()


def test_pair_loss_is_that_of_a_loop(outputs):
    x, y = outputs
    terms = []
    for queries, gallery in ((x, y), (y, x)):
        for i, query in enumerate(queries):
            shares = [math.exp(cosine(query, item) / 0.3) for item in gallery]
            terms.append(-math.log(shares[i] / sum(shares)))
    assert pair_loss(x, y, 0.3).item() == pytest.approx(sum(terms) / 16, rel=1e-12)


def test_sigmoid_loss_is_that_of_a_loop(outputs):
    x, y = outputs
    total = 0
    for i in range(8):
        for j in range(8):
            sign = 1 if i == j else -1
            total += math.log1p(math.exp(-sign * (7 * cosine(x[i], y[j]) - 3)))
    assert sigmoid_pair_loss(x, y, 7.0, -3.0).item() == pytest.approx(total / 8, rel=1e-12)


def class_loss_by_loop(x, y, labels, temperature):
    """Return the loss over the rows of both views, one after the other."""
    rows, labels = [*x, *y], labels * 2
    terms = []
    for i, label in enumerate(labels):
        partner = (i + 8) % 16
        if label >= 0:
            positives = [p for p in range(16) if p != i and labels[p] == label]
            compared = [a for a in range(16) if a != i and labels[a] >= 0]
        else:
            positives, compared = [partner], [a for a in range(16) if a != i]
        total = sum(math.exp(cosine(rows[i], rows[a]) / temperature) for a in compared)
        logs = [cosine(rows[i], rows[p]) / temperature - math.log(total) for p in positives]
        terms.append(-sum(logs) / len(logs))
    return sum(terms) / 16


@pytest.mark.parametrize("labels", [LABELS, SOME_LABELS, [-1] * 8, [0] * 8])
def test_class_loss_is_that_of_a_loop(outputs, labels):
    loss = class_loss(*outputs, torch.tensor(labels), 0.3).item()
    assert loss == pytest.approx(class_loss_by_loop(*outputs, labels, 0.3), rel=1e-12)


@pytest.mark.parametrize("labels", [LABELS, SOME_LABELS])
def test_prototype_losses_are_those_of_a_loop(outputs, prototypes, labels):
    plain, robust = [], []
    for row, label in zip(torch.cat(outputs), labels * 2, strict=True):
        if label >= 0:
            shares = [math.exp(cosine(row, prototype) / 0.3) for prototype in prototypes]
            p = shares[label] / sum(shares)
            plain.append(-math.log(p))
            robust.append(math.log(1 - p))
    arguments = (*outputs, torch.tensor(labels), prototypes, 0.3)
    assert prototype_loss(*arguments).item() == pytest.approx(sum(plain) / len(plain), rel=1e-12)
    loss = robust_prototype_loss(*arguments).item()
    assert loss == pytest.approx(sum(robust) / len(robust), rel=1e-12)


@pytest.mark.parametrize(
    ("robust", "of_rows", "of_classes"),
    [
        (False, class_loss, prototype_loss),
        (True, lambda x, y, codes, t: pair_loss(x, y, t), robust_prototype_loss),
    ],
)
def test_rows_and_prototypes_are_contrasted_alike(outputs, prototypes, robust, of_rows, of_classes):
    objective, codes = ClassContrast(5, 4, 0.3, robust), torch.tensor(LABELS)
    objective.prototypes.data = prototypes
    expected = of_rows(*outputs, codes, 0.3) + of_classes(*outputs, codes, prototypes, 0.3)
    torch.testing.assert_close(objective(outputs, codes, {}), expected)


def test_the_sigmoid_loss_begins_with_scale_and_bias_of_10(outputs):
    expected = sigmoid_pair_loss(*outputs, 10.0, -10.0)
    torch.testing.assert_close(SigmoidContrast()(outputs, None, {}), expected, rtol=1e-5, atol=0)


def test_a_row_of_the_robust_loss_pulls_in_proportion_to_its_probability(outputs, prototypes):
    x, _ = outputs
    logits = (F.normalize(x) @ F.normalize(prototypes).T / 0.3).requires_grad_()
    labels = torch.tensor(LABELS)
    p = logits.softmax(dim=1)
    expected = -p.detach()[range(8), labels]
    (1 - p[range(8), labels]).log().sum().backward()
    torch.testing.assert_close(logits.grad[range(8), labels], expected)


def test_the_robust_loss_of_a_certain_row_is_finite():
    x = torch.eye(2).requires_grad_()
    loss = robust_prototype_loss(x, x, torch.tensor([0, 1]), torch.eye(2), 1e-3)
    loss.backward()
    assert loss.item() == pytest.approx(-1000)
    assert torch.isfinite(x.grad).all()


def test_losses_by_labels_are_0_where_there_are_none(outputs, prototypes):
    for loss in (prototype_loss, robust_prototype_loss):
        assert loss(*outputs, torch.full((8,), -1), prototypes).item() == 0


def test_losses_depend_on_directions_alone(outputs, prototypes):
    x, y = outputs
    labels = torch.tensor(SOME_LABELS)
    for loss in (
        lambda x, y: pair_loss(x, y),
        lambda x, y: sigmoid_pair_loss(x, y, 10.0, -10.0),
        lambda x, y: class_loss(x, y, labels),
        lambda x, y: prototype_loss(x, y, labels, prototypes),
        lambda x, y: robust_prototype_loss(x, y, labels, prototypes),
    ):
        torch.testing.assert_close(loss(7 * x, 0.1 * y), loss(x, y))


@pytest.mark.parametrize("name", ["pair", "sigmoid", "class", "prototype", "robust"])
def test_gradients(outputs, prototypes, name):
    labels = torch.tensor(SOME_LABELS)
    loss = {
        "pair": lambda x, y, c: pair_loss(x, y) + 0 * c.sum(),
        "sigmoid": lambda x, y, c: sigmoid_pair_loss(x, y, c[0, 0], c[0, 1]),
        "class": lambda x, y, c: class_loss(x, y, labels) + 0 * c.sum(),
        "prototype": lambda x, y, c: prototype_loss(x, y, labels, c),
        "robust": lambda x, y, c: robust_prototype_loss(x, y, labels, c),
    }[name]
    inputs = [rows.clone().requires_grad_() for rows in (*outputs, prototypes)]
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_batches_are_finite(outputs, n):
    x, y = (rows[:n].clone().requires_grad_() for rows in outputs)
    for labels in (torch.arange(n), torch.full((n,), -1)):
        loss = pair_loss(x, y) + class_loss(x, y, labels) + sigmoid_pair_loss(x, y, 10.0, -10.0)
        assert torch.isfinite(loss)
        assert all(torch.isfinite(part).all() for part in torch.autograd.grad(loss, (x, y)))


def test_mixed_rows_are_the_same_combination_in_both_views():
    x, y = torch.arange(12.0).reshape(3, 4), torch.arange(18.0).reshape(3, 2, 3)
    y[1, 1] = torch.nan
    shares, order = torch.tensor([0.25, 1.0, 0.5]), torch.tensor([2, 0, 1])
    rows = mixed({"x": x, "y": y}, shares, order)
    for i, (share, j) in enumerate(zip(shares, order, strict=True)):
        torch.testing.assert_close(rows["x"][i], share * x[i] + (1 - share) * x[j])
        expected = share * y[i] + (1 - share) * y[j]
        torch.testing.assert_close(rows["y"][i], expected, equal_nan=True)
