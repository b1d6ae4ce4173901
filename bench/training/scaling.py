"""Training on several processes: what it costs here, and what that means for several machines.

    scaling.py --thimble PATH --sum-bench PATH [--rounds N] [--steps N] [--quick] [--out docs/scaling.md]

One process of one thread, two of one, and one of two take turns on the models and texts of compare.py. The model of
more machines follows from these figures; its formulas stand in the page.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import tempfile

import compare

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAYS = [("1 process, 1 thread", 1, 1), ("2 processes, 1 thread each", 2, 1), ("1 process, 2 threads", 1, 2)]
NETWORKS = [("1 Gbit/s", 1e9 / 8, 100e-6), ("10 Gbit/s", 10e9 / 8, 30e-6)]  # bytes/s, seconds per message
MACHINES = (2, 8, 64)
USED = 0.9  # share of a network's rate that is left for what is sent
SMALL_SUMS = 2  # of a few numbers, at every step


def run(folder, thimble, model, steps, processes, threads):
    """Tokens, seconds and exchange seconds per step after the warm ones, and bytes of all weights."""
    output = folder / "model.thimble"
    subprocess.run([thimble, "train", *model, "--vocab", str(folder / "vocab.txt"), "--train",
                    str(folder / "train.tsv"), "-o", str(output), "--max-steps", str(steps), "--epochs", "1000",
                    "--batch", str(compare.BATCH), "--threads", str(threads), "--processes", str(processes),
                    "--lr", "1e-4", "--checkpoint-every", "1e9"], check=True, capture_output=True)
    with open(str(output) + ".log.jsonl", encoding="utf-8") as log:
        lines = [line for line in map(json.loads, log) if line["event"] == "step"][compare.WARM:]
    inspected = subprocess.run([thimble, "inspect", str(output), "--json"], check=True, capture_output=True, text=True)
    mean = {key: statistics.fmean(line[key] for line in lines) for key in ("tokens", "seconds", "exchange_seconds")}
    return {**mean, "bytes": 4 * json.loads(inspected.stdout)["parameters"]}


def measure(options, folder):
    """Per model: title, bytes, and per way the median over rounds of tokens/s and exchange seconds."""
    models = []
    for title, _, model in compare.CASES:
        rates, exchanges, last = {}, {}, {}
        for _ in range(options.rounds):
            for name, processes, threads in WAYS:
                last = run(folder, options.thimble, model, options.steps, processes, threads)
                rates.setdefault(name, []).append(last["tokens"] / last["seconds"])
                exchanges.setdefault(name, []).append(last["exchange_seconds"])
        for name, _, _ in WAYS:
            print(f"{title}, {name}: {statistics.median(rates[name]):.0f} tokens/s, adding up "
                  f"{1e3 * statistics.median(exchanges[name]):.1f} ms", flush=True)
        models.append({"title": title, "bytes": last["bytes"], "tokens": last["tokens"], "rates": rates,
                       "exchanges": exchanges})
    return models


def measure_sums(options, models):
    rows = []
    for ranks in (2, 4):
        for mib in sorted({0.001, 1, *(round(m["bytes"] / 2**20) for m in models)}):
            out = subprocess.run([options.sum_bench, str(ranks), str(mib)], check=True, capture_output=True, text=True)
            rows.append((ranks, mib, json.loads(out.stdout)))
    return rows


def exchange_seconds(size, machines, rate, latency):
    return 2 * (machines - 1) / machines * size / (USED * rate) + 2 * (1 + SMALL_SUMS) * latency


def cost_rows(models):
    rows = []
    for model in models:
        speed = statistics.median(model["rates"]["1 process, 2 threads"])
        compute = model["tokens"] / speed
        for network, rate, latency in NETWORKS:
            for machines in MACHINES:
                t = exchange_seconds(model["bytes"], machines, rate, latency)
                share = compute / (compute + t)
                texts = 4 * t / compute * compare.BATCH  # 80 %: the exchange is a quarter of computing
                rows.append(f"| {model['title']} | {network} | {machines} | "
                            f"{2 * (machines - 1) / machines * model['bytes'] / 1e6:.0f} | {1e3 * t:.0f} | "
                            f"{1e3 * compute:.0f} | {100 * share:.0f} % | {machines * share:.1f} | {texts:.0f} |")
    return rows


def fixed_batch(models, texts):
    """Per model and network, how many machines share so many texts before the exchange takes half of the time."""
    parts = []
    for model in models:
        compute = model["tokens"] / statistics.median(model["rates"]["1 process, 2 threads"])
        for network, rate, latency in NETWORKS:
            machines = texts / compare.BATCH * compute / exchange_seconds(model["bytes"], MACHINES[-1], rate, latency)
            parts.append(f"{machines:.0f} ({model['title'].split(',')[0]}, {network})")
    return ", ".join(parts)


def report(models, sums, options):
    ways = []
    for model in models:
        base = statistics.median(model["rates"][WAYS[0][0]])
        for name, processes, _ in WAYS:
            rates = model["rates"][name]
            ways.append(f"| {model['title']} | {name} | {statistics.median(rates):.0f} | {min(rates):.0f} to "
                        f"{max(rates):.0f} | {statistics.median(rates) / base:.2f} | "
                        + (f"{1e3 * statistics.median(model['exchanges'][name]):.0f} |" if processes > 1 else "|"))
    template = (ROOT / "bench/training/scaling.md").read_text(encoding="utf-8")
    return (template
            .replace("{{machine}}", f"{datetime.date.today()}, {compare.processor()}, 2 cores, loopback, "
                                    f"{options.rounds} rounds of {options.steps} steps, batches of {compare.BATCH} texts")
            .replace("{{ways}}", "\n".join(ways))
            .replace("{{sums}}", "\n".join(f"| {ranks} | {mib:g} | {1e3 * s['seconds']:.1f} | "
                                           f"{s['gigabytes_per_s']:.2f} |" for ranks, mib, s in sums))
            .replace("{{fixed}}", fixed_batch(models, 256))
            .replace("{{costs}}", "\n".join(cost_rows(models))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--sum-bench", default=str(ROOT / "build/release/bin/sum_bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="1 round of 12 steps")
    parser.add_argument("--out", default=str(ROOT / "docs/scaling.md"))
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps = 1, 12
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        compare.make_data(folder, options.steps)
        models = measure(options, folder)
    pathlib.Path(options.out).write_text(report(models, measure_sums(options, models), options), encoding="utf-8")


if __name__ == "__main__":
    main()
