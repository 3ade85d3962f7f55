"""What each method was worth: a table, a sentence for each, and what to beware of."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from headstart.configuration import as_table, set_beside
from headstart.learners import LEARNERS
from headstart.methods.pretrained import Pretrained
from headstart.problem import TransferProblem
from headstart.report.compared import Compared
from headstart.report.figures import colour
from headstart.result import (
    Estimate,
    Result,
    area,
    best_return,
    difference,
    estimate,
    iqm,
    median_time,
    transfer,
)
from headstart.runs.job import Job, learner_of

Results = Mapping[str, Sequence[Result]]
Jobs = Mapping[str, Job]
"""The first run of every method, as it was asked for."""


def first_shot(problem: TransferProblem) -> str:
    """What the return at the first shot is called."""
    episodes = problem.access.shots[0]
    return "zero-shot return" if episodes == 0 else f"return after {episodes} episodes"


def rows(results: Results, threshold: float | None, jobs: Jobs) -> list[dict[str, Any]]:
    """A row for each method, as text."""
    unlike = _unlike_learners(jobs)
    scratch, best = results.get("scratch", []), best_return(results)
    found = []
    for index, (label, runs) in enumerate(results.items()):
        worth = transfer(runs, scratch, threshold, best)
        # Who starts from a folder has a source, and took no steps of it.
        begun = worth.source_steps or isinstance(jobs[label].method.pretraining, Pretrained)
        reached = median_time(worth.times) if threshold is not None else None
        never = sum(time is None for time in worth.times)
        found.append(
            {
                "label": label,
                "learner": unlike.get(label, ""),
                "unlimited": runs[0].unlimited,
                "colour": colour(index),
                "first": shown(worth.first),
                "last": shown(worth.last),
                "success": successes(runs),
                "jumpstart": shown(worth.jumpstart) if label != "scratch" else "–",
                "area": shown(worth.area),
                "forward": shown(worth.forward),
                **_kept(runs, worth.backward if begun else None),
                "time": "–"
                if threshold is None
                else ("not reached" if reached is None else reached),
                "never": f"{never} of {len(runs)} seeds never"
                if never and reached is not None
                else "",
                "source_steps": f"{worth.source_steps:,.0f}",
                "target_observations": f"{worth.target_observations:,.0f}",
                "target_steps": f"{worth.target_steps:,.0f}",
                "target_episodes": f"{worth.target_episodes:,.0f}",
            }
        )
    return found


def _kept(runs: Sequence[Result], backward: Estimate | None) -> dict[str, str]:
    """What adapting did to the return in the source, and to the policy's entropy, as text."""
    first, last = (
        [run.shots[i].source_score for run in runs if run.shots[i].source] for i in (0, -1)
    )
    return {
        "source_first": shown(estimate(first)) if first else "–",
        "source_last": shown(estimate(last)) if last else "–",
        "backward": shown(backward),
        "entropy_first": _entropy(runs, 0),
        "entropy_last": _entropy(runs, -1),
    }


def successes(runs: Sequence[Result]) -> str:
    """The share of episodes at the last shot that are a success, of those runs that know."""
    known = [run.shots[-1].success_rate for run in runs if run.shots[-1].success]
    return shown(estimate(known)) if known else "–"


