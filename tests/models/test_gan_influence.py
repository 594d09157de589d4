"""IF4GAN in closed form, and against training again with less weight of an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from royalty.models.base.errors import InputError
from royalty.models.valuation.gan_influence import gan_influence, log_likelihood

softplus = nn.functional.softplus


class Point(nn.Module):
    """A generator of one point, whatever the code."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([place], dtype=torch.float64))

    def forward(self, codes: Tensor) -> Tensor:
        return self.place + 0 * codes


def slope(weight: float) -> nn.Linear:
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(net.weight, weight)
    return net


def test_two_steps_of_a_point_and_a_slope() -> None:
    """Of D(x) = w x and G = b, the score b sees an image through w alone, and a step later."""
    b, w, rate, images = 0.4, -0.7, 0.3, torch.tensor([[1.5], [-0.5], [2.0]], dtype=torch.float64)
    options = {"batch_size": 3, "learning_rate": rate, "seed": 0}
    codes, nets = torch.zeros((1, 1), dtype=torch.float64), (Point(b), slope(w))
    np.testing.assert_array_equal(gan_influence(*nets, images, codes, torch.sum, epochs=1, **options), 0)

    def sigmoid(logit: float) -> float:
        return 1 / (1 + np.exp(-logit))

    x = images[:, 0].numpy()
    b1 = b + rate * sigmoid(-w * b) * w
    w1 = w + rate * ((sigmoid(-w * x) * x).mean() - sigmoid(w * b) * b)
    s = sigmoid(-w1 * b1)
    expected = rate * (s - w1 * b1 * s * (1 - s)) * rate / 3 * sigmoid(-w * x) * x
    found = gan_influence(*nets, images, codes, torch.sum, epochs=2, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert nets[1].weight.item() == w  # the nets stay as they are


def test_values_are_what_less_weight_of_an_image_does() -> None:
    torch.manual_seed(0)
    make, judge = (
        nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs)).double()
        for inputs, outputs in ((2, 3), (3, 1))
    )
    images, codes = torch.randn((7, 3), dtype=torch.float64), torch.randn((5, 2), dtype=torch.float64)
    score, rate = log_likelihood(images, 1.0), 0.2
    found = gan_influence(make, judge, images, codes, score, epochs=3, batch_size=3, learning_rate=rate, seed=4)

    def trained(weights: Tensor) -> float:
        nets = [nn.Sequential(nn.Linear(i, 6), nn.Tanh(), nn.Linear(6, o)).double() for i, o in ((2, 3), (3, 1))]
        for net, source in zip(nets, (make, judge), strict=True):
            net.load_state_dict(source.state_dict())
        draws = torch.Generator().manual_seed(4)
        batches = [batch for _ in range(3) for batch in torch.randperm(7, generator=draws).split(3)]
        for batch in batches:
            logits = nets[1](nets[0](torch.randn((len(batch), 2), generator=draws, dtype=torch.float64)))
            real = (weights[batch] * softplus(-nets[1](images[batch]))[:, 0]).mean()
            slopes = [
                torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
                for net, loss in zip(nets, (softplus(-logits).mean(), real + softplus(logits).mean()), strict=True)
            ]
            with torch.no_grad():
                for net, gradients in zip(nets, slopes, strict=True):
                    for weight, gradient in zip(net.parameters(), gradients, strict=True):
                        weight -= rate * gradient
        return float(score(nets[0](codes)))

    h = 1e-4
    for image in range(7):
        change = h * torch.nn.functional.one_hot(torch.tensor(image), 7).double()
        expected = (trained(1 + change) - trained(1 - change)) / (2 * h)
        assert found[image] == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_bad_numbers_are_refused() -> None:
    images, codes = torch.ones((3, 1), dtype=torch.float64), torch.zeros((1, 1), dtype=torch.float64)
    for changed, told in (
        ({"epochs": 0}, "got 0 epochs"),
        ({"batch_size": 4}, "batches of 1 to all 3 images"),
        ({"learning_rate": 0.0}, "a rate of 0"),
        ({"learning_rate": 1e308, "epochs": 3}, "no longer finite at step . of 6, at a learning rate of 1e\\+308"),
    ):
        options = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1, "seed": 0} | changed
        with pytest.raises(InputError, match=told):
            gan_influence(Point(0), slope(1), images, codes, torch.sum, **options)
