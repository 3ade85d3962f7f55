"""Drivers that see the road itself and not a picture of it: one who drives well, and one who does
not."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from headstart.envs.drive import GRAVITY, LANE, TRAFFIC_SPEED, State, curvature


def careful(state: State, p: Mapping[str, Array]) -> Array:
    """Reads the true state: the faster lane, a safe speed in the bends, and a car's distance."""
    hold = p["grip"] * GRAVITY
    lanes = jnp.array([-1.0, 1.0])
    ahead = (state.gap[None] > -8.0) & (state.lane[None] == lanes[:, None])
    free = jnp.min(jnp.where(ahead, state.gap[None], 200.0), 1)  # of each lane, m
    own = (state.y > 0).astype(jnp.int32)
    beside = free[1 - own] < 9.0
    change = (free[1 - own] > free[own] + 5.0) & (free[own] < 45.0) & ~beside
    lane = jnp.where(change, 1 - own, own)
    near = jnp.abs(state.y - lanes[own] * LANE) < 2.1
    distance = jnp.where(near, free[own], 200.0)
    distance = jnp.where(change & (jnp.abs(state.y - lanes[lane] * LANE) < 0.2), 200.0, distance)

    metres = jnp.arange(0.0, 50.0, 5.0)
    bends = jnp.abs(jax.vmap(lambda m: curvature(state, p, m))(metres))
    safe = jnp.sqrt(0.8 * hold / jnp.maximum(bends, 1e-3))
    braking = 0.7 * jnp.minimum(7.0, hold)
    limit = jnp.min(jnp.sqrt(safe**2 + 2 * braking * metres))
    follow = jnp.sqrt(TRAFFIC_SPEED**2 + 2 * braking * jnp.maximum(distance - 8.0, 0.0))
    target = jnp.minimum(jnp.minimum(limit, follow), 30.0)
    pedal = jnp.where(state.speed < target - 0.3, 1, jnp.where(state.speed > target + 0.3, -1, 0))

    off = lanes[lane] * LANE - state.y
    drift = p["wind"] / jnp.maximum(state.speed, 5.0)
    wanted = jnp.clip(0.12 * off, -0.2, 0.2) - drift
    rate = curvature(state, p) * state.speed + 3.0 * (wanted - state.heading)
    most = jnp.minimum(jnp.minimum(0.5, state.speed / 8.0), hold / jnp.maximum(state.speed, 1.0))
    steering = jnp.clip(jnp.round(rate / jnp.maximum(most, 1e-3)), -1, 1).astype(jnp.int32)
    return 3 * (steering + 1) + pedal + 1


def reckless(state: State, p: Mapping[str, Array]) -> Array:
    """Full gas, straight on, towards the edge of the road that is nearer, and over it."""
    wanted = jnp.where(state.y > 0, 0.3, -0.3)
    steering = jnp.clip(jnp.round(6.0 * (wanted - state.heading)), -1, 1).astype(jnp.int32)
    return 3 * (steering + 1) + 2
