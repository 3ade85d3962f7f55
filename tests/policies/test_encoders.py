import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.errors import HeadstartError
from headstart.policies.encoders import (
    Convolutions,
    Encoders,
    Identity,
    OneHot,
    SmallConvolutions,
    Statistics,
    encoders_for,
)

SHAPE = (24, 27, 3)
IMAGE = Group(SHAPE, "image")
layers_of = jax.jit(Convolutions.layers)


def bytes_of(*shape):
    return jax.random.bits(jax.random.key(0), shape, jnp.uint8)


def spec_with(**groups):
    return EnvSpec("here", groups, Actions((), (2,)), 10)


def test_layers_have_their_sizes_and_any_axes_before_the_image():
    encoder = Convolutions(IMAGE, jax.random.key(0), size=32)
    # (24, 27) → 8 × 8 by 4: (5, 5) → 4 × 4 by 2: (1, 1).
    sizes = {"image": SHAPE, "conv1": (5, 5, 16), "conv2": (1, 1, 32), "dense": (32,)}
    frames = bytes_of(2, 3, *SHAPE)
    found = layers_of(encoder, frames)
    np.testing.assert_array_equal(found.pop("features"), found["dense"])
    assert {k: x.shape for k, x in found.items()} == {k: (2, 3, *n) for k, n in sizes.items()}
    alone = layers_of(encoder, frames[1, 2])
    for name in sizes:
        np.testing.assert_allclose(alone[name], found[name][1, 2], atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda e, x: e(x))(encoder, frames), found["dense"])
    assert encoder.size == 32


def test_bytes_are_scaled_to_one_and_centred():
    """A mean of channels, where the image is white, is a half; where it is black, minus a half."""
    encoder = Convolutions(IMAGE, jax.random.key(0), size=32)
    mean = jnp.full((8, 8, 3, 16), 1 / (8 * 8 * 3))
    encoder = eqx.tree_at(lambda e: e.convolutions[0].weight, encoder, mean)
    white, half = jnp.full(SHAPE, 255, jnp.uint8), np.full((5, 5, 16), 0.5)
    np.testing.assert_allclose(layers_of(encoder, white)["conv1"], half, rtol=1e-5)
    encoder = eqx.tree_at(lambda e: e.convolutions[0].weight, encoder, -mean)
    np.testing.assert_allclose(layers_of(encoder, 0 * white)["conv1"], half, rtol=1e-5)


def test_features_are_rectified_after_they_are_normalised():
    """By hand: (x − mean) / deviation over the features of one image, and no less than 0."""
    encoder = Convolutions(IMAGE, jax.random.key(0), size=32)
    found = layers_of(encoder, bytes_of(4, *SHAPE))
    flat = np.asarray(found["conv2"]).reshape(4, -1)
    before = flat @ np.asarray(encoder.dense) + np.asarray(encoder.bias)
    expected = (before - before.mean(1, keepdims=True)) / before.std(1, keepdims=True)
    np.testing.assert_allclose(found["dense"], np.maximum(expected, 0), atol=1e-3)


@pytest.mark.parametrize(
    ("group", "vectors", "kind"),
    [
        (Group((3,)), "statistics", Statistics),
        (Group((3,)), "identity", Identity),
        (IMAGE, "identity", Convolutions),
        (Group((2,), "choice", (2, 5)), "statistics", OneHot),
    ],
)
def test_each_encoder_fits_its_observations(group, vectors, kind):
    encoders = encoders_for(spec_with(seen=group), vectors, (), jax.random.key(0))
    assert isinstance(encoders.by_group["seen"], kind)
    obs = {"seen": jnp.ones((2, *group.shape), group.dtype)}
    assert jax.eval_shape(encoders, obs).shape == (2, encoders.size)


def test_an_image_too_small_is_refused():
    small, none = (spec_with(pixels=Group((n, 24, 3), "image")) for n in (19, 2))
    with pytest.raises(HeadstartError, match="19 × 24 is too small .*20 × 20"):
        encoders_for(small, "identity", ("pixels=convolutions",), jax.random.key(0))
    with pytest.raises(HeadstartError, match="2 × 24 is too small .*3 × 3"):
        encoders_for(none, "identity", (), jax.random.key(0))
    usual = encoders_for(small, "identity", (), jax.random.key(0)).by_group["pixels"]
    assert isinstance(usual, SmallConvolutions)
    encoder = Convolutions(Group((20, 20, 3), "image"), jax.random.key(0))
    found = encoder(bytes_of(2, 20, 20, 3))
    assert not np.allclose(found[0], found[1])


