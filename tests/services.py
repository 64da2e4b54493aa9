"""Servers that tests start for themselves on this machine: a PostgreSQL, and a Slurm of one node."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Postgres:
    """A PostgreSQL on loopback, in a folder of its own."""

    USER, PASSWORD, DATABASE = "sweepuser", "sesame-4711", "sweepbase"

    def __init__(self, bin_: Path, folder: Path) -> None:
        self._bin, self._folder = bin_, folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.address(f"{self.USER}:{self.PASSWORD}")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no file and no error may tell."""
        return self.USER, self.PASSWORD, self.DATABASE, "127.0.0.1", str(self.port)

    def address(self, user: str) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{self.DATABASE}"

    def create(self) -> None:
        """A cluster with one user, whose password is asked, and one database."""
        words = self._folder / "password"
        words.write_text(self.PASSWORD)
        words.chmod(0o644)
        data = self._folder / "data"
        self._as_user("initdb", "-D", data, "-U", self.USER, "-A", "scram-sha-256", f"--pwfile={words}", "-E", "UTF8", "--no-sync")
        self.start()
        env = {**os.environ, "PGPASSWORD": self.PASSWORD}
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.USER]
        subprocess.run([self._bin / "createdb", *where, self.DATABASE], env=env, check=True, capture_output=True)

    def start(self) -> None:
        options = ["-p", str(self.port), "-k", str(self._folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_postgres(), self._bin / "postgres", "-D", self._folder / "data", *options], stdout=log, stderr=log
            )
        wait_until(self._answers, "PostgreSQL answers")

    def stop(self) -> None:
        """At once, with all its connections; it can be started again."""
        if self._process is not None and self._process.poll() is None:
            self._as_user("pg_ctl", "-D", self._folder / "data", "-m", "immediate", "stop")
            self._process.wait(60)

    def _answers(self) -> bool:
        asked = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def _as_user(self, program: str, *arguments: object) -> None:
        subprocess.run([*_as_postgres(), self._bin / program, *map(str, arguments)], check=True, capture_output=True, cwd="/")


def _as_postgres() -> list[str]:
    """PostgreSQL does not run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server. Skips the test where there is none."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *filter(None, [shutil.which("initdb")])]
    if not found:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="dlplay-postgres-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    server = Postgres(Path(found[0]).parent, folder)
    try:
        server.create()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def check_untold(server: Postgres, *folders: Path) -> None:
    """No file tells anything of the address."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    told = [(path, secret) for path in files for secret in server.secrets if secret.encode() in path.read_bytes()]
    assert told == []


class Slurm:
    """A Slurm of this machine alone. Its commands find it by the variable SLURM_CONF."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.configuration = folder / "slurm.conf"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("state", "spool"):
            (self._folder / name).mkdir()
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        munge = self._folder / "munge.socket"
        places = [f"--{name}-file={self._folder}/munged.{name}" for name in ("pid", "seed", "log")]
        self._run("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}", *places)
        wait_until(munge.exists, "munge listens")
        node = socket.gethostname().partition(".")[0]
        self.configuration.write_text(f"""
            ClusterName=dlplay
            SlurmctldHost={node}(127.0.0.1)
            SlurmUser=root
            AuthInfo=socket={munge}
            SlurmctldPort={free_port()}
            SlurmdPort={free_port()}
            StateSaveLocation={self._folder}/state
            SlurmdSpoolDir={self._folder}/spool
            SlurmctldPidFile={self._folder}/slurmctld.pid
            SlurmdPidFile={self._folder}/slurmd.pid
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU
            AccountingStorageType=accounting_storage/none
            JobAcctGatherType=jobacct_gather/none
            MpiDefault=none
            ReturnToService=2
            SchedulerParameters=sched_interval=1,batch_sched_delay=0
            KillWait=5
            SlurmdParameters=config_overrides
            NodeName={node} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
            PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP
        """)
        self._run("slurmctld", "-D", "-i", "-f", str(self.configuration))
        self._run("slurmd", "-D", "-f", str(self.configuration), "-N", node)
        wait_until(lambda: "idle" in self("sinfo", "-h", "-o", "%t"), "the node is idle")

    def __call__(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.configuration)}

    def stop(self) -> None:
        self("scancel", "--full", "--user=root")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self("squeue", "-h"), "the jobs are gone", 30)
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _run(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
        assert path
        with (self._folder / f"{program}.out").open("ab") as log:
            self._processes.append(subprocess.Popen([path, *arguments], env=self.environment, stdout=log, stderr=log))


@contextlib.contextmanager
def slurm() -> Iterator[Slurm]:
    """A running Slurm. Skips the test where there is none, or where its daemons cannot run."""
    missing = [
        name
        for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun")
        if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    ]
    if missing:
        pytest.skip(f"Slurm is not installed, there is no {missing[0]} (Debian: slurm-wlm, munge)")
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons start jobs as other users: they run as root alone")
    folder = Path(tempfile.mkdtemp(prefix="dlplay-slurm-"))
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
