# The commands of a contributor. Python's environment is made in .venv.

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1 \t/p' Makefile

setup: .venv/ready  ## make the environment, with what the tests need

.venv/ready: pyproject.toml constraints.txt
	python3 -m venv .venv
	.venv/bin/pip install -c constraints.txt -e '.[test]'
	touch .venv/ready

test: setup  ## the tests: minutes, on two cores
	.venv/bin/python -m pytest -n 2

slow: setup  ## the longer gates: every target, many kills, the wheel
	.venv/bin/python -m pytest -n 2 -m slow --durations 40

long: setup  ## what takes too long for every change: presets' targets, further seeds, planted faults, precision
	.venv/bin/python -m pytest -n 2 -m long

check: setup  ## lint, format, types, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup  ## speed, or `make bench NAMES="start screen"`
	.venv/bin/python -m benchmarks $(NAMES)

pictures: setup  ## the README's pictures, drawn anew
	.venv/bin/python docs/pictures.py

.PHONY: help setup test slow long check bench pictures
