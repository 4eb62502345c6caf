"""Measures `tf-persist serve-local` against others; run by `scripts/bench serve`."""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

from . import models, servers
from .servers import LOAD, ROOT, Server

Result = dict[str, float]


def load(protocol: str, target: str, model: models.Model, clients: int, seconds: float, options: list[str]) -> Result:
    """One burst of requests."""
    command = [LOAD, protocol, target, "--requests", model.requests, "--clients", clients, "--seconds", seconds, *options]
    return json.loads(subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE).stdout)


def against(server: Server, protocol: str, model: models.Model, clients: int, seconds: float) -> Result:
    """One burst of requests to a server, and the processor time of each."""
    port = server.grpc if protocol.endswith("grpc") else server.rest
    protocol = server.protocol if protocol == "rest" else protocol
    before = server.processor_seconds()
    result = load(protocol, f"127.0.0.1:{port}", model, clients, seconds, server.options)
    spent = server.processor_seconds() - before
    return result | {"processor_ms": 1e3 * spent / max(result["requests"], 1)}


def median(results: list[Result]) -> Result:
    """The median of each metric; errors are summed."""
    summed = {key: sum(result[key] for result in results) for key in ("errors", "wrong", "requests")}
    measures = ("per_second", "p50_us", "p99_us", "processor_ms")
    return {
        key: statistics.median(result[key] for result in results) for key in measures if all(key in result for result in results)
    } | summed


def start_all(stack: ExitStack, model: models.Model, arguments: argparse.Namespace) -> dict[str, tuple[Server, tuple[str, ...]]]:
    """The servers for a model, with the protocols to measure."""
    both = ("rest", "grpc", *(("v2-rest", "v2-grpc") if arguments.v2 else ()))
    started = {}
    if arguments.against_loop:
        started["serve-local"] = (stack.enter_context(servers.ours(model)), ("rest",))
        if arguments.old:
            started["serve-local, old build"] = (stack.enter_context(servers.ours(model, binary=arguments.old)), ("rest",))
        started["C++ loop"] = (stack.enter_context(servers.loop(model)), ("rest",))
        started["C++ loop, 1 thread an op"] = (stack.enter_context(servers.loop(model, 1)), ("rest",))
        start_onnx_runtime(stack, model, started)
        return started
    if not arguments.without_ours:
        started["serve-local"] = (stack.enter_context(servers.ours(model)), both)
        started["serve-local, no batching"] = (stack.enter_context(servers.ours(model, tuple(arguments.no_batching))), both)
        if arguments.old:
            started["serve-local, old build"] = (stack.enter_context(servers.ours(model, binary=arguments.old)), both)
    started["C++ loop"] = (stack.enter_context(servers.loop(model)), ("rest",))
    start_onnx_runtime(stack, model, started)
    started["axum echo"] = (stack.enter_context(servers.echo("rest")), tuple(it for it in both if it.endswith("rest")))
    started["tonic echo"] = (stack.enter_context(servers.echo("grpc")), tuple(it for it in both if it.endswith("grpc")))
    if servers.has("fastapi"):
        for handler in ("async", "def"):
            started[f"FastAPI ({handler})"] = (stack.enter_context(servers.fastapi(model, handler)), ("rest",))
    if servers.has("mlserver"):
        started["MLServer"] = (stack.enter_context(servers.mlserver(model)), ("rest",))
    return started


def start_onnx_runtime(stack: ExitStack, model: models.Model, started: dict[str, tuple[Server, tuple[str, ...]]]) -> None:
    """ONNX Runtime behind axum, if pip could install it and the model could be converted."""
    if servers.ONNX.exists() and model.onnx.exists():
        started["ONNX Runtime"] = (stack.enter_context(servers.onnx_runtime(model)), ("rest",))
        started["ONNX Runtime, 1 thread an op"] = (stack.enter_context(servers.onnx_runtime(model, 1)), ("rest",))


