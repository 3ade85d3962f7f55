"""Whether a policy listens to what it is told of its task, or acts from habit.

It is told every task in the episodes of every task. Who listens does what is told even where
another task pays: the return is high where both are the same, and low elsewhere. Who does not
listen returns the same whatever is said.
"""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from headstart import envs
from headstart.envs.context import Told
from headstart.envs.spec import CONTEXT, EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.looks import Disguised
from headstart.policies.policy import AbstractPolicy, check_reads
from headstart.problem import Domain
from headstart.problem.distributions import Choice
from headstart.result import Estimate, estimate
from headstart.runs.evaluation import evaluate


@dataclass(frozen=True)
class Listening:
    """What a policy returns, by what it is told and by the task that it is in."""

    name: str
    """Of the parameter that is told."""
    tasks: tuple[float, ...]
    """Its values."""
    told: tuple[float | str, ...]
    """What was said: every value, or its text, and then further texts."""
    returns: np.ndarray
    """`[told, task, episode]`."""

    @property
    def gain(self) -> Estimate:
        """What it is worth to be told the task that one is in, rather than another: the mean over
        the tasks, with an interval over episodes."""
        count = len(self.tasks)
        every = self.returns[:count]
        own = np.stack([every[i, i] for i in range(count)])
        another = (every.sum(axis=0) - own) / (count - 1)
        return estimate((own - another).mean(axis=0))

    def __str__(self):
        cells = [[f"{self.name} is {task:g}" for task in self.tasks]]
        cells += [[f"{mean:.1f}" for mean in row] for row in self.returns.mean(axis=-1)]
        names = ["", *(f"told {x}" if isinstance(x, str) else f"told {x:g}" for x in self.told)]
        first, width = max(map(len, names)), max(map(len, cells[0])) + 2
        lines = [
            f"{name:<{first}}" + "".join(f"{cell:>{width}}" for cell in row)
            for name, row in zip(names, cells, strict=True)
        ]
        gain = self.gain
        interval = "" if gain.low is None else f" [{gain.low:.1f}, {gain.high:.1f}]"
        return "\n".join([*lines, f"told its own task, not another: {gain.value:+.1f}{interval}"])


def listening(
    policy: AbstractPolicy,
    domain: Domain,
    texts: Sequence[str] = (),
    episodes: int = 16,
    seed: int = 0,
) -> Listening:
    """Tell a policy every task in the episodes of every task.

    Args:
        policy: who acts; its most likely actions.
        domain: many tasks: it shows one parameter, which is drawn from a few values.
        texts: more to be said, where tasks are told as text.
        episodes: of each pair, with the same seeds for all that is told.
        seed: of the episodes.

    Raises:
        HeadstartError: the domain shows not one parameter with a few values, or the policy does not
            fit it, or texts are given and tasks are not told as text.
    """
    spec = envs.spec_of(domain)
    check_reads(policy, spec)
    one, tasks = _tasks(domain, spec)
    known = dict(one.texts) if one.form == "text" else {}
    told: tuple[float | str, ...] = (*(known.get(task, task) for task in tasks), *texts)
    for said in told:
        one.check(said)
    returns = [
        [
            evaluate(domain.with_parameters(**{one.name: task}), speaking, episodes, seed)
            for task in tasks
        ]
        for speaking in (Disguised(policy, _Told(jnp.asarray(one.alone(said)))) for said in told)
    ]
    return Listening(one.name, tasks, told, np.array(returns))


def _tasks(domain: Domain, spec: EnvSpec) -> tuple[Told, tuple[float, ...]]:
    """The parameter that is told, and its values."""
    shown = list(spec.groups[CONTEXT].told) if domain.shows else []
    drawn = domain.parameters.get(shown[0].name) if len(shown) == 1 else None
    if not isinstance(drawn, Choice) or len(set(drawn.values)) < 2:
        raise HeadstartError(
            f"{domain} tells {', '.join(one.name for one in shown) or 'nothing'}, and who listens "
            "can be seen where one parameter of two or more values is told: show the task of a "
            "mixture, or a parameter that is drawn as in direction = {choice = [0, 180]}"
        )
    return shown[0], tuple(dict.fromkeys(map(float, drawn.values)))


class _Told(eqx.Module):
    """The look of a world in which this is what is told, whatever the task is."""

    context: Float[Array, " n"]

    def __call__(
        self, obs: dict[str, Shaped[Array, "env ..."]]
    ) -> dict[str, Shaped[Array, "env ..."]]:
        return obs | {CONTEXT: jnp.broadcast_to(self.context, obs[CONTEXT].shape)}
