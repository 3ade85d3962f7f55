"""HER: hindsight experience replay (Andrychowicz et al., NeurIPS 2017, 1707.01495).

A transition that failed to reach its goal is a success for the goal that it reached. A share of
what is learned from is told another goal, one that was achieved, and its reward is computed anew:

    (s, a, r(s′, g), s′, g)  →  (s, a, r(s′, g′), s′, g′),   g′ achieved later in the same episode
"""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from headstart.envs.goals import ACHIEVED, DESIRED, Goals
from headstart.experience.replay import Places, Replay
from headstart.experience.transition import Transition
from headstart.policies.encoders import AbstractEncoder

Strategy = Literal["future", "final", "episode", "random"]
STRATEGIES = get_args(Strategy)


class Chosen(NamedTuple):
    """The goals that windows are to be told, as rows of a replay that achieved them."""

    other: Bool[Array, " batch"]
    """Whether a window is told one of them, or keeps its own."""
    age: Int[Array, " batch"]
    env: Int[Array, " batch"]


@dataclass(frozen=True)
class Hindsight:
    """Tells a share of the windows that are drawn from a replay another goal."""

    goals: Goals
    horizon: int
    """Steps of the longest episode."""
    strategy: Strategy = "future"
    """Which goals: one achieved later in the episode, at its end, anywhere in it, or in any."""
    share: float = 0.8
    """Of windows that are told another goal."""
    clipped: bool = True
    """Whether backups are held within what returns can be."""
    latent: bool = False
    """Whether a step is worth how near it leads in codes of goals."""
    discount: float = 1.0
    """γ of `future`: goals are γ times as likely with each step later; 1: all alike."""

    def choose(self, replay: Replay, places: Places, key: PRNGKeyArray) -> Chosen:
        """Goals for windows that are drawn at these places."""
        share_key, goal_key = jax.random.split(key)
        other = jax.random.uniform(share_key, places.env.shape) < self.share
        return Chosen(other, *self._achieved(replay, places, goal_key))

    def __call__(self, replay: Replay, window: Transition, chosen: Chosen) -> Transition:
        """The window `[time, batch]` with the chosen goals and their rewards."""
        other, own = chosen.other, window.obs[DESIRED][0]
        goal = replay.columns.next_obs[ACHIEVED][replay.slot(chosen.age), chosen.env]
        goal = jnp.where(other.reshape(len(other), *[1] * (own.ndim - 1)), goal, own)
        return self.told(window, goal, other)

    def told(
        self, window: Transition, goal: Shaped[Array, "batch ..."], other: Bool[Array, " batch"]
    ) -> Transition:
        """The window with these goals; rewards and ends are computed anew where they are other."""
        length = window.reward.shape[0]
        wanted = jnp.broadcast_to(goal[None], (length, *goal.shape))
        achieved = window.next_obs[ACHIEVED]
        reward = jnp.where(other[None], self.goals.reward(achieved, wanted), window.reward)
        terminated, truncated = window.terminated, window.truncated
        if self.goals.ends:
            before, now = (
                self.goals.success(achieved, g) for g in (window.next_obs[DESIRED], wanted)
            )
            terminated = jnp.where(other[None], (terminated & ~before) | now, terminated)
            truncated = truncated | (window.terminated & ~terminated)
        obs, next_obs = (groups | {DESIRED: wanted} for groups in (window.obs, window.next_obs))
        return Transition(obs, window.action, reward, next_obs, terminated, truncated)

    def judged(self, window: Transition, encoder: AbstractEncoder) -> Transition:
        """The window, where a step is worth less the further from its goal it leads, as codes of
        both have it (RIG: Nair et al., NeurIPS 2018, 1807.04742):

            r = −|e(s′) − e(g)|
        """
        led, wanted = (encoder(window.next_obs[name]) for name in (ACHIEVED, DESIRED))
        return window._replace(reward=-jnp.sqrt(((led - wanted) ** 2).sum(-1)))

    def held(
        self, backup: Float[Array, " batch"], discount: float, scale: float, soft: bool = False
    ) -> Float[Array, " batch"]:
        """Backups within what a return can be, of rewards times `scale`; soft ones count entropy
        too, and may be more."""
        if not self.clipped:
            return backup
        steps = self.horizon if discount == 1 else 1 / (1 - discount)
        rewards = (-jnp.inf, 0.0) if self.latent else self.goals.rewards
        least, most = (scale * steps * reward for reward in rewards)
        if self.goals.ends:  # perhaps after one step
            once = tuple(scale * reward for reward in rewards)
            least, most = min(least, once[0]), max(most, once[1])
        return jnp.clip(backup, least, jnp.inf if soft else most)

    def longest(self, replay: Replay) -> int:
        """Steps of an episode that there may be."""
        return min(self.horizon, replay.slots)

    def _achieved(
        self, replay: Replay, places: Places, key: PRNGKeyArray
    ) -> tuple[Int[Array, " batch"], Int[Array, " batch"]]:
        """Age and copy of the row that achieved a goal for each window."""
        first, env = places.ages[0], places.env
        after = first + self._left(replay, first, env)
        low, high = first, after
        if self.strategy == "future" and self.discount < 1:
            low = high = first + sooner(after - first, self.discount, key)
        if self.strategy == "final":
            low = after
        if self.strategy == "episode":
            low = first - self._passed(replay, first, env)
        if self.strategy == "random":
            env_key, key = jax.random.split(key)
            env = jax.random.randint(env_key, env.shape, 0, replay.num_envs)
            low, high = jnp.zeros_like(first), jnp.full_like(first, replay.filled - 1)
        return jax.random.randint(key, first.shape, low, high + 1), env

    def _left(
        self, replay: Replay, age: Int[Array, " batch"], env: Int[Array, " batch"]
    ) -> Int[Array, " batch"]:
        """Rows after these up to the last of their episodes, or the newest."""
        ahead = jnp.arange(self.longest(replay))[:, None]
        ages = age[None] + ahead
        last = self._ends(replay, ages, env) | jnp.greater_equal(ages, replay.filled - 1)
        return jnp.argmax(last, axis=0)

    def _passed(
        self, replay: Replay, age: Int[Array, " batch"], env: Int[Array, " batch"]
    ) -> Int[Array, " batch"]:
        """Rows before these from the first of their episodes, or the oldest."""
        back = jnp.arange(self.longest(replay))[:, None]
        before = age[None] - back - 1
        return jnp.argmax((before < 0) | self._ends(replay, before, env), axis=0)

    def _ends(
        self, replay: Replay, ages: Int[Array, "time batch"], env: Int[Array, " batch"]
    ) -> Bool[Array, "time batch"]:
        at = replay.slot(jnp.clip(ages, 0, replay.filled - 1)), env[None]
        steps: Transition = replay.columns
        return jnp.logical_or(steps.terminated[at], steps.truncated[at])


def sooner(most: Int[Array, " batch"], discount: float, key: PRNGKeyArray) -> Int[Array, " batch"]:
    """Numbers from 0 to `most`, each γ times as likely as the one before it.

    Args:
        most: the largest that each may be.
        discount: γ, at least 0 and below 1.
        key: of the draw.
    """
    log_discount = jnp.log(discount)
    share = jax.random.uniform(key, most.shape)
    # Of the numbers up to k, the share is (1 − γᵏ⁺¹) / (1 − γᵐ⁺¹).
    beyond = jnp.log1p(share * jnp.expm1((most + 1) * log_discount))
    return jnp.minimum((beyond / log_discount).astype(jnp.int32), most)
