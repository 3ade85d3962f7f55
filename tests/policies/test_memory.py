import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.policies.memory import GRU, MEMORIES, Clock, NoMemory, ahead, renewed

TIME, ENV, FEATURES, ACT, SIZE = 7, 3, 2, 1, 4
GATED = GRU(FEATURES, ACT, SIZE, jax.random.key(0))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def arrays(*columns):
    """As compiled code is given them."""
    return tuple(map(jnp.asarray, columns))


X, ACTION = drawn(TIME, ENV, FEATURES), drawn(TIME, ENV, ACT, seed=1)
BEGINS = np.zeros((TIME, ENV), bool)
BEGINS[0, 1] = BEGINS[3, 0] = BEGINS[4, 0] = BEGINS[6, 2] = True
START = drawn(ENV, SIZE, seed=2)


def gru_cell(cell, told, state):
    """Cho et al. (2014) in NumPy: the new state of one copy."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    weight, recurrent = (np.asarray(w, np.float64) for w in (cell.weight_ih, cell.weight_hh))
    bias, extra = (np.asarray(b, np.float64) for b in (cell.bias, cell.bias_n))
    reset, update, new = np.split(weight @ told + bias, 3)
    from_reset, from_update, from_new = np.split(recurrent @ state, 3)
    reset, update = sigmoid(reset + from_reset), sigmoid(update + from_update)
    new = np.tanh(new + reset * (from_new + extra))
    return (1 - update) * new + update * state


def states_by_hand(begins):
    """`[time, env, size]`, one copy and one step after another."""
    states = np.zeros((TIME, ENV, SIZE))
    for env in range(ENV):
        state = START[env].astype(np.float64)
        for t in range(TIME):
            if begins[t, env]:
                state = np.zeros(SIZE)
            state = gru_cell(GATED.cell, np.concatenate([X[t, env], ACTION[t, env]]), state)
            states[t, env] = state
    return states


@pytest.mark.parametrize("begins", [np.zeros((TIME, ENV), bool), BEGINS], ids=["none", "some"])
def test_unrolling_is_one_step_after_another_afresh_where_an_episode_begins(begins):
    out, states = GATED.unroll(*arrays(X, ACTION, begins, START))
    expected = states_by_hand(begins)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(out, np.concatenate([X, expected], axis=-1), atol=1e-5)
    assert out.shape[-1] == GATED.size == FEATURES + SIZE


def test_stepping_is_what_unrolling_does():
    _, states = GATED.unroll(*arrays(X, ACTION, BEGINS, START))
    memory = jnp.asarray(START)
    for t in range(TIME):
        memory = renewed(memory, jnp.asarray(BEGINS[t]), GATED.initial(ENV))
        out, memory = GATED(*arrays(X[t], ACTION[t]), memory)
        np.testing.assert_allclose(memory, states[t], atol=1e-6)
        np.testing.assert_allclose(out, np.concatenate([X[t], memory], axis=-1), atol=1e-6)


def test_ahead_is_one_step_after_each_state_by_hand():
    """Of where an action led, also where an episode ended there: the state is not renewed."""
    led_to, taken = drawn(TIME, ENV, FEATURES, seed=3), drawn(TIME, ENV, ACT, seed=4)
    _, states = GATED.unroll(*arrays(X, ACTION, BEGINS, START))
    found = ahead(GATED, *arrays(led_to, taken), states)
    before = states_by_hand(BEGINS)
    for t, env in np.ndindex(TIME, ENV):
        told = np.concatenate([led_to[t, env], taken[t, env]])
        after = gru_cell(GATED.cell, told, before[t, env])
        expected = np.concatenate([led_to[t, env], after])
        np.testing.assert_allclose(found[t, env], expected, atol=1e-5)


def test_ahead_of_a_step_inside_an_episode_is_the_next_step():
    out, states = GATED.unroll(*arrays(X, ACTION, BEGINS, START))
    found = ahead(GATED, *arrays(X[1:], ACTION[1:]), states[:-1])
    inside = ~BEGINS[1:]
    np.testing.assert_allclose(found[inside], out[1:][inside], atol=1e-6)
    assert not np.allclose(found[~inside], out[1:][~inside], atol=1e-3)


def test_renewal_touches_only_the_rows_that_begin():
    old = {"a": jnp.asarray(drawn(3, 2, 2)), "b": jnp.asarray(drawn(3))}
    new = {"a": jnp.zeros((3, 2, 2)), "b": jnp.ones(3)}
    found = renewed(old, jnp.array([False, True, False]), new)
    np.testing.assert_array_equal(found["a"], [old["a"][0], np.zeros((2, 2)), old["a"][2]])
    np.testing.assert_array_equal(found["b"], [old["b"][0], 1, old["b"][2]])


def test_without_memory_features_stay_as_they_are():
    nothing = NoMemory(FEATURES, ACT, SIZE, jax.random.key(0))
    assert (nothing.size, nothing.initial(ENV)) == (FEATURES, ())
    x, action, begins = arrays(X, ACTION, BEGINS)
    out, states = nothing.unroll(x, action, begins, ())
    assert out is x
    assert states == ()
    np.testing.assert_array_equal(ahead(nothing, x, action, ()), X)
    assert (MEMORIES.find("none"), MEMORIES.find("gru")) == (NoMemory, GRU)


def test_a_clock_counts_from_where_an_episode_begins():
    clock = Clock(FEATURES)
    x, action, begins = arrays(X, ACTION, BEGINS)
    out, states = clock.unroll(x, action, begins, jnp.full(ENV, 5.0))
    ages = [[5, 0, 5], [6, 1, 6], [7, 2, 7], [0, 3, 8], [0, 4, 9], [1, 5, 10], [2, 6, 0]]
    np.testing.assert_array_equal(out[..., -1], ages)
    np.testing.assert_array_equal(out[..., :-1], X)
    np.testing.assert_array_equal(states, np.array(ages) + 1)
    memory = jnp.full(ENV, 5.0)
    for t in range(TIME):
        memory = renewed(memory, begins[t], clock.initial(ENV))
        one, memory = clock(x[t], action[t], memory)
        np.testing.assert_array_equal(one, out[t])
        np.testing.assert_array_equal(memory, states[t])
    assert clock.size == FEATURES + 1
