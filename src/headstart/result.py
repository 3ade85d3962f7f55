"""What a run measured, and what several of them say together."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart import records
from headstart.errors import HeadstartError

PERCENTILES = (10, 50, 90)
"""What is kept of the entropies of a policy over states."""


@dataclass(frozen=True)
class Shot:
    """Evaluation returns of the policy that had seen at most `episodes` of the target."""

    episodes: int
    steps: int
    returns: list[float]
    """Of the most likely actions: what would be deployed."""
    sampled: list[float] = field(default_factory=list[float])
    """Of actions drawn from the policy, as in training; none in results of older versions."""
    source: list[float] = field(default_factory=list[float])
    """Of the most likely actions in the source: what adapting did to what was learned there."""
    entropy: list[float] = field(default_factory=list[float])
    """Of the policy in the states that it meets on the target, drawing its actions: the
    `PERCENTILES`, in nats. Of a squashed Gaussian, with actions in [−1, 1], by samples."""
    success: list[float] = field(default_factory=list[float])
    """Of the most likely actions, 1 for an episode that ends where its goal is achieved and 0 for
    another; without goals, 1 for one with a step that its environment calls a success. Empty where
    neither is known."""

    @property
    def score(self) -> float:
        return float(np.mean(self.returns))

    @property
    def success_rate(self) -> float:
        return float(np.mean(self.success))

    @property
    def source_score(self) -> float:
        return float(np.mean(self.source))


@dataclass(frozen=True)
class Swept:
    """Evaluation returns where one of the target's parameters is another."""

    parameter: str
    value: float
    zero_shot: list[float]
    adapted: list[float] = field(default_factory=list[float])
    """None where the policy was not adapted."""
    second: str = ""
    """Another parameter, if two are swept."""
    second_value: float = 0.0
    success: list[float] = field(default_factory=list[float])
    """Of the zero-shot policy, as of a `Shot`."""

    @property
    def task(self) -> dict[str, float]:
        """What the target's parameters are there."""
        also = {self.second: self.second_value} if self.second else {}
        return {self.parameter: self.value, **also}


