"""Defaults and bounds of the parameters of deep methods, one by one, and what their classes are."""

import inspect
import re
from ast import literal_eval

import numpy as np
import pytest
from sklearn.base import clone

from cca_estimators import deep
from cca_estimators.deep import losses

SHARED = {
    "hidden_layer_sizes": (256,),
    "activation": "relu",
    "dropout": 0.0,
    "batch_norm": True,
    "tower": "auto",
    "towers": None,
    "batch_size": 256,
    "max_epochs": 50,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "early_stopping": False,
    "validation_fraction": 0.1,
    "n_iter_no_change": 10,
    "device": "auto",
    "callbacks": None,
    "random_state": None,
    "verbose": 0,
    "warm_start": False,
    "view_split": None,
    "standardize": "auto",
    "checkpoint": None,
    "sharded": False,
}
HEAD = {"n_components": 10, "reg": "auto", "weighted": True, "batch_reg": 1e-3}
CATEGORIES = {**HEAD, "n_components": None, "pair_weight": 0.2}
STEPS = {**CATEGORIES, "dropout": 0.3, "lstm_size": 128, "n_layers": 1}
OWN = {
    "ACMR": {
        "n_components": 40,
        "hidden_layer_sizes": (512,),
        "dropout": 0.5,
        "adversary_weight": 5.0,
        "margin": 1.0,
    },
    "AGAH": {
        "n_bits": 64,
        "hidden_layer_sizes": (512,),
        "dropout": 0.5,
        "max_epochs": 40,
        "feature_size": 256,
        "margin": 0.3,
        "code_weight": 0.1,
        "map_weight": 0.1,
        "adversary_weight": 0.1,
    },
    "CDCCA": CATEGORIES,
    "Contrastive": {
        "n_components": 64,
        "dropout": 0.3,
        "loss": "auto",
        "temperature": 0.1,
        "mixup": True,
        "unlabelled": None,
    },
    "DCCA": {**HEAD, "autoencoder_weight": 0.0},
    "LSTMCCCA": {**STEPS, "step_size": 32},
    "SDCCA": {**STEPS, "n_selected": 1.0},
    "TNNCCCA": {
        "n_components": 64,
        "reg": "auto",
        "weighted": True,
        "hidden_layer_sizes": (256, 256),
        "dropout": 0.5,
        "max_epochs": 30,
        "first": "ckcca",
        "n_folds": 5,
        "order": "ccca_first",
        "margin": 0.3,
        "mining": "semi_hard",
        "distance": "cosine",
        "symmetric": True,
        "include_pair": True,
        "pair_weight": 0.0,
    },
    "UCAL": {
        "n_components": 10,
        "adversary_weight": 1.0,
        "variance_weight": 1.0,
        "covariance_weight": 0.1,
    },
    "UGACH": {
        "n_bits": 64,
        "activation": "tanh",
        "n_neighbors": 5,
        "n_pretrain": 20,
        "n_draws": 5,
        "temperature": 10.0,
    },
}
COUNT = [1, 2], [0, -1, 1.5, "one"]
SIZE = [0, 1e-9, 5], [-1e-9, "one", np.nan]
POSITIVE = [1e-9, 5], [0, -1, "one", np.nan]
SHARE = [0, 0.5, 1], [-0.1, 1.1, "one"]
FLAG = [True, False], [2, "yes"]
BOUNDS = {
    **dict.fromkeys(("n_components", "n_bits", "batch_size", "max_epochs"), COUNT),
    **dict.fromkeys(("n_iter_no_change", "feature_size", "lstm_size", "n_layers"), COUNT),
    **dict.fromkeys(("step_size", "n_folds", "n_neighbors", "n_draws"), COUNT),
    **dict.fromkeys(("weight_decay", "adversary_weight", "margin", "code_weight"), SIZE),
    **dict.fromkeys(("map_weight", "covariance_weight", "autoencoder_weight"), SIZE),
    **dict.fromkeys(("learning_rate", "temperature", "variance_weight", "batch_reg"), POSITIVE),
    **dict.fromkeys(("batch_norm", "warm_start", "weighted", "mixup", "sharded"), FLAG),
    **dict.fromkeys(("symmetric", "include_pair"), FLAG),
    "pair_weight": SHARE,
    "hidden_layer_sizes": ([(), 1, (3, 4), [5]], [0, -4, 2.5, "one"]),
    "activation": (["relu", "tanh", "logistic", "identity"], ["gelu", None]),
    "dropout": ([0, 0.99], [1, -0.1, "half"]),
    "tower": (["auto", "perceptron", "convolution", "gru", "lstm"], ["mlp", None]),
    "towers": ([None, {}], [[], "mine"]),
    "early_stopping": ([True, False, "loss", "map"], ["accuracy", 2]),
    "validation_fraction": ([0.01, 0.99], [0, 1, "half"]),
    "device": (["auto", "cpu"], [None, 3]),
    "callbacks": ([None, []], [(), "all"]),
    "random_state": ([None, 3, np.random.RandomState(0)], ["seed", -1]),
    "verbose": ([0, 1, True], [-1, "loud"]),
    "view_split": ([None, 1], [0, 0.5]),
    "standardize": ([True, False, "auto"], ["no", None]),
    "checkpoint": ([None, "folder"], [3, True]),
    "reg": ([0, 1e-3, "auto", {"audio": 0.1}], [-1, "none", [0.1]]),
    "loss": (
        ["auto", "infonce", "sigmoid", "supervised", "robust"],
        ["triplet", None],
    ),
    "unlabelled": ([None, -1, "none"], []),
    "n_pretrain": ([0, 1], [-1, 0.5]),
    "n_selected": ([1, 8, 0.1, 1.0], [0, 0.0, 1.5, -1, "all"]),
    "first": (["ckcca", "ccca"], ["kcca", None, 3]),
    "order": (["ccca_first", "tnn_first"], ["both"]),
    "mining": (["batch_all", "batch_hard", "semi_hard", "random"], ["hard"]),
    "distance": (["cosine", "sqeuclidean"], ["euclidean"]),
}
each = pytest.mark.parametrize("name", deep.METHODS)


