"""What a run measured, and what several of them say together."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import HeadstartError


@dataclass(frozen=True)
class Shot:
    """Evaluation returns of the policy that had seen at most `episodes` of the target."""

    episodes: int
    steps: int
    returns: list[float]

    @property
    def score(self) -> float:
        return float(np.mean(self.returns))


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
    """Evaluation returns at each value of the swept parameter: `{"zero_shot", "adapted"}`."""

    def dumps(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    @staticmethod
    def read(path: Path) -> "Result":
        """Raises:
        HeadstartError: the file is absent or is no result.
        """
        try:
            table = json.loads(path.read_bytes())
            return Result(**{**table, "shots": [Shot(**shot) for shot in table["shots"]]})
        except OSError as error:
            raise HeadstartError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise HeadstartError(f"{path} is not a result: {error}") from None


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
    def interval(self) -> str:
        """`[low, high]` to whole numbers, for a person; nothing for a single run."""
        return "" if self.low is None else f"[{self.low:.0f}, {self.high:.0f}]"


def iqm(scores: Sequence[float] | np.ndarray) -> float:
    """The mean of the middle half (Agarwal et al., NeurIPS 2021, arXiv 2108.13264)."""
    from scipy.stats import trim_mean

    return float(trim_mean(np.asarray(scores, float), 0.25))


def estimate(
    strata: Sequence[Sequence[float] | np.ndarray],
    reps: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The interquartile mean over all runs, with a stratified percentile bootstrap.

    Each stratum (a task) is resampled on its own, with replacement, as often as it has runs.

    Raises:
        ValueError: there is no run.
    """
    pooled = np.concatenate([np.asarray(s, float) for s in strata])
    if not len(pooled):
        raise ValueError("an estimate needs at least one run")
    if any(len(stratum) < 2 for stratum in strata):
        return Estimate(iqm(pooled), None, None, len(pooled))
    rng = np.random.default_rng(seed)
    drawn = [
        np.asarray(s, float)[rng.integers(len(s), size=(reps, len(s)))] for s in strata
    ]  # [reps, runs] each
    resampled = np.sort(np.concatenate(drawn, axis=1), axis=1)
    cut = int(0.25 * resampled.shape[1])
    means = resampled[:, cut : resampled.shape[1] - cut].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(iqm(pooled), float(low), float(high), len(pooled))


@dataclass(frozen=True)
class Transfer:
    """What a method was worth on a problem, over its seeds (Taylor and Stone, 2009)."""

    zero_shot: Estimate
    asymptotic: Estimate
    """The return after the last shot."""
    area: Estimate
    jumpstart: Estimate | None
    """Zero-shot return above scratch's, seed by seed; absent without scratch."""
    times: list[int | None]
    """Target episodes to the threshold, one for each seed; none where it was never reached."""
    source_steps: float
    target_observations: float
    """Without actions or rewards."""
    target_steps: float
    target_episodes: float


def transfer(
    results: Sequence[Result], scratch: Sequence[Result], threshold: float | None
) -> Transfer:
    """The metrics of one method's results; `threshold` is a return."""
    before = {result.seed: result.shots[0].score for result in scratch}
    gains = [r.shots[0].score - before[r.seed] for r in results if r.seed in before]
    return Transfer(
        zero_shot=estimate([[r.shots[0].score for r in results]]),
        asymptotic=estimate([[r.shots[-1].score for r in results]]),
        area=estimate([[area(r) for r in results]]),
        jumpstart=estimate([gains]) if gains else None,
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
    """The return that lies `share` of the way from scratch's zero-shot return to the oracle's."""
    if not results.get("scratch") or not results.get("oracle"):
        return None
    low = iqm([result.shots[0].score for result in results["scratch"]])
    high = iqm([result.shots[-1].score for result in results["oracle"]])
    return low + share * (high - low)
