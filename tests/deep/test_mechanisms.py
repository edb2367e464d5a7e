"""What each adversarial and hashing method learns by, part by part, against loops."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional as F

from cca_estimators import ACMR, AGAH, UCAL, UGACH
from cca_estimators.datasets import make_views
from cca_estimators.deep import ugach
from cca_estimators.deep.adversarial import SupervisedObjective, UnsupervisedObjective
from cca_estimators.deep.agah import AsymmetricObjective, AttentionHashTower
from cca_estimators.deep.training.batches import RowDataset, RowSubset
from cca_estimators.deep.ugach import RankingObjective

TINY = {"hidden_layer_sizes": (12,), "dropout": 0.0, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    return make_views(40, 3, (6, 8), shared_rank=3, random_state=0)


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(9, 5, generator=generator) for _ in range(2)]


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1])


def triplets_by_loop(x, y, margin):
    total, count = 0.0, 0
    for queries, items in ((x, y), (y, x)):
        for a in range(len(x)):
            for p in range(len(x)):
                for n in range(len(x)):
                    if LABELS[a] == LABELS[p] and LABELS[a] != LABELS[n]:
                        near = 1 - F.cosine_similarity(queries[a], items[p], dim=0)
                        far = 1 - F.cosine_similarity(queries[a], items[n], dim=0)
                        total, count = total + max(0.0, near - far + margin), count + 1
    return float(total) / count


# UGACH


def ranking(temperature=4.0):
    torch.manual_seed(1)
    generators = [nn.Linear(6, 5), nn.Linear(8, 5)]
    return RankingObjective(generators, margin=2.0, temperature=temperature)


def test_the_generator_scores_by_minus_its_distances(data):
    X, _ = data
    objective = ranking()
    views = {name: torch.from_numpy(rows[:7]).float() for name, rows in X.items()}
    scores, back = objective.scores(views)
    g = [tower(rows) for tower, rows in zip(objective.generators, views.values(), strict=True)]
    for i in range(7):
        assert scores[i, i] == -torch.inf
        for j in set(range(7)) - {i}:
            expected = -((g[0][i] - g[1][j]) ** 2).sum() / 4.0
            torch.testing.assert_close(scores[i, j], expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(back[j, i], expected, rtol=1e-4, atol=1e-4)


def test_the_discriminator_ranks_by_its_hinges(outputs):
    x, y = outputs
    objective = ranking()
    found = objective.hinges(x, y, y.roll(1, 0))
    for i in range(9):
        expected = 2.0 + ((x[i] - y[i]) ** 2).sum() - ((x[i] - y[i - 1]) ** 2).sum()
        torch.testing.assert_close(found[i], expected.clamp_min(0), rtol=1e-4, atol=1e-5)
    back = objective.hinges(y, x, x.roll(1, 0))
    torch.testing.assert_close(objective(outputs, None, None), (found.mean() + back.mean()) / 2)


def trained_ugach(data, **options):
    X, _ = data
    fitted = UGACH(8, n_neighbors=2, **{**TINY, "max_epochs": 1, **options}).fit(X)
    rows = {n: (v - v.mean(axis=0)) / v.std(axis=0) for n, v in X.items()}
    dataset = RowDataset(rows, np.arange(40), "cpu")
    net = fitted.net_
    net._rows = dataset
    net.neighbours = np.random.default_rng(0).integers(40, size=(40, 4))
    net.history.new_epoch()
    net.history.new_batch()
    return net, dataset[np.arange(40)]


def test_positives_are_the_row_itself_or_a_neighbour(data):
    net, (views, rows) = trained_ugach(data)
    net._set_training(False)
    with net._drawing(), torch.no_grad():
        net.draws_.seed(0)
        outputs = net.module_(**views)
        found = [net._positives(rows) for _ in range(300)]
    for view, own in enumerate(outputs):
        picked = torch.stack([torch.cdist(f[view], own).argmin(dim=1) for f in found]).numpy()
        for row in range(40):
            allowed = {row, *net.neighbours[row]}
            assert set(picked[:, row]) == allowed
        others = (net.neighbours != np.arange(40)[:, None]).mean()
        assert np.mean(picked == np.arange(40)) == pytest.approx(1 - 0.5 * others, abs=0.02)


@pytest.mark.parametrize("pretraining", [True, False])
def test_negatives_are_drawn_by_the_softmax_of_the_scores(data, pretraining, monkeypatch):
    net, batch = trained_ugach(data, n_pretrain=5 if pretraining else 0)
    seen = []
    draw = ugach.draw

    def watched(weights, *args):
        seen.append(weights)
        return draw(weights, *args)

    monkeypatch.setattr(ugach, "draw", watched)
    expected = [scores.detach() for scores in net.criterion_.train().scores(batch[0])]
    with net._drawing():
        net.draws_.seed(0)
        net._set_training(True)
        net.train_step(batch)
    for weights, scores in zip(seen, expected, strict=True):
        assert not weights.diagonal().any()
        share = weights / weights.sum(dim=1, keepdim=True)
        even = (1 - torch.eye(40)) / 39
        torch.testing.assert_close(share, even if pretraining else scores.softmax(dim=1))


def expected_reward(net, views, outputs):
    """Return the mean reward of the negatives that the generator would draw."""
    total = 0.0
    with torch.no_grad():
        pairs = zip(net.criterion_.scores(views), (outputs, outputs[::-1]), strict=True)
        for scores, (query, item) in pairs:
            hinges = net.criterion_.hinges(query[:, None], item[:, None], item[None])
            total += (scores.softmax(dim=1) * torch.sigmoid(hinges)).sum(dim=1).mean().item() / 2
    return total


def test_a_step_of_the_generator_raises_the_reward_it_expects(data):
    net, (views, rows) = trained_ugach(data, n_pretrain=0, n_draws=400)
    net.neighbours = np.repeat(np.arange(40)[:, None], 4, axis=1)
    for group in net.optimizer_.param_groups:
        group["lr"] = group["weight_decay"] = 0.0
    before = copy.deepcopy(net.criterion_.state_dict())
    with torch.no_grad():
        outputs = net._set_training(True) or net.module_(**views)
    rewards = []
    with net._drawing():
        net.draws_.seed(0)
        for _ in range(6):
            rewards.append(expected_reward(net, views, outputs))
            net._set_training(True)
            net.train_step((views, rows))
    assert rewards[-1] > rewards[0] + 1e-4
    assert rewards[1] > rewards[0]
    assert any(not torch.equal(v, before[k]) for k, v in net.criterion_.state_dict().items())


def test_the_generator_rests_while_the_discriminator_learns_alone(data):
    net, (views, rows) = trained_ugach(data, n_pretrain=5)
    before = [p.detach().clone() for p in net.criterion_.generators.parameters()]
    towers = [p.detach().clone() for p in net.module_.parameters()]
    with net._drawing():
        net.draws_.seed(0)
        net._set_training(True)
        net.train_step((views, rows))
    for old, new in zip(before, net.criterion_.generators.parameters(), strict=True):
        assert torch.equal(old, new)
    assert any(not torch.equal(o, n) for o, n in zip(towers, net.module_.parameters(), strict=True))


# AGAH


@torch.no_grad()
def test_features_are_drawn_towards_those_of_their_classes():
    torch.manual_seed(0)
    tower = AttentionHashTower(nn.Linear(6, 4), 4, 3, 5).eval()
    tower.class_features.copy_(torch.randn(3, 4))
    rows = torch.randn(7, 6)
    features = tower.unit_features(rows)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(7))
    drawn = []
    for f in features:
        attention = [1 / (1 + math.exp(-5 * float(f @ p))) for p in tower.class_features]
        mixed = sum(a * p for a, p in zip(attention, tower.class_features, strict=True))
        drawn.append(0.8 * f + 0.2 * mixed / sum(attention))
    torch.testing.assert_close(tower(rows), tower.hash(torch.stack(drawn)))
    assert tower(rows).abs().max() < 1


def asymmetric(**options):
    torch.manual_seed(0)
    given = {"margin": 0.3, "code_weight": 0.2, "map_weight": 0.7, **options}
    return AsymmetricObjective(4, 3, 5, **given)


def test_the_loss_of_codes_is_the_sum_of_its_parts(outputs):
    objective = asymmetric()
    x, y = (view.tanh() for view in outputs)
    saturation = quantisation = mapped = 0.0
    for row, label in zip(torch.cat([x, y]), torch.cat([LABELS, LABELS]), strict=True):
        cosine = row.abs().sum() / (row.norm() * math.sqrt(5))
        saturation += 1 / (1 + math.exp(float(cosine))) / 18
        for bit in row:
            quantisation += float((bit - bit.sign()) ** 2) / 90
        for c, code in enumerate(objective.code_map):
            mapped += float(row @ code / 5 - (1 if c == label else -1)) ** 2 / 54
    expected = triplets_by_loop(x, y, 0.3) + 0.2 * (saturation + quantisation) + 0.7 * mapped
    assert objective([x, y], LABELS, None).item() == pytest.approx(expected, rel=1e-4)


def test_each_critic_knows_its_own_view_as_real():
    objective = asymmetric()
    weights = [F.normalize(torch.randn(4), dim=0) for _ in range(2)]
    for i, weight in enumerate(weights):  # of slope 1, so that no penalty is due
        objective.critics[i] = nn.Linear(4, 1, bias=False)
        objective.critics[i].weight.data = weight[None]
    x, y = torch.randn(6, 4), torch.randn(6, 4)
    first, second = ([float((view @ w).mean()) for view in (x, y)] for w in weights)
    expected = (first[1] - first[0]) + (second[0] - second[1])
    assert objective.critics_loss([x, y]).item() == pytest.approx(expected, abs=1e-5)
    assert objective.passing([x, y]).item() == pytest.approx(-first[1] - second[0], abs=1e-5)


def test_a_step_of_agah_learns_codes_and_passes_for_the_other_view(data):
    X, y = data
    agah = AGAH(5, feature_size=4, adversary_weight=0.6, max_epochs=1, **TINY).fit(X, y)
    views = {name: torch.from_numpy(rows).float() for name, rows in X.items()}
    codes = torch.from_numpy(y)
    net = copy.deepcopy(agah.net_)
    net.history.new_epoch()
    net.history.new_batch()
    twin = copy.deepcopy(net)
    with net._drawing():
        net.draws_.seed(0)
        net._set_training(True)
        net.train_step((views, codes))
    for old, new in zip(twin.criterion_.critics, net.criterion_.critics, strict=True):
        assert not torch.equal(old[0].weight, new[0].weight)
    twin.criterion_.critics.load_state_dict(net.criterion_.critics.state_dict())
    twin._set_training(True)
    towers = [twin.module_.tower(name) for name in X]
    features = [
        tower.unit_features(rows) for tower, rows in zip(towers, views.values(), strict=True)
    ]
    hashed = [tower.codes(f) for tower, f in zip(towers, features, strict=True)]
    loss = twin.criterion_(hashed, codes, None) + 0.6 * twin.criterion_.passing(features)
    expected = torch.autograd.grad(loss, list(twin.module_.parameters()))
    for gradient, parameter in zip(expected, net.module_.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_class_maps_are_means_of_both_views_and_absent_classes_keep_theirs(data):
    X, y = data
    agah = AGAH(5, feature_size=4, max_epochs=1, **TINY).fit(X, y)
    net = agah.net_
    dataset = RowDataset(dict(X), y, "cpu")
    present = np.flatnonzero(y != 2)
    kept = net.module_.tower("audio").class_features[2].clone(), net.criterion_.code_map[2].clone()
    net._update_class_maps(RowSubset(dataset, present))
    with torch.no_grad():
        features = [net.module_.tower(name).unit_features(dataset.views[name]) for name in X]
    for tower in net.module_.towers:
        for c in (0, 1):
            expected = torch.cat([view[y == c] for view in features]).mean(dim=0)
            torch.testing.assert_close(tower.class_features[c], expected)
        assert torch.equal(tower.class_features[2], kept[0])
    assert torch.equal(net.criterion_.code_map[2], kept[1])


def test_class_maps_are_set_as_an_epoch_begins_without_dropout(data):
    X, y = data
    options = {**TINY, "dropout": 0.5, "batch_norm": False, "standardize": False}
    net = AGAH(5, feature_size=4, max_epochs=1, learning_rate=1e-12, **options).fit(X, y).net_
    dataset = RowDataset(dict(X), y, "cpu")
    net._set_training(False)
    with torch.no_grad():
        features = [net.module_.tower(name).unit_features(dataset.views[name]) for name in X]
    for c in range(3):
        expected = torch.cat([view[y == c] for view in features]).mean(dim=0)
        for tower in net.module_.towers:
            torch.testing.assert_close(tower.class_features[c], expected)


def test_codes_of_classes_begin_as_signs():
    torch.manual_seed(0)
    code_map = AsymmetricObjective(4, 30, 16, 0.3, 0.1, 0.1).code_map
    assert set(code_map.unique().tolist()) == {-1.0, 1.0}
    assert abs(code_map.mean()) < 0.2


def test_a_bit_is_1_where_positive_and_needs_a_fit(data):
    embedded = AGAH()._embedded(None, {"audio": np.array([[-0.1, 0.0, 0.1]])})
    assert embedded["audio"].tolist() == [[0, 0, 1]]
    for call in (AGAH().decision_function, AGAH().pack):
        with pytest.raises(NotFittedError):
            call(data[0])


# ACMR and UCAL


def log_loss_of_views(logits):
    logits = [each.detach() for each in logits]
    first = sum(math.log1p(math.exp(-float(s))) for s in logits[0]) / len(logits[0])
    second = sum(math.log1p(math.exp(float(s))) for s in logits[1]) / len(logits[1])
    return (first + second) / 2


def test_acmr_learns_by_labels_and_triplets(outputs):
    torch.manual_seed(0)
    objective = SupervisedObjective(5, 3, margin=0.4, weight=2.0)
    x, y = outputs
    labels = 0.0
    for view in (x, y):
        for row, label in zip(objective.classifier(view), LABELS, strict=True):
            labels += (row.logsumexp(dim=0) - row[label]).item() / 18
    expected = labels + triplets_by_loop(x, y, 0.4)
    found = objective.embedding_loss(x, y, LABELS).item()
    assert found == pytest.approx(expected, rel=1e-5)
    for rows in objective.seen(outputs):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(9))


def test_ucal_learns_by_pairs_against_collapse(outputs):
    objective = UnsupervisedObjective(5, variance_weight=0.7, covariance_weight=0.3, weight=1.0)
    x, y = (view.numpy().astype(float) for view in outputs)
    expected = np.mean((x - y) ** 2)
    for view in (x, y):
        covariance = np.cov(view.T, bias=True)
        spread = np.sqrt(np.diag(covariance) + 1e-4)
        expected += 0.7 * np.mean(np.maximum(0, 1 - spread))
        expected += 0.3 * (np.sum(covariance**2) - np.sum(np.diag(covariance) ** 2)) / 5
    found = objective.embedding_loss(*outputs, None).item()
    assert found == pytest.approx(expected, rel=1e-5)
    assert objective.seen(outputs) is outputs


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.9])
def test_towers_learn_the_opposite_of_what_the_adversary_learns(outputs, progress):
    torch.manual_seed(0)
    objective = UnsupervisedObjective(5, 0.7, 0.3, weight=2.0)
    objective.progress = progress
    x, y = (view.clone().requires_grad_() for view in outputs)
    loss = objective([x, y], None, None)
    logits = [objective.adversary(view) for view in (x, y)]
    adversary = (F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()) / 2
    embedding = objective.embedding_loss(x, y, None)
    assert loss.item() == pytest.approx(embedding.item() + log_loss_of_views(logits), rel=1e-5)
    scale = 2.0 * (2 / (1 + math.exp(-10 * progress)) - 1)
    found = torch.autograd.grad(loss, x, retain_graph=True)[0]
    expected = (
        torch.autograd.grad(embedding, x, retain_graph=True)[0]
        - scale * torch.autograd.grad(adversary, x, retain_graph=True)[0]
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    right = [float((logits[0] > 0).float().mean()), float((logits[1] < 0).float().mean())]
    assert objective.figures["adversary_accuracy"].item() == pytest.approx(sum(right) / 2)
    assert objective.figures["adversary_loss"].item() == pytest.approx(adversary.item(), rel=1e-5)
    assert objective.figures["embedding_loss"].item() == pytest.approx(embedding.item(), rel=1e-5)


def test_the_adversary_learns_views_with_a_penalty_on_its_slope(outputs):
    torch.manual_seed(0)
    objective = UnsupervisedObjective(5, 0.7, 0.3, weight=2.0)
    objective.adversary = nn.Linear(5, 1)
    slope = objective.adversary.weight.square().sum().item()
    seen = [view.clone().requires_grad_() for view in outputs]
    logits = [objective.adversary(view) for view in outputs]
    expected = log_loss_of_views(logits) + 0.15 * slope
    assert objective.adversary_loss(seen).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", [ACMR, UCAL])
def test_the_adversary_takes_five_steps_at_ten_times_the_rate(data, method):
    steps, progress = [], []

    class Count(Callback):
        def on_train_begin(self, net, **kwargs):
            step = net.learn_opponent
            net.learn_opponent = lambda loss: (steps.append(loss.item()), step(loss))

        def on_epoch_end(self, net, **kwargs):
            progress.append(net.criterion_.progress)

        def on_train_end(self, net, **kwargs):
            del net.learn_opponent

    fitted = method(**TINY, max_epochs=4, batch_size=20, callbacks=[Count()]).fit(*data)
    assert len(steps) == 4 * 2 * 5
    assert progress == [0.0, 0.25, 0.5, 0.75]
    group = fitted.net_.opponent_optimizer_.param_groups[0]
    assert group["lr"] == pytest.approx(1e-2)
    assert group["betas"] == (0.5, 0.9)


def test_layers_of_the_adversary():
    layers = UnsupervisedObjective(5, 1.0, 1.0, 1.0).adversary
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Linear]
    assert (layers[0].in_features, layers[0].out_features) == (5, layers[2].in_features)
    assert layers[2].out_features == 1


@pytest.mark.parametrize(("width", "half"), [(8, 4), (1, 1)])
def test_layers_of_a_critic(width, half):
    critic = AsymmetricObjective(width, 3, 5, 0.3, 0.2, 0.7).critics[1]
    shapes = [tuple(layer.weight.shape) for layer in critic[::2]]
    assert shapes == [(width, width), (half, width), (1, half)]
    assert [layer.negative_slope for layer in critic[1::2]] == [0.2, 0.2]


def test_the_generator_learns_from_the_epoch_after_pretraining_on(data):
    def generators(max_epochs):
        fitted = UGACH(8, n_pretrain=2, **{**TINY, "max_epochs": max_epochs}).fit(data[0])
        return list(fitted.net_.criterion_.generators.parameters())

    one, two, three = (generators(n) for n in (1, 2, 3))
    assert all(torch.equal(first, second) for first, second in zip(one, two, strict=True))
    assert not all(torch.equal(first, third) for first, third in zip(one, three, strict=True))


def test_tokens_have_neighbours_by_their_numbers():
    tokens = {"audio": np.arange(6)[:, None] ** 2, "visual": -np.arange(6.0)[:, None]}
    dataset = RowDataset(tokens, np.arange(6), "cpu", tokens=["audio"])
    assert ugach.neighbours(dataset, 1)[1:, 0].tolist() == [0, 1, 2, 3, 4]


def test_few_rows_have_all_others_as_neighbours(monkeypatch):
    X, y = make_views(12, 3, (6, 8), shared_rank=3, random_state=0)
    found, kept = ugach.neighbours, []
    monkeypatch.setattr(ugach, "neighbours", lambda *each: kept.append(found(*each)) or kept[-1])
    UGACH(8, n_neighbors=100, n_pretrain=1, max_epochs=1, **TINY).fit(X, y)
    for i, row in enumerate(kept[0]):
        assert sorted(row) == sorted(2 * [j for j in range(12) if j != i])


def test_draws_never_take_what_weighs_nothing(monkeypatch):
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.zeros(*shape))
    assert ugach.draw(weights, 2).tolist() == [[1, 1], [2, 2]]
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(*shape))
    assert ugach.draw(weights, 2).max() == 2
    assert ugach.draw(torch.nan * weights, 2).max() <= 2


@pytest.mark.parametrize(("n_pretrain", "n_calls"), [(5, 0), (0, 1)])
def test_neighbours_are_positives_after_pretraining_alone(data, n_pretrain, n_calls, monkeypatch):
    net, batch = trained_ugach(data, n_pretrain=n_pretrain)
    calls, positives = [], net._positives
    monkeypatch.setattr(net, "_positives", lambda rows: calls.append(rows) or positives(rows))
    with net._drawing():
        net.draws_.seed(0)
        net.train_step(batch)
    assert len(calls) == n_calls


def test_losses_of_a_step_of_ugach_are_those_of_a_loop(data, monkeypatch):
    net, batch = trained_ugach(data, n_pretrain=5)
    following = (torch.arange(40)[:, None] + 1) % 40
    monkeypatch.setattr("cca_estimators.deep.ugach.draw", lambda *_: following)
    with torch.no_grad():
        net._set_training(True)
        x, y = net.module_(**batch[0])
        scores = net.criterion_.scores(batch[0])
    discriminator = generator = 0.0
    for query, item, logits in ((x, y, scores[0]), (y, x, scores[1])):
        hinges = []
        for i in range(40):
            near = (query[i] - item[i]).square().sum()
            far = (query[i] - item[(i + 1) % 40]).square().sum()
            hinges.append(max(0.0, float(8 / 8 + near - far)))
        rewards = [1 / (1 + math.exp(-hinge)) for hinge in hinges]
        for i, reward in enumerate(rewards):
            others = (sum(rewards) - reward) / 39
            chosen = logits[i, (i + 1) % 40] - logits[i].logsumexp(dim=0)
            generator -= (reward - others) * float(chosen) / 40
        discriminator += sum(hinges) / 80
    with net._drawing():
        net.draws_.seed(0)
        step = net.train_step(batch)
    assert step["loss"].item() == pytest.approx(discriminator, rel=1e-4)
    assert step["generator_loss"].item() == pytest.approx(generator, rel=1e-3, abs=1e-5)
