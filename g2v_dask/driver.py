"""The only module that submits work: drives any plan to its end on a cluster, and resumes it.

A bounded window of futures: a million parts never sit in the scheduler. A lost worker's parts are done
again by Dask. A part's InputError quarantines its target and the rest goes on; any other error ends the run
once the running parts have ended.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import distributed
from distributed import KilledWorker, as_completed

from g2v_dask import parts
from g2v_dask.cluster import Cluster
from g2v_dask.errors import BudgetError, DamageError, G2VError, InputError
from g2v_dask.folders import Folder, write_json
from g2v_dask.parts import Part, Plan, Receipt, Refusal, Stage, Target
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec
from g2v_dask.store import Artifact, Store, check_files

WINDOW_SECONDS = 2.0  # between looks at how many threads there are
WINDOW_PER_THREAD = 3  # enough that a worker never waits for the client


@dataclass(kw_only=True)
class Summary:
    """What one stage did."""

    stage: str
    made: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)  # those of the made ones that had another version before
    fresh: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)  # those of the fresh ones that an other version had replaced
    quarantined: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)  # facts by name
    parts_run: int = 0
    parts_resumed: int = 0
    seconds: float = 0.0
    part_seconds: float = 0.0

    @property
    def names(self) -> list[str]:
        """What is now current, made or fresh."""
        return sorted([*self.made, *self.fresh])

    @property
    def exit_code(self) -> int:
        """3 if anything is quarantined."""
        return 3 if self.quarantined else 0

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**vars(self), "exit_code": self.exit_code}


def state(store: Store, target: Target) -> str:
    """``fresh``, ``quarantined`` or ``todo``: what the store says of a target."""
    if target.kind and _whole(store, target) is not None:
        return "fresh"
    if target.kind and _standing(store, target) is not None:
        return "quarantined"
    return "todo"


def _whole(store: Store, target: Target) -> Artifact | None:
    """What a target asks for, if it was made and none of its files is missing or cut."""
    artifact = store.committed(target.kind, target.name, target.digest)
    return artifact if artifact is not None and artifact.damage() is None else None


def _standing(store: Store, target: Target) -> dict[str, Any] | None:
    """The quarantine record that still holds for a target: same digest, same limits."""
    record = store.refusal(target.kind, target.name)
    same = record is not None and (record["digest"], record["limits"]) == (target.digest, dict(target.limits))
    return record if same else None


@dataclass(kw_only=True)
class _Job:
    """A target on its way."""

    target: Target
    round: int
    parts: tuple[Part, ...]
    receipts: dict[int, Receipt]
    owned: bool = False  # taken over by this run: its receipts were looked at
    tag: str | None = None  # of HEAD, when it was taken over
    flying: int = 0  # how many of its parts are under way
    sent: Target = field(init=False)  # what goes with every part: without the list of all parts

    def __post_init__(self) -> None:
        self.sent = replace(self.target, parts=())

    def missing(self) -> list[Part]:
        return [p for p in self.parts if p.number not in self.receipts]


def drive(stage: Stage, plan: Plan, store: Store, cluster: Cluster, display: Display) -> Summary:
    """Makes all that a plan asks for. The caller holds the store's lock.

    Raises: BudgetError before any work if a part cannot fit; whatever a part raises but InputError.
    """
    started = time.monotonic()
    run = _Run(stage=stage, plan=plan, store=store, cluster=cluster, display=display)
    run.sort_out()
    if run.jobs:
        run.check()
        run.drive()
    run.summary.seconds = time.monotonic() - started
    return run.summary


@dataclass(kw_only=True)
class _Run:
    stage: Stage
    plan: Plan
    store: Store
    cluster: Cluster
    display: Display
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    jobs: dict[str, _Job] = field(default_factory=dict)  # by digest, until committed
    ready: deque[tuple[_Job, Part]] = field(default_factory=deque)
    lost: deque[tuple[_Job, Part]] = field(default_factory=deque)  # whose workers have died: to be run alone
    alone: set[tuple[str, int, int]] = field(default_factory=set)  # those that were
    window: tuple[float, int] = (-math.inf, 1)  # how many parts may be under way, and when that was reckoned
    ended: set[str] = field(default_factory=set)  # digests of preparations that are done
    summary: Summary = field(init=False)

    def __post_init__(self) -> None:
        self.summary = Summary(stage=self.plan.stage, left_out=list(self.plan.left_out))

    # -- before ------------------------------------------------------------------------------------------

    def sort_out(self) -> None:
        """What is fresh, what stands in quarantine, what is to do."""
        self._forget_stale()
        for refusal in self.plan.refused:
            self._quarantine(refusal, digest="", limits={})
        lasting = [t for t in self.plan.targets if t.kind]
        whole = self.store.root.together(lambda t: _whole(self.store, t), lasting)
        refused = {(r["kind"], r["name"]) for r in self.store.quarantined()}
        todo = [
            target
            for target, artifact in zip(lasting, whole, strict=True)
            if not self._settled(target, artifact, refused=(target.kind, target.name) in refused)
        ]
        needed = {digest for t in todo for digest in t.after}
        for target in [t for t in self.plan.targets if not t.kind and t.digest in needed] + todo:
            self.jobs[target.digest] = _Job(target=target, round=0, parts=target.parts, receipts={})

    def _forget_stale(self) -> None:
        """Drops what is said of a source that this plan names, under a name that it no longer gives it."""
        sources = {t.source for t in self.plan.targets if t.source}
        now = {(t.kind, t.name) for t in self.plan.targets} | {(r.kind, r.name) for r in self.plan.refused}
        for record in self.store.quarantined():
            if record["source"] in sources and (record["kind"], record["name"]) not in now:
                self.store.pardon(record["kind"], record["name"])

    def _settled(self, target: Target, artifact: Artifact | None, *, refused: bool) -> bool:
        if artifact is not None:
            if self.store.head(target.kind, target.name) != target.digest:
                tag = self.store.head_tag(target.kind, target.name)
                self.store.point(target.kind, target.name, target.digest, tag=tag)
                self.summary.restored.append(target.name)
            if refused:
                self.store.pardon(target.kind, target.name)
            self.summary.fresh.append(target.name)
            self.summary.artifacts[target.name] = dict(artifact.facts)
            return True
        record = _standing(self.store, target) if refused else None
        if record is not None:
            self.summary.quarantined.append({"name": target.name, "reason": record["reason"]})
        return record is not None

    def check(self) -> None:
        """Fails before any work if a part cannot fit, or the workers would give mixed bits."""
        worst = max((p for j in self.jobs.values() for p in j.parts), key=lambda part: part.bytes)
        self.cluster.check_budget(needed=worst.bytes, label=f"{self.plan.stage} of {worst.label}")
        if any(j.target.same_blas for j in self.jobs.values()):
            self.cluster.check_blas(self.plan.stage)

    # -- the loop ----------------------------------------------------------------------------------------

    def drive(self) -> None:
        """Submits parts through the window until every target is committed or quarantined."""
        client = self.cluster.client
        total = sum(len(j.parts) for j in self.jobs.values())
        client.subscribe_topic(parts.TOPIC, lambda event: self.display.inside(event[1]))
        flying = as_completed(loop=client.loop)
        waiting: dict[Any, tuple[_Job, Part]] = {}
        try:
            with self.display.stage(self.plan.stage, total=total, done=0):
                for job in list(self.jobs.values()):
                    self.take_over(job)
                while self.jobs or waiting:
                    for job, part in self._next(len(waiting)):
                        future = self._submit(client, job, part)
                        waiting[future] = (job, part)
                        job.flying += 1
                        flying.add(future)
                    if not waiting:
                        self._stuck()
                    future = next(flying)
                    job, part = waiting.pop(future)
                    job.flying -= 1
                    if job.target.digest not in self.jobs:  # refused: what its other parts say does not matter
                        self._clear(job)
                        continue
                    try:
                        with self._damage_told(job):
                            answer = future.result()
                    except (KilledWorker, MemoryError):
                        self._lost(job, part)
                    else:
                        self.landed(job, part, answer)
        except Exception:
            with client.as_current():
                distributed.wait(list(waiting))  # what runs may end; its receipts serve the next run
            raise
        except BaseException:
            client.cancel(list(waiting))
            raise
        finally:
            client.unsubscribe_topic(parts.TOPIC)

    def _next(self, flying: int) -> Iterator[tuple[_Job, Part]]:
        """The parts to submit now: as many as keep the workers busy, or one that must run alone."""
        if self.lost:
            if not flying:
                yield self.lost.popleft()
            return
        while self.ready and flying < self._window():
            flying += 1
            yield self.ready.popleft()

    def _window(self) -> int:
        """How many parts may be under way; an adaptive cluster grows while they run."""
        now = time.monotonic()
        if now > self.window[0] + WINDOW_SECONDS:
            self.window = (now, WINDOW_PER_THREAD * self.cluster.threads())
        return self.window[1]

    def _lost(self, job: _Job, part: Part) -> None:
        """Puts a part back whose workers have died, to run with nothing beside it; the second time is the last.

        Raises: BudgetError naming the part and its need.
        """
        which = (job.target.digest, job.round, part.number)
        if which in self.alone:
            msg = (
                f"{self.plan.stage} of {part.label}: each worker that ran it died, the last with nothing beside it. "
                f"It was reckoned to need {part.bytes / 1e9:.2f} GB; a thread of the smallest worker has "
                f"{self.cluster.share_bytes() / 1e9:.2f} GB beside its libraries. Give workers more memory"
            )
            raise BudgetError(msg)
        self.alone.add(which)
        self.lost.append((job, part))

    def call(self, job: _Job, part: Part) -> dict[str, Any]:
        """Does a part in this process."""
        return parts.execute(self.stage.run_part, self.store, job.target, job.round, part, self.token)

    def _submit(self, client: distributed.Client, job: _Job, part: Part) -> Any:
        key = f"{self.plan.stage}-{job.target.digest[:12]}-{job.round}-{part.number}-{self.token[:8]}"
        if (job.target.digest, job.round, part.number) in self.alone:
            key += "-alone"  # under its old key it is known to have failed
        arguments = (self.stage.run_part, self.store, job.sent, job.round, part, self.token)
        return client.submit(parts.execute, *arguments, key=key, pure=False)

    def _stuck(self) -> None:
        names = ", ".join(j.target.key for j in self.jobs.values())
        msg = f"{self.plan.stage}: nothing left to run, yet not finished: {names}"
        raise G2VError(msg)

    def take_over(self, job: _Job) -> None:
        """Becomes the owner of a target's work, and finds out how far it is."""
        self.store.root.check_lock()  # what follows takes the work from whoever has it
        target, folder = job.target, job.target.folder(self.store).marked(self.token)
        if target.kind:  # what is made anew because it was damaged does not exist until it is whole again
            folder.remove("manifest.json")
            job.tag = self.store.head_tag(target.kind, target.name)
        write_json(self.store.work(target.digest), parts.OWNER, {"token": self.token})
        folder.send(*self.stage.begin(folder, target))
        job.owned = True
        self._resume(job)

    def _resume(self, job: _Job) -> None:
        """Goes to the newest round that is not complete; queues its missing parts."""
        while True:
            job.receipts = self._valid_receipts(job)
            self.summary.parts_resumed += len(job.receipts)
            for part in job.parts:
                if part.number in job.receipts:
                    self.display.advance(part.label)
            if job.missing():
                self._queue(job)
                return
            following = self.stage.next_round(job.target, job.round, job.receipts)
            if not following:
                self._finish(job)
                return
            job.round, job.parts = job.round + 1, following
            self.display.grow(len(following))

    def _queue(self, job: _Job) -> None:
        """Makes a job's missing parts ready, once all its preparations have ended.

        Those of a later round go first: what was begun ends, and its scratch files go, before more is begun.
        """
        if self.ended.issuperset(job.target.after):
            missing = [(job, part) for part in job.missing()]
            if job.round:
                self.ready.extendleft(reversed(missing))
            else:
                self.ready.extend(missing)

    def _valid_receipts(self, job: _Job) -> dict[int, Receipt]:
        """The receipts whose files are still there and as long as they were."""
        found = parts.receipts(self.store, job.target, job.round, job.parts)
        sizes = job.target.folder(self.store).sizes() if found else {}
        return {n: r for n, r in found.items() if all(sizes.get(f["path"]) == f["bytes"] for f in r["files"])}

    def landed(self, job: _Job, part: Part, answer: dict[str, Any]) -> None:
        """Takes in what a part answered."""
        self.display.advance(part.label)
        if answer["state"] == "superseded":
            msg = f"another run took over {job.target.key}; this one stops"
            raise G2VError(msg)
        if answer["state"] == "refused":
            self._refuse(job, answer["reason"])
            return
        self.summary.parts_run += 1
        self.summary.part_seconds += answer["receipt"]["seconds"]
        job.receipts[part.number] = answer["receipt"]
        if len(job.receipts) < len(job.parts):
            return
        following = self.stage.next_round(job.target, job.round, job.receipts)
        if following:
            job.round, job.parts = job.round + 1, following
            self.display.grow(len(following))
            self._resume(job)
        else:
            self._finish(job)

    # -- after -------------------------------------------------------------------------------------------

    def _finish(self, job: _Job) -> None:
        target = job.target
        del self.jobs[target.digest]
        if not target.kind:
            self.ended.add(target.digest)
            for other in [j for j in self.jobs.values() if j.owned and target.digest in j.target.after]:
                self._queue(other)
            return
        with self._damage_told(job):
            facts = self.stage.facts(self.store, target, job.receipts)
        replaced = self.store.head(target.kind, target.name) is not None
        artifact = Artifact(
            kind=target.kind,
            name=target.name,
            digest=target.digest,
            folder=target.folder(self.store),
            manifest=self._manifest(job, facts),
        )
        with self._damage_told(job):
            self.store.commit(artifact, tag=job.tag)
        self.store.pardon(target.kind, target.name)
        self.store.work(target.digest).clear()
        self.summary.made.append(target.name)
        self.summary.artifacts[target.name] = facts
        if replaced:
            self.summary.replaced.append(target.name)
        self._drop_preparations(target)

    @contextmanager
    def _damage_told(self, job: _Job) -> Iterator[None]:
        """If this fails, and a file of a part that is done is not as it was written, that is the reason.

        Then the receipts are worth nothing: all is done again.
        """
        try:
            yield
        except (KilledWorker, MemoryError):
            raise
        except Exception as error:
            files = [f for number in sorted(job.receipts) for f in job.receipts[number]["files"]]
            try:
                check_files(job.target.key, job.target.folder(self.store), files)
            except DamageError as damage:
                self.store.work(job.target.digest).clear()
                raise damage from error
            raise

    def _drop_preparations(self, target: Target) -> None:
        """Removes a preparation's files once no target needs them any more."""
        for digest in target.after:
            if not any(digest in j.target.after for j in self.jobs.values()):
                self.store.work(digest).clear()

    def _manifest(self, job: _Job, facts: Mapping[str, Any]) -> dict[str, Any]:
        target = job.target
        files = [f for number in sorted(job.receipts) for f in job.receipts[number]["files"]]
        return {
            "kind": target.kind,
            "name": target.name,
            "title": target.title,
            "digest": target.digest,
            "stage": self.plan.stage,
            "stage_version": target.version,
            "identity": dict(target.identity),
            "inputs": dict(target.inputs),
            "facts": dict(facts),
            "files": sorted(files, key=lambda f: f["path"]),
            "made": {
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "part_seconds": sum(r["seconds"] for r in job.receipts.values()),
                "rounds": job.round + 1,
                "spec": None if target.spec is None else {type(target.spec).__name__: target.spec.as_json()},
                **self.cluster.making,
            },
        }

    def _refuse(self, job: _Job, reason: str) -> None:
        """Quarantines a target, or all that wait for a preparation."""
        target = job.target
        del self.jobs[target.digest]
        self.ready = deque((j, p) for j, p in self.ready if j is not job)
        self.lost = deque((j, p) for j, p in self.lost if j is not job)
        self.store.work(target.digest).remove(parts.OWNER)  # its running parts end when they next look
        if target.kind:
            refusal = Refusal(
                kind=target.kind,
                name=target.name,
                title=target.title,
                source=target.source or ", ".join(target.inputs),
                reason=reason,
            )
            self._quarantine(refusal, digest=target.digest, limits=dict(target.limits))
        else:
            for other in [j for j in self.jobs.values() if target.digest in j.target.after]:
                self._refuse(other, reason)
        self._clear(job)

    def _clear(self, job: _Job) -> None:
        """Removes what a refused target has written, once none of its parts can write more."""
        if job.flying:
            return
        self.store.work(job.target.digest).clear()
        if job.target.kind:
            job.target.folder(self.store).clear()
            self._drop_preparations(job.target)

    def _quarantine(self, refusal: Refusal, *, digest: str, limits: dict[str, Any]) -> None:
        record = {**vars(refusal), "digest": digest, "limits": limits}
        self.store.refuse(record)
        self.summary.quarantined.append({"name": refusal.name, "reason": refusal.reason})


