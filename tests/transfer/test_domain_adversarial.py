from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.learners import train as training
from headstart.learners.dqn import DQN
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.policies.encoders import Convolutions, Encoders, Statistics
from headstart.runs.logger import Logger
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.transfer.domain_adversarial import DomainAdversarialLoss, check_frames

IMAGE = Group((24, 24, 3), "image")
LABEL = np.repeat([0.0, 1.0], 6)


def bytes_of(size, seed):
    return jax.random.bits(jax.random.key(seed), (size, *IMAGE.shape), jnp.uint8)


def confusion_of(frames, held_out, **fields):
    stated = {
        "variant": "reversal", "layers": ("conv2",), "weight": 1.0, "hidden": (16,),
        "learning_rate": 1e-3, "samples": 6,
    }  # fmt: skip
    shown, kept = {"pixels": frames}, {"pixels": held_out}
    return DomainAdversarialLoss(shown, kept, **(stated | fields))


def convolutions():
    return Encoders({"pixels": Convolutions(IMAGE, jax.random.key(2), size=8)})


def cross_entropy(logits, label):
    """−Σ label log σ(x) + (1 − label) log σ(−x)."""
    label = jnp.broadcast_to(label, logits.shape)
    ours = label * jnp.log1p(jnp.exp(-logits)) + (1 - label) * jnp.log1p(jnp.exp(logits))
    return ours.mean()


CONFUSED = {
    "reversal": lambda logits: -cross_entropy(logits, LABEL),
    "inverted": lambda logits: cross_entropy(logits, 1 - LABEL),
    "uniform": lambda logits: cross_entropy(logits, 0 * LABEL + 0.5),
}


def judged(layer):
    """A dense layer, or one row for each place of a map: its channels, and which place it is."""
    if layer.ndim == 2:
        return [layer]
    n, height, width, _ = layer.shape
    places = np.eye(height * width)
    return [
        jnp.concatenate([layer[:, i, j], np.tile(places[width * i + j], (n, 1))], axis=1)
        for i in range(height)
        for j in range(width)
    ]


@pytest.mark.parametrize("layers", [("conv1",), ("dense",), ("conv2", "dense")])
@pytest.mark.parametrize("variant", CONFUSED)
def test_each_player_has_its_own_gradient(variant, layers):
    """Each layer's classifier that of telling the domains apart; the encoder that of confusing them
    all, which grows as 2 / (1 + e^(−10 p)) − 1 = tanh 5p."""
    confusion = confusion_of(
        bytes_of(9, 0), bytes_of(3, 1), variant=variant, weight=7.0, layers=layers
    )
    encoders = convolutions()
    classifiers = confusion.init(encoders, jax.random.key(3)).parameters
    assert set(classifiers) == set(layers)
    obs, key = bytes_of(10, 4), jax.random.key(5)
    rows = jax.random.randint(key, (6,), 0, 9)

    def logits(classifiers, encoders, layer):
        """By place and frame."""
        frames = jnp.concatenate([obs[:6], confusion.frames["pixels"][rows]])
        found = encoders.by_group["pixels"].layers(frames)[layer]
        return jnp.stack([classifiers[layer](x)[:, 0] for x in judged(found)])

    @jax.jit
    def both(classifiers, encoders, progress):
        def total(classifiers, encoders):
            seen = encoders.activations({"pixels": obs})
            return confusion.loss(classifiers, encoders, seen, progress, key)[0]

        def of_classifiers(classifiers):
            return sum(cross_entropy(logits(classifiers, encoders, at), LABEL) for at in layers)

        def of_encoder(encoders):
            fooled = sum(CONFUSED[variant](logits(classifiers, encoders, at)) for at in layers)
            return 7.0 * jnp.tanh(5 * progress) * fooled

        theirs, ours = jax.grad(of_classifiers)(classifiers), jax.grad(of_encoder)(encoders)
        return jax.grad(total, (0, 1))(classifiers, encoders), (theirs, ours)

    for progress in (0.0, 0.04, 1.0):
        found, expected = both(classifiers, encoders, progress)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)
        moved = float(jnp.abs(found[1].by_group["pixels"].convolutions[0].weight).max())
        assert (moved > 1e-6) == (progress > 0)


def test_accuracy_counts_each_domain_half():
    """A classifier that says `target` of everything is right for half of the domains, whatever
    their sizes."""
    confusion = confusion_of(bytes_of(4, 0), bytes_of(3, 1))
    encoders = convolutions()
    judge = confusion.init(encoders, jax.random.key(3))
    sure = eqx.tree_at(lambda j: j.parameters["conv2"].biases[-1], judge, jnp.array([1e6]))
    measured = confusion.measure(sure, encoders, {"pixels": bytes_of(9, 4)})
    assert float(measured["domain_accuracy"]) == 0.5


