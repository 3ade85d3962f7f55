import numpy as np
import pytest
from scipy.stats import trim_mean

from headstart.errors import HeadstartError
from headstart.result import (
    Result,
    Shot,
    area,
    estimate,
    iqm,
    median_time,
    threshold_from,
    time_to_threshold,
    transfer,
)


def result(scores, method="m", seed=0, shots=(0, 1, 5, 20)):
    return Result(
        problem="p", method=method, seed=seed, source={"steps": 10, "episodes": 1},
        target={"observations": 0, "steps": 7, "episodes": 20},
        shots=[Shot(k, 0, [s - 1, s + 1]) for k, s in zip(shots, scores, strict=True)],
        seconds={}, versions={},
    )  # fmt: skip


def test_area_by_hand():
    # Trapezia over 0–1, 1–5, 5–20: 15, 4 · 25, 15 · 35; together 640, over 20 episodes.
    assert area(result([10, 20, 30, 40])) == pytest.approx(640 / 20)
    assert area(result([20, 30, 40], shots=(1, 5, 20))) == pytest.approx(625 / 19)
    assert area(result([10, 20], shots=(0, 1))) == 15
    assert area(result([5], shots=(0,))) == 5


def test_a_threshold_that_is_never_reached_is_none():
    assert time_to_threshold(result([1, 2, 3, 4]), 3) == 5
    assert time_to_threshold(result([1, 2, 3, 4]), 4.5) is None
    assert median_time([5, None, 1]) == 5
    assert median_time([None, None, 1]) is None
    assert median_time([1, None]) is None


def test_transfer_by_hand():
    scratch = [result([10, 12, 14, 20], "scratch", seed) for seed in (0, 1)]
    runs = [result([50, 55, 60, 70], seed=0), result([30, 40, 60, 90], seed=1)]
    threshold = threshold_from({"scratch": scratch, "oracle": [result([110] * 4, "oracle")]})
    assert threshold == 90  # 80 % of the way from 10 to 110
    worth = transfer(runs, scratch, threshold)
    assert worth.zero_shot.value == pytest.approx(40)
    assert worth.jumpstart.value == pytest.approx(30)
    assert worth.asymptotic.value == pytest.approx(80)
    assert worth.times == [None, 20]
    assert transfer(runs, [], threshold).jumpstart is None


def test_a_threshold_is_between_scratch_without_and_the_oracle_after_all_its_episodes():
    scratch = [result([0, 8, 9, 10], "scratch")]
    oracle = [result([1, 2, 3, 100], "oracle")]
    assert threshold_from({"scratch": scratch, "oracle": oracle}) == 80
    assert threshold_from({"scratch": scratch}) is None
    assert threshold_from({"oracle": oracle}) is None


def test_interquartile_mean_by_hand():
    assert iqm([1, 2, 3, 100]) == 2.5
    assert iqm([0, 4, 5, 6, 9, 10, 11, 99]) == pytest.approx((5 + 6 + 9 + 10) / 4)


def test_bootstrap_resamples_within_strata():
    # Two tasks whose runs agree: whatever is drawn, each task gives its own value.
    both = estimate([[1.0] * 5, [3.0] * 5])
    assert (both.low, both.high) == (2.0, 2.0)
    assert (estimate([[1.0, 1.0]]).low, estimate([[1.0, 1.0]]).interval) == (1.0, "[1, 1]")
    assert (estimate([[1.0]]).low, estimate([[1.0]]).interval) == (None, "")


def test_bootstrap_interval_against_an_independent_one():
    scores = np.random.default_rng(1).normal(10, 2, 12)
    ours = estimate([scores], reps=20_000)
    rng = np.random.default_rng(2)
    drawn = [trim_mean(rng.choice(scores, 12), 0.25) for _ in range(20_000)]
    np.testing.assert_allclose([ours.low, ours.high], np.quantile(drawn, [0.025, 0.975]), atol=0.05)
    assert ours.value == pytest.approx(trim_mean(scores, 0.25))


def test_bootstrap_covers_the_truth():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        found = estimate([rng.normal(0, 1, 20)], reps=500)
        hits += found.low <= 0 <= found.high
    assert 0.88 <= hits / 200 <= 1.0


def test_results_round_trip_and_damage_is_named(tmp_path):
    path = tmp_path / "result.json"
    path.write_bytes(result([1, 2, 3, 4]).dumps())
    read = Result.read(path)
    assert read == result([1, 2, 3, 4])
    assert read.shots[0].score == 1
    path.write_text('{"problem": 1}')
    with pytest.raises(HeadstartError, match="is not a result"):
        Result.read(path)
    with pytest.raises(HeadstartError, match="cannot read"):
        Result.read(tmp_path / "absent.json")
