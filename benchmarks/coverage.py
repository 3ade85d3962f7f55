"""How often intervals over a few runs hold the truth, by how returns are distributed.

    uv run --locked python benchmarks/coverage.py

The truth is the interquartile mean of a million runs. Beside ours stands what we would otherwise
have used: a percentile bootstrap of the interquartile mean.
"""

import numpy as np

from headstart.result import estimate, iqm

RUNS = (2, 3, 5, 10)
TRIALS = 2000
RESAMPLES = 500
RNG = np.random.default_rng(0)
RETURNS = {
    "normal": lambda size: RNG.normal(size=size),
    "uniform": lambda size: RNG.uniform(size=size),
    "lognormal, σ = 0.5": lambda size: RNG.lognormal(0.0, 0.5, size),
    "Student, 3 degrees": lambda size: RNG.standard_t(3, size),
    "one in five fails": lambda size: RNG.normal(size=size) + 10 * (RNG.random(size) > 0.2),
    "one in two fails": lambda size: RNG.normal(size=size) + 10 * (RNG.random(size) > 0.5),
}


def bootstrapped(scores: np.ndarray) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval."""
    drawn = np.sort(RNG.choice(scores, (RESAMPLES, len(scores))), axis=1)
    cut = len(scores) // 4
    low, high = np.quantile(drawn[:, cut : len(scores) - cut].mean(1), [0.025, 0.975])
    return float(low), float(high)


def coverage(draw, runs: int) -> tuple[float, float]:
    """Of our interval, and of the bootstrap's."""
    truth = iqm(draw(1_000_000))
    trials = [draw(runs) for _ in range(TRIALS)]
    ours = [(found.low, found.high) for found in map(estimate, trials)]
    both = (ours, map(bootstrapped, trials))
    hits = [np.mean([low <= truth <= high for low, high in found]) for found in both]
    return float(hits[0]), float(hits[1])


def main() -> None:
    print("| returns | " + " | ".join(f"{runs} runs" for runs in RUNS) + " |")
    print("|---" * (len(RUNS) + 1) + "|")
    for name, draw in RETURNS.items():
        cells = [coverage(draw, runs) for runs in RUNS]
        print(
            f"| {name} | " + " | ".join(f"{a:.0%} ({b:.0%})" for a, b in cells) + " |", flush=True
        )


if __name__ == "__main__":
    main()
