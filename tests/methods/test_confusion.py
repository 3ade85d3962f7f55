import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from headstart import Domain, HeadstartError
from headstart.learners import off_policy
from headstart.learners.auxiliary import activations
from headstart.learners.dqn import DQN
from headstart.learners.encoders import Convolutions, Statistics
from headstart.learners.imitation import Imitation
from headstart.learners.sac import SAC
from headstart.methods.confusion import Confusion, check_frames
from headstart.methods.domain_confusion import DomainConfusion
from headstart.target import Meter, Source, Target

IMAGE = (24, 24, 3)
LABEL = np.repeat([0.0, 1.0], 6)


def bytes_of(size, seed):
    return jax.random.bits(jax.random.key(seed), (size, *IMAGE), jnp.uint8)


def confusion_of(frames, held_out, **fields):
    stated = {
        "variant": "reversal", "layer": "conv2", "weight": 1.0, "hidden": (16,),
        "learning_rate": 1e-3, "samples": 6,
    }  # fmt: skip
    return Confusion(frames, held_out, **(stated | fields))


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


@pytest.mark.parametrize("layer", ["conv1", "dense"])
@pytest.mark.parametrize("variant", CONFUSED)
def test_each_player_has_its_own_gradient(variant, layer):
    """The classifier that of telling the domains apart; the encoder that of confusing it, which
    grows as 2 / (1 + e^(−10 p)) − 1 = tanh 5p."""
    confusion = confusion_of(
        bytes_of(9, 0), bytes_of(3, 1), variant=variant, weight=7.0, layer=layer
    )
    encoder = Convolutions(IMAGE, jax.random.key(2), size=8)
    classifier = confusion.init(encoder, jax.random.key(3)).parameters
    obs, key = bytes_of(10, 4), jax.random.key(5)
    rows = jax.random.randint(key, (6,), 0, 9)

    def logits(classifier, encoder):
        """By place and frame."""
        frames = jnp.concatenate([obs[:6], confusion.frames[rows]])
        return jnp.stack([classifier(x)[:, 0] for x in judged(encoder.layers(frames)[layer])])

    @jax.jit
    def both(classifier, encoder, progress):
        def total(classifier, encoder):
            seen = activations(encoder, obs)
            return confusion.loss(classifier, encoder, seen, progress, key)[0]

        def of_encoder(encoder):
            return 7.0 * jnp.tanh(5 * progress) * CONFUSED[variant](logits(classifier, encoder))

        theirs = jax.grad(lambda c: cross_entropy(logits(c, encoder), LABEL))(classifier)
        return jax.grad(total, (0, 1))(classifier, encoder), (theirs, jax.grad(of_encoder)(encoder))

    for progress in (0.0, 0.04, 1.0):
        found, expected = both(classifier, encoder, progress)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)
        moved = float(jnp.abs(found[1].convolutions[0].weight).max())
        assert (moved > 1e-6) == (progress > 0)


def test_accuracy_counts_each_domain_half():
    """A classifier that says `target` of everything is right for half of the domains, whatever
    their sizes."""
    confusion = confusion_of(bytes_of(4, 0), bytes_of(3, 1))
    encoder = Convolutions(IMAGE, jax.random.key(2), size=8)
    judge = confusion.init(encoder, jax.random.key(3))
    sure = eqx.tree_at(lambda j: j.parameters.biases[-1], judge, jnp.array([1e6]))
    measured = confusion.measure(sure, encoder, bytes_of(9, 4))
    assert float(measured["domain_accuracy"]) == 0.5


DQN_SMALL = DQN(
    hidden=(16,), environments=8, steps=4, batch=32, random_steps=64, updates=0.5, capacity=1024,
)  # fmt: skip