def _entropy(runs: Sequence[Result], shot: int) -> str:
    """The percentiles over states, means over runs: `median [10 %, 90 %]`."""
    found = [run.shots[shot].entropy for run in runs if run.shots[shot].entropy]
    if not found:
        return "–"
    low, median, high = np.mean(found, axis=0)
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def summary(compared: Compared) -> Group:
    """The table and the sentences, for a terminal."""
    problem, results = compared.problem, compared.results
    shots = problem.access.shots
    counts = sorted({len(runs) for runs in results.values()})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    table = Table(
        box=box.SIMPLE, pad_edge=False, title_justify="left",
        title=f"{problem.name}: return on the target, means over {seeds} seeds [95 %]",
    )  # fmt: skip
    heads = ["zero-shot" if shots[0] == 0 else f"after {shots[0]}\nepisodes"]
    heads += [f"after {shots[-1]}\nepisodes"] if len(shots) > 1 else []
    table.add_column("method", no_wrap=True)
    met = any(run.shots[0].success for runs in results.values() for run in runs)
    heads += ["success"] if met else []
    for head in (*heads, "source\nsteps", "target\nepisodes"):
        table.add_column(head, justify="right", no_wrap=True)
    for label, runs in results.items():
        worth = transfer(runs, (), None)
        returns = [shown(worth.first), shown(worth.last)][: len(heads) - met]
        returns += [successes(runs)] if met else []
        taken = [f"{worth.source_steps:,.0f}", f"{worth.target_episodes:,.0f}"]
        taken[1] += ", no limit" if runs[0].unlimited else ""
        table.add_row(label, *returns, *taken)
    said = [f"{label} {meaning}" for label, meaning in meanings(results, problem).items()]
    said += [f"{label}, its recipe: {recipe}." for label, recipe in recipes(compared).items()]
    said += notes(compared)
    said += [f"Beware: {warning}" for warning in warnings(results, problem)]
    return Group(table, *(Text(sentence) for sentence in said))


def meanings(results: Results, problem: TransferProblem) -> dict[str, str]:
    """A sentence for each method that says what its numbers mean beside the baselines'."""
    return {label: _meaning(label, results, problem.access.shots) for label in results}


def recipes(compared: Compared) -> dict[str, str]:
    """What was on of the methods whose parts can be switched off."""
    told = {label: job.method.recipe for label, job in compared.jobs.items()}
    return {label: recipe for label, recipe in told.items() if recipe}


def settings(jobs: Jobs) -> dict[str, list[tuple[str, str, bool]]]:
    """By method, its fields, their values, and whether somebody set them."""
    return {
        label: [(name, value, value != usual) for name, _, value, usual in set_beside(job.method)]
        for label, job in jobs.items()
    }


def _meaning(label: str, results: Results, shots: Sequence[int]) -> str:
    first, last = (_scores(results[label], i) for i in (0, -1))
    begun = "before any target episode" if shots[0] == 0 else f"after {shots[0]} target episodes"
    taken = max(run.target["episodes"] for run in results[label])
    ended = f"after {min(shots[-1], taken)} target episodes"
    if label == "oracle":
        return f"trained on the target itself, returns {shown(estimate(last))}: what can be had."
    if label == "scratch":
        return f"without any source, returns {shown(estimate(last))} {ended}."
    said = f"returns {shown(estimate(first))} {begun}"
    if label != "source-only" and "source-only" in results:
        said += f", {_beside(first, _scores(results['source-only'], 0), 'source-only')}"
    elif "scratch" in results:
        said += f", {_beside(first, _scores(results['scratch'], 0), 'a policy that knows nothing')}"
    if first != last:
        said += f"; {shown(estimate(last))} {ended}"
        if "scratch" in results:
            said += f", {_beside(last, _scores(results['scratch'], -1), 'scratch')}"
    if "oracle" in results:
        had = estimate(_scores(results["oracle"], -1)).value
        if had > 0:
            said += f". That is {100 * estimate(last).value / had:.0f} % of the oracle's return"
    return f"{said}."


def _scores(runs: Sequence[Result], shot: int) -> list[float]:
    return [run.shots[shot].score for run in runs]


def _beside(scores: Sequence[float], others: Sequence[float], whose: str) -> str:
    apart = difference(scores, others)
    if apart.low is None or apart.high is None:
        way = "above" if apart.value > 0 else "below"
        return f"{_number(abs(apart.value))} {way} {whose} (few seeds: it may be luck)"
    by = f"by {_number(abs(apart.value))}"
    if apart.low > 0:
        return f"above {whose} {by}"
    if apart.high < 0:
        return f"below {whose} {by}"
    return f"not clearly different from {whose}"