def here(stage: Stage, plan: Plan, store: Store) -> Summary:
    """Makes all that a small plan asks for in this process, without a cluster."""
    started = time.monotonic()
    run = _Run(stage=stage, plan=plan, store=store, cluster=Cluster(ClusterSpec()), display=Display(quiet=True))
    run.sort_out()
    for job in list(run.jobs.values()):
        run.take_over(job)
    while run.ready:
        job, part = run.ready.popleft()
        run.landed(job, part, run.call(job, part))
    run.summary.seconds = time.monotonic() - started
    return run.summary


def again(stage: Stage, target: Target, others: tuple[Target, ...], store: Store, numbers: set[int] | None) -> Folder:
    """Does some parts of a target of one round again (all of any: None), in this process and in a store of its own.

    Returns: where the files of those parts lie; nothing is committed but in that store.
    Raises: InputError if a part refuses its input.
    """
    plan = Plan(stage=target.kind, targets=(*others, target))
    if numbers is None or others:
        summary = here(stage, plan, store)
        for refused in summary.quarantined:
            raise InputError(refused["reason"])
    else:
        run = _Run(stage=stage, plan=plan, store=store, cluster=Cluster(ClusterSpec()), display=Display(quiet=True))
        job = _Job(target=target, round=0, parts=target.parts, receipts={})
        run.take_over(job)
        for part in (p for p in target.parts if p.number in numbers):
            answer = run.call(job, part)
            if answer["state"] != "done":
                raise InputError(answer.get("reason", answer["state"]))
    return target.folder(store)


def preview(plan: Plan, store: Store) -> Iterator[dict[str, Any]]:
    """For ``g2v plan``: one row a target, with its parts, memory and state."""
    for target in plan.targets:
        yield {
            "stage": plan.stage,
            "name": target.name,
            "parts": len(target.parts),
            "bytes": max((p.bytes for p in target.parts), default=0),
            "state": state(store, target),
            **({"note": "; ".join(plan.notes)} if plan.notes else {}),
        }
    for refusal in plan.refused:
        row = {"stage": plan.stage, "name": refusal.name, "parts": 0, "bytes": 0, "state": "refused"}
        yield {**row, "reason": refusal.reason}
