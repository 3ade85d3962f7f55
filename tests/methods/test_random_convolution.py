import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import HeadstartError
from headstart.envs.spec import Group
from headstart.methods.random_convolution import FeatureMatching, convolved
from headstart.policies.encoders import Convolutions, Encoders, Identity

IMAGE = Group((24, 24, 3), "image")


def bytes_of(size):
    return jax.random.bits(jax.random.key(0), (size, *IMAGE.shape), jnp.uint8)


def test_a_pixel_is_the_sum_of_its_neighbours_times_the_kernel():
    frames, key = bytes_of(2), jax.random.key(1)
    kernel = np.asarray(jax.nn.initializers.glorot_normal()(key, (3, 3, 3, 3), jnp.float32))
    found = convolved(frames, key)
    assert found.shape == frames.shape
    for y, x in [(5, 7), (1, 22)]:
        around = np.asarray(frames, np.float64)[1, y - 1 : y + 2, x - 1 : x + 2]
        pixel = np.clip(np.einsum("ijc,ijco->o", around, kernel), 0, 255)
        np.testing.assert_allclose(found[1, y, x], pixel, rtol=1e-4, atol=1e-2)
    assert (float(found.min()), float(found.max())) == (0.0, 255.0)
    assert not np.allclose(found, convolved(frames, jax.random.key(2)))


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
            blurred = encoders({"pixels": convolved(obs[:4], key)})
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
