import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.errors import HeadstartError, KnowledgeError
from headstart.learners.actors import ACTORS
from headstart.learners.encoders import Convolutions, Identity, Statistics, encoder_for
from headstart.learners.networks import Convolution
from headstart.learners.policy import Policy, greedy, knowledge_of, policy_from

IMAGE = (24, 27, 3)
layers_of = jax.jit(Convolutions.layers)


def bytes_of(*shape):
    return jax.random.bits(jax.random.key(0), shape, jnp.uint8)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(8, 4, (24, 27)), (3, 1, (5, 4))])
def test_a_convolution_by_hand(kernel, stride, size):
    layer = Convolution((2, 5), kernel, stride, jax.random.key(0))
    layer = eqx.tree_at(lambda c: c.bias, layer, jnp.arange(5.0))
    x = np.asarray(jax.random.normal(jax.random.key(1), (3, *size, 2)))
    ours = jax.jit(lambda layer, x: layer(x))(layer, x)
    assert ours.shape == (3, layer.size_of(size[0]), layer.size_of(size[1]), 5)
    for row, column in np.ndindex(ours.shape[1:3]):
        top, left = stride * row, stride * column
        patch = x[:, top : top + kernel, left : left + kernel]
        expected = np.einsum("nhwi,hwio->no", patch, layer.weight) + np.arange(5.0)
        np.testing.assert_allclose(ours[:, row, column], expected, atol=1e-4)


def test_layers_have_their_sizes_and_any_axes_before_the_image():
    encoder = Convolutions(IMAGE, jax.random.key(0), size=32)
    # (24, 27) → 8 × 8 by 4: (5, 5) → 4 × 4 by 2: (1, 1).
    sizes = {"conv1": (5, 5, 16), "conv2": (1, 1, 32), "dense": (32,)}
    frames = bytes_of(2, 3, *IMAGE)
    found = layers_of(encoder, frames)
    assert {k: x.shape for k, x in found.items()} == {k: (2, 3, *n) for k, n in sizes.items()}
    for name, alone in layers_of(encoder, frames[1, 2]).items():
        np.testing.assert_allclose(alone, found[name][1, 2], atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda e, x: e(x))(encoder, frames), found["dense"])
    assert (encoder.size, encoder.shape) == (32, IMAGE)


def test_bytes_are_scaled_to_one_and_centred():
    """A mean of channels, where the image is white, is a half; where it is black, minus a half."""
    encoder = Convolutions(IMAGE, jax.random.key(0), size=32)
    mean = jnp.full((8, 8, 3, 16), 1 / (8 * 8 * 3))
    encoder = eqx.tree_at(lambda e: e.convolutions[0].weight, encoder, mean)
    white, half = jnp.full(IMAGE, 255, jnp.uint8), np.full((5, 5, 16), 0.5)
    np.testing.assert_allclose(layers_of(encoder, white)["conv1"], half, rtol=1e-5)
    encoder = eqx.tree_at(lambda e: e.convolutions[0].weight, encoder, -mean)
    np.testing.assert_allclose(layers_of(encoder, 0 * white)["conv1"], half, rtol=1e-5)


def test_features_are_rectified_after_they_are_normalised():
    """By hand: (x − mean) / deviation over the features of one image, and no less than 0."""
    encoder = Convolutions(IMAGE, jax.random.key(0), size=32)
    found = layers_of(encoder, bytes_of(4, *IMAGE))
    flat = np.asarray(found["conv2"]).reshape(4, -1)
    before = flat @ np.asarray(encoder.dense) + np.asarray(encoder.bias)
    expected = (before - before.mean(1, keepdims=True)) / before.std(1, keepdims=True)
    np.testing.assert_allclose(found["dense"], np.maximum(expected, 0), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "normalised", "kind"),
    [((3,), True, Statistics), ((3,), False, Identity), (IMAGE, False, Convolutions)],
)
def test_each_encoder_fits_its_observations(shape, normalised, kind):
    encoder = encoder_for(shape, normalised, jax.random.key(0))
    assert isinstance(encoder, kind)
    assert tuple(encoder.shape) == shape
    obs = jnp.ones((2, *shape), jnp.uint8 if len(shape) == 3 else jnp.float32)
    assert jax.eval_shape(encoder, obs).shape == (2, encoder.size)


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("shape", [(3,), (3, "normalised"), IMAGE], ids=str)
def test_a_policy_made_from_its_knowledge_acts_alike(actor, shape):
    normalised = "normalised" in shape
    shape = shape[:1] if normalised else shape
    keys = jax.random.split(jax.random.key(1), 3)
    encoder = encoder_for(shape, normalised, keys[0])
    if normalised:
        encoder = encoder.merge(jax.random.normal(keys[2], (9, 3)), jnp.ones(9))
    policy = Policy(ACTORS[actor](encoder.size, 2, (8,), keys[1]), encoder)
    policy = jax.tree.map(lambda x: x + 0.1, policy)
    again = policy_from(knowledge_of(policy))
    obs = bytes_of(4, *shape) if len(shape) == 3 else jax.random.normal(keys[2], (4, *shape))
    assert eqx.tree_equal(policy, again)
    np.testing.assert_array_equal(greedy(policy, obs), greedy(again, obs))


def test_a_policy_without_its_encoder_is_refused():
    encoder = encoder_for(IMAGE, False, jax.random.key(0))
    policy = Policy(ACTORS["greedy"](encoder.size, 2, (8,), jax.random.key(1)), encoder)
    with pytest.raises(KnowledgeError, match="has no 'encoder': it holds policy"):
        policy_from(knowledge_of(policy).only(["policy"]))


def test_an_image_too_small_is_refused():
    with pytest.raises(HeadstartError, match="19 × 24 is too small .*20 × 20"):
        encoder_for((19, 24, 3), False, jax.random.key(0))
    found = encoder_for((20, 20, 3), False, jax.random.key(0))(bytes_of(2, 20, 20, 3))
    assert not np.allclose(found[0], found[1])


def test_a_kernel_that_its_stride_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="a kernel of 5 is not a multiple of the stride 2"):
        Convolution((1, 1), 5, 2, jax.random.key(0))
