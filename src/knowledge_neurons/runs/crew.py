"""Ray actors as the executor: each gets the model once, this process alone writes.

    crew = Crew(model, workers=2, address="local", threads=1)
    for records in crew(work, groups):       # in the groups' order, whoever did them
        ...

The model and the work travel through Ray's object store, once to each node.  A worker that dies,
whatever it died of, is replaced and its group done again; what the work itself raises comes out
here, as from this process.  Workers end with this process, however that ends: Ray sees to it.
"""

from __future__ import annotations

import heapq
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it sends none unless told otherwise

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from knowledge_neurons.networks.interface import Network
from knowledge_neurons.runs.executor import LOCAL, NamedWork
from knowledge_neurons.runs.parcels import pack, size_of, unpack

T = TypeVar("T")

TRIES = 3  # of a group, and of workers that die one after the other before they have begun
AHEAD = 2  # groups a worker that are worked on, or done before an earlier one is
PATIENCE = 180.0  # seconds that nobody works, while workers are to begin
SPARE = 256 << 20  # bytes of a local object store beside the model and the first work


class Worker:
    """One actor: a process with the model."""

    def __init__(self, threads: int, tf32: bool, model: list[Any]):
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        self._model = unpack(model)
        self._sent: ray.ObjectRef | None = None
        self._work: Callable[..., Any] | None = None

    def where(self) -> str:
        """Its node and the file of what it says, for an error when it is gone."""
        try:
            log = os.readlink("/proc/self/fd/2")
        except OSError:  # not Linux
            log = "in the folder logs of Ray's session"
        return f"node {ray.util.get_node_ip_address()}, log {log}"

    def do(self, sent: list[ray.ObjectRef], *arguments: Any) -> Any:
        """Call a function that was put into the object store; its parcel is opened once."""
        if sent[0] != self._sent:
            self._work = unpack(ray.get(sent[0]), self._model)
            self._sent = sent[0]
        return self._work(*arguments)


@dataclass
class _Hand:
    """A worker as it is seen from here."""

    actor: Any
    where: str = "no node yet"


