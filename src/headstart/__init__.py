"""Headstart: transfer learning in reinforcement learning.

You can train here; will it work there? A problem names a source, a target, and what may be taken
from the target. A method carries knowledge from one to the other. The target is metered, and the
result is the return on it after no, one, a few and many tries.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import HeadstartError
from headstart.jax_setup import prepare_jax
from headstart.problem import Access, Domain, TransferProblem, mixture
from headstart.problem.distributions import Choice, Fixed, LogUniform, Normal, Uniform
from headstart.problem.parameter import Parameter

if TYPE_CHECKING:
    from headstart.comparison import Comparison
    from headstart.knowledge import Knowledge
    from headstart.learners.learner import Learner
    from headstart.policies.loaded import LoadedPolicy
    from headstart.runs.listening import Listening
    from headstart.training import Trained

__version__ = "0.2.0"
__all__ = [
    "Access",
    "Choice",
    "Domain",
    "Fixed",
    "HeadstartError",
    "LogUniform",
    "Normal",
    "Parameter",
    "TransferProblem",
    "Uniform",
    "compare",
    "listening",
    "load",
    "mixture",
    "prepare_jax",
    "train",
]


def compare(
    problem: TransferProblem | str | Path, methods: Sequence[str] = (), **how: Any
) -> "Comparison":
    """Run methods on a problem, each from several seeds; see `headstart.comparison.compare`.

        made = headstart.compare(problem, ["finetune", "scratch"], seeds=5)
        made.table()    # a data frame
        made.plot()     # a figure
        made.report()   # an HTML file

    Args:
        problem: one, or the name of one, or its TOML file.
        methods: as on the command line.
        how: seeds, out, workers, engine, sinks.

    Raises:
        HeadstartError: a name does not exist, or a method does not suit.
    """
    prepare_jax()
    from headstart import comparison
    from headstart.problem.named import find

    found = problem if isinstance(problem, TransferProblem) else find(str(problem))
    return comparison.compare(found, methods, **how)


def train(
    domain: Domain | str, learner: "Learner | Mapping[str, Any] | str" = "ppo", **how: Any
) -> "Trained":
    """Train a learner in a domain; see `headstart.training.train`.

        made = headstart.train("gym:Pendulum-v1", "sac", steps=20_000)
        made.policy(obs)   # an action
        made.returns       # of fresh episodes

    Args:
        domain: where, or the name of an environment.
        learner: its name, a table of its fields, or one.
        how: steps, seed, out.

    Raises:
        HeadstartError: a name, a field or a parameter does not exist or does not suit.
    """
    prepare_jax()
    from headstart import training

    return training.train(domain, learner, **how)


def load(folder: str | Path, trusted: Sequence[str] = ()) -> "LoadedPolicy":
    """A policy that was learned, to act in an environment of one's own.

        policy = headstart.load("runs/cheetah/finetune/0/adapted")
        action = policy(obs)

    Args:
        folder: of knowledge, or of a run, for what it ended with.
        trusted: the user's own encoders or memory, by `module:Class`, that it may import.

    Raises:
        HeadstartError: there is no policy, or it holds many skills, or is of an older version.
    """
    prepare_jax()
    from headstart.policies.loaded import LoadedPolicy
    from headstart.policies.policy import policy_from

    return LoadedPolicy(policy_from(_held(folder), trusted))


def listening(
    folder: str | Path, domain: Domain, trusted: Sequence[str] = (), **how: Any
) -> "Listening":
    """Whether a policy that was learned listens to what it is told of its task; see
    `headstart.runs.listening.listening`.

        heard = headstart.listening("runs/both/multi-task/0", domain, texts=["go to the west"])
        print(heard)        # returns by what is told and by the task
        heard.gain          # of being told its own task rather than another

    Args:
        folder: of knowledge, or of a run, for what it ended with.
        domain: many tasks, of which one parameter is shown.
        trusted: the user's own encoders or memory, by `module:Class`, that it may import.
        how: texts, episodes, seed.

    Raises:
        HeadstartError: there is no policy, or the domain does not tell one of a few tasks.
    """
    prepare_jax()
    from headstart.policies.policy import policy_from
    from headstart.runs import listening

    return listening.listening(policy_from(_held(folder), trusted), domain, **how)


def _held(folder: str | Path) -> "Knowledge":
    """What a folder of knowledge holds, or a run ended with."""
    from headstart.knowledge import Knowledge

    adapted = Path(folder) / "adapted"
    return Knowledge.load(adapted if adapted.is_dir() else Path(folder))
