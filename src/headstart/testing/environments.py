"""What an environment promises: seeds, and parameters that do what they say."""

import itertools
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, Shaped

from headstart import envs
from headstart.envs.environment import UNLIMITED, Environment
from headstart.envs.spec import Actions, Obs, Parameter
from headstart.envs.vector_env import AbstractVectorEnv, TimeStep
from headstart.experience.unroll import begin, play
from headstart.policies.policy import AbstractPolicy, UniformPolicy
from headstart.problem import Domain
from headstart.testing.finding import Finding, hold

STEPS = 60
LONG = 5_000
"""Steps after which an episode is not waited for."""
COPIES = 8
PUSH = 8
"""Steps that an action is kept."""


class Pushes(AbstractPolicy):
    """Actions uniformly at random, each kept for a while: jitter stays where it is."""

    actions: Actions = eqx.field(static=True)

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def initial(self, num: int) -> tuple[Array, Array]:
        kind = jnp.int32 if self.actions.discrete else jnp.float32
        return jnp.zeros(num, jnp.int32), jnp.zeros((num, *self.actions.shape), kind)

    def step(
        self, told: TimeStep, memory: tuple[Array, Array], key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "env ..."], tuple[Array, Array]]:
        age, kept = memory
        fresh, _ = UniformPolicy(self.actions).step(told, (), key)
        renewed = (age % PUSH == 0).reshape(-1, *[1] * (kept.ndim - 1))
        action = jnp.where(renewed, fresh, kept)
        return action, (age + 1, action)


def check_environment(name: str) -> None:
    """Raises:
    AssertionError: the environment does not keep what it declares; the message says what.
    """
    hold(examine(name))


def examine(name: str) -> list[Finding]:
    """What `headstart check` reports of an environment.

    Raises:
        HeadstartError: there is no such environment, or it raises.
    """
    environment = envs.find(name)
    nominal = _trace(environment, {}, seed=0)
    again, other = _trace(environment, {}, seed=0), _trace(environment, {}, seed=1)
    findings = [
        _finding("the same seed gives the same episode", nominal, again),
        _finding("another seed gives another", nominal, other, same=False),
    ]
    if environment.horizon == UNLIMITED:
        findings.append(_ends(environment))
    for parameter, declared in environment.parameters.items():
        findings += _examine_parameter(environment, parameter, declared, nominal)
    return findings + _examine_masses(environment)


def _examine_parameter(
    environment: Environment, name: str, declared: Parameter, nominal: np.ndarray
) -> list[Finding]:
    running = envs.start(Domain(environment.name), COPIES, 0)
    stated = declared.low <= declared.nominal <= declared.high and declared.low < declared.high
    moved = []
    for value in (declared.low, declared.high):
        if value != declared.nominal:
            moved.append(_largest(nominal - _trace(environment, {name: value}, seed=0)))
    column = list(environment.parameters).index(name)
    away = _away(declared)
    seen = bool(moved) and min(moved) > 0
    unseen = "nothing differs at the end of its range"
    if declared.rare:
        unseen = "random actions do not meet it"
    restored = _traced(running, {}, 0), _traced(running, {column: away}, 0), _traced(running, {}, 0)
    twice = _traced(running, {column: away}, 0)
    return [
        Finding(f"{name}: low ≤ nominal ≤ high", bool(stated), f"{declared}"),
        Finding(
            f"{name} changes what happens",
            seen or declared.rare,
            "" if seen else unseen,
        ),
        _finding(f"{name} comes back to nominal", restored[0], restored[2]),
        _finding(f"{name} does not compound over resets", restored[1], twice),
    ]


def _ends(environment: Environment) -> Finding:
    """Whether an episode of an environment that sets no horizon comes to an end."""
    running = envs.start(Domain(environment.name), 1, 0)
    policy = Pushes(running.spec.actions)
    playing = play(policy, running, begin(policy, running), jax.random.key(0))
    ended = any(
        (played.step.terminated | played.step.truncated).any()
        for played in itertools.islice(playing, LONG)
    )
    return Finding(
        "an episode ends",
        ended,
        "" if ended else f"none did in {LONG} steps: give its domains a horizon, as in "
        "horizon = 1000, or wrap it in a TimeLimit",
    )  # fmt: skip


def _examine_masses(environment: Environment) -> list[Finding]:
    """Mass and inertia keep their ratio, body by body, and the derived constants follow."""
    findings = []
    for column, (name, declared) in enumerate(environment.parameters.items()):
        running = envs.start(Domain(environment.name), 1, 0)
        running.reset()
        before = running.masses_and_inertias()
        if before is None or not name.endswith("mass"):
            continue
        running.values[:, column] = _away(declared)
        running.reset()
        after = running.masses_and_inertias() or {}
        ratio = after["mass"] / before["mass"]
        follows = np.allclose(after["inertia"], before["inertia"] * ratio[:, None], rtol=1e-12)
        derived = np.allclose(after["subtree"], after["mass"].sum(), rtol=1e-12)
        findings += [
            Finding(f"{name}: inertia follows mass", bool(follows)),
            Finding(f"{name}: derived constants follow", bool(derived)),
        ]
    return findings


def _away(declared: Parameter) -> float:
    far = max((declared.low, declared.high), key=lambda value: abs(value - declared.nominal))
    middle = (declared.nominal + far) / 2
    return float(round(far)) if declared.integer else middle


def _trace(environment: Environment, parameters: Mapping[str, float], seed: int) -> np.ndarray:
    """Observations and rewards of random actions `[steps, copies, …]`, the actions always equal."""
    return _record(envs.start(Domain.of(environment.name, parameters), COPIES, seed))


def _traced(running: AbstractVectorEnv, changed: Mapping[int, float], seed: int) -> np.ndarray:
    """The same with copies that have been used, reseeded; `changed` by column."""
    running.values[:] = [p.nominal for p in running.environment.parameters.values()]
    for column, value in changed.items():
        running.values[:, column] = value
    running.reseed(seed)
    return _record(running)


def _record(running: AbstractVectorEnv) -> np.ndarray:
    policy = Pushes(running.spec.actions)
    carry = begin(policy, running)
    seen = [_row(carry.told.obs, np.zeros(COPIES))]
    for played in play(policy, running, carry, jax.random.key(0)):
        seen.append(_row(played.step.next_obs, played.step.reward))
        if len(seen) > STEPS:
            return np.stack(seen)
    raise AssertionError("play goes on for ever")


def _row(obs: Obs, reward: np.ndarray) -> np.ndarray:
    """`[copies, entries + 1]`."""
    groups = [np.float64(group).reshape(COPIES, -1) for group in obs.values()]
    return np.concatenate([*groups, reward[:, None]], axis=1)


def _finding(claim: str, a: np.ndarray, b: np.ndarray, same: bool = True) -> Finding:
    difference = _largest(a - b)
    held = (difference == 0) == same
    return Finding(claim, held, "" if held else f"the largest difference is {difference:g}")


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())
