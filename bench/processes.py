"""How many times as fast two processes of one thread train as one process of one thread: `python -m
bench.processes`, through the door, in interleaved pairs.

Each round runs a dense model and a mixture of experts once with one process and once with two,
forwards and backwards in turn, and a pair's ratio is of its medians of tokens a second over the
updates that the records keep. On a machine with two cores that do nothing else; some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.code.provenance import ROOT
from harness.machine import hardware
from harness.stats import rounds

LEFT_OUT = 2
"""Updates of each run that warm up."""
ARMS = ("dense", "moe-active")
RECIPE = '''
from harness import presets
from harness.config import replace
from harness.recipe import Axis, Primary, Recipe, Tokens, recipe
from models.presets import model

@recipe("processes", seeds={{"smoke": 1}},
        primary=Primary(metric="val_loss", at="tokens", pairs=(("dense", "moe-active"),)))
def processes(scale):
    """A dense model and a mixture, for as long as it takes to time their updates."""
    base = presets.run("smoke")
    vocabulary = {{"vocab_size": base.model.vocab_size}}
    base = replace(base, {{
        "data.seq_len": {seq}, "batch.micro_batch": {batch}, "batch.grad_accum": 1,
        "train.tokens": {seq} * {batch} * {updates}, "train.threads": 1, "train.eval_every": 10**6,
    }})
    arms = {{kind: {{"model": model(kind, "{size}").model_copy(update=vocabulary)}}
            for kind in ("dense", "moe-active")}}
    horizons = [Tokens(base.train.tokens)]
    return Recipe(base, axes=[Axis("model", ["model.*"], arms)], horizons=horizons)
'''


def main() -> None:
    """Run the rounds, print each pair, then the ratios with their intervals."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--updates", type=int, default=20, help="of each run")
    options.add_argument("--tiny", action="store_true", help="a rehearsal, saying nothing")
    asked = options.parse_args()
    seq, batch, size = (32, 4, "smoke") if asked.tiny else (256, 16, "proxy")
    load = os.getloadavg()[0]
    print(f"{hardware.cores()} cores, load {load:.1f} before; {size}, {batch} x {seq} tokens")
    seconds: dict[tuple[str, int], list[tuple[float, ...]]] = {
        (arm, count): [] for arm in ARMS for count in (1, 2)
    }
    with TemporaryDirectory(prefix="smol-processes-") as folder:
        place = Path(folder)
        (place / "recipes").mkdir()
        (place / "recipes" / "processes.py").write_text(
            RECIPE.format(seq=seq, batch=batch, updates=asked.updates, size=size)
        )
        for number in range(asked.rounds):
            for word in rounds.order(["1", "2"], number):
                for arm, timed in _launch(place, number, int(word)).items():
                    seconds[arm, int(word)].append(timed)
            for arm in ARMS:
                one, two = (
                    seq * batch / statistics.median(seconds[arm, count][-1]) for count in (1, 2)
                )
                print(f"round {number + 1} of {asked.rounds}, {arm}: {one:,.0f} and {two:,.0f} "
                      f"tokens/s, {two / one:.2f}", flush=True)  # fmt: skip
    for arm in ARMS:
        ratio = rounds.ratio(seconds[arm, 1], seconds[arm, 2])
        print(f"{arm}: two processes are {ratio.text} times as fast as one")
    print(f"load {os.getloadavg()[0]:.1f} afterwards")


def _launch(place: Path, number: int, processes: int) -> dict[str, tuple[float, ...]]:
    """Arm -> seconds of its stem's updates, without those that warm up."""
    results = place / f"results-{number}-{processes}"
    # --fresh: what an earlier round trained lies in the same checkpoints, and is not to be taken.
    words = ["run", "processes", "--stage", "stem", "--jobs", "1", "--results", str(results)]
    words += ["--fresh"]
    if processes > 1:
        words += ["--launcher", "torchrun", "--processes", str(processes)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words], cwd=place, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"smol {' '.join(words)}: exit {done.returncode}: {done.stderr}")
    found = {}
    for file in (results / "records").rglob("*.json"):
        record = json.loads(file.read_bytes())
        found[record["arm"]] = tuple(record["timing"]["update_seconds"][LEFT_OUT:])
    return found


if __name__ == "__main__":
    main()