@dataclass(frozen=True)
class Result:
    """One run of a method on a problem from one seed; `result.json`."""

    problem: str
    method: str
    seed: int
    source: dict[str, int]
    target: dict[str, int]
    shots: list[Shot]
    seconds: dict[str, float]
    versions: dict[str, str]
    sweep: list[dict[str, Any]] = field(default_factory=list)
    """At each value of the swept parameter, the fields of a `Swept`."""
    unlimited: bool = False
    """Whether its method might take of the target what it liked, as an oracle does."""
    configuration: str = ""
    """The SHA-256 of the `config.json` that it is the result of; none in older results."""

    def dumps(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    @staticmethod
    def read(path: Path | str) -> "Result":
        """Raises:
        HeadstartError: the file is absent, or is no result, or that of another configuration than
            lies beside it.
        """
        records.whole(Path(path))
        result = records.made(Result, records.read(path), str(path))
        if not result.shots or not all(shot.returns for shot in result.shots):
            raise HeadstartError(f"{path} is damaged: a result has shots, and each has returns")
        for name, counted in (("source", result.source), ("target", result.target)):
            for what in ("steps", "episodes"):
                if what not in counted:
                    raise HeadstartError(f"{path} is damaged: {name} has no {what}")
        if "observations" not in result.target:
            raise HeadstartError(f"{path} is damaged: target has no observations")
        for row in result.sweep:
            records.made(Swept, row, f"{path}: sweep")
        config = Path(path).with_name("config.json")
        if not result.configuration or not config.exists():
            return result
        if result.configuration != records.digest(records.read(config)):
            raise HeadstartError(
                f"{path} is the result of another configuration than {config}: two runs wrote into "
                f"one folder; remove {config.parent}"
            )
        return result


def area(result: Result) -> float:
    """Mean return over target episodes: the area under the curve, divided by its width."""
    x = np.array([shot.episodes for shot in result.shots], float)
    y = np.array([shot.score for shot in result.shots])
    return float(np.trapezoid(y, x) / (x[-1] - x[0])) if len(x) > 1 else float(y[0])


def time_to_threshold(result: Result, threshold: float) -> int | None:
    """Target episodes at the first shot that reaches `threshold`; none if it never does."""
    return next((shot.episodes for shot in result.shots if shot.score >= threshold), None)


@dataclass(frozen=True)
class Estimate:
    """An interquartile mean with a 95 % interval; the interval is absent for a single run."""

    value: float
    low: float | None
    high: float | None
    runs: int

    @property
    def above_zero(self) -> bool:
        """Whether all of the interval is."""
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether all of the interval is."""
        return self.high is not None and self.high < 0

    @property
    def interval(self) -> str:
        """`[low, high]` to whole numbers, for a person; nothing for a single run."""
        return "" if self.low is None else f"[{self.low:.0f}, {self.high:.0f}]"


def iqm(scores: Sequence[float] | np.ndarray) -> float:
    """The mean of the middle half (Agarwal et al., NeurIPS 2021, arXiv 2108.13264)."""
    return _trimmed(scores)[0]


def estimate(scores: Sequence[float] | np.ndarray, level: float = 0.95) -> Estimate:
    """The interquartile mean, with Student's interval for it (Tukey and McLaughlin, 1963).

    Its deviation is that of all scores with the outer quarters drawn in to the middle half, and its
    degrees of freedom are those of the middle half; with fewer than four scores it is Student's
    interval for a mean. A bootstrap over three runs covers the truth 74 times in 100, this one 95
    (`benchmarks/coverage.py`).

    Raises:
        ValueError: there is no score.
    """
    value, square, half = _trimmed(scores)
    return _estimate(value, square, half - 1, len(scores), level)


def difference(
    more: Sequence[float] | np.ndarray, less: Sequence[float] | np.ndarray, level: float = 0.95
) -> Estimate:
    """How far the interquartile mean of one group of runs is above another's (Yuen, 1974).

    Raises:
        ValueError: a group is empty.
    """
    return contrast((1.0, more), (-1.0, less), level=level)


def contrast(*terms: tuple[float, Sequence[float] | np.ndarray], level: float = 0.95) -> Estimate:
    """Σ c · (interquartile mean of a group of runs), over independent groups and their factors c.

    The interval is Student's, with Welch and Satterthwaite's degrees of freedom. "At least 1.3
    times as much" is a contrast of 1 and −1.3 above 0.

    Raises:
        ValueError: a group is empty.
    """
    parts = [(c, *_trimmed(scores)) for c, scores in terms]
    value = sum(c * mean for c, mean, _, _ in parts)
    square = sum(c**2 * own for c, _, own, _ in parts)
    runs = min(len(scores) for _, scores in terms)
    if not square:
        bound = value if runs > 1 else None
        return Estimate(value, bound, bound, runs)
    freedom = sum((c**2 * own) ** 2 / max(half - 1, 1) for c, _, own, half in parts)
    return _estimate(value, square, square**2 / freedom, runs, level)


def _trimmed(scores: Sequence[float] | np.ndarray) -> tuple[float, float, int]:
    """The mean of the middle half, its squared standard error, and how many scores are in it."""
    ordered = np.sort(np.asarray(scores, float))
    n, cut = len(ordered), len(ordered) // 4
    if not n:
        raise ValueError("an estimate needs at least one run")
    middle = ordered[cut : n - cut]
    if n == 1:
        return float(middle[0]), 0.0, 1
    drawn_in = np.clip(ordered, middle[0], middle[-1])
    half = len(middle)
    return float(middle.mean()), float((n - 1) * drawn_in.var(ddof=1) / (half * (half - 1))), half


def _estimate(value: float, square: float, freedom: float, runs: int, level: float) -> Estimate:
    from scipy.special import stdtrit

    if runs < 2:
        return Estimate(value, None, None, runs)
    reach = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(square)
    return Estimate(value, value - reach, value + reach, runs)


@dataclass(frozen=True)
class Transfer:
    """What a method was worth on a problem, over its seeds (Taylor and Stone, 2009)."""

    first: Estimate
    """The return at the first shot: zero-shot, if that is 0 episodes."""
    last: Estimate
    """The return at the last shot."""
    area: Estimate
    jumpstart: Estimate | None
    """First return above scratch's, seed by seed; absent without scratch."""
    forward: Estimate | None
    """The area above scratch's, seed by seed, as a share of what scratch left to be gained
    (Wołczyk et al., 2021): 0 is scratch, 1 the oracle from the first episode on; absent without
    either."""
    backward: Estimate | None
    """Return in the source after the last shot minus that at the first, seed by seed: below 0,
    forgetting; absent in results of older versions."""
    times: list[int | None]
    """Target episodes to the threshold, one for each seed; none where it was never reached."""
    source_steps: float
    target_observations: float
    """Without actions or rewards."""
    target_steps: float
    target_episodes: float


def transfer(
    results: Sequence[Result],
    scratch: Sequence[Result],
    threshold: float | None,
    best: float | None = None,
) -> Transfer:
    """The metrics of one method's results; `threshold` and `best`, what could be had, are
    returns."""
    alone = {result.seed: result for result in scratch}
    beside = [(r, alone[r.seed]) for r in results if r.seed in alone]
    gains = [r.shots[0].score - other.shots[0].score for r, other in beside]
    gain = best - iqm([area(other) for other in scratch]) if best is not None and scratch else 0.0
    forward = [(area(r) - area(other)) / gain for r, other in beside] if gain > 0 else []
    ends = [(r.shots[0], r.shots[-1]) for r in results if r.shots[0].source]
    kept = [last.source_score - first.source_score for first, last in ends]
    return Transfer(
        first=estimate([r.shots[0].score for r in results]),
        last=estimate([r.shots[-1].score for r in results]),
        area=estimate([area(r) for r in results]),
        jumpstart=estimate(gains) if gains else None,
        forward=estimate(forward) if forward else None,
        backward=estimate(kept) if kept else None,
        times=[time_to_threshold(r, threshold) if threshold is not None else None for r in results],
        source_steps=float(np.mean([r.source["steps"] for r in results])),
        target_observations=float(np.mean([r.target["observations"] for r in results])),
        target_steps=float(np.mean([r.target["steps"] for r in results])),
        target_episodes=float(np.mean([r.target["episodes"] for r in results])),
    )


def median_time(times: Sequence[int | None]) -> int | None:
    """The (upper) median, where a run that never reached the threshold counts as later than any."""
    ordered = sorted(math.inf if time is None else time for time in times)
    middle = ordered[len(ordered) // 2]
    return None if middle == math.inf else int(middle)


def threshold_from(results: Mapping[str, Sequence[Result]], share: float = 0.8) -> float | None:
    """The return that lies `share` of the way from scratch's zero-shot return to the oracle's; none
    where one of them is absent, or where the oracle is not above: that would say nothing."""
    high = best_return(results)
    if not results.get("scratch") or high is None:
        return None
    low = iqm([result.shots[0].score for result in results["scratch"]])
    return low + share * (high - low) if high > low else None


def best_return(results: Mapping[str, Sequence[Result]]) -> float | None:
    """What could be had: the oracle's last return, if there is an oracle."""
    if not results.get("oracle"):
        return None
    return iqm([result.shots[-1].score for result in results["oracle"]])
