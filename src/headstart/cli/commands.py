"""What each word of the command line does."""

import argparse
import ast
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError


def list_command(options: argparse.Namespace, _: Any) -> None:
    from headstart import envs, learners, methods, studies
    from headstart.problem.named import PROBLEMS

    groups = {
        "problems": {name: p.description for name, p in PROBLEMS.items()},
        "methods": {name: _first_line(path) for name, path in methods.METHODS.items()},
        "environments": dict.fromkeys(sorted(envs.ENVIRONMENTS), ""),
        "learners": {name: _first_line(path) for name, path in learners.LEARNERS.items()},
        "studies": dict(studies.STUDIES),
    }
    if options.json:
        print(json.dumps({kind: list(names) for kind, names in groups.items()}, indent=1))
        return
    for kind, names in groups.items():
        print(kind)
        for name, text in names.items():
            print(f"  {name:<22} {text}".rstrip())


def run_command(options: argparse.Namespace, fields: dict[str, Any]) -> None:
    from headstart.problem.named import find
    from headstart.runs import run
    from headstart.runs.job import goes_on_from, make_job, prepare
    from headstart.runs.progress import bars

    problem, sinks = find(options.problem), options.sink or ()
    if options.knowledge is not None:
        fields = {goes_on_from(options.method): str(options.knowledge), **fields}
    job = make_job(problem, options.method, options.seed, options.out, fields, sinks)
    if prepare(job, options.resume):
        print(f"already finished: {job.folder / 'result.json'}")
    with bars(f"{job.label}, seed {job.seed}", job.folder) as progress:
        result = run.run(job, progress)
    for shot in result.shots:
        print(f"{shot.episodes:>6} target episodes: return {shot.score:9.1f}")
    print(f"source steps {result.source['steps']}, target steps {result.target['steps']}")
    print(job.folder / "result.json")


def compare_command(options: argparse.Namespace, _: Any) -> int:
    from headstart.comparison import compare
    from headstart.problem.named import find

    made = compare(
        find(options.problem), options.methods, seeds=options.seeds, out=options.out,
        workers=options.workers, engine=options.engine, sinks=options.sink or (),
    )  # fmt: skip
    for failure in made.failures:
        print(
            f"headstart: {failure.job.folder} failed: {failure.reason}; run the same command "
            "again to go on with it",
            file=sys.stderr,
        )
    if any(made.folder.glob("*/*/result.json")):
        _reported(made.folder)
    return 1 if made.failures else 0


def evaluate_command(options: argparse.Namespace, _: Any) -> None:
    from headstart import envs
    from headstart.knowledge import Knowledge
    from headstart.policies.policy import check_reads, policy_from
    from headstart.runs.evaluation import evaluate

    policy = policy_from(Knowledge.load(options.knowledge))
    domain = find_domain(options.domain)
    check_reads(policy, envs.spec_of(domain))
    returns = evaluate(domain, policy, options.episodes, options.seed)
    spread = returns.std(ddof=1) if len(returns) > 1 else float("nan")
    print(f"{domain}: return {returns.mean():.1f} ± {spread:.1f} (sd) over {len(returns)} episodes")