class Crew:
    """Workers as an `Executor`; they start with the first group and stay for further work.

    workers: None for as many as there is room for.  address: of a cluster, or LOCAL.
    threads: of each worker.
    """

    def __init__(self, model: Network, workers: int | None, address: str, threads: int):
        self._model, self._wanted, self._address, self._threads = model, workers, address, threads
        self._gpu = model.device.type == "cuda"
        self.workers = workers or 0
        self._idle: list[_Hand] = []
        self._starting: dict[Future, _Hand] = {}
        self._lost = 0  # one after the other, before they had begun
        self._sent: ray.ObjectRef | None = None  # the model

    def __call__(self, work: NamedWork, groups: Iterable[range]) -> Iterator[Sequence[Any]]:
        """See `Executor`.

        Raises ValueError naming group, node and log where a worker died of the same group TRIES
        times, and what the work raises.  Whatever is raised, also by who takes the records, ends
        the workers.
        """
        todo = list(groups)
        if not todo:
            return
        parcel = pack(work, self._model)
        self._start(size_of(parcel))
        try:
            job = _Job(work, todo, ray.put(parcel))
            del parcel  # of what is on a GPU it has a copy
            for place in range(len(todo)):
                job.wanted = place
                self._hand_out(job)
                while place not in job.done:
                    self._wait(job)
                    self._hand_out(job)
                yield job.done.pop(place)
        except BaseException:
            self.close()
            raise

    def everywhere(self, ask: Callable[[], T]) -> list[T]:
        """See `Executor`; of workers that have died since nothing is asked."""
        if self._sent is None:
            return [ask()]
        sent, found = [ray.put(pack(ask, self._model))], []
        for answer in [hand.actor.do.remote(sent).future() for hand in self._idle]:
            try:
                found.append(answer.result())
            except RayTaskError as error:
                raise error.cause from error
            except RayError:
                continue
        return found

    def close(self) -> None:
        """End all workers and, where it was started here, Ray."""
        self._idle, self._starting, self._sent = [], {}, None
        ray.shutdown()

    # --- workers ---

    def _start(self, size: int) -> None:
        """Workers on their way up, all of them; those of an earlier job are asked if they live.

        size: bytes of the work, which has a model of its own with --dtype bfloat16.
        """
        if self._sent is None:
            model = pack(self._model)
            self._connect(size_of(model) + size)
            self._sent = ray.put(model)
            del model
            if self._gpu:  # the room is a worker's
                self._model.to("cpu")
                torch.cuda.empty_cache()
            for _ in range(self.workers):
                self._add()
        while self._idle:
            self._await(self._idle.pop())

    def _connect(self, size: int) -> None:
        """Join or start a cluster with room for the workers; size: bytes that they are sent."""
        wanted, threads = self._wanted, self._threads
        kind = "GPU" if self._gpu else "CPU"
        connect(self._address, cores_of(wanted, threads), size + size // 4 + SPARE)
        room = int(ray.cluster_resources().get(kind, 0)) // (1 if kind == "GPU" else threads)
        self.workers = wanted or room
        if not 0 < self.workers <= room:
            ray.shutdown()
            each = "a GPU" if kind == "GPU" else f"{threads} cores (--threads_per_worker)"
            raise ValueError(
                f"--workers {wanted or 1}, each with {each}: --ray {self._address} has room "
                f"for {room}"
            )

    def _add(self) -> None:
        threads = self._threads
        kind = ray.remote(num_cpus=threads, num_gpus=int(self._gpu), max_restarts=0)(Worker)
        tf32 = torch.backends.cuda.matmul.allow_tf32
        self._await(_Hand(kind.remote(threads, tf32, self._sent)))

    def _await(self, hand: _Hand) -> None:
        self._starting[hand.actor.where.remote().future()] = hand

    # --- groups ---

    def _hand_out(self, job: _Job) -> None:
        while self._idle and job.waiting and job.waiting[0] < job.wanted + AHEAD * self.workers:
            hand, place = self._idle.pop(), heapq.heappop(job.waiting)
            answer = hand.actor.do.remote([job.sent], job.groups[place])
            job.running[answer.future()] = place, hand

    def _wait(self, job: _Job) -> None:
        """Until a worker has begun, or has done a group, or is lost.

        By futures: an exception that a signal's handler raises inside `ray.wait` would be lost.
        """
        pending = [*job.running, *self._starting]
        patience = None if job.running else PATIENCE
        ready = wait(pending, patience, return_when=FIRST_COMPLETED).done
        if not ready:
            raise ValueError(
                f"no worker could start in {PATIENCE:g} seconds: is there still room for one at "
                f"--ray {self._address}?  (ray status)"
            )
        answer = ready.pop()
        place, hand = job.running.pop(answer, (None, None))
        hand = hand or self._starting.pop(answer)
        try:
            found = answer.result()
        except RayTaskError as error:  # the work's own
            raise error.cause from error
        except RayError as error:  # the worker's death, its node's, or of what it had said
            self._replace(hand, job, place, error)
            return
        self._idle.append(hand)
        self._lost = 0
        if place is None:
            hand.where = found
        else:
            job.done[place] = found

    def _replace(self, hand: _Hand, job: _Job, place: int | None, error: RayError) -> None:
        """Another worker, and its group again; ValueError after TRIES."""
        if place is None:
            self._lost += 1
            what, lost = "a worker, before it had begun", self._lost
        else:
            job.tries[place] += 1
            heapq.heappush(job.waiting, place)
            what, lost = job.work.named(job.groups[place]), job.tries[place]
        if lost >= TRIES:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{what}: the process that worked on it died {TRIES} times, the last on "
                f"{hand.where}: {reason}"
            ) from error
        ray.kill(hand.actor)
        self._add()


@dataclass
class _Job:
    """Groups of one file.

    sent: the work.  wanted: the place of the group to be yielded next.  waiting: places, a heap.
    running: answer -> place and worker.  tries: that failed.
    """

    work: NamedWork
    groups: list[range]
    sent: ray.ObjectRef
    wanted: int = 0
    waiting: list[int] = field(init=False)
    running: dict[Future, tuple[int, _Hand]] = field(default_factory=dict)
    done: dict[int, Sequence[Any]] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)

    def __post_init__(self):
        self.waiting = list(range(len(self.groups)))


def cores_of(workers: int | None, threads: int) -> int:
    """How many cores a cluster of this machine needs; workers: None for as many as it has."""
    return (workers or max(1, (os.cpu_count() or 1) // threads)) * threads


def connect(address: str, cores: int, store: int | None = None) -> str:
    """Join the cluster at this address, or start one of this machine alone.

    cores, store: how many it has, and bytes of its object store (None: Ray's default); of LOCAL.
    Returns the address at which others join it.
    Raises ValueError for an address where none is.
    """
    told: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        told |= {"num_cpus": cores, "object_store_memory": store, "include_dashboard": False}
    kept = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(address)
        ray.init(address=address, **told)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"--ray {address}: no cluster can be joined there: {reason}") from error
    finally:
        signal.signal(signal.SIGTERM, kept)  # Ray takes it
    return ray.get_runtime_context().gcs_address


def _check_answers(address: str) -> None:
    """OSError or ValueError where nobody listens: Ray would try for minutes."""
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("expected HOST:PORT, auto or local")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
