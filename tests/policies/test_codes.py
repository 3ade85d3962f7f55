"""Codes of images that are learned from what is seen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import HeadstartError
from headstart.envs.puck import Seen, seen_from_above
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.policies.codes import DEVIATION, SIZE, Codes, loss
from headstart.policies.encoders import encoders_for

KEY = jax.random.key(0)
PICTURE = Group((24, 24, 1), "image")
SMALL = Group((6, 6, 2), "image")
GROUPS = {"goal": SMALL, "now": SMALL, "other": Group((5, 6, 2), "image"), "state": Group((3,))}
SPEC = EnvSpec("seen", GROUPS, Actions((1,)), 10)
CODED = ("goal=codes", "now=codes", "other=codes")
merged = jax.jit(lambda codes, batch, weight: codes.merge(batch, weight))
pictures = jax.vmap(lambda place: seen_from_above(place, 1.0))


def places(count, seed):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype(np.float32)


def nothing(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def same(one, other):
    pairs = zip(*map(jax.tree.leaves, (one, other)), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def images(group, count, seed):
    return jnp.asarray(
        np.random.default_rng(seed).integers(0, 256, (count, *group.shape), np.uint8)
    )


def test_places_that_are_near_each_other_get_codes_that_are():
    codes = Codes(PICTURE, KEY)
    at = places(200, 0)
    seen = pictures(at)
    missed = loss(codes.parts, seen, KEY)
    for seed in range(1, 61):
        codes = merged(codes, pictures(places(1024, seed)), jnp.ones(1024))
    assert loss(codes.parts, seen, KEY) < missed / 20
    code = np.asarray(codes(seen))
    assert code.shape == (200, SIZE)
    assert codes.count == 60 * 32
    apart = np.linalg.norm(at[:, None] - at, axis=-1).ravel()
    by_code = np.linalg.norm(code[:, None] - code, axis=-1).ravel()
    near = apart < 0.3
    assert np.corrcoef(apart[near], by_code[near])[0, 1] > 0.9
    drawn = 255 * codes.parts.pixels(jnp.asarray(code)).reshape(-1, *PICTURE.shape)
    assert np.abs(Seen().place(drawn) - at).max(-1).mean() < 0.1


def test_what_an_image_costs_by_hand():
    """Pixels of one half, and a code of N(m, s²) whatever is seen."""
    parts = Codes(SMALL, KEY).parts
    mean, log_var = np.linspace(-1, 1, SIZE), np.linspace(-2, 1, SIZE)
    parts = eqx.tree_at(lambda p: (p.head, p.decoder), parts, replace_fn=nothing)
    told = jnp.asarray(np.hstack([mean, log_var]), jnp.float32)
    parts = eqx.tree_at(lambda p: p.head.biases[-1], parts, told)
    seen = images(SMALL, 7, 0)
    squares = ((np.asarray(seen) / 255 - 0.5) ** 2).reshape(7, -1).sum(1)
    apart = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum()
    by_hand = (squares / (2 * DEVIATION**2)).mean() + apart
    np.testing.assert_allclose(loss(parts, seen, KEY), by_hand, rtol=1e-5)


def test_what_has_no_weight_is_not_learned_from():
    codes, weight = Codes(SMALL, KEY), jnp.array([1.0] * 32 + [0.0] * 32)
    first, second, third = (images(SMALL, 32, seed) for seed in range(3))
    one, other = (merged(codes, jnp.concatenate([first, x]), weight) for x in (second, third))
    assert same(one, other)
    assert one.count == 1
    assert same(one, merged(one, first, jnp.zeros(32)))


def test_a_gradient_step_draws_anew():
    codes, seen = Codes(SMALL, KEY), images(SMALL, 32, 0)
    once = merged(codes, seen, jnp.ones(32))
    afresh = merged(Codes(SMALL, KEY), seen, jnp.ones(32))
    other = eqx.tree_at(lambda c: c.count, codes, jnp.array(5))
    later = merged(other, seen, jnp.ones(32))
    assert same(once.parts, afresh.parts)
    assert not same(once.parts, later.parts)


def test_groups_of_one_shape_share_their_codes_which_learn_from_all():
    encoders = encoders_for(SPEC, "statistics", CODED, KEY)
    obs = {
        name: images(g, 64, i) for i, (name, g) in enumerate(GROUPS.items()) if g != GROUPS["state"]
    }
    state = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    obs = {n: x[:, None] for n, x in (obs | {"state": jnp.asarray(state)}).items()}
    after = jax.jit(lambda e, obs: e.merge(obs, jnp.ones(64)))(encoders, obs).by_group
    assert [int(after[name].count) for name in ("goal", "now", "other")] == [4, 4, 2]
    assert same(after["goal"], after["now"])
    both = jnp.concatenate([obs["goal"][:, 0], obs["now"][:, 0]])
    alone = merged(encoders.by_group["goal"], both, jnp.ones(128))
    for a, b in zip(*map(jax.tree.leaves, (after["goal"], alone)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after["state"].mean, state.mean(0), atol=1e-5)
    np.testing.assert_array_equal(after["state"].count, [64, 64, 64])


def test_statistics_are_of_their_own_group():
    groups = {"a": Group((2,)), "b": Group((2,))}
    encoders = encoders_for(EnvSpec("two", groups, Actions((1,)), 10), "statistics", (), KEY)
    obs = {"a": jnp.zeros((3, 1, 2)), "b": jnp.ones((3, 1, 2))}
    after = encoders.merge(obs, jnp.ones(3)).by_group
    np.testing.assert_array_equal([after["a"].mean[0], after["b"].mean[0]], [0, 1])


def test_codes_of_vectors_are_refused():
    with pytest.raises(HeadstartError, match="codes are of images, and this group is numbers"):
        encoders_for(SPEC, "statistics", ("state=codes",), KEY)