def accuracy(weight, steps):
    """Of the classifier, after training on a black background, with a bright one in the target."""
    target = Target(Domain("worlds:Dot", tint=1.0), Meter())
    frames = jnp.asarray(target.observations(240, seed=1))
    confusion = confusion_of(frames[:200], frames[200:], weight=weight, samples=32)
    agent = off_policy.train(
        DQN_SMALL, Source(Domain("worlds:Dot")), steps, jax.random.key(0), auxiliary=confusion
    ).agent
    fresh = Target(Domain("worlds:Dot"), Meter()).observations(240, seed=2)
    shown = confusion.measure(agent.auxiliary, agent.policy.encoder, jnp.asarray(fresh))
    return float(shown["domain_accuracy"])


def test_features_become_alike_where_they_are_confused():
    assert accuracy(weight=0.0, steps=4000) > 0.95
    assert accuracy(weight=1.0, steps=4000) < 0.65


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"layer": "pool"}, "unknown layer of the encoder 'pool': known: conv1, conv2, dense"),
        ({"layer": "dens"}, "unknown layer of the encoder 'dens': did you mean 'dense'"),
        ({"observations": 0}, "observations must be at least 5, got 0"),
        ({"hidden": (8, -3)}, "hidden must be at least 1, got -3"),
    ],
)
def test_what_it_cannot_do_is_said_when_it_is_made(fields, says):
    with pytest.raises(HeadstartError, match=says):
        DomainConfusion(**fields)


def test_it_needs_an_encoder():
    confusion = confusion_of(bytes_of(4, 0), bytes_of(3, 1))
    with pytest.raises(HeadstartError, match=r"no encoder to align for observations of shape \(3,"):
        confusion.init(Statistics(3), jax.random.key(0))
    with pytest.raises(HeadstartError, match="SAC sees no images"):
        off_policy.train(
            SAC(random_steps=0),
            Source(Domain("worlds:Track")),
            64,
            jax.random.key(0),
            auxiliary=confusion,
        )


BYTES = spaces.Box(0, 255, IMAGE, np.uint8)
FRAMES = np.full((4, *IMAGE), 200, np.uint8)


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (FRAMES[:0], "got none: raise access.observations"),
        (FRAMES[:, ::2], r"shape \[12, 24, 3\] and the source's \[24, 24, 3\]: resize them alike"),
        (FRAMES / 250, r"float64 in \[0.8, 0.8\], and the source's are uint8 in \[0, 255\]"),
        (FRAMES // 255, r"uint8 in \[0, 0\]"),
    ],
)
def test_frames_that_do_not_match_are_named(frames, says):
    with pytest.raises(HeadstartError, match=says):
        check_frames(frames, BYTES)
    check_frames(FRAMES, BYTES)


@pytest.mark.parametrize("value", [200.0, -0.1, np.nan])
def test_frames_outside_of_the_range_are_named(value):
    floats = spaces.Box(0, 1, IMAGE, np.float32)
    with pytest.raises(HeadstartError, match=r"and the source's are float32 in \[0, 1\]"):
        check_frames(np.full((4, *IMAGE), value, np.float32), floats)
    check_frames(np.full((4, *IMAGE), 0.5, np.float32), floats)


@pytest.mark.parametrize("learner", [DQN_SMALL, Imitation()])
@pytest.mark.parametrize(
    ("limit", "behaviour", "says"),
    [
        (0, "random", "asked for 500 target observations, 0 of 0 are left: raise access.obs"),
        (500, "centr", "unknown demonstrator of worlds:Dot 'centr': did you mean 'centre'"),
    ],
)
def test_frames_that_may_not_be_had_are_missed_before_training(learner, limit, behaviour, says):
    source = Source(Domain("worlds:Dot"))
    target = Target(Domain("worlds:Dot", tint=1.0), Meter(limit, 0, 0), behaviour=behaviour)
    with pytest.raises(HeadstartError, match=says):
        DomainConfusion(learner=learner).pretrain(source, target, jax.random.key(0))
    assert source.meter.steps == 0
