"""Speed, beside peers and limits measured in the same run.

    python benchmarks/throughput.py            ppo, sac, worlds and skills
    python benchmarks/throughput.py games      needs the extra minatar
    python benchmarks/throughput.py hindsight  updates in hindsight and without
    python benchmarks/throughput.py darc       a whole run, minutes

Peers take part if they are installed.
"""

import argparse
import importlib
import json
import resource

import headstart

headstart.prepare_jax()

UNIT = {
    "ppo": "steps/s", "sac": "updates/s", "worlds": "steps/s", "skills": "updates/s",
    "games": "steps/s", "hindsight": "updates/s",
}  # fmt: skip
USUAL = "ppo", "sac", "worlds", "skills"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", nargs="*", default=USUAL, help="ppo, sac, worlds, skills, games, hindsight, darc"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each contestant, in all")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--scale", type=int, default=1, help="times the usual copies of a world")
    options = parser.parse_args()
    found = {}
    for what in options.what:
        module = importlib.import_module(what)
        if what == "darc":
            found[what] = {"steps": module.STEPS, "seconds": module.seconds(module.STEPS)}
            continue
        if what == "worlds":
            module.COPIES = {name: num * options.scale for name, num in module.COPIES.items()}
        from turns import compared

        each = options.seconds / options.turns
        turns = module.contestants(each / 2)
        speeds, ratios = compared(turns, options.seconds, options.turns)
        found[what] = {"per_second": speeds}
        if what != "worlds":
            found[what]["ours_over"] = ratios
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print(json.dumps(found | {"peak_mb": peak}))
        return
    for what, numbers in found.items():
        if what == "darc":
            print(f"darc: {numbers['steps']:,} source steps in {numbers['seconds']:.0f} s")
            continue
        for name, value in numbers["per_second"].items():
            ratio = numbers.get("ours_over", {}).get(name)
            beside = f"   ours / it {ratio:5.2f}" if ratio else ""
            print(f"{what:<11}{name:<38}{value:12,.0f} {UNIT[what]}{beside}")
    print(f"peak memory of this process {peak:.0f} MB")


if __name__ == "__main__":
    main()
