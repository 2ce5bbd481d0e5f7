"""What a search found, in files: a protocol with the chosen settings, every trial, and a page to read."""

import csv
import io
import os
from pathlib import Path
from typing import Any

from recae import durable
from recae.errors import ConfigError
from recae.evaluation.charts import Series, lines
from recae.evaluation.protocol import Protocol
from recae.evaluation.report import cell
from recae.evaluation.search import Attempt, Tuned
from recae.evaluation.sections import Settings


def write(tuned: Tuned, protocol: Protocol, folder: Path) -> list[Path]:
    """Write ``tuned.toml``, ``trials.csv``, ``tuning.md`` and ``best_so_far.svg``.

    ``recae evaluate tuned.toml`` then tests once what was chosen.
    """
    texts = {
        "tuned.toml": _toml(tuned, protocol, folder),
        "trials.csv": _csv(tuned),
        "tuning.md": _markdown(tuned, protocol),
        "best_so_far.svg": _svg(tuned),
    }
    for name, text in texts.items():
        durable.write_file(folder / name, text)
    return [folder / name for name in texts]


def best_first(tuned: Tuned) -> list[Attempt]:
    """Complete trials, best first."""
    complete = [attempt for attempt in tuned.attempts if attempt.value is not None]
    falling = tuned.best.value == max(attempt.value or 0.0 for attempt in complete)
    return sorted(complete, key=lambda attempt: attempt.value or 0.0, reverse=falling)


def shown(settings: Settings) -> str:
    """``l2=153.2, dropout=0.5``: four digits, all that a search can tell."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in settings.items()
    )


def _toml(tuned: Tuned, protocol: Protocol, folder: Path) -> str:
    try:
        import tomli_w
    except ModuleNotFoundError as error:
        raise ConfigError(
            "writing a protocol needs tomli-w, of the extra: pip install 'recae[tune]'"
        ) from error
    table = protocol.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    table.pop("seed", None) if protocol.seeds else None
    table["about"] = f"{protocol.about.strip()}\n\n{_how_found(tuned)}".strip()
    for section, data in zip(protocol.models, table["models"], strict=True):
        if section.title == tuned.model:
            data.pop("search", None)
            data.pop("space", None)
            data["settings"] = section.settings | tuned.best.settings
        _moved(data, "scores", protocol.folder, folder)
    _moved(table["data"], "path", protocol.folder, folder)
    _moved(table["data"], "catalogue", protocol.folder, folder)
    _moved(table.get("segments", {}), "users", protocol.folder, folder)
    return tomli_w.dumps(table)


def _how_found(tuned: Tuned) -> str:
    """What results made with these settings have to say, since they hold no trials of their own."""
    complete = len(best_first(tuned))
    return (
        f"Settings of {tuned.model} ({', '.join(tuned.best.settings)}) were searched by `recae tune` on validation: the best "
        f"{tuned.metric}, {tuned.best.value:.4f}, of {complete} complete trials of {len(tuned.attempts)}."
    )


def _moved(table: dict[str, Any], key: str, old: Path, new: Path) -> None:
    """Let a relative path mean the same file from another folder."""
    if table.get(key) is not None:
        table[key] = Path(os.path.relpath(old / table[key], new)).as_posix()


def _csv(tuned: Tuned) -> str:
    names = list(dict.fromkeys(name for attempt in tuned.attempts for name in attempt.settings))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *names, tuned.metric, "state", "seconds", "error"])
    for attempt in tuned.attempts:
        values = [attempt.settings.get(name, "") for name in names]
        value = "" if attempt.value is None else attempt.value
        writer.writerow(
            [attempt.number, *values, value, attempt.state, f"{attempt.seconds:.2f}", attempt.error or ""]
        )
    return text.getvalue()


def _markdown(tuned: Tuned, protocol: Protocol) -> str:
    states = {
        state: sum(each.state == state for each in tuned.attempts)
        for state in ("complete", "pruned", "failed")
    }
    lines_ = [
        f"# {tuned.model} of {protocol.name}, tuned",
        "",
        f"Best {tuned.metric} on validation: **{tuned.best.value:.4f}** with {shown(tuned.best.settings)}, trial {tuned.best.number}.",
        f"{states['complete']} trials complete, {states['pruned']} pruned, {states['failed']} failed.",
        "",
        "The test part was not read. `recae evaluate tuned.toml` tests once what was chosen.",
        "",
        "![best value so far](best_so_far.svg)",
        "",
        f"| trial | {tuned.metric} | settings | seconds |",
        "|---:|---:|---|---:|",
    ]
    lines_ += [
        f"| {each.number} | {each.value:.4f} | {cell(shown(each.settings))} | {each.seconds:.1f} |"
        for each in best_first(tuned)[:20]
    ]
    if tuned.importance:
        lines_ += ["", "| setting | share of what the settings explain (fANOVA) |", "|---|---:|"]
        lines_ += [f"| {name} | {share:.2f} |" for name, share in tuned.importance.items()]
    return "\n".join([*lines_, ""])


def _svg(tuned: Tuned) -> str:
    complete = [attempt for attempt in tuned.attempts if attempt.value is not None]
    choose = max if best_first(tuned)[0].value == max(each.value or 0.0 for each in complete) else min
    best: list[tuple[float, float]] = []
    for attempt in complete:
        value = attempt.value or 0.0
        best.append((float(attempt.number), choose(value, best[-1][1]) if best else value))
    drawn = lines([Series("best so far", 0, best)], x="trial", y=tuned.metric, about="Best value by trial")
    style = (
        "<style>svg{background:#fff;color:#0072b2;font-family:sans-serif}text{font-size:11px;fill:#444}"
        ".grid{stroke:#ddd;stroke-width:.6}polyline{fill:none;stroke:currentColor;stroke-width:1.8}.m{fill:currentColor}</style>"
    )
    head = '<svg xmlns="http://www.w3.org/2000/svg"'
    return str(drawn).replace("<svg", head, 1).replace(">", f">{style}", 1) + "\n"
