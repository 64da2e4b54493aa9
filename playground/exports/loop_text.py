"""The end of an exported script: the training loop without commands, checkpoints and screen. `$Name` is replaced."""

from __future__ import annotations

READ = ("advance", "evaluate", "step", "finishing", "thorough_at_end", "not_finite", "data", "parameters", "models")
"""Members of a task that the text below uses."""

LOOP = '''
def run(settings: $Settings, every: int, log: str, save: str) -> None:
    """Train to the last step, with an evaluation before the first and one every `eval_every` steps."""
    device = $prepare(settings)
    try:
        task = $Task(settings, device)
    except ValueError as error:  # a missing or changed file
        raise SystemExit(str(error)) from None
    print(f"{task.data}; {task.parameters:,} parameters; {device}")
    began = time.perf_counter()
    lines: list[str] = []

    def evaluate() -> None:
        with $looking(task):
            found = task.evaluate()
        lines.append(json.dumps({"step": task.step, "held_out": True, **found}))
        print(f"step {task.step:,} {report(found)}  (held out)", flush=True)

    evaluate()
    while task.step < settings.steps:
        measured = task.advance()
        task.step += 1
        if log:
            lines.append(json.dumps({"step": task.step, **{name: value.item() for name, value in measured.items()}}))
        if task.step % every == 0 or task.step == settings.steps:
            if task.not_finite.item():
                raise SystemExit(f"step {task.step:,}: a loss was not a finite number; try a lower learning rate")
            print(f"step {task.step:,} {report({name: value.item() for name, value in measured.items()})}", flush=True)
        if task.step % settings.eval_every == 0 and task.step < settings.steps:
            evaluate()
    task.finishing = task.step % settings.eval_every != 0
    evaluate()
    print(f"{task.step:,} steps in {time.perf_counter() - began:.1f} s")
    if log:
        with open(log, "w", encoding="utf-8") as file:
            file.write("\\n".join(lines) + "\\n")
    if save:
        torch.save({name: model.state_dict() for name, model in task.models.items()}, save)
        print(f"the weights are in {save}: torch.load gives a dictionary of state_dicts")


def report(metrics: dict[str, float]) -> str:
    """Metrics as a line of text."""
    return "  ".join(f"{name} {value:.5g}" for name, value in metrics.items())


def main() -> None:
    """Train as the command line says."""
    settings = $Settings()
    parser = argparse.ArgumentParser(description="Train from fresh weights.")
    parser.add_argument("--steps", type=int, default=settings.steps, help="train this long; schedules stretch to it (%(default)s)")
    parser.add_argument("--device", default=settings.device, help="auto, cpu, cuda, cuda:N or mps (%(default)s)")
    parser.add_argument("--every", type=int, default=max(1, settings.eval_every // 5), help="steps between two lines (%(default)s)")
    parser.add_argument("--log", default="", metavar="FILE", help="write every step's metrics there, one JSON object a line")
    parser.add_argument("--save", default="", metavar="FILE", help="write the weights there")
    given = parser.parse_args()
    settings = dataclasses.replace(settings, steps=given.steps, device=given.device)
    run(settings, max(1, given.every), given.log, given.save)


if __name__ == "__main__":
    main()
'''.strip("\n")
