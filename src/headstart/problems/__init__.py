"""The named problems."""

from pathlib import Path

from headstart import problem
from headstart.errors import HeadstartError, unknown
from headstart.names import attribute
from headstart.problem import Domain, TransferProblem
from headstart.problems import appearance, off_dynamics, robustness

PROBLEMS = {
    found.name: found
    for found in (*robustness.PROBLEMS, *off_dynamics.PROBLEMS, *appearance.PROBLEMS)
}


def find(name: str) -> TransferProblem:
    """One of ours by name, a TOML file, or `module:attribute`.

    Raises:
        HeadstartError: there is no such problem, or it does not describe one.
    """
    if name in PROBLEMS:
        return PROBLEMS[name]
    if name.endswith(".toml") or "/" in name:
        return problem.read(Path(name))
    if ":" in name:
        found = attribute(name)
        if not isinstance(found, TransferProblem):
            raise HeadstartError(f"{name} is a {type(found).__name__}, not a TransferProblem")
        return found
    raise unknown("problem", name, PROBLEMS)


def find_domain(text: str) -> Domain:
    """A problem's target, or an environment with parameters, as in `hopper:torso_mass=7,gravity=9`.

    Raises:
        HeadstartError: the text is neither.
    """
    from headstart import envs
    from headstart.envs.environment import check_domain

    name, _, settings = text.rpartition(":") if "=" in text else (text, "", "")
    if not settings and name not in envs.ENVIRONMENTS and not name.startswith("gym:"):
        try:
            return find(name).target
        except HeadstartError:
            if ":" not in name:
                raise
    parameters: dict[str, float] = {}
    for setting in filter(None, settings.split(",")):
        parameter, _, value = setting.partition("=")
        try:
            parameters[parameter] = float(value)
        except ValueError:
            raise HeadstartError(f"{setting!r} is not NAME=NUMBER, as in torso_mass=7") from None
    domain = Domain(name, **parameters)
    check_domain(envs.find(name), domain)
    return domain
