import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from headstart import Domain, HeadstartError, envs, interrupts
from headstart.cli.main import _method_fields as cli_fields
from headstart.cli.main import main
from headstart.learners.ppo import PPO
from headstart.problem.named import find
from headstart.runs.job import make_job
from small import TRACK_TOML

TOML = (
    TRACK_TOML
    + """
[sweep]
wind = [-0.4, 0.4]
"""
)
SMALL = (
    "--method.learner.hidden 16 --method.learner.num_envs 8 --method.learner.rollout_length 16 "
    "--method.learner.minibatch_size 32 --method.learner.epochs 2"
)


@pytest.fixture
def problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("track.toml").write_text(TOML)
    return "track.toml"


def test_list_in_both_forms(capsys):
    assert main(["list", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table.keys() == {"problems", "methods", "environments", "learners", "studies"}
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for names in table.values():
        assert all(name in text for name in names)


@pytest.mark.parametrize(
    "code", ["import headstart", "from headstart.cli.main import main; main(['list'])"]
)
def test_the_first_word_is_quick_and_without_jax(code):
    code += "; import sys; assert not {'jax', 'mujoco', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_run_evaluate_and_resume(problem, capsys):
    run = f"run {problem} finetune --seed 3 --method.steps 256 {SMALL}".split()
    assert main(run) == 0
    out = capsys.readouterr().out
    folder = Path(out.strip().splitlines()[-1]).parent
    assert (folder / "result.json").exists()
    assert folder.parts[:2] == ("runs", "track")
    assert folder.name == "3"
    assert "2 target episodes" in out
    assert main([*run, "--resume"]) == 0
    assert "already finished" in capsys.readouterr().out
    assert main(["evaluate", str(folder / "knowledge"), problem, "--episodes", "3"]) == 0
    assert "over 3 episodes" in capsys.readouterr().out
    assert main(["evaluate", str(folder / "adapted"), "probes:Track:wind=0.1"]) == 0
    assert "Track(wind=0.1)" in capsys.readouterr().out
    assert main(["evaluate", str(folder / "adapted"), "gym:CartPole-v1"]) == 2
    said = capsys.readouterr().err
    assert "the policy chooses numbers of shape [1], and gym:CartPole-v1 takes one of 2" in said
    envs.find.cache_clear()  # as in another process
    assert main(["report", "runs/track"]) == 2
    said = capsys.readouterr().err
    assert "probes:Track is code that did not come with Headstart" in said
    assert main(["report", "runs/track", "--trust"]) == 0
    assert Path("runs/track/report.html").exists()


def test_help_says_what_the_problem_is_and_what_it_sets(problem, capsys):
    text = Path(problem).read_text() + "[learner]\nhidden = [8]\n[methods.epopt]\nsteps = 77\n"
    Path("set.toml").write_text(text)
    with pytest.raises(SystemExit):
        main(["run", "set.toml", "epopt", "--method.epsilon", "0.3", "--help"])
    said = capsys.readouterr().out
    assert "source  probes:Track(wind=Uniform(low=-0.5, high=0.5))" in said
    assert "shots   0, 2 episodes of adaptation, then 16 of evaluation each" in said
    assert re.findall(r"--method\.(.*)  \(by itself (.*)\)", said) == [
        ("learner.hidden 8", "64 64"), ("steps 77", "1000000"), ("epsilon 0.3", "0.1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error", [AssertionError(), RuntimeError("Unable to initialize cuda\nand")]
)
def test_what_jax_cannot_run_on_is_said_in_one_line(error, problem, monkeypatch, capsys):
    def absent():
        raise error

    monkeypatch.setattr(jax, "devices", absent)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    for command in (f"compare {problem} scratch", f"run {problem} scratch", "check probes:Track",
                    "evaluate k grid", "skills k", "graft k grid"):  # fmt: skip
        assert main(command.split()) == 2
        said = capsys.readouterr().err
        assert said.startswith("headstart: JAX cannot run on cuda (")
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--method.learner.buffer_size 1e30", "learner.buffer_size must be below 2⁵³, got '1e30'"),
        ("--method.learner.num_envs 1e12", "1000000000000 copies with rollouts of 8 steps take"),
        ("--method.learner.hidden 1000000 1000000", "networks and what they remember take"),
        ("--method.learner.batch_size 1e12", "batches of 1000000000000 take"),
        (
            "--method.steps 1e13 --method.learner.buffer_size 1e12",
            "lower learner.hidden or learner",
        ),
    ],
)
def test_what_is_too_large_for_this_machine_is_refused_before_it_is_made(flags, says, tmp_path):
    fields = cli_fields(flags.split())
    with pytest.raises(HeadstartError, match=re.escape(says)):
        make_job(find("broken-cheetah"), "source-only", 0, tmp_path, fields)


def test_help_lists_a_methods_fields(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "hopper-mass", "epopt", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "--method.epsilon 0.1" in out
    assert "Share of the trajectories, the worst" in out
    assert "--method.learner.clip_eps 0.2" in out


def test_check_says_what_held(capsys):
    assert main(["check", "probes:Track"]) == 0
    assert "wind changes what happens" in capsys.readouterr().out
    assert main(["check", "probes:Idle"]) == 1
    assert "FAIL  gravity changes what happens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("run hoper-mass scratch", "unknown problem 'hoper-mass': did you mean 'hopper-mass'?"),
        ("run hopper-mass skratch", "unknown method 'skratch': did you mean 'scratch'?"),
        ("run no.toml scratch", "cannot read no.toml: No such file or directory"),
        ("run hopper-mass epopt --method.epsilonn 1", "did you mean 'epsilon'?"),
        ("run hopper-mass epopt --method.epsilon lots", "epsilon must be a number, got 'lots'"),
        ("run hopper-mass epopt --method.steps 1.5", "steps must be a whole number"),
        ("run hopper-mass epopt --method.learner 3", "learner holds fields of its own"),
        ("run hopper-mass epopt --method.epsilon", "--method.epsilon needs a value"),
        ("run hopper-mass epopt --method.epsilon 2", "epsilon must be between 0 and 1, got 2"),
        ("run hopper-mass epopt --method.epsilon nan", "epsilon must be a number, got 'nan'"),
        ("run hopper-mass epopt --method.steps -5", "steps must be at least 1, got -5"),
        ("run wall darc --method.ratio.hidden=-1", "hidden must be at least 1, got -1"),
        ("run wall darc --method.learner.hidden=8,0", "hidden must be at least 1, got 0"),
        ("run wall darc --method.learner.reward_scale=-1", "reward_scale must be at least 0"),
        ("run hopper-mass json:dumps", "json:dumps is not a method"),
        ("run hopper-mass finetune:carry=../x", "it has no '/'"),
        ("run :x scratch", "is not module:attribute"),
        ("compare hopper-mass epopt:epsilom=1", "did you mean 'epsilon'?"),
        ("run hopper-mass scratch:learner.minibatch_sise=3", "did you mean 'minibatch_size'?"),
        ("evaluate nowhere hopper", "nowhere is not a knowledge folder"),
        ("report nowhere", "there is no folder nowhere"),
        ("report .", "holds no finished run"),
        ("check hoper", "unknown environment 'hoper': did you mean 'hopper'?"),
        ("study epopt-hoper", "did you mean 'epopt-hopper'?"),
        ("rum hopper-mass scratch", "unknown command 'rum': did you mean 'run'?"),
        ("run hopper-mass", "the following arguments are required: METHOD"),
        ("run hopper-mass scratch --sead 1", "unknown flag '--sead': did you mean '--seed'?"),
        ("run hopper-mass finetune --learning-rate 1", "did you mean '--method.learning_rate'?"),
        (
            "run hopper-mass epopt --steps=1",
            "unknown flag '--steps': did you mean '--method.steps'?",
        ),
        (
            "run hopper-mass epopt --from k",
            "epopt does not start from knowledge: pretrained, finetu",
        ),
        ("run hopper-mass finetune --from k", "k is not a knowledge folder"),
        ("run hopper-mass pretrained --from k", "k is not a knowledge folder"),
        ("check CartPole-v1", "unknown environment 'CartPole-v1': did you mean 'gym:CartPole-v1'?"),
        (
            "run hopper-mass scratch --seed -1",
            "must be a whole number from 0 to 2147483647, got -1",
        ),
        ("run hopper-mass scratch --seed x", "must be a whole number"),
        ("run hopper-mass scratch more", "'more' is one word too many"),
        ("compare hopper-mass --seeds 0", "must be a whole number from 1 to 1000, got 0"),
        (f"compare hopper-mass --workers {10**12}", "must be a whole number from 1 to 1000, got"),
        (f"evaluate k grid --episodes {10**12}", "must be a whole number from 1 to 1000000, got"),
        ("evaluate k grid --episodes ²", "must be a whole number from 1 to 1000000, got ²"),
        ("compare hopper-mass --method.steps 3", "--method.FIELD belongs to `headstart run`"),
    ],
)
def test_each_mistake_has_one_line_and_status_2(command, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("headstart: ")
    assert len(captured.err.strip().splitlines()) == 1
    assert says in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    ["evaluate {} grid", "report {}", "graft {} wall", "skills {}", "run wall finetune --from {}",
     "run wall scratch --out {}", "run {} scratch", "check {}", "run wall {}", "check own:{}",
     "run wall scratch --sink {}", "run wall scratch:learner.hidden={}", "{}"],
)  # fmt: skip
@pytest.mark.parametrize("text", ["a" * 5000, "x\udcff\udcfe", "64," * 200])
def test_no_name_is_too_long_or_too_odd_for_one_line(command, text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--out" in command and len(text) < 255:
        command = command.replace("{}", "{} more")
    assert main(command.format(text).split(" ")) == 2
    said = capsys.readouterr().err
    assert said.startswith("headstart: ")
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_output_folder_that_cannot_be_written(problem, capsys):
    Path("taken").write_text("")
    assert main(f"run {problem} scratch --out taken".split()) == 2
    assert "cannot write taken" in capsys.readouterr().err


def test_what_cannot_run_is_left_out_of_a_comparison_of_everything(problem, capsys):
    """Before the first step, with the reason; what is asked for by name is an error."""
    quick = "\n[learner]\nhidden = [8]\nnum_envs = 4\nrollout_length = 8\nminibatch_size = 16\n"
    text = Path(problem).read_text().replace("[access]", "[access]\nobservations = 0")
    Path("all.toml").write_text(text + quick)
    compare = ["compare", "all.toml", "--seeds", "1", "--engine", "own:Nothing"]
    assert main(compare) == 1
    said = capsys.readouterr().err
    left = dict(re.findall(r"headstart: (\S+) is left out: (.*)", said))
    assert {"darc", "domain-confusion", "diayn", "pretrained"} <= left.keys()
    assert "access.observations" in left["domain-confusion"]
    assert "no knowledge is named" in left["pretrained"]
    failed = re.findall(r"runs/all/(\S+)/0 failed", said)
    assert {"scratch", "source-only", "oracle", "finetune", "epopt"} <= set(failed)
    assert not left.keys() & set(failed)
    assert main(["compare", "all.toml", "darc", "scratch", "--seeds", "1"]) == 2
    assert "darc" in capsys.readouterr().err


def test_a_run_goes_on_from_knowledge(problem, capsys):
    run = f"run {problem} source-only --method.steps 256 {SMALL}".split()
    assert main(run) == 0
    knowledge = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent / "knowledge"
    assert main(f"run {problem} finetune --from {knowledge} {SMALL}".split()) == 0
    said = capsys.readouterr().out
    assert "source steps 0" in said
    config = json.loads((Path(said.strip().splitlines()[-1]).parent / "config.json").read_bytes())
    assert config["method"]["fields"]["pretrained"] == str(knowledge)


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


@pytest.fixture
def heeded():
    """A shell has what it runs in the background ignore SIGINT, and children take that over."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_a_comparison_stops_its_workers(problem, with_signal):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "headstart", "compare", problem, "source-only", "--seeds", "2"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while not list(Path("runs").glob("*/*/*/log.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.2)
        found = subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True)
        workers = list(map(int, found.split()))
        assert workers
        assert all(alive(pid) for pid in workers)
        process.send_signal(with_signal)
        assert process.wait(30) == 130
        assert "what was finished is kept" in process.stderr.read()
    time.sleep(0.5)
    assert not any(alive(pid) for pid in workers)


def test_signals_are_handled_as_before_once_a_command_has_ended():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for what a shell runs in the background
    try:
        with interrupts.stopping_on_signals():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
            assert interrupts.asked()
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert not interrupts.asked()
    assert main(["list", "--json"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("kind", ["Deaf", "Hurt"])
def test_an_interruption_that_is_swallowed_still_stops_the_run(problem, kind):
    """As JAX's callbacks and destructors do, or made of another exception on its way."""
    text = Path(problem).read_text().replace("probes:Track", f"probes:{kind}")
    Path("deaf.toml").write_text(text)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "headstart", "run", "deaf.toml", "source-only"]
    flags = f"--method.steps 20000 {SMALL}".split()
    done = subprocess.run([*command, *flags], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("headstart: stopped; what was finished is kept\n")
    assert "Traceback" not in done.stderr
    assert not list(Path("runs").glob("*/*/*/result.json"))


def test_skills_are_listed_drawn_and_taken_out_by_number(problem, tmp_path, capsys):
    flags = ["--method.skills", "2", "--method.steps", "300", "--method.learner.num_envs", "2",
             "--method.learner.learning_starts", "64"]  # fmt: skip
    assert main(["run", "hallway", "diayn", *flags]) == 0
    folder = Path("runs/hallway/diayn/0/knowledge")
    capsys.readouterr()
    assert main(["skills", str(folder), "--episodes", "1"]) == 0
    said = capsys.readouterr().out
    assert "in runner()" in said
    assert re.findall(r"^ +([01]) +-?[0-9.]+ +-?[0-9.]+", said, re.M) == ["0", "1"]
    page = (folder.parent / "knowledge-skills.html").read_text()
    assert page.count("data:image/webp;base64,") == 2
    assert "<svg" in page
    assert main(["skills", str(folder), "--skill", "1", "--save", str(tmp_path / "one")]) == 0
    assert main(["evaluate", str(tmp_path / "one"), "runner", "--episodes", "1"]) == 0
    assert main(["skills", str(folder), "hallway", "--episodes", "1"]) == 0
    assert "in runner(east=1" in capsys.readouterr().out.replace("\n", "")
    shutil.move(folder, tmp_path / "moved")
    for words, says in (
        ([str(tmp_path / "one")], "holds no skills"),
        ([str(tmp_path / "moved")], "lies in no run that learned it: name the domain"),
        (
            [str(tmp_path / "moved"), "runner", "--skill", "1", "--save", "x"],
            "leave out the domain",
        ),
        ([str(tmp_path / "moved"), "--skill", "1"], "--skill and --save come together"),
        ([str(tmp_path / "moved"), "--skill", "9", "--save", "x"], "there is no skill 9"),
        ([str(tmp_path / "moved"), "half-cheetah"], "evaluate it in the environment"),
    ):
        assert main(["skills", *words]) == 2, words
        assert says in capsys.readouterr().err


def test_graft_shows_what_becomes_of_each_tensor(tmp_path, capsys):
    learner = PPO(hidden=(8,))
    state = learner.init(envs.spec_of(Domain("walker")), jax.random.key(0))
    walker, hopper = str(tmp_path / "walker"), str(tmp_path / "hopper")
    learner.knowledge(state).save(Path(walker))
    assert main(["graft", walker, "hopper", "--save", hopper]) == 0
    said = capsys.readouterr().out
    assert re.search(r"policy/actor/mean/weights/0 +resized", said)
    assert re.search(r"policy/actor/mean/biases/0 +copied", said)
    assert "gone: thigh_left_joint" in said
    assert "left behind" in said
    assert main(["evaluate", hopper, "hopper", "--episodes", "1"]) == 0
    assert main(["graft", walker, "runner"]) == 2
    assert "nothing joins them" in capsys.readouterr().err