@each
def test_defaults_are_those_decided(name):
    parameters = inspect.signature(getattr(deep, name)).parameters
    assert {key: each.default for key, each in parameters.items()} == {**SHARED, **OWN[name]}


@each
def test_parameters_have_bounds(name):
    method = getattr(deep, name)()
    for parameter, (allowed, refused) in BOUNDS.items():
        if parameter not in method.get_params(deep=False):
            continue
        for value in allowed:
            clone(method).set_params(**{parameter: value})._validate_params()
        for value in refused:
            with pytest.raises(ValueError, match=f"The '{parameter}' parameter of {name} must be"):
                clone(method).set_params(**{parameter: value})._validate_params()
    assert set(method.get_params(deep=False)) <= set(BOUNDS)


@each
def test_classes_of_estimators_are_those_of_scikit_learn(name):
    method = getattr(deep, name)()
    assert repr(method) == f"{name}()"
    assert method != clone(method)
    assert len({method, clone(method)}) == 2
    first, *others = inspect.signature(type(method)).parameters.values()
    assert first.kind == first.POSITIONAL_OR_KEYWORD
    assert {each.kind for each in others} == {first.KEYWORD_ONLY}


FUNCTIONS = [one for one in map(vars(losses).get, losses.__all__) if inspect.isfunction(one)]
METHODS = [getattr(deep, name) for name in deep.METHODS]


@pytest.mark.parametrize("function", [*FUNCTIONS, *METHODS], ids=lambda one: one.__name__)
def test_docstrings_have_the_defaults_of_signatures(function):
    parameters = inspect.signature(function).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    entries = re.findall(r"^ {4}(\w+(?:, \w+)*) : .*default=(.*)$", function.__doc__, re.M)
    documented = {key: literal_eval(value) for keys, value in entries for key in keys.split(", ")}
    assert documented == defaults
    assert "'" not in "".join(value for _, value in entries)
