import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import Group
from headstart.experience.unroll import begin
from headstart.knowledge import Knowledge
from headstart.learners.dqn import DQN
from headstart.methods import random_convolution
from headstart.methods.random_convolution import (
    ConvolvedLook,
    FeatureMatching,
    RandomConvolution,
    convolved,
    kernels,
)
from headstart.policies.encoders import Convolutions, Encoders, Identity
from headstart.policies.policy import UniformPolicy
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget

IMAGE = Group((24, 24, 3), "image")


def bytes_of(size):
    return jax.random.bits(jax.random.key(0), (size, *IMAGE.shape), jnp.uint8)


def frames_of_roads(size):
    envs_of = envs.start(Domain("drive"), size, 0)
    return jnp.asarray(begin(UniformPolicy(envs_of.spec.actions), envs_of).told.obs["pixels"])


def test_a_pixel_is_the_sum_of_its_neighbours_times_the_kernel_around_grey():
    frames, kernel = bytes_of(2), np.array(kernels(2, 3, jax.random.key(1)))
    kernel[0] *= 0.2
    found = convolved(frames, jnp.asarray(kernel))
    assert (found.shape, found.dtype) == (frames.shape, np.uint8)
    centred = np.asarray(frames, np.float64) - 127.5
    for n, y, x in [(0, 5, 7), (1, 1, 22), (1, 12, 12)]:
        around = centred[n, y - 1 : y + 2, x - 1 : x + 2]
        pixel = np.einsum("ijc,ijco->o", around, kernel[n]) + 127.5
        np.testing.assert_allclose(found[n, y, x], np.clip(pixel, 0, 255), atol=0.51)
    corner = np.einsum("ijc,ijco->o", centred[0, :2, :2], kernel[0, 1:, 1:]) + 127.5
    np.testing.assert_allclose(found[0, 0, 0], corner, atol=0.51)  # beyond it is grey


def test_one_image_in_ten_is_left_as_it_is():
    drawn = np.asarray(kernels(4000, 3, jax.random.key(0)))
    same = np.zeros((3, 3, 3, 3))
    same[1, 1] = np.eye(3)
    unchanged = (drawn == same).all((1, 2, 3, 4))
    assert unchanged.mean() == pytest.approx(0.1, abs=0.02)
    others = drawn[~unchanged]
    assert others.std() == pytest.approx(np.sqrt(2 / 54), rel=0.01)  # glorot: 27 in, 27 out
    assert others.mean() == pytest.approx(0, abs=0.01)
    frame = bytes_of(1)
    np.testing.assert_array_equal(convolved(frame, jnp.asarray(same[None])), frame)


def test_the_road_stays_to_be_seen():
    """A tenth of all values at most is cut off, and hardly any pixel is black."""
    frames = frames_of_roads(64)
    found = np.asarray(convolved(frames, kernels(64, 3, jax.random.key(0))))
    assert ((found == 0) | (found == 255)).mean() < 0.1
    assert (found == 0).all(-1).mean() < 0.01


def test_each_copy_has_a_convolution_of_its_own_and_what_is_no_image_is_left():
    look = ConvolvedLook({"pixels": kernels(2, 3, jax.random.key(1))})
    frame = jnp.tile(bytes_of(1), (2, 1, 1, 1))
    seen = look({"pixels": frame, "expert": jnp.array([1, 2])})
    np.testing.assert_array_equal(seen["expert"], [1, 2])
    np.testing.assert_array_equal(seen["pixels"], convolved(frame, look.kernels["pixels"]))
    assert not np.array_equal(*seen["pixels"])


def test_a_training_is_seen_through_them(monkeypatch):
    given = {}
    monkeypatch.setattr(random_convolution, "train", lambda *_, **more: given.update(more))
    monkeypatch.setattr(DQN, "knowledge", lambda learner, state: Knowledge())
    source = CountedSource(Domain("probes:Dot"))
    target = MeteredTarget(source.domain, Allowance(Meter()))
    method = RandomConvolution(weight=0.3, samples=5, learner=DQN())
    method.pretrain(source, target, jax.random.key(0))
    assert (given["auxiliary"].weight, given["auxiliary"].samples) == (0.3, 5)
    look = given["looks"](7, jax.random.key(1))
    assert {name: x.shape for name, x in look.kernels.items()} == {"pixels": (7, 3, 3, 3, 3)}
    assert not np.array_equal(*look.kernels["pixels"][:2])


def test_features_of_the_convolved_image_are_drawn_to_those_of_the_clean_one():
    matching = FeatureMatching(weight=0.5, samples=4)
    encoders = Encoders({"pixels": Convolutions(IMAGE, jax.random.key(2), size=8)})
    obs, key = bytes_of(6), jax.random.key(3)

    @jax.jit
    def both(encoders, clean):
        def ours(encoders):
            seen = encoders.activations({"pixels": obs})
            return matching.loss(None, encoders, seen, 0.0, key)[0]

        def by_hand(encoders):
            blurred = encoders({"pixels": convolved(obs[:4], kernels(4, 3, key))})
            return 0.5 * ((blurred - clean) ** 2).mean()

        return jax.value_and_grad(ours)(encoders), jax.value_and_grad(by_hand)(encoders)

    found, expected = both(encoders, jax.jit(Encoders.__call__)(encoders, {"pixels": obs})[:4])
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_vectors_are_refused():
    matching = FeatureMatching(weight=0.5, samples=4)
    encoders = Encoders({"state": Identity(Group((3,)), jax.random.key(0))})
    with pytest.raises(HeadstartError, match="for images, and there are none: .* reads state"):
        matching.init(encoders, jax.random.key(0))
