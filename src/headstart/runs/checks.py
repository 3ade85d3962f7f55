"""What a problem and a method are held against before anything is spent."""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

import math
import os
from functools import lru_cache, partial

import jax
import numpy as np

from headstart import envs
from headstart.envs.environment import check_domain, check_expert
from headstart.envs.spec import check_alike
from headstart.errors import AllowanceSpent, HeadstartError
from headstart.experience.replay import transition_row
from headstart.learners.learner import Learner, OnPolicyLearner, check_accepts
from headstart.learners.off_policy import OffPolicy
from headstart.methods.method import Method, Requirements, remembers
from headstart.problem import Access, Domain, TransferProblem
from headstart.pytree import PyTree
from headstart.runs.trace import STEPS, bare, differ
from headstart.transfer.graft import check_joined


def check_platform() -> None:
    """Raises:
    HeadstartError: JAX is told to run on what is not here.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX's own, with and without a plugin
        said = str(error).partition("\n")[0] or "no plugin for it is installed"
        raise HeadstartError(
            f"JAX cannot run on {os.environ.get('JAX_PLATFORMS')} ({said}): set JAX_PLATFORMS=cpu, "
            "or install jax for it, as pip install 'jax[cuda13]'"
        ) from None


def check_problem(problem: TransferProblem) -> None:
    """Hold a problem against its environments.

    Raises:
        HeadstartError: a parameter does not fit, or changes nothing, or an expert does not exist.
    """
    check_platform()
    for domain in (problem.source, problem.target):
        check_domain(envs.of(domain), domain)
    for parameter, values in problem.sweep.items():
        for value in values:
            swept = problem.target.with_parameters(**{parameter: value})
            check_domain(envs.of(swept), swept)
    access = problem.access
    if access.observations and access.behaviour != "random":
        check_expert(envs.of(problem.target), access.behaviour)
    row = transition_row(envs.spec_of(problem.target)).obs
    _check_room(f"{access.observations} observations", access.observations * size_of(row),
                "lower access.observations")  # fmt: skip
    for domain in (*problem.source.apart(), *problem.target.apart()):
        for parameter, distribution in domain.parameters.items():
            _check_moves(bare(domain), parameter, *distribution.support)
    for parameter, values in problem.sweep.items():
        _check_moves(bare(problem.target), parameter, min(values), max(values))


@lru_cache
def _check_moves(domain: Domain, name: str, low: float, high: float) -> None:
    """Raises:
    HeadstartError: a parameter of a user's environment changes nothing between these, or between
        nominal and the one that both are.
    """
    declared = envs.of(domain).parameters[name]
    low = declared.nominal if low == high else low
    ours = domain.environment in envs.ENVIRONMENTS  # which are held to it in the tests
    if ours or declared.rare or low == high:
        return
    if not differ(bare(domain, **{name: low}), bare(domain, **{name: high})):
        raise HeadstartError(
            f"{domain.environment}.{name} changes nothing: {STEPS} steps of random actions are "
            f"the same at {low:g} and at {high:g}; mend the environment, or declare the "
            "parameter rare, if only deliberate actions meet it"
        )


def check(problem: TransferProblem, method: Method, name: str) -> None:
    """Hold a problem against its environments, and a method's requirements against the problem.

    Raises:
        HeadstartError: a parameter, a group or the learner does not fit, or something is lacking.
        AllowanceSpent: the access gives less than the method takes.
    """
    check_problem(problem)
    here, learner, needs = envs.spec_of(problem.source), method.learner, method.requires()
    _check_spaces(problem, learner, needs, name)
    _check_learner(learner, needs, problem.source, name)
    method.check(here)
    if needs.learns_on_target:
        there = envs.spec_of(problem.target)
        for group in sorted(here.groups.keys() ^ there.groups.keys()):
            raise HeadstartError(
                f"{name} goes on learning on the target with all that was learned in the source, "
                f"and only one of them shows {group!r}: give both the same shows and shows_critic"
            )
    _check_source(problem.source, needs, name)
    if not method.unlimited:
        _check_access(problem.access, needs, name)
    row = transition_row(here)
    copies, steps = learner.num_envs, learner.rollout_length
    _check_room(f"{copies} copies with rollouts of {steps} steps", copies * steps * size_of(row),
                "lower learner.num_envs or learner.rollout_length")  # fmt: skip
    if isinstance(learner, OffPolicy):
        _check_room(f"batches of {learner.batch_size}", learner.batch_size * size_of(row),
                    "lower learner.batch_size")  # fmt: skip
    if learner.expert is None:  # an expert's student is only begun for a number of steps
        begun = partial(learner.init, here, total=needs.source_steps)
        state = jax.eval_shape(begun, jax.random.key(0))  # computes nothing
        _check_room(f"{name}'s networks and what they remember", size_of(state),
                    "lower learner.hidden or learner.buffer_size")  # fmt: skip


def size_of(tree: PyTree) -> int:
    """Bytes of its arrays, as far as they are known by their shapes."""
    known = (leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape"))
    return sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in known)


def _check_room(what: str, size: int, mend: str) -> None:
    """Raises:
    HeadstartError: it is more than this machine holds.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise HeadstartError(
            f"{what} take {size / 2**30:.3g} GiB, and this machine has {memory / 2**30:.3g}: {mend}"
        )


