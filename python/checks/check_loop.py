"""Lets `tf-persist loop` do its work on real digits: the story of examples/loop, seeded attempts, kills at random moments, and bad input.

    python -m checks.check_loop --tf-persist target/debug/tf-persist [--tries 20] [--kills 200] [--seed 1] [--only story|tries|kills|input]

The story: drift, a new version through gates, shadow and canary, promoted without a failed request under 8 clients; then a version whose
quality falls is rolled back. The tries: learning rates and labels are good or bad by the seed, and production must never be worse over
held-out rows. The kills: a loop that trains on good and on bad labels in turn, with a server and clients, is killed with SIGKILL at random
moments; what it left must be whole, nothing may happen twice, and no label may point to a bad version. Exit code 1 if anything is not as it
should be.
"""

import argparse
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "loop"))

from story import DATA, PATIENCE, Clients, Digits, Failed, Program, free_port, is_ready, tell, wait_for, write  # noqa: E402

BAD = 0.7  # a version with a lower accuracy over the held-out rows is bad
HEAD = """
store = "models.store"
model = "digits"

[watch]
logs = ["logs"]
every = "100ms"
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    parser.add_argument("--tries", type=int, default=20, help="seeded attempts (default: 20)")
    parser.add_argument("--kills", type=int, default=20, help="kills (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the kills")
    parser.add_argument("--only", choices=("story", "tries", "kills", "input"), help="one part alone")
    parser.add_argument("--keep", type=Path, help="a folder for all files, which is kept")
    arguments = parser.parse_args()
    parts = {
        "story": lambda folder: _story(arguments.tf_persist, folder),
        "tries": lambda folder: _tries(arguments.tf_persist, folder, arguments.tries),
        "kills": lambda folder: _kills(arguments.tf_persist, folder, arguments.kills, arguments.seed),
        "input": lambda folder: _input(arguments.tf_persist, folder),
    }
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            for name, part in parts.items():
                if arguments.only in (None, name):
                    (folder / name).mkdir(parents=True)
                    part(folder / name)
        except Failed as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


# The first part.


def _story(tf_persist: Path, folder: Path) -> None:
    found = tell(tf_persist, folder)
    picture = (folder / "loop.svg").read_text()
    if "roll back" not in picture or "promote" not in picture or "</html>" not in (folder / "loop.html").read_text():
        raise Failed("the pictures are not whole")
    print(f"story: {json.dumps({name: round(value, 3) for name, value in found.items()})}")


# The second part.


def _first_version(program: Program, rated: bool) -> None:
    """A store with a version that is not trained to its end. `rated`: its learning rate is a variable."""
    model = DATA / "model"
    if rated:
        model = program.folder / "rated"
        command = [sys.executable, "-m", "tf_persist_keras", "models.keras_digits:constant_rate", model]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT / "python")
        if done.returncode != 0:
            raise Failed(f"the model cannot be made: {done.stderr}")
    program("train", model, "--data", DATA / "train.npz", "--epochs", 3, "--output", "first")
    program("store", "init")
    program("store", "publish", "first", "digits", "--label", "production")


def _tries(tf_persist: Path, folder: Path, tries: int) -> None:
    digits, program = Digits(), Program(tf_persist, folder)
    _first_version(program, rated=True)
    write(folder / "held_out/digits.npz", digits.held_out)
    outcomes: dict[str, int] = {}
    for seed in range(tries):
        it = random.Random(seed)
        rate = it.choice([1e-3, 1e-3, 1e-2, 0.3, 10.0, 1e3, 1e30])
        wrong = it.choice([0.0, 0.0, 0.3, 1.0])
        images, labels = digits.train
        shifted = np.random.default_rng(seed).random(len(labels)) < wrong
        here = folder / f"try-{seed}"
        shutil.copytree(folder / "models.store", here / "models.store")
        write(here / "data/digits.npz", (images, np.where(shifted, (labels + 1) % 10, labels)))
        (here / "loop.toml").write_text(
            f'{HEAD}[train]\ndata = ["data"]\nheld_out = "../held_out"\nlearning_rate = {rate}\nseed = {seed}\nepochs = 2\n'
            '[gates]\nmetric = "accuracy"\nmargin = 0.004\n[guard]\ntime = "0s"\n'
        )
        one = Program(tf_persist, here)
        before = one.accuracy(1, digits.held_out)
        one("loop", "loop.toml", "--once", "--now")
        version, decisions = one.production(), [it["decision"] for it in one.decisions()]
        after = one.accuracy(version, digits.held_out)
        outcome = next(name for name in ("promote", "refuse", "fail") if name in decisions)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if after < before or (outcome == "promote") != (version != 1):
            raise Failed(f"try {seed}: {before:.3f} before, {after:.3f} after {outcome}, with the rate {rate} and {wrong:.0%} wrong labels")
        if outcome == "promote" and (rate > 1 or wrong == 1.0):
            raise Failed(f"try {seed} was promoted with the rate {rate} and {wrong:.0%} wrong labels")
        shutil.rmtree(here)
    print(f"tries: of {tries} attempts, {json.dumps(outcomes)}; production was never worse")
    if tries >= 20 and not (outcomes.get("promote", 0) >= 3 and outcomes.get("refuse", 0) + outcomes.get("fail", 0) >= 5):
        raise Failed("the tries are too much alike to say anything")


# The third part.


def _kills(tf_persist: Path, folder: Path, kills: int, seed: int) -> None:
    digits, program, port = Digits(), Program(tf_persist, folder), free_port()
    _first_version(program, rated=False)
    write(folder / "held_out/digits.npz", digits.held_out)
    good = digits.train
    bad = (good[0], (good[1] + 1) % 10)
    write(folder / "data/digits.npz", good)
    (folder / "loop.toml").write_text(
        f'{HEAD}[act]\ndrift = false\nage = "0s"\ncool_down = "0s"\n[train]\ndata = ["data"]\nheld_out = "held_out"\nepochs = 1\n'
        '[gates]\nmetric = "accuracy"\nmargin = -0.05\n'
        f'[promote]\ntraffic = "traffic.toml"\nserver = "http://127.0.0.1:{port}"\nlargest_latency_ratio = 100.0\n'
        'shadow = { requests = 3 }\ncanary = [{ share = 50, requests = 5 }]\n[guard]\ntime = "0s"\nlargest_failures = 0.0\n'
    )
    (folder / "traffic.toml").write_text("[digits]\nweights = { production = 100 }\n")
    (folder / "monitoring.txt").write_text("prometheus_config { enable: true }")
    flags = ["--store=models.store", f"--rest_api_port={port}", "--port=0", "--file_system_poll_wait_seconds=1", "--traffic=traffic.toml"]
    flags += ["--request_log=logs", "--request_log_format=jsonl", "--monitoring_config_file=monitoring.txt", "--request_log_max_bytes=2000000"]
    server = program.start("serve-local", *flags, log=folder / "server.log")
    clients, it, stopping = Clients(port, folder), random.Random(seed), threading.Event()
    clients.digits = digits.held_out

    def change(seconds: float) -> None:
        number = 0
        while not stopping.wait(seconds):
            number += 1
            write(folder / "data/digits.npz", bad if number % 2 else good)

    at: dict[str, int] = {}
    try:
        wait_for("the server is ready", lambda: is_ready(port), server)
        clients.start()
        # How long an attempt takes on this machine, so that the kills meet all of its steps.
        begun = time.monotonic()
        loop = program.start("loop", "loop.toml", log=folder / "loop.log")
        wait_for("a version is kept", lambda: program.decided("keep") >= 1, loop)
        took = time.monotonic() - begun
        loop.send_signal(signal.SIGKILL)
        loop.wait()
        changing = threading.Thread(target=change, args=(took,), daemon=True)
        changing.start()
        for number in range(kills):
            loop = program.start("loop", "loop.toml", log=folder / "loop.log")
            time.sleep(0.05 + it.random() * it.choice([0.25, 0.75, 1.5]) * took)
            if loop.poll() is not None:
                raise Failed(f"the loop ended with {loop.returncode} before kill {number}:\n{(folder / 'loop.log').read_text()[-2000:]}")
            loop.send_signal(signal.SIGKILL)
            loop.wait()
            step = _check_files(folder)
            at[step] = at.get(step, 0) + 1
        stopping.set()
        changing.join()
        # It goes on to the end of the attempt that the last kill met, and more.
        loop = program.start("loop", "loop.toml", log=folder / "loop.log")
        for part, data, decision in (("refused", bad, "refuse"), ("kept", good, "keep")):
            write(folder / "data/digits.npz", data)
            before = program.decided(decision)
            wait_for(f"two more versions are {part}", lambda: program.decided(decision) >= before + 2, loop)
        loop.send_signal(signal.SIGTERM)
        if loop.wait(PATIENCE) != 0:
            raise Failed(f"the loop ended with {loop.returncode} after SIGTERM")
        _check_files(folder)
    finally:
        stopping.set()
        clients.stop()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)
    if clients.failures:
        raise Failed(f"{len(clients.failures)} requests failed: {clients.failures[:3]}")
    labelled = {event["to"] for event in json.loads(program("store", "log", "digits", "--label", "production", "--format", "json"))["events"]}
    accuracies = {version: program.accuracy(version, digits.held_out) for version in sorted(labelled)}
    if wrong := {version: accuracy for version, accuracy in accuracies.items() if accuracy < BAD}:
        raise Failed(f"bad versions were in production: {wrong}")
    decisions = [it["decision"] for it in program.decisions()]
    counts = {name: decisions.count(name) for name in dict.fromkeys(decisions)}
    print(f"kills: {kills} at {json.dumps(at)}; {json.dumps(counts)}; {len(clients.answers)} requests, none failed")
    if kills >= 20 and not (counts.get("refuse") and counts.get("keep")):
        raise Failed("the attempts were too much alike to say anything")


def _check_files(folder: Path) -> str:
    """What a kill left is whole, and nothing happened twice. Returns where the loop was."""
    hidden = folder / "models.store/digits/.store"
    state = json.loads((hidden / "loop/state.json").read_text()) if (hidden / "loop/state.json").exists() else {"step": {"at": "starting"}}
    labels = json.loads((hidden / "labels.json").read_text())
    lines = (hidden / "decisions.jsonl").read_bytes().split(b"\n")[:-1] if (hidden / "decisions.jsonl").exists() else []
    decisions = [json.loads(line) for line in lines]
    numbers = [decision["number"] for decision in decisions]
    if numbers != list(range(1, len(numbers) + 1)):
        raise Failed(f"the decisions have the numbers {numbers[-5:]}")
    last = state.get("decision")
    if last and not len(numbers) <= last["number"] <= len(numbers) + 1:
        raise Failed(f"the state knows decision {last['number']}, and the log {len(numbers)}")
    of_attempt: dict[str, list[str]] = {}
    for decision in decisions:
        of_attempt.setdefault(decision["attempt"], []).append(decision["decision"])
    for attempt, made in of_attempt.items():
        for name in ("train", "shadow", "promote", "keep", "refuse", "fail", "roll_back"):
            if made.count(name) > 1:
                raise Failed(f"attempt {attempt} was to {name} {made.count(name)} times: {made}")
        if "refuse" in made and "promote" in made[made.index("refuse") :]:
            raise Failed(f"attempt {attempt} was promoted although it was refused")
    published: dict[str, int] = {}
    for path in hidden.glob("*.json"):
        if not path.stem.isdigit() or "loop" not in (manifest := json.loads(path.read_text())).get("metadata", {}):
            continue
        attempt = manifest["metadata"]["loop"]["attempt"]
        if attempt in published:
            raise Failed(f"attempt {attempt} was published as {published[attempt]} and {manifest['version']}")
        published[attempt] = manifest["version"]
    production = labels["labels"]["production"]
    promoted = {published.get(decision["attempt"]) for decision in decisions if decision["decision"] == "promote"} | {1}
    if last and last["decision"] == "promote":
        promoted.add(published.get(last["attempt"]))
    if production not in promoted:
        raise Failed(f"version {production} is in production, and was not to be promoted")
    refused = {published.get(decision["attempt"]) for decision in decisions if decision["decision"] in ("refuse", "fail")}
    if production in refused - {None}:
        raise Failed(f"version {production} is in production, and was refused")
    return state["step"]["at"]


# The fourth part.


def _input(tf_persist: Path, folder: Path) -> None:
    """Each bad input is a sentence, and the version in production stays."""
    digits, program = Digits(), Program(tf_persist, folder)
    _first_version(program, rated=False)
    write(folder / "held_out/digits.npz", digits.held_out)
    images, labels = digits.train
    write(folder / "data/digits.npz", digits.train)
    broken = images.copy()
    broken[100] = np.nan
    write(folder / "nan/digits.npz", (broken, labels))
    write(folder / "other/digits.npz", (images[:, :4], labels))
    (folder / "cut").mkdir()
    (folder / "cut/digits.npz").write_bytes((folder / "data/digits.npz").read_bytes()[:5000])
    write(folder / "few/digits.npz", (digits.held_out[0][:10], digits.held_out[1][:10]))
    write(folder / "unlabelled/digits.npz", (digits.held_out[0], digits.held_out[1] + 100))
    cases = {
        'data = ["nan"]\nheld_out = "held_out"': ("fail", "row 100 of array `image`"),
        'data = ["other"]\nheld_out = "held_out"': ("fail", "the training failed"),
        'data = ["cut"]\nheld_out = "held_out"': ("fail", "the training failed"),
        'data = ["nowhere.npz"]\nheld_out = "held_out"': ("fail", "the training failed"),
        'data = ["data"]\nheld_out = "few"': ("refuse", "only 10 rows are held out, and 50 are needed"),
        'data = ["data"]\nheld_out = "unlabelled"': ("fail", "450 held-out labels"),
        'data = ["data"]\nheld_out = "held_out"\nlearning_rate = 0.1': ("fail", "its learning rate is part of its graph"),
        'data = ["data"]\nheld_out = "held_out"\nepochs = 100000\ntimeout = "1s"': ("fail", "the training took longer than 1s"),
        'data_command = ["false"]\nheld_out = "held_out"': ("fail", "the command `false` ended with exit code 1"),
        'data_command = ["sleep", "60"]\ntimeout = "1s"\nheld_out = "held_out"': ("fail", "the command `sleep` took longer than 1s"),
        'data_command = ["true"]\nheld_out = "held_out"': ("fail", "did not write the file that TF_PERSIST_DATA names"),
        'data = ["data"]\nheld_out = "held_out"\ncommand = ["true"]': ("fail", "did not write a SavedModel to the folder"),
        'data = ["data"]\nheld_out = "held_out"\nsignature = "serving_default"': ("fail", "the training failed"),
    }
    for text, (decision, sentence) in cases.items():
        (folder / "loop.toml").write_text(f'{HEAD}[train]\n{text}\n[gates]\nmetric = "accuracy"\n')
        program("loop", "loop.toml", "--once", "--now")
        last = program.decisions()[-1]
        expected = sentence.replace("450", str(len(digits.held_out[1])))
        # Labels of held-out rows that the output does not have are counted.
        found = last["reason"] if "held-out labels" not in expected else last["reason"].replace(f"of {len(digits.held_out[1])} ", "")
        if last["decision"] != decision or expected not in found:
            raise Failed(f"{text!r}: decided to {last['decision']}: {last['reason']}")
        if program.production() != 1:
            raise Failed(f"{text!r}: the version in production is another one")
    _logs(program, folder)
    _crowd(program, folder)
    _server_is_down(program, folder)
    print(f"bad input: {len(cases)} trainings, logs and labels, two loops, no server: a sentence each, production untouched")


def _logs(program: Program, folder: Path) -> None:
    """Logs that are cut off, of another model, with another signature; labels that are unknown, twice, contradictory."""
    (folder / "logs").mkdir()

    def line(number: int, **other: object) -> str:
        record = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() + 60)),
            "id": f"r{number}",
            "model": "digits",
            "version": 1,
            "api": "predict",
            "signature_name": "serving_default",
            "inputs": {"image": np.zeros((1, 8, 8, 1)).tolist()},
            "outputs": {"probabilities": [[0.1] * 10]},
            "latency_ms": 0.2,
            "status": "OK",
        }
        return json.dumps(record | other)

    text = '[act]\ndrift = true\nquality = 0.5\n[train]\ndata = ["data"]\nheld_out = "held_out"\n[gates]\nmetric = "accuracy"\n'
    (folder / "loop.toml").write_text(HEAD.replace('every = "100ms"', 'every = "100ms"\nlabels = ["labels.jsonl"]') + text)
    log, labels = folder / "logs/a.jsonl", folder / "labels.jsonl"
    good = [line(number) for number in range(10)]
    for lines in (
        [line(number, model="other") for number in range(5)],
        [line(number, signature_name="train") for number in range(5)],
        [*good, "{", good[0][:50]],
        ["not json"],
        [line(number, time="2001-01-01T00:00:00.000000Z") for number in range(5)],
        [line(number, outputs={"scores": ["a"]}) for number in range(5)],
    ):
        log.write_text("\n".join(lines))
        labels.write_text('{"id": "r0", "label": 1}\n{"id": "r0", "label": 1}\n{"id": "r1", "label": 1}\n{"id": "r1", "label": 2}\n{"id": "x", "label": 3}\n{"id"')
        said = program("loop", "loop.toml", "--once")
        if "nothing to do" not in said or program.production() != 1:
            raise Failed(f"{lines[0][:80]!r}: {said}")


def _crowd(program: Program, folder: Path) -> None:
    """A second loop of a model is refused; with `--now` it asks the first."""
    loop = program.start("loop", "loop.toml", log=folder / "loop.log")
    try:
        wait_for("the first loop has the model", lambda: "nothing to do" in (folder / "loop.log").read_text(), loop)
        second = subprocess.run([program.tf_persist, "loop", "loop.toml", "--once"], cwd=folder, capture_output=True, text=True, check=False)
        if second.returncode != 1 or "another loop has the model `digits`" not in second.stderr:
            raise Failed(f"a second loop: {second.stdout}{second.stderr}")
        count = len(program.decisions())
        program("loop", "loop.toml", "--now")
        wait_for("the first loop trains", lambda: len(program.decisions()) > count, loop)
    finally:
        loop.send_signal(signal.SIGTERM)
        loop.wait(PATIENCE)
    if program.decisions()[count]["reason"] != "a person asked for it":
        raise Failed("the reason is another one")


def _server_is_down(program: Program, folder: Path) -> None:
    """Without its server, an attempt waits before it publishes, and goes on later."""
    text = '[train]\ndata = ["data"]\nheld_out = "held_out"\nepochs = 2\n[gates]\nmetric = "accuracy"\nmargin = -0.5\n[guard]\ntime = "0s"\n'
    promote = f'[promote]\ntraffic = "traffic.toml"\nserver = "http://127.0.0.1:{free_port()}"\npatience = "1s"\ncanary = [{{ share = 5, requests = 5 }}]\n'
    # The attempt that was asked for before may be under way; it ends here.
    (folder / "loop.toml").write_text(HEAD + text)
    program("loop", "loop.toml", "--once")
    before = program.production()
    (folder / "loop.toml").write_text(HEAD + text + promote)
    for _ in range(2):
        words = [program.tf_persist, "loop", "loop.toml", "--once", "--now"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 1 or "does not answer" not in done.stderr or program.production() != before:
            raise Failed(f"without a server: {done.stdout}{done.stderr}")
    decisions = [it["decision"] for it in program.decisions()]
    if decisions[-1] != "publish" or json.loads(program("store", "list", "digits", "--format", "json"))["versions"][-1]["version"] != before:
        raise Failed(f"without a server, something was published: {decisions[-5:]}")
    (folder / "loop.toml").write_text(HEAD + text)
    program("loop", "loop.toml", "--once")
    if program.production() != before + 1:
        raise Failed("the attempt did not go on")


if __name__ == "__main__":
    sys.exit(main())
