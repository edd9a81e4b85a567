"""Encoders and losses of branches with votes, and their batches, by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from torch import Tensor

from export.branches.voting.data import epoch_batches
from export.branches.voting.encoders import CaptionBranch, Names, PictureBranch, centred
from export.branches.voting.loss import captions_loss, names_loss
from export.layers import l2_normalize
from tests.export.colours import toy_data


def unit(*values: float) -> Tensor:
    return l2_normalize(torch.tensor([values]))


def test_votes_that_are_spread_pull_a_picture_nowhere() -> None:
    torch.manual_seed(0)
    branch = PictureBranch(np.eye(4, dtype=np.float32), 8, 0.0, (1.0, 1.0)).eval()
    texts = centred(l2_normalize(torch.randn(5, 128)))
    features = torch.rand(2, 4)
    alone = branch(features, torch.zeros(2, 5), texts)
    spread = branch(features, torch.full((2, 5), 0.2), texts)
    assert torch.allclose(alone, spread, atol=1e-6)
    sure = branch(features, torch.eye(5)[:2], texts)
    assert ((sure * texts[:2]).sum(dim=1) > (alone * texts[:2]).sum(dim=1) + 0.1).all()
    assert torch.allclose(sure.norm(dim=1), torch.ones(2))


def test_however_much_is_seen_it_counts_no_more_than_three_things() -> None:
    torch.manual_seed(0)
    branch = PictureBranch(np.eye(4, dtype=np.float32), 8, 0.0, (0.0, 1.0)).eval()
    texts, features = l2_normalize(torch.randn(10, 128)), torch.rand(1, 4)
    votes, classes = torch.zeros(1, 1), torch.zeros(1, 128)

    def pulled(seen: Tensor) -> Tensor:
        alone = branch(features, votes, classes)
        full = branch(features, votes, classes, seen, texts)
        return full / (full @ alone.T) - alone  # what was added, at right angles to what was there

    one, twice = torch.zeros(1, 10), torch.zeros(1, 10)
    one[0, 0], twice[0, 0] = 0.5, 1.0
    assert torch.allclose(pulled(torch.zeros(1, 10)), torch.zeros(1, 128), atol=1e-6)
    assert pulled(twice).norm() > 1.5 * pulled(one).norm()  # sure things count for more
    three, all_ten = torch.zeros(1, 10), torch.ones(1, 10)
    three[0, :3] = 1.0
    assert pulled(all_ten).norm() < 1.5 * pulled(three).norm()


def test_a_name_of_several_is_their_mean() -> None:
    torch.manual_seed(0)
    branch = CaptionBranch(4, 8, 16, 0.0).eval()
    names = Names(np.array([[1, 0], [2, 3], [4, 0]]), np.array([0, 0, 1]), 2)
    texts = names.texts(branch)
    alone = branch(torch.tensor([[1, 0], [2, 3], [4, 0]]))
    assert torch.allclose(texts, l2_normalize(torch.stack([alone[:2].sum(dim=0), alone[2]])), atol=1e-6)
    drawn = {tuple(map(tuple, names.one_each(np.random.default_rng(seed)).tolist())) for seed in range(20)}
    assert drawn == {((1, 0), (4, 0)), ((2, 3), (4, 0))}


def test_stems_begin_as_what_they_mean() -> None:
    meanings = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [-1, 0, 0.2], [0, 1, 0]], np.float32)
    for width in (2, 3, 5):
        branch = CaptionBranch(4, width, 16, 0.0)
        branch.start_from(meanings)
        rows = branch.stems.weight.detach()
        assert rows[0].abs().sum() == 0
        apart = torch.cdist(rows[1:], rows[1:])
        assert apart[0, 1] < apart[0, 3] < apart[0, 2] + 1e-6


def test_captions_loss_by_hand() -> None:
    images, texts = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    scores = images @ texts.T  # [[1, 0.6], [0, 0.8]]
    expected = -(scores.log_softmax(dim=1).diagonal().mean() + scores.T.log_softmax(dim=1).diagonal().mean())
    assert captions_loss(images, texts, 1.0).item() == pytest.approx(expected.item())
    same = torch.ones(2, 1)  # captions that mean the same: half of each target lies on the other
    half = torch.full((2, 2), 0.25) + 0.5 * torch.eye(2)
    of_images, of_texts = (-(half * s.log_softmax(dim=1)).sum(dim=1).mean() for s in (scores, scores.T))
    found = captions_loss(images, texts, 1.0, same, 0.5, 1.0)
    assert found.item() == pytest.approx((of_images + of_texts).item())


def test_names_loss_by_hand() -> None:
    texts = torch.eye(2)
    says = torch.tensor([[0.7, 0.3], [0.0, 0.0]])
    images = torch.tensor([[0.8, 0.6], [1.0, 0.0]])
    logs = (images[:1] @ texts.T / 0.5).log_softmax(dim=1)[0]
    assert names_loss(images, texts, 0.5, says).item() == pytest.approx(
        (-(0.7 * logs[0] + 0.3 * logs[1]) / 2).item()
    )


def test_an_epoch_passes_over_the_first_data_set_once() -> None:
    data = toy_data(40, [2] * 16 + [1] * 4 + [0] * 20, [0] * 16 + [1] * 24)
    batches = epoch_batches(data, 8, 0.25, 5, np.random.default_rng(0))
    assert batches.shape == (2, 13)
    first = batches[:, :6]
    assert len(np.unique(first)) == 12
    assert first.max() < 16
    assert sorted(batches[:, 6:8].ravel().tolist()) == [16, 17, 18, 19]  # each before any comes again
    assert len(np.unique(batches[:, 8:])) == 10  # any picture
    again = epoch_batches(data, 8, 0.25, 5, np.random.default_rng(0))
    assert np.array_equal(batches, again)
    captions = data.one_caption_each(np.array([0, 15, 19]), np.random.default_rng(0))
    assert data.owners[captions].tolist() == [0, 15, 19]