def differing(problem: TransferProblem) -> str:
    """In what the spaces of source and target differ, so that knowledge is grafted; nothing if they
    do not."""
    if problem.graft:
        return "the problem says how its spaces are joined"
    try:
        check_alike(envs.spec_of(problem.source), envs.spec_of(problem.target))
    except HeadstartError as unlike:
        return str(unlike)
    return ""


def _check_spaces(
    problem: TransferProblem, learner: Learner, needs: Requirements, name: str
) -> None:
    unlike = differing(problem)
    if unlike:
        here, there = envs.spec_of(problem.source), envs.spec_of(problem.target)
        try:
            check_joined(here, there, problem.graft)
        except HeadstartError as why:
            if problem.graft:  # what it says is wrong
                raise
            task = problem.target.environment in [one.environment for one in problem.source.tasks]
            mend = (
                "; to be one task of the source's mixture, leave environment out of [target], "
                "and say task = its number"
                if task
                else ""
            )
            raise HeadstartError(f"{unlike}; it cannot be grafted either: {why}{mend}") from None
        if remembers(learner) or vars(learner).get("encoders"):
            raise HeadstartError(
                f"{unlike}; policies with a memory or encoders of one's own are not grafted: leave "
                "learner.memory and learner.encoders out"
            )
        if needs.alike:
            raise HeadstartError(f"{name} needs spaces that are the same in both: {unlike}")
    source, target = problem.source, problem.target
    _check_shown("policy", source.shows, target.shows)
    if needs.learns_on_target:
        _check_shown("critic", source.shows_critic, target.shows_critic)


def _check_shown(who: str, here: tuple[str, ...], there: tuple[str, ...]) -> None:
    if here and there != here:
        raise HeadstartError(
            f"the source shows {', '.join(here)} and the target {', '.join(there) or 'nothing'}: a "
            f"{who} would take one for the other; name the same parameters in the same order"
        )


def _check_learner(learner: Learner, needs: Requirements, source: Domain, name: str) -> None:
    check_accepts(learner, needs.hooks, name)
    who = type(learner).__name__
    by_episodes = needs.learns_on_target or "weights" in needs.hooks
    if by_episodes and learner.on_policy and not isinstance(learner, OnPolicyLearner):
        raise HeadstartError(
            f"{name} learns from whole episodes, and {who}, which is on_policy, has no 'arranged' "
            "that would make a rollout of them: add it, or use another learner"
        )
    if learner.expert is not None:
        check_expert(envs.of(source), learner.expert)
        if needs.learns_on_target:
            raise HeadstartError(
                f"{name} learns from the target's rewards, and {who} from an expert, who is in the "
                "source alone: choose another learner.algorithm"
            )
    if not needs.learns_on_target or not remembers(learner) or not isinstance(learner, OffPolicy):
        return
    if learner.rollout_length < learner.length:  # nothing is remembered from one to the next there
        raise HeadstartError(
            f"on the target a memory would be trained on histories of {learner.rollout_length} "
            f"steps, and its windows have {learner.length}: set learner.rollout_length to that or "
            "more, or learner.window to less"
        )


def _check_source(domain: Domain, needs: Requirements, name: str) -> None:
    if needs.varied and not domain.varied:
        raise HeadstartError(
            f"{name} needs a source that varies, and {domain} does not: give a parameter a "
            "distribution, as in torso_mass = {uniform = [3, 9]}"
        )
    source = envs.of(domain)
    for parameter in needs.parameters:
        if parameter not in source.parameters:
            raise HeadstartError(
                f"{name} needs an environment with a parameter {parameter}, and {source.name} has "
                "none: use a robot such as half-cheetah"
            )
    if needs.starts_from_observations and not source.starts_from_observations:
        raise HeadstartError(
            f"{source.name} cannot be started from an observation, which the posterior over its "
            "parameters needs: give its engine start_from, or in JAX state_from"
        )


def _check_access(access: Access, needs: Requirements, name: str) -> None:
    for what, wanted, given, mend in (
        ("observations", needs.observations, access.observations, "raise access.observations"),
        ("steps", needs.steps, access.steps, "raise access.steps"),
        ("episodes", needs.episodes, access.shots[-1], "add a number of episodes to access.shots"),
    ):
        if wanted > given:
            raise AllowanceSpent(
                f"{name} takes {wanted} target {what}, and access allows {given}: {mend}, or let "
                "the method take fewer"
            )
