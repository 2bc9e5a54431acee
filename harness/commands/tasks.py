"""`smol eval MODEL --tasks ...`: lm-evaluation-harness's tasks on a model of ours.

Tasks are its own by name (most read their data from the Hub), a local YAML file in its format, or
`stdlib-cloze`, which needs no Hub.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import models, special
from harness.commands.planned import read_device
from harness.data import cloze, ends
from harness.errors import RequestError, nearest

if TYPE_CHECKING:
    from harness.commands.evaluate import Options
    from harness.train.tasks import HarnessModel

BOOTSTRAP = 1000
"""Resamples of the metrics whose standard error has no formula."""


def evaluate(options: Options, names: str) -> None:
    """lm-evaluation-harness's tasks instead of a text. Raises RequestError."""
    if options.text or options.data is not None or options.record:
        raise RequestError("--tasks goes without --text, --data and --record")
    wanted = read_names(names)
    found = models.resolve(options.model, scale=options.scale, results=options.results)
    device = read_device(options.device)
    loaded = models.load(found, dtype=options.dtype, device=device, tokenizer=options.tokenizer)
    model = harness_model(loaded, context=options.context)
    scored = run_tasks(
        model, wanted, limit=options.limit, fewshot=options.fewshot, chat=options.chat
    )
    said = summary(loaded, model, scored, chat=options.chat)
    print(json.dumps(said, indent=1) if options.as_json else text(said))
    if options.out is not None:
        template = model.chat_template() if options.chat else None
        for file in keep(said, scored, template or None, options.out):
            print(f"kept: {file}", file=sys.stderr if options.as_json else sys.stdout)


def read_names(tasks: str, option: str = "--tasks") -> list[str]:
    """The tasks of a list with commas. Raises RequestError where none can be run."""
    if importlib.util.find_spec("lm_eval") is None:
        raise RequestError(f"{option} needs lm_eval: pip install 'smol-harness[eval]'")
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise RequestError(f"{option} names no task; {cloze.NAME} needs no Hub")
    _quiet()
    return names


def summary(
    loaded: models.Loaded, model: HarnessModel, scored: dict[str, Any], *, chat: bool
) -> dict[str, Any]:
    """What was scored and what came of it, as `--json` prints it."""
    return {
        "model": loaded.found.name,
        "digest": loaded.found.digest(),
        "dtype": loaded.dtype,
        "context": model.max_length,
        "chat_template": chat,
        "lm_eval": importlib.metadata.version("lm_eval"),
        "tasks": _metrics(scored),
    }


def text(said: dict[str, Any]) -> str:
    """A summary, a line a metric."""
    lines = [
        f"{said['model']} ({said['dtype']}, context {said['context']}), lm_eval {said['lm_eval']}"
    ]
    for name, task in said["tasks"].items():
        for metric, value in task["metrics"].items():
            error = value["stderr"]
            spread = f" ± {error:.4f} (standard error)" if error is not None else ""
            lines.append(f"  {name}  {metric}  {value['value']:.4f}{spread}  n={task['samples']}")
    return "\n".join(lines)


def keep(
    said: dict[str, Any], scored: dict[str, Any], chat: str | None, folder: Path
) -> list[Path]:
    """Write results and samples below `folder` as lm-evaluation-harness writes them, with its own
    writer: `<model>/results_<time>.json` and `samples_<task>_<time>.jsonl`. Returns the files.

    Raises RequestError where they could not be written.
    """
    from lm_eval.loggers import EvaluationTracker

    before = set(folder.rglob("*.json*"))
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.log_experiment_args(
        "smol-harness", f"pretrained={said['model']}", None, chat, False
    )
    about = {"model": "smol-harness", "model_args": {"pretrained": said["model"]}}
    told = {**about, "model_sha": said["digest"], "model_dtype": said["dtype"]}
    results = {name: value for name, value in scored.items() if name != "samples"}
    results["config"] = results.get("config", {}) | told
    samples = scored["samples"]
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in samples:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    files = sorted(set(folder.rglob("*.json*")) - before)
    if len(files) != 1 + len(samples):  # the writer logs what it cannot do, and goes on
        raise RequestError(f"--out {folder}: lm_eval could not write there")
    return files