def test_accuracy_is_that_of_the_best_classifier():
    """Black frames against white ones: a dense layer's classifier that is sure of everything is
    right of a half; that of the convolutions may be right of all, or of none."""
    black, white = (jnp.full((4, *IMAGE.shape), value, jnp.uint8) for value in (0, 255))
    confusion = confusion_of(white, white, layers=("conv1", "dense"), hidden=(4,))
    encoders = convolutions()
    judge = confusion.init(encoders, jax.random.key(3))
    judge = eqx.tree_at(lambda j: j.parameters["dense"].biases[-1], judge, jnp.array([1e6]))
    found = [
        encoders.activations({"pixels": frames})["conv1"].mean((0, 1, 2))
        for frames in (black, white)
    ]
    brighter, middle = found[1] - found[0], (found[0] + found[1]) / 2
    for sign, best in ((1, 1.0), (-1, 0.5)):
        first = jnp.zeros_like(judge.parameters["conv1"].weights[0])
        first = first.at[: len(brighter), 0].set(sign * brighter)
        told = eqx.tree_at(
            lambda j: (
                j.parameters["conv1"].weights, j.parameters["conv1"].biases,
            ),
            judge,
            (
                [first, jnp.zeros((4, 1)).at[0].set(1e3)],
                [jnp.zeros(4).at[0].set(-sign * brighter @ middle), jnp.full(1, -1e-3)],
            ),
        )  # fmt: skip
        measured = confusion.measure(told, encoders, {"pixels": black})
        assert float(measured["domain_accuracy"]) == best


DQN_SMALL = DQN(
    hidden=(16,), num_envs=8, rollout_length=4, batch_size=32, learning_starts=64,
    updates_per_step=0.5, buffer_size=1024,
)  # fmt: skip


def frames_of(tint, n, seed):
    target = MeteredTarget(Domain("probes:Dot", tint=tint), Allowance(Meter()))
    return jnp.asarray(target.observations(n, seed)["pixels"])


class Accuracies(Logger):
    """Keeps what the log says of the classifier."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def log(self, row):
        self.seen.append(row["domain_accuracy"])


def accuracy(weight, monkeypatch):
    """Of the classifier, between a black background and a bright one in the target.

    One moment says little, since the two players chase each other: the mean over the second half of
    the training.
    """
    monkeypatch.setattr(training, "LOGGED_EVERY", 64)
    frames = frames_of(1.0, 240, seed=1)
    confusion = confusion_of(frames[:200], frames[200:], weight=weight, samples=32)
    accuracies = Accuracies()
    source = CountedSource(Domain("probes:Dot"), logger=accuracies)
    train(DQN_SMALL, source, 4000, jax.random.key(0), auxiliary=confusion)
    return np.mean(accuracies.seen[len(accuracies.seen) // 2 :])


@pytest.mark.learns
def test_features_become_alike_where_they_are_confused(monkeypatch):
    assert accuracy(0.0, monkeypatch) > 0.95
    assert accuracy(1.0, monkeypatch) < 0.65


def test_it_needs_an_encoder():
    confusion = confusion_of(bytes_of(4, 0), bytes_of(3, 1))
    states = {"state": jnp.ones((4, 3))}
    seeing = replace(confusion, frames=states, held_out=states)
    with pytest.raises(HeadstartError, match="no encoder to align for state, .*'conv2'"):
        seeing.init(Encoders({"state": Statistics(Group((3,)))}), jax.random.key(0))
    source = CountedSource(Domain("probes:Track"))
    with pytest.raises(HeadstartError, match="this training cannot use SAC, .* no 'auxiliary'"):
        train(SAC(learning_starts=0), source, 64, jax.random.key(0), auxiliary=confusion)
    assert source.steps == 0


SEEN = EnvSpec("seen", {"pixels": IMAGE}, Actions((), (3,)), 10)
FRAMES = np.full((4, *IMAGE.shape), 200, np.uint8)


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (FRAMES[:0], "target's pixels, and got none: raise access.observations"),
        (FRAMES[:, ::2], r"shape \[12, 24, 3\] and the source's \[24, 24, 3\]: resize them alike"),
        (FRAMES / 250, r"float64 in \[0.8, 0.8\], and the source's are bytes from 0 to 255"),
        (FRAMES // 255, r"uint8 in \[0, 0\]"),
    ],
)
def test_frames_that_do_not_match_are_named(frames, says):
    with pytest.raises(HeadstartError, match=says):
        check_frames({"pixels": frames}, SEEN)
    check_frames({"pixels": FRAMES}, SEEN)
    with pytest.raises(HeadstartError, match="target's pixels, and got none"):
        check_frames({"state": frames}, SEEN)


def test_vectors_may_have_any_range():
    vectors = replace(SEEN, groups={"state": Group((3,))})
    check_frames({"state": np.full((4, 3), -0.1)}, vectors)
    with pytest.raises(HeadstartError, match=r"shape \[2\] and the source's \[3\]"):
        check_frames({"state": np.zeros((4, 2))}, vectors)
