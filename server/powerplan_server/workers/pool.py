"""The server's side of the workers: warm processes, one calculation at a time each, killed at once when unwanted."""

from __future__ import annotations

import asyncio
import atexit
import logging
import multiprocessing
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess

import grpc
from google.rpc.status_pb2 import Status

from powerplan.jobs.frames import HEADER, Kind
from powerplan.jobs.worker import ONE_THREAD, START_TIMEOUT, ending
from powerplan_server.errors import Reason, ServiceError
from powerplan_server.workers.child import worker_main
from powerplan_server.workers.protocol import Order, Span, job_frame, read_error, read_trace

log = logging.getLogger(__name__)

_BUFFER = 2**20


class WorkerDied(Exception):
    """The worker process ended without an answer."""


class _Worker:
    """One process and the connection to it."""

    def __init__(self, process: ForkServerProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer
        self.served = 0

    @property
    def alive(self) -> bool:
        return not self.reader.at_eof() and self.process.is_alive()

    async def receive(self) -> tuple[Kind, bytes]:
        try:
            kind, length = HEADER.unpack(await self.reader.readexactly(HEADER.size))
            return Kind(kind), await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerDied from error

    def kill(self) -> None:
        """End the process now; nothing is awaited."""
        self.process.kill()
        self.writer.transport.abort()

    async def ending(self) -> str:
        """How the process ended, in words."""
        await asyncio.to_thread(self.process.join, 2.0)
        return ending(self.process.exitcode)


class WorkerPool:
    """A fixed number of warm worker processes.

    Args:
        calls: ``module:attribute`` of the table of worker functions.
        size: number of processes.
        settings: plain values for every worker function.
        memory: bytes of data that a worker may allocate.
        max_requests: calculations after which a worker is replaced by a new one.
        preload: module that the fork server imports, once in this process.
        on_kill: told why, whenever a worker ended other than by replacement: deadline, cancel, died.
    """

    def __init__(
        self,
        *,
        calls: str,
        size: int,
        memory: int,
        settings: Mapping[str, int] | None = None,
        max_requests: int = 200,
        on_kill: Callable[[str], None] = lambda why: None,
        preload: str = "powerplan_server.workers.preload",
    ) -> None:
        self.size = size
        self._calls = calls
        self._memory = memory
        self._settings = dict(settings or {})
        self._max_requests = max_requests
        self._on_kill = on_kill
        self._preload = preload
        self._context = multiprocessing.get_context("forkserver")
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="worker-start")
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers: set[_Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._started = False

    async def start(self) -> None:
        """Start every process and wait until all are warm."""
        self._context.set_forkserver_preload([self._preload])
        atexit.register(self._kill_all)
        await asyncio.gather(*(self._add() for _ in range(self.size)))
        self._started = True

    async def close(self) -> None:
        """Kill every process."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._workers:
            worker.kill()
        await asyncio.gather(*(asyncio.to_thread(worker.process.join, 2.0) for worker in self._workers))
        self._workers.clear()
        self._starter.shutdown(wait=False, cancel_futures=True)
        atexit.unregister(self._kill_all)

    @property
    def idle(self) -> int:
        """How many workers are warm and without work."""
        return self._idle.qsize()

    @property
    def works(self) -> bool:
        """A worker lives, or none has been started yet."""
        return not self._started or any(worker.process.is_alive() for worker in self._workers)

    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    async def run(
        self,
        method: str,
        request: bytes,
        *,
        blobs: Mapping[str, str] | None = None,
        seconds: float | None = None,
        on_progress: Callable[[bytes], Awaitable[None]] | None = None,
        on_trace: Callable[[list[Span]], None] | None = None,
    ) -> bytes:
        """Run one calculation in a worker and return its serialized response.

        ``on_trace`` is told the parts of the work once it has ended: the whole first, then what it is made of.
        Cancelling this coroutine, or the time limit, kills the worker at once.

        Raises:
            ServiceError: what the calculation raised; DEADLINE_EXCEEDED when the time is over; WORKER_CRASHED when the
                process crashed or was killed.
        """
        worker = await self._take()
        reusable = False
        why = "cancel"
        try:
            async with asyncio.timeout(seconds):
                order = Order(method=method, blobs=blobs or {}, seconds=seconds, traced=on_trace is not None)
                worker.writer.write(job_frame(order, request))
                while True:
                    kind, payload = await worker.receive()
                    if kind is Kind.PROGRESS:
                        if on_progress is not None:
                            await on_progress(payload)
                        continue
                    if kind is Kind.TRACE:
                        if on_trace is not None:
                            on_trace(read_trace(payload))
                        continue
                    reusable = True
                    if kind is Kind.RESULT:
                        return payload
                    raise _read_failure(payload)
        except TimeoutError:
            why = "deadline"
            raise ServiceError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                Reason.DEADLINE_EXCEEDED,
                f"The calculation was stopped after {seconds:.3g} s. Allow more time or submit it as a job.",
            ) from None
        except WorkerDied:
            why = "died"
            raise ServiceError(
                grpc.StatusCode.INTERNAL,
                Reason.WORKER_CRASHED,
                f"The worker process of this calculation is gone: {await worker.ending()}. Nothing else is affected.",
            ) from None
        finally:
            self._release(worker, reusable, why)

    async def _take(self) -> _Worker:
        """The next living idle worker."""
        while True:
            worker = await self._idle.get()
            if worker.alive:
                return worker
            self._release(worker, False, "died")

    def _release(self, worker: _Worker, reusable: bool, why: str) -> None:
        worker.served += 1
        if reusable and worker.served < self._max_requests:
            self._idle.put_nowait(worker)
            return
        worker.kill()
        self._workers.discard(worker)
        if not reusable:
            self._on_kill(why)
        if not self._closed:
            task = asyncio.create_task(self._replace(worker))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _replace(self, old: _Worker) -> None:
        """Start a worker in place of a dead one, trying again if the machine cannot start processes now."""
        await asyncio.to_thread(old.process.join, 2.0)
        delay = 0.1
        while not self._closed:
            try:
                await self._add()
                return
            except (OSError, WorkerDied, TimeoutError) as error:
                log.error("cannot start a worker, trying again", extra={"error": repr(error)})
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10.0)

    async def _add(self) -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        try:
            process = await loop.run_in_executor(self._starter, self._start_process, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_BUFFER)
        worker = _Worker(process, reader, writer)
        self._workers.add(worker)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await worker.receive()
        except BaseException:
            worker.kill()
            self._workers.discard(worker)
            raise
        self._idle.put_nowait(worker)

    def _start_process(self, connection: socket.socket) -> ForkServerProcess:
        """Fork a worker from the fork server, which is started on first use with one BLAS thread."""
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(ONE_THREAD)
        try:
            process = self._context.Process(
                target=worker_main,
                args=(connection, self._calls, self._settings, self._memory),
                daemon=True,
                name="powerplan-worker",
            )
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        return process

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.process.kill()


def _read_failure(payload: bytes) -> ServiceError:
    status, text = read_error(payload)
    if text:
        log.error("a calculation failed", extra={"trace": text})
    return ServiceError.from_status(Status.FromString(status))