def throughput(model: models.Model, arguments: argparse.Namespace, rows: list[dict]) -> None:
    """Each server in turn, round by round; the first round warms up and does not count."""
    with ExitStack() as stack:
        started = start_all(stack, model, arguments)
        measured: dict[tuple[str, str, int], list[Result]] = {}
        for turn in range(arguments.rounds + 1):
            for clients in arguments.clients:
                for name, (server, protocols) in started.items():
                    for protocol in protocols:
                        result = against(server, protocol, model, clients, arguments.seconds)
                        if turn > 0:
                            measured.setdefault((name, protocol, clients), []).append(result)
                if arguments.against_loop:
                    continue
                result = load("core", str(model.version), model, min(clients, arguments.core_threads), arguments.seconds, [])
                if turn > 0:
                    measured.setdefault(("Signature::run", "in process", clients), []).append(result)
        memory = {name: (server.ready_seconds, server.memory(), server.peak()) for name, (server, _) in started.items()}
    medians = {key: median(results) for key, results in measured.items()}
    for (name, protocol, clients), result in medians.items():
        echo = medians.get(("tonic echo" if protocol.endswith("grpc") else "axum echo", protocol, clients))
        row = {"model": model.name, "protocol": protocol, "clients": clients, "server": name, **result}
        if echo:
            row["rate_of_echo"] = result["per_second"] / echo["per_second"]
            row["p50_of_echo"] = result["p50_us"] / echo["p50_us"]
        ours = medians.get(("serve-local", protocol, clients))
        if ours:
            row["ours_to_it"] = ours["per_second"] / result["per_second"]
            row["our_p50_to_it"] = ours["p50_us"] / result["p50_us"]
            if result.get("processor_ms"):
                row["our_processor_to_it"] = ours["processor_ms"] / result["processor_ms"]
        rows.append(row)
        # The Open Inference Protocol beside Predict on the same server.
        predict = {other: medians.get((name, other, clients)) for other in ("rest", "grpc")}
        if protocol.startswith("v2") and all(predict.values()):
            row["rate_of_rest_predict"] = result["per_second"] / predict["rest"]["per_second"]
            row["p50_of_grpc_predict"] = result["p50_us"] / predict["grpc"]["p50_us"]
    print_rows(rows[-len(medians) :])
    for row in rows[-len(medians) :]:
        if "rate_of_rest_predict" in row:
            rate, p50 = row["rate_of_rest_predict"], row["p50_of_grpc_predict"]
            place = f"{row['model']}, {row['clients']} clients, {row['server']}, {row['protocol']}"
            print(f"{place}: {rate:.2f} times the requests/s of REST predict, {p50:.2f} times the p50 of gRPC predict")
    for name, (ready, resident, peak) in memory.items():
        rows.append({"model": model.name, "server": name, "ready_seconds": ready, "resident_mb": resident, "peak_mb": peak})
        print(f"{model.name:10} {name:26} ready after {ready:6.2f} s, {resident:6.0f} MB resident, {peak:6.0f} MB at the most")


def print_rows(rows: list[dict]) -> None:
    """Prints a table."""
    head = ("model", "protocol", "clients", "server", "req/s", "p50 µs", "p99 µs", "CPU ms", "rate/echo", "p50/echo")
    head += ("ours/it", "our p50/it", "our CPU/it", "faults")
    print("{:10} {:10} {:>7} {:26} {:>9} {:>9} {:>9} {:>7} {:>9} {:>8} {:>8} {:>10} {:>10} {:>6}".format(*head))
    ratio = lambda row, key: f"{row[key]:.2f}" if key in row else "-"  # noqa: E731
    for row in sorted(rows, key=lambda row: (row["protocol"], row["clients"], -row["per_second"])):
        print(
            f"{row['model']:10} {row['protocol']:10} {row['clients']:7} {row['server']:26} {row['per_second']:9.0f} "
            f"{row['p50_us']:9.0f} {row['p99_us']:9.0f} {ratio(row, 'processor_ms'):>7} {ratio(row, 'rate_of_echo'):>9} "
            f"{ratio(row, 'p50_of_echo'):>8} {ratio(row, 'ours_to_it'):>8} {ratio(row, 'our_p50_to_it'):>10} "
            f"{ratio(row, 'our_processor_to_it'):>10} {row['errors'] + row['wrong']:6}"
        )