def graft_command(options: argparse.Namespace, _: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from headstart import envs
    from headstart.knowledge import Knowledge
    from headstart.problem.named import find
    from headstart.transfer.graft import graft

    domain = find_domain(options.domain)
    try:
        tables = find(options.domain).graft
    except HeadstartError:  # an environment
        tables = {}
    found, rows = graft(Knowledge.load(options.knowledge), envs.spec_of(domain), tables)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for head in ("tensor", "fate", "why"):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 140
    console.print(table)
    if options.save is not None:
        found.save(options.save)
        print(options.save)


def skills_command(options: argparse.Namespace, _: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from headstart.knowledge import Knowledge
    from headstart.report.skills import tried, write
    from headstart.transfer.skills import number_of_skills, skill_of

    knowledge = Knowledge.load(options.knowledge)
    number_of_skills(knowledge)
    if (options.skill is None) != (options.save is None):
        raise HeadstartError("--skill and --save come together: which is kept, and where")
    if options.save is not None:
        if options.domain is not None:
            raise HeadstartError("--save keeps a skill and plays none: leave out the domain")
        skill_of(knowledge, options.skill).save(options.save)
        print(options.save)
        return
    if options.domain is None:
        domain = _learned_in(options.knowledge)
    else:
        domain = find_domain(options.domain)
    found = tried(knowledge, domain, options.episodes)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for head in ("skill", "return where it was learned", f"in {domain}"):
        table.add_column(head, justify="right")
    for skill in found:
        table.add_row(str(skill.number), f"{skill.learned:.1f}", f"{skill.returns.mean():.1f}")
    Console(highlight=False, markup=False).print(table)
    page = options.knowledge.parent / f"{options.knowledge.name}-skills.html"
    write(page, options.knowledge, domain, found)
    print(page)


def _learned_in(knowledge: Path) -> Any:
    """The source of the run that a knowledge folder lies in.

    Raises:
        HeadstartError: it lies in none, or the source is code that did not come with Headstart.
    """
    from headstart import envs
    from headstart.problem.problem import from_table

    try:
        config = json.loads((knowledge.parent / "config.json").read_bytes())
        domain = from_table(config["problem"]).source.at_mean()
        if config["method"]["fields"].get("pretrained"):
            raise KeyError("learned elsewhere")
    except (OSError, ValueError, KeyError, TypeError):
        raise HeadstartError(
            f"{knowledge} lies in no run that learned it: name the domain in which its skills are "
            "to be seen"
        ) from None
    if any(envs.is_foreign(task.environment) for task in domain.apart()):
        raise HeadstartError(
            f"the skills were learned in {domain.environment}, which is code that did not come "
            "with Headstart: if you trust it, name it as the domain"
        )
    return domain


def report_command(options: argparse.Namespace, _: Any) -> None:
    from headstart.registry import ours_only

    with contextlib.nullcontext() if options.trust else ours_only():
        _reported(options.dir)


def _reported(folder: Path) -> None:
    """Write the report of a problem's runs; show its table, what it means, and where it is."""
    from rich.console import Console

    from headstart.report import write
    from headstart.report.compared import read
    from headstart.report.table import summary

    compared = read(folder)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100
    console.print(summary(compared))
    print(write(compared))


def check_command(options: argparse.Namespace, _: Any) -> int:
    from headstart.problem import Domain
    from headstart.problem.named import PROBLEMS, find
    from headstart.testing import examine

    name = options.environment
    if name in PROBLEMS or name.endswith(".toml"):
        problem = find(name)
        same = problem.source.environment == problem.target.environment
        domains = [problem.target] if same else [problem.source, problem.target]
    else:
        domains = [Domain(name)]
    alone = dict.fromkeys(one for domain in domains for one in domain.apart())
    findings = [finding for domain in alone for finding in examine(domain)]
    for finding in findings:
        print(
            f"{'ok  ' if finding.held else 'FAIL'}  {finding.claim}"
            + (f": {finding.detail}" if finding.detail else "")
        )
    failed = sum(not finding.held for finding in findings)
    print(f"{len(findings) - failed} held, {failed} failed")
    return 1 if failed else 0


def study_command(options: argparse.Namespace, _: Any) -> int:
    from headstart import studies

    study = studies.find(options.name)
    if options.check:
        table = studies.stored(options.name)
    else:
        table = studies.run(options.name, options.out, options.workers)
    print(study.shown(table), end="\n\n")
    claims = study.claims(table)
    for claim in claims:
        print(
            f"{'holds        ' if claim.holds else 'DOES NOT HOLD'}  {claim.text}: {claim.evidence}"
        )
    return 0 if all(claim.holds for claim in claims) else 1


def find_domain(text: str) -> Any:
    """A problem's target, or an environment with parameters, as in `hopper:torso_mass=7,gravity=9`.

    Raises:
        HeadstartError: the text is neither.
    """
    from headstart import envs
    from headstart.envs.environment import check_domain
    from headstart.problem import Domain
    from headstart.problem.named import find

    name, _, settings = text.rpartition(":") if "=" in text else (text, "", "")
    if not settings and name not in envs.ENVIRONMENTS and not name.startswith(("gym:", "pool:")):
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
    domain = Domain.of(name, parameters)
    check_domain(envs.find(name), domain)
    return domain


def _first_line(path: str) -> str:
    """The summary of a file, without importing it (and JAX)."""
    module = path.partition(":")[0].removeprefix("headstart.").replace(".", "/")
    source = Path(__file__).parents[1] / f"{module}.py"
    text = ast.get_docstring(ast.parse(source.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