def harness_model(loaded: models.Loaded, *, context: int | None = None) -> HarnessModel:
    """The loaded model behind lm-evaluation-harness's interface. Raises RequestError."""
    from harness.data.chat import ChatFormat
    from harness.train.tasks import HarnessModel

    most = loaded.model.config.max_seq_len
    if context is not None and not 1 < context <= most:
        raise RequestError(f"--context {context} is outside 2..{most}")
    try:
        chat: ChatFormat | None = ChatFormat(loaded.tokenizer_folder)
    except RequestError:
        chat = None  # without a template; --chat will say so
    stops, named = set(loaded.stops), ends.names(loaded.tokenizer_folder).get("eos_token")
    if loaded.adds:  # `HFLM` ends at the tokenizer's end too, whatever the model's settings say
        end = loaded.tokenizer.token_to_id(named or "")
        stops |= set() if end is None else {end}
    made = HarnessModel(
        loaded.model,
        loaded.prompting,
        context=context or loaded.context,
        start=loaded.prefix,
        stops=frozenset(stops),
        chat=chat,
        adds=loaded.adds,
    )
    made.end = named
    made.refuses = special.other_tokens(loaded.found.path) if loaded.adds else None
    return made


def run_tasks(
    model: HarnessModel,
    names: Sequence[str],
    *,
    limit: int | None = None,
    fewshot: int | None = None,
    chat: bool = False,
) -> dict[str, Any]:
    """What `lm_eval.evaluate` returns, samples included.

    Raises RequestError for a task that is not known, cannot be loaded or cannot be run.
    """
    from lm_eval import evaluate

    if chat and model.chat is None:
        raise RequestError("--chat, but the model's tokenizer has no chat template")
    loaded = _load(names)
    for task in loaded["tasks"].values():
        if fewshot is not None:
            task.set_config(key="num_fewshot", value=fewshot)
        task.set_fewshot_seed(seed=0)
    try:
        scored = evaluate(
            model, loaded, limit=limit, bootstrap_iters=BOOTSTRAP, apply_chat_template=chat
        )
    except ValueError as error:
        raise RequestError(f"{', '.join(names)}: {_line(error)}") from None
    assert scored is not None  # None is for the other ranks of a distributed run
    return dict(scored)


def _load(names: Sequence[str]) -> Any:
    from lm_eval.tasks import TaskManager

    specs = [str(cloze.write()) if name == cloze.NAME else name for name in names]
    own = [spec.endswith((".yaml", ".yml")) for spec in specs]
    for spec, is_file in zip(specs, own, strict=True):
        if is_file and not Path(spec).is_file():
            raise RequestError(f"--tasks: no file '{spec}'")
    manager = TaskManager(include_defaults=not all(own))
    known = {cloze.NAME, *manager.all_tasks}
    for spec, is_file in zip(specs, own, strict=True):
        if not is_file and spec not in known:
            raise RequestError(f"no task '{spec}'{nearest(spec, known)}")
    try:
        return manager.load(specs)
    except Exception as error:  # what data sets and YAML raise has no common class
        raise RequestError(
            f"--tasks {','.join(names)} could not be loaded ({_line(error)}); {cloze.NAME}, and a "
            "YAML file with local data, need no Hub"
        ) from None


def _metrics(scored: dict[str, Any]) -> dict[str, Any]:
    """Task -> samples, version and metrics with their standard errors."""
    said: dict[str, Any] = {}
    for name, values in scored["results"].items():
        metrics = {}
        for key, value in values.items():
            metric, comma, kind = key.partition(",")
            if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                error = values.get(f"{metric}_stderr,{kind}")
                shown = metric if kind == "none" else f"{metric} ({kind})"
                known = isinstance(error, int | float)
                metrics[shown] = {"value": value, "stderr": error if known else None}
        counts = scored["n-samples"].get(name, {})
        said[name] = {
            "samples": counts.get("effective", values.get("sample_len")),
            "version": scored["versions"].get(name),
            "metrics": metrics,
        }
    return said


def _quiet() -> None:
    """The libraries' progress bars are for terminals."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
        from datasets.utils.logging import disable_progress_bar

        disable_progress_bar()


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
