"""Problems whose body is hidden: what a policy can do about it depends on what it remembers.

Each has a twin whose parameters are shown to the policy: the most that memory could infer.
"""

from dataclasses import replace

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import LogUniform, Uniform

BODY = {
    "torso_mass": Uniform(2.5, 9.0),
    "ground_friction": Uniform(0.8, 3.0),
    "actuator_strength": LogUniform(0.6, 1.6),
}
HIDDEN = TransferProblem(
    name="hopper-hidden",
    description="A hopper whose mass, friction and actuators are hidden and drawn each episode",
    source=Domain.of("hopper", BODY),
    target=Domain("hopper", torso_mass=8.0, ground_friction=1.2, actuator_strength=0.8),
    access=Access(shots=(0,)),
    sweep={"actuator_strength": (0.6, 0.8, 1.0, 1.3, 1.6)},
)


def shown(problem: TransferProblem, *names: str) -> TransferProblem:
    """The same problem with some of its parameters shown to the policy."""
    source, target = (
        Domain.of(domain.environment, domain.parameters, shows=names)
        for domain in (problem.source, problem.target)
    )
    return replace(
        problem,
        name=f"{problem.name}-shown",
        description=f"{problem.description}; shown to the policy",
        source=source,
        target=target,
    )


PROBLEMS = (HIDDEN, shown(HIDDEN, *BODY))
