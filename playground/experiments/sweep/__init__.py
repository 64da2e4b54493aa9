"""Hyperparameter search with Optuna, by ask and tell over ordinary runs: trial number n of the sweep NAME is the run NAME-(n+1).

RUNS_DIR/.sweeps/NAME/sweep.json    what is searched (`SweepSpec`); written once
                      optuna.log    Optuna's journal: trials, values, states; none where a database holds them
                      locks/        `ask`, and one for each trial, held by its worker (flock; in a database, an advisory lock)

Any number of workers, on any machines, take part. Two rules make that safe, whatever is killed and when:

1. A worker asks for a trial while it holds the lock `ask`. It takes the first trial that has not ended and whose lock is free; only where
   there is none, and fewer trials than wanted, it makes a new one. So there are never more trials than wanted, and none is left behind.
2. A trial is its worker's for as long as that holds the trial's lock, which a process loses when it dies. Whatever a worker does to a
   trial the next one can do again with the same result: settings that were drawn are kept, a run that exists is resumed or followed,
   an evaluation is reported once, and a trial ends once.
"""
