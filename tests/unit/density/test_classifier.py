"""A density made of a classifier and a base."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.mixture import GaussianMixture
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from caminito.density import from_classifier, invert
from caminito.errors import ConfigError, DataError, ShapeError

rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(-1, 1, (150, 2)), rng.normal(1, 1, (150, 2)), rng.normal([3, -3], 1, (150, 2))])
Y = np.repeat(["a", "b", "c"], 150)
NORMAL = {"mean": [0.5, 0.0], "cov": [[2.0, 0.3], [0.3, 1.0]]}
AT = torch.tensor([[0.3, -0.2], [2.0, 1.0], [-1.0, 0.5]], dtype=torch.float64)


def slope(p, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(p(x).sum(), x)[0]


def law(x):
    base = torch.distributions.MultivariateNormal(
        torch.tensor([0.5, 0.0]).double(), torch.tensor([[2.0, 0.3], [0.3, 1.0]]).double()
    )
    return base.log_prob(x)


def test_log_odds_plus_base_and_the_gradient_of_both():
    linear = LogisticRegression().fit(X[:300], Y[:300])
    p = from_classifier(linear, "b", base=NORMAL, temperature=2.0)
    weights, bias = torch.from_numpy(linear.coef_[0]), float(linear.intercept_[0])
    torch.testing.assert_close(p(AT), 2 * (AT @ weights + bias) + law(AT))
    x = AT.clone().requires_grad_()
    exact = torch.autograd.grad((2 * (x @ weights) + law(x)).sum(), x)[0]
    torch.testing.assert_close(slope(p, AT), exact, rtol=1e-5, atol=1e-6)
    other = from_classifier(linear, "a", base=NORMAL, temperature=2.0)
    torch.testing.assert_close(p(AT) + other(AT), 2 * law(AT))
    assert p.dim == 2


def test_a_module_and_a_scikit_learn_classifier_of_one_score_agree():
    linear = LogisticRegression().fit(X, Y)
    module = nn.Linear(2, 3, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(linear.coef_))
        module.bias.copy_(torch.from_numpy(linear.intercept_))
    for label, index in (("a", 0), (["a", "c"], [0, 2])):
        for smooth in (0.0, 0.5):
            one = from_classifier(linear, label, base=NORMAL, smooth=smooth)
            two = from_classifier(module, index, base=NORMAL, smooth=smooth)
            torch.testing.assert_close(one(AT), two(AT))
            torch.testing.assert_close(slope(one, AT), slope(two, AT), rtol=2e-2, atol=2e-2)


def test_one_logit_is_that_of_1_against_0():
    module = nn.Linear(2, 1)
    one, zero = (from_classifier(module, target, base=NORMAL) for target in (1, 0))
    torch.testing.assert_close(one(AT) - law(AT), module(AT.float()).double()[:, 0])
    torch.testing.assert_close(zero(AT) - law(AT), -module(AT.float()).double()[:, 0])


def test_a_margin_serves_where_there_are_no_probabilities():
    model = Perceptron().fit(X, Y)
    p = from_classifier(model, "c", base=NORMAL)
    margin = torch.from_numpy(model.decision_function(AT.numpy()))
    torch.testing.assert_close(p(AT) - law(AT), margin[:, 2] - torch.logsumexp(margin[:, :2], 1))
    two = Perceptron().fit(X[:300], Y[:300])
    margin = torch.from_numpy(two.decision_function(AT.numpy()))
    torch.testing.assert_close(from_classifier(two, "a", base=NORMAL)(AT) - law(AT), -margin)


def test_smoothing_leaves_a_line_as_it_is_and_gives_a_step_a_slope():
    linear = LinearDiscriminantAnalysis().fit(X[:300], Y[:300])
    plain, smooth = (from_classifier(linear, "b", base=NORMAL, smooth=s) for s in (0.0, 0.7))
    torch.testing.assert_close(plain(AT), smooth(AT))
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X[:300], Y[:300])
    flat = from_classifier(tree, "b", base=NORMAL)
    x = AT.clone().requires_grad_()
    torch.testing.assert_close(slope(flat, AT), torch.autograd.grad(law(x).sum(), x)[0], rtol=1e-5, atol=1e-6)
    sloped = from_classifier(tree, "b", base=NORMAL, smooth=0.7, draws=400)
    place = torch.tensor([[0.0, 0.0]], dtype=torch.float64)
    assert float((slope(sloped, place) - slope(flat, place)).abs().max()) > 0.5


@pytest.mark.parametrize("smooth", [0.0, 0.3])
def test_bases_of_every_kind(smooth):
    model = LogisticRegression().fit(X, Y)
    mixture = GaussianMixture(3, random_state=0).fit(X)
    for base, expected in (
        (mixture, torch.from_numpy(mixture.score_samples(AT.numpy()))),
        (law, law(AT)),
        ({"mean": [0.0, 0.0], "cov": 4.0}, -(AT**2).sum(1) / 8 - np.log(2 * np.pi * 4)),
    ):
        p = from_classifier(model, "a", base=base, temperature=0.0, smooth=smooth)
        torch.testing.assert_close(p(AT), expected)
        assert slope(p, AT).shape == AT.shape
    kernels = from_classifier(model, "a", base=X, temperature=0.0, bandwidth=0.4)
    width = 0.4 * torch.from_numpy(X.std(0, ddof=1))
    parts = torch.distributions.Independent(torch.distributions.Normal(torch.from_numpy(X), width), 1)
    torch.testing.assert_close(kernels(AT), torch.logsumexp(parts.log_prob(AT[:, None]), 1) - np.log(len(X)))


def test_it_is_a_log_prob_for_the_others():
    p = from_classifier(LogisticRegression().fit(X, Y), "c", base=NORMAL)
    top = invert(p, torch.zeros(2, p.dim), 50.0, random_state=0).x
    assert float(slope(p, top).abs().max()) < 0.02


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"target": "z"}, ConfigError, "target"),
        ({"target": ["a", "b", "c"]}, ConfigError, "target"),
        ({"temperature": -1.0}, ConfigError, "temperature"),
        ({"smooth": float("nan")}, ConfigError, "smooth"),
        ({"draws": 0}, ConfigError, "draws"),
        ({"base": X[:, :1]}, ShapeError, "columns"),
        ({"base": X[:1]}, ShapeError, "rows"),
        ({"base": X * np.nan}, DataError, "finite"),
        ({"base": X, "bandwidth": 0.0}, ConfigError, "bandwidth"),
        ({"base": {"mean": [0.0, 0.0]}}, ConfigError, "mean and cov"),
        ({"base": {"mean": [0.0, 0.0], "cov": [1.0, -1.0]}}, ConfigError, "positive definite"),
        ({"base": {"mean": [0.0, 0.0], "cov": [1.0]}}, ShapeError, "fits"),
        ({"classifier": LogisticRegression()}, ConfigError, "not fitted"),
        ({"classifier": "kitten"}, ConfigError, "classifier"),
        ({"classifier": nn.Linear(2, 3), "target": "a"}, ConfigError, "index"),
    ],
)
def test_what_cannot_be_is_refused(options, error, word):
    given = {"classifier": LogisticRegression().fit(X, Y), "target": "a", "base": NORMAL, **options}
    with pytest.raises(error, match=word):
        from_classifier(given.pop("classifier"), given.pop("target"), **given)


def test_a_module_with_too_few_logits_is_refused_when_it_is_asked():
    with pytest.raises(ConfigError, match="logits"):
        from_classifier(nn.Linear(2, 3), 3, base=NORMAL)(AT)