def test_statistics_merge_to_those_of_all_samples():
    rng = np.random.default_rng(0)
    data = rng.normal([1, -5], [2, 0.1], (300, 2)).astype(np.float32)
    merged = Statistics(Group((2,)))
    for part in np.split(data, [10, 200]):
        merged = merged.merge(jnp.array(part), jnp.ones(len(part)))
    np.testing.assert_allclose(merged.mean, data.mean(0), rtol=1e-4)
    np.testing.assert_allclose(merged.var, data.var(0), rtol=1e-2)
    first = (jnp.arange(300) < 50).astype(jnp.float32)
    weighted = Statistics(Group((2,))).merge(jnp.array(data), first)
    np.testing.assert_allclose(weighted.mean, data[:50].mean(0), rtol=1e-4)


def test_statistics_normalise_and_clip_by_hand():
    encoder = Statistics(Group((2,)))
    encoder = eqx.tree_at(
        lambda s: (s.mean, s.var), encoder, (jnp.array([1.0, 0.0]), jnp.array([4.0, 0.01]))
    )
    # (3 − 1) / 2 and 5 / 0.1, which is cut to 10.
    np.testing.assert_allclose(encoder(jnp.array([[3.0, 5.0]])), [[1.0, 10.0]], rtol=1e-5)


def test_beyond_the_limit_old_samples_fade():
    """A count of 10 stands for all that was seen before: ten new ones weigh as much."""
    encoder = Statistics(Group((1,)))
    encoder = encoder.merge(jnp.zeros((1000, 1)), jnp.ones(1000), limit=10.0)
    encoder = encoder.merge(jnp.ones((10, 1)), jnp.ones(10), limit=10.0)
    assert float(encoder.mean[0]) == pytest.approx(0.5, rel=1e-4)
    assert float(encoder.var[0]) == pytest.approx(0.25, rel=1e-4)
    assert float(encoder.count[0]) == 10.0


def test_an_input_that_was_constant_keeps_its_units():
    encoder = Statistics(Group((2,)))
    data = jnp.stack([jnp.full(1000, 3.0), jnp.linspace(-1.0, 1.0, 1000)], axis=1)
    encoder = encoder.merge(data, jnp.ones(1000))
    np.testing.assert_allclose(encoder(jnp.array([[3.5, 0.0]])), [[0.5, 0.0]], atol=1e-3)
    assert float(encoder(jnp.array([3.0, 1.0]))[1]) == pytest.approx(np.sqrt(3), rel=1e-2)


def test_groups_stand_side_by_side_in_the_order_of_their_names():
    spec = spec_with(
        wheel=Group((1,), "choice", (3,)), place=Group((2,)), expert=Group((), "choice", (2,)),
        privileged=Group((4,)),
    )  # fmt: skip
    encoders = encoders_for(spec, "identity", (), jax.random.key(0))
    assert encoders.reads == ("place", "wheel")
    obs = {"wheel": jnp.array([[2]]), "place": jnp.array([[5.0, 6.0]])}
    np.testing.assert_array_equal(encoders(obs), [[5, 6, 0, 0, 1]])
    np.testing.assert_array_equal(encoders.activations(obs)["features"], [[5, 6, 0, 0, 1]])
    assert encoders.size == 5
    alone = encoders_for(spec, "identity", (), jax.random.key(0), only=["privileged"])
    assert alone.reads == ("privileged",)


def test_rows_are_counted_by_their_weights_group_by_group():
    encoders = Encoders({"b": Statistics(Group((1,))), "a": Identity(Group((1,)), None)})
    obs = {"a": jnp.zeros((2, 2, 1)), "b": jnp.array([[[1.0], [9.0]], [[3.0], [9.0]]])}
    after = encoders.merge(obs, jnp.array([1.0, 0.0, 1.0, 0.0]))
    assert float(after.by_group["b"].mean[0]) == pytest.approx(2.0, rel=1e-3)


class Doubled(Identity):
    def __call__(self, x):
        return 2 * x


def test_an_encoder_is_chosen_by_group():
    spec = spec_with(state=Group((2,)))
    encoders = encoders_for(spec, "identity", ("state=test_encoders:Doubled",), jax.random.key(0))
    np.testing.assert_array_equal(encoders({"state": jnp.array([[1.0, 2.0]])}), [[2, 4]])
    with pytest.raises(HeadstartError, match="got 'pixels': here shows the groups state"):
        encoders_for(spec, "identity", ("pixels=convolutions",), jax.random.key(0))
    with pytest.raises(HeadstartError, match="given as group=name"):
        encoders_for(spec, "identity", ("state",), jax.random.key(0))
