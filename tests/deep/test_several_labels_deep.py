"""Several labels a row in deep methods: losses against loops over rows, fits of every method."""

import numpy as np
import pytest
import torch
from registry import DEEP, embeddings, is_supervised
from scipy.sparse import csr_array
from sklearn.base import clone
from torch.nn import functional as F

from cca_estimators import ACMR, AGAH, CDCCA, TNNCCCA, Contrastive, SemanticMatching, Views
from cca_estimators.datasets import make_views
from cca_estimators.deep.losses import (
    category_correlation_loss,
    category_loss,
    class_loss,
    code_map_loss,
    prototype_loss,
    robust_prototype_loss,
    triplet_loss,
    update_code_map,
)
from cca_estimators.deep.training.batches import RowDataset, RowSubset
from cca_estimators.deep.training.votes import voted_labels

N, C = 9, 4
each_deep = pytest.mark.parametrize(
    "estimator",
    [one for one in embeddings() if is_supervised(one) and hasattr(one, "max_epochs")],
    ids=lambda one: type(one).__name__,
)


@pytest.fixture
def batch():
    """Return the outputs of a batch, and its labels: from one to three of four."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, N, 3, generator=generator)
    labels = torch.rand(N, C, generator=generator) < 0.3
    labels[torch.arange(N), torch.randint(C, (N,), generator=generator)] = True
    labels[0] = True
    return x, y, labels


@pytest.fixture(scope="module")
def data():
    X, y = make_views(120, 4, (6, 8), shared_rank=3, random_state=0)
    labels = np.eye(5, dtype=int)[y]
    labels[:, 4] = np.random.default_rng(0).random(120) < 0.2
    return Views(X), labels


def one_hot(codes):
    return F.one_hot(codes, C).bool()


CODES = torch.tensor([0, 1, 2, 3, 0, 1, 2, 2, 0])


@pytest.mark.parametrize("mining", ["batch_all", "batch_hard", "semi_hard", "random"])
def test_one_label_a_row_gives_the_triplets_of_classes(batch, mining):
    x, y, _ = batch
    losses = [
        triplet_loss(x, y, labels, mining=mining, generator=torch.Generator().manual_seed(0))
        for labels in (CODES, one_hot(CODES))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("loss", [class_loss, category_correlation_loss])
def test_one_label_a_row_is_a_class(batch, loss):
    x, y, _ = batch
    torch.testing.assert_close(loss(x, y, one_hot(CODES)), loss(x, y, CODES), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("loss", [prototype_loss, robust_prototype_loss])
def test_one_label_a_row_has_one_prototype(batch, loss):
    x, y, _ = batch
    prototypes = torch.eye(4)[:, :3]
    torch.testing.assert_close(
        loss(x, y, one_hot(CODES), prototypes), loss(x, y, CODES, prototypes)
    )
    codes, labels = CODES.clone(), one_hot(CODES)
    codes[:4], labels[:4] = -1, False
    torch.testing.assert_close(loss(x, y, labels, prototypes), loss(x, y, codes, prototypes))
    torch.testing.assert_close(class_loss(x, y, labels), class_loss(x, y, codes))


def test_triplets_of_shared_labels(batch):
    x, y, labels = batch
    distances = 1 - F.normalize(x) @ F.normalize(y).T
    share = [[bool((labels[i] & labels[j]).any()) for j in range(N)] for i in range(N)]
    both = []
    for d in (distances, distances.T):
        hinges = [
            max(0.0, float(d[a, p] - d[a, n]) + 0.2)
            for a in range(N)
            for p in range(N)
            for n in range(N)
            if share[a][p] and not share[a][n]
        ]
        both.append(np.mean(hinges))
    assert triplet_loss(x, y, labels).item() == pytest.approx(np.mean(both), rel=1e-5)


def test_contrast_of_shared_labels(batch):
    x, y, labels = batch
    rows, own = F.normalize(torch.cat([x, y])).double(), torch.cat([labels, labels])
    similarities = rows @ rows.T / 0.1
    terms = []
    for i in range(2 * N):
        others = [j for j in range(2 * N) if j != i]
        total = torch.logsumexp(similarities[i, others], 0)
        shared = [j for j in others if (own[i] & own[j]).any()]
        terms.append(np.mean([float(total - similarities[i, j]) for j in shared]))
    assert class_loss(x, y, labels).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_categories_have_even_shares(batch):
    x, _, labels = batch
    logits = torch.cat([x, x[:, :1]], dim=1)
    shares = logits.double().log_softmax(dim=1)
    expected = [-float(shares[i, labels[i]].mean()) for i in range(N)]
    assert category_loss(logits, labels).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_robust_prototypes_sum_the_labels_and_leave_out_rows_of_all(batch):
    x, y, labels = batch
    assert labels[0].all()
    prototypes = torch.eye(4)[:, :3] + 0.1
    cosines = F.normalize(torch.cat([x, y])) @ F.normalize(prototypes).T
    shares = (cosines.double() / 0.1).softmax(dim=1)
    own = torch.cat([labels, labels])
    terms = [np.log(float(shares[i, ~own[i]].sum())) for i in range(2 * N) if not own[i].all()]
    loss = robust_prototype_loss(x, y, labels, prototypes)
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_correlation_of_pairs_by_shared_labels(batch):
    x, y, labels = (part.double() for part in batch)
    weights = labels @ labels.T
    weights = weights / weights.sum()
    pairs = [(i, j) for i in range(N) for j in range(N)]
    of = torch.stack([weights[i, j] for i, j in pairs])[:, None]
    a, b = (torch.stack([view[pair[k]] for pair in pairs]) for k, view in enumerate((x, y)))
    a, b = (rows - (of * rows).sum(dim=0) for rows in (a, b))
    aa, bb, ab = (of * a).T @ a, (of * b).T @ b, (of * a).T @ b
    aa, bb = (m + 1e-3 * m.diagonal().mean() * torch.eye(3) for m in (aa, bb))
    inverse = [torch.linalg.inv(torch.linalg.cholesky(m)) for m in (aa, bb)]
    expected = -torch.linalg.svdvals(inverse[0] @ ab @ inverse[1].T).sum()
    loss = category_correlation_loss(*batch, pair_weight=0.0, n_classes=C)
    torch.testing.assert_close(loss, expected)


def test_codes_near_those_of_all_labels(batch):
    x, _, labels = batch
    h, code_map = torch.tanh(x), torch.tensor([[1.0, 1, -1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]])
    targets = 3 * (2 * labels.float() - 1)
    expected = np.mean(
        [
            (float(h[i] @ code_map[c]) - float(targets[i, c])) ** 2
            for i in range(N)
            for c in range(C)
        ]
    )
    assert code_map_loss(h, code_map, labels).item() == pytest.approx(expected, rel=1e-5)
    before, codes = (targets - h.sign() @ code_map.T).square().sum(), h.sign()
    updated = update_code_map(code_map, codes, labels)
    assert (targets - codes @ updated.T).square().sum() <= before


def test_votes_keep_the_number_of_labels():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    views = {name: rng.standard_normal((80, 4)) + 6 * y[:, None] for name in ("a", "b")}
    labels = np.zeros((80, 3), bool)
    labels[y == 0, :2] = True
    labels[y == 1, 2] = True
    wrong = labels.copy()
    wrong[5], wrong[50] = [False, True, True], [True, False, False]
    np.testing.assert_array_equal(voted_labels(views, wrong), labels)
    codes = np.where(np.arange(80) % 9 == 0, 1 - y, y)
    codes[3] = -1
    voted = voted_labels(views, np.c_[codes == 0, codes == 1])
    voted = np.where(voted.any(axis=1), voted.argmax(axis=1), -1)
    np.testing.assert_array_equal(voted, voted_labels(views, codes))


def test_batches_hold_labels_in_proportion(data):
    X, labels = data
    dataset = RowDataset(dict(X), labels > 0, "cpu")
    generator = torch.Generator().manual_seed(0)
    batches = RowSubset(dataset, np.arange(120)).batches(30, True, True, generator)
    share = labels.mean(axis=0)
    for _, codes in batches:
        assert codes.shape == (30, 5)
        np.testing.assert_allclose(codes.float().mean(dim=0), share, atol=0.08)


@each_deep
@pytest.mark.parametrize("stop", [False, "map"])
def test_every_method_learns_several_labels(estimator, stop, data):
    X, labels = data
    method = clone(estimator).set_params(
        early_stopping=stop, validation_fraction=0.2, max_epochs=8, learning_rate=1e-2
    )
    fitted = method.fit(X, csr_array(labels) if stop else labels)
    assert fitted.classes_.tolist() == list(range(5))
    chance = labels @ labels.T > 0
    assert fitted.score(X, labels) > chance.mean() + 0.2


@pytest.mark.parametrize(
    "estimator",
    [CDCCA(**DEEP), ACMR(**DEEP), AGAH(8, feature_size=8, **DEEP), TNNCCCA(**DEEP)],
    ids=lambda one: type(one).__name__,
)
def test_partial_fit_announces_labels(estimator, data):
    X, labels = data
    method = clone(estimator).set_params(max_epochs=1)
    lacking = labels[:, 4] == 0
    method.partial_fit(X[lacking], labels[lacking], classes=range(5))
    assert method.classes_.tolist() == list(range(5))
    method.partial_fit(X[~lacking], labels[~lacking])
    with pytest.raises(ValueError, match=r"not among classes|training began with"):
        method.partial_fit(X, np.c_[labels, labels[:, 0]])


def test_rows_without_any_label_take_part_as_pairs(data):
    X, labels = data
    some = labels.copy()
    some[::2] = 0
    with pytest.raises(ValueError, match="60 rows without a label"):
        Contrastive(**DEEP).fit(X, some)
    method = Contrastive(unlabelled=0, **DEEP).fit(X, some)
    known = method.score(X[1::2], labels[1::2])
    for form in (np.asarray, csr_array):
        assert method.score(X, form(some)) == pytest.approx(known)


def test_class_probabilities_of_several_labels(data):
    from sklearn.linear_model import LogisticRegression

    X, labels = data
    matching = SemanticMatching(random_state=0).fit(X, csr_array(labels))
    rows = matching.transform(X)["audio"]
    for label in range(5):
        alone = LogisticRegression(max_iter=1000).fit(X["audio"], labels[:, label])
        expected = alone.predict_proba(X["audio"])[:, 1] - labels[:, label].mean()
        np.testing.assert_allclose(rows[:, label], expected, atol=1e-6)
    assert SemanticMatching(CDCCA(**DEEP), random_state=0).fit(X, labels).score(X, labels) > 0.7