def notes(compared: Compared) -> list[str]:
    """What methods say of their own runs."""
    return [
        f"{label}, seed {run.seed}: {note}"
        for label, runs in compared.results.items()
        for run, log in zip(runs, compared.logs[label], strict=True)
        for note in [*_notices(log), *compared.jobs[label].method.notes(log)]
    ]


def _notices(log: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the harness wrote for a person to know."""
    return [f"{row['notice']}." for row in log if "notice" in row]


def warnings(results: Results, problem: TransferProblem) -> list[str]:
    """Where the most likely actions and those that are drawn return unlike numbers, each outside
    the other's interval; and where the oracle is no measure."""
    found = []
    best, scratch = best_return(results), results.get("scratch")
    if best is not None and scratch and best <= iqm(_scores(scratch, 0)):
        found.append(
            f"the oracle returns {_number(best)}, which is not above scratch's first policy: there "
            "is no threshold, and no forward transfer. Train it for longer, or see whether the "
            "reward says what is wanted."
        )
    elif best is not None and scratch and best <= (usual := iqm([area(run) for run in scratch])):
        found.append(
            f"the oracle returns {_number(best)}, and scratch {_number(usual)} on average over its "
            "episodes: the threshold is one that scratch passes, and there is no forward transfer. "
            "Train the oracle for longer."
        )
    elif best is not None and scratch and len(scratch) > 1:
        apart = difference(_scores(results["oracle"], -1), _scores(scratch, 0))
        if apart.low is not None and apart.low <= 0:
            found.append(
                f"the oracle is not clearly above scratch's first policy, apart by {shown(apart)}: "
                "the threshold and forward transfer may be noise. Run more seeds, or train it for "
                "longer."
            )
    ends = dict.fromkeys((0, len(problem.access.shots) - 1))
    for label, runs in results.items():
        for shot in ends:
            untrained = label == "scratch" and shot == 0
            if untrained or not all(run.shots[shot].sampled for run in runs):
                continue
            if len(runs) == 1:  # the interval over its episodes, then
                likely = estimate(runs[0].shots[shot].returns)
                drawn = estimate(runs[0].shots[shot].sampled)
            else:
                likely = estimate(_scores(runs, shot))
                drawn = estimate([float(np.mean(run.shots[shot].sampled)) for run in runs])
            if not (_within(drawn, likely) or _within(likely, drawn)):
                found.append(
                    f"{label}, after {problem.access.shots[shot]} episodes: with actions drawn "
                    f"from the policy, as in training, the return is {shown(drawn)}, not "
                    f"{shown(likely)}. It was not done learning, or needs its noise."
                )
    return found


def _within(one: Estimate, other: Estimate) -> bool:
    """Whether a value lies in another's interval, if that has one."""
    if other.low is None or other.high is None:
        return True
    return other.low <= one.value <= other.high


def shown(estimate: Estimate | None) -> str:
    """A value and its interval, for a person."""
    if estimate is None:
        return "–"
    digits = 0 if abs(estimate.value) >= 10 else 2
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:,.{digits}f}"
    low, high = (f"{bound:,.{digits}f}" for bound in (estimate.low, estimate.high))
    return f"{estimate.value:,.{digits}f} [{low}, {high}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2f}"


def _unlike_learners(jobs: Jobs) -> dict[str, str]:
    """What differs in the learners of those methods whose learner is not the problem's."""
    found = {}
    for label, job in jobs.items():
        usual = as_table(learner_of(job.problem))
        own = as_table(job.method.learner)
        if type(job.method.learner) is not type(learner_of(job.problem)):
            found[label] = LEARNERS.name_of(type(job.method.learner))
        elif own != usual:
            changed = (f"{k} {v}" for k, v in own.items() if v != usual[k])
            found[label] = ", ".join(changed)
    return found