def swaps(model: models.Model, arguments: argparse.Namespace, folder: Path, rows: list[dict]) -> None:
    """Publishes a version each second under load; reports errors, p99 with and without swaps, and memory."""
    base = folder / "swapped"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    shutil.copytree(model.version, base / "1")
    moving = models.Model(model.name, base, model.requests)
    with servers.ours(moving, ("--file_system_poll_wait_seconds=1",)) as server:
        against(server, "rest", moving, 16, 2)
        still = against(server, "rest", moving, 16, arguments.swap_seconds)
        memory: dict[int, float] = {}
        over = threading.Event()

        def publish() -> None:
            number, begin = 1, monotonic()
            while not over.is_set() and number <= arguments.most_swaps:
                number += 1
                # Copied beside it and renamed, so that the server never sees a partial version; older versions are removed later.
                shutil.copytree(model.version, base / f"part{number}")
                (base / f"part{number}").rename(base / str(number))
                if number > 3:
                    shutil.rmtree(base / str(number - 2))
                memory[number - 1] = server.memory()
                over.wait(max(0.0, begin + number - 1 - monotonic()))

        publisher = threading.Thread(target=publish)
        publisher.start()
        swapped = against(server, "rest", moving, 16, arguments.swap_seconds)
        # Waits for the remaining swaps, after which memory is measured.
        while publisher.is_alive() and len(memory) < arguments.memory_swaps:
            sleep(0.2)
        over.set()
        publisher.join()
        sleep(2)
        memory[max(memory) + 1] = server.memory()
    shutil.rmtree(base)
    after = lambda count: memory.get(count, memory[max(memory)])  # noqa: E731
    row = {
        "measure": "swaps", "model": model.name, "swaps": len(memory) - 1, "errors": swapped["errors"], "wrong": swapped["wrong"],
        "p99_ratio": swapped["p99_us"] / still["p99_us"], "memory_mb_after_5": after(5), "memory_mb_at_the_end": memory[max(memory)],
    }  # fmt: skip
    rows.append(row)
    print(json.dumps(row))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of half a second with small models, as a smoke test")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--models", nargs="+", choices=models.NAMES, default=list(models.NAMES))
    parser.add_argument("--core-threads", type=int, default=2, help="threads of the loop without a server")
    parser.add_argument("--no-batching", nargs="*", default=["--enable_batching=false"], help="flags of serve-local that turn batching off")
    parser.add_argument("--against-loop", action="store_true", help="measure only serve-local, --old, the C++ loop and ONNX Runtime, over REST")
    parser.add_argument("--old", type=Path, help="another build of tf-persist, measured beside this one")
    parser.add_argument("--v2", action="store_true", help="measure the Open Inference Protocol as well, in binary over REST and over gRPC")
    parser.add_argument("--without-ours", action="store_true", help="measure only the others")
    parser.add_argument("--swap-seconds", type=float, default=60.0)
    parser.add_argument("--memory-swaps", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.swap_seconds, arguments.memory_swaps = 1, 0.5, 5.0, 6
        arguments.models = [name for name in arguments.models if name != "mobilenet"] or arguments.models
    arguments.most_swaps = arguments.memory_swaps
    for rival in ("onnx",) if arguments.against_loop else ("fastapi", "mlserver", "onnx"):
        if not servers.has(rival):
            print(f"bench serve: {rival} is left out: pip could not install it", file=sys.stderr)

    folder = ROOT / "target/bench_serve"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    made = models.prepare(folder, tuple(arguments.models))
    for model in made:
        throughput(model, arguments, rows)
    if not arguments.without_ours and not arguments.against_loop:
        swaps(made[0], arguments, folder, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if any(row.get("errors") or row.get("wrong") for row in rows):
        sys.exit("error: some answers were wrong or failed")


if __name__ == "__main__":
    main()
