"""What a run is held to once its method has returned: that what was stepped is what was charged,
and that the environments, which evaluation shares, are as they were."""

from typing import Any

from headstart import envs
from headstart.envs.environment import Environment
from headstart.envs.ledger import Tally, outside
from headstart.errors import HeadstartError
from headstart.problem import TransferProblem
from headstart.runs.metering import Meter

STATED = ("name", "parameters", "observation_space", "action_space", "horizon",
          "starts_from_observations")  # fmt: skip


class Audit:
    """Begins when it is made.

    Args:
        problem: whose environments are watched.
        who: the method's name, for the error.
    """

    def __init__(self, problem: TransferProblem, who: str):
        self._who, self._outside = who, Tally()
        outside.set(self._outside)
        self._environments = [envs.of(domain) for domain in (problem.source, problem.target)]
        self._prints = [fingerprint(environment) for environment in self._environments]

    def check(self, source: Meter, target: Meter) -> None:
        """Hold what was stepped since then against what these charged in this process.

        Raises:
            HeadstartError: it is not the same, or an environment is another.
        """
        for environment, before in zip(self._environments, self._prints, strict=True):
            after = fingerprint(environment)
            for what in before:  # what it has kept for itself since is nobody's business
                if before[what] != after.get(what):
                    raise HeadstartError(
                        f"{self._who} changed {what} of {environment.name}, which evaluation "
                        "shares: a method leaves environments as they are"
                    )
        for place, found, charged in (
            ("of the source", source.stepped.steps, source.steps_here),
            ("of the target", target.stepped.steps, target.steps_here),
            ("outside of its handles", self._outside.steps, 0),
        ):
            if found != charged:
                raise HeadstartError(
                    f"{self._who} took {found} steps {place}, and {charged} were charged: step the "
                    "handles that it is given, source.at(domain) and source.simulator included"
                )


def fingerprint(environment: Environment) -> dict[str, Any]:
    """What it states, and which functions make it up."""
    stated = {name: repr(getattr(environment, name)) for name in STATED}
    kinds = [vars(kind) for kind in type(environment).__mro__]
    functions = {
        name: id(function)
        for names in (*kinds[::-1], vars(environment))
        for name, function in names.items()
        if callable(function)
    }
    return stated | functions
