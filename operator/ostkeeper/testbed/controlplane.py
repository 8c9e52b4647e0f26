"""A real control plane: etcd and kube-apiserver with RBAC and admission policies, in seconds, several side by side.

Here: its life (start, stop, the API server alone, snapshot and restore) and the ways in (clients, kubeconfigs,
kubectl). Not here: where the binaries come from (`build`), files (`controlplane_files`), who plays the kubelets
(`kubelet`). No controller-manager runs: nothing garbage-collects, and a deleted namespace stays.
"""

import asyncio
import re
import shutil
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from ostkeeper.testbed import build, controlplane_files, controlplane_relay, identities
from ostkeeper.testbed.controlplane_client import UNHEARD, ApiClient
from ostkeeper.testbed.controlplane_process import Child, freeze, kill, spawn, tail, thaw
from ostkeeper.testbed.identities import ADMIN, Identity
from ostkeeper.testbed.net import API_PORT
from ostkeeper.testbed.processes import CommandFailed, run

READY_SECONDS = 60.0
"""2.7 s on two idle cores; the rest is for a machine that is busy with tests."""
PORT_ATTEMPTS = 3
_READINESS_TIMEOUT = 2.0
_ETCD = "unix://etcd.sock:0"
"""Relative to the directory both servers run in: no port to clash, no path to outgrow the 108 bytes of a socket's."""


class ControlPlaneError(Exception):
    """A server did not start or a kubectl command failed. The text has the command or the end of the server's log."""


class ControlPlane:
    """One etcd and one kube-apiserver. Use `start`/`stop`, or `async with`.

    `directory` holds everything and may be started again later: data, tokens and certificates are kept. It is the
    caller's to remove. `netns_pid` is any process in the network namespace that both shall run in (None: ours), whose
    loopback is up; `address` is theirs there. From our own namespace `url` reaches it all the same, by a relay.
    The children die with the thread that called `start`: call it from one that stays.
    """

    def __init__(
        self,
        directory: Path,
        netns_pid: int | None = None,
        address: str = "127.0.0.1",
        identities: Iterable[Identity] = identities.everyone(),
    ) -> None:
        self.directory = directory.absolute()
        self._netns_pid, self._address = netns_pid, address
        self._identities = tuple(identities)
        self._tokens: dict[str, str] = {}
        self._assets = Path()
        self._port = API_PORT  # in our own namespace a free one is drawn, since several run side by side
        self._relay_port = 0
        self._etcd: Child | None = None
        self._apiserver: Child | None = None
        self._relay: Child | None = None

    async def __aenter__(self) -> "ControlPlane":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ---- its life

    async def start(self) -> None:
        """Build what is missing, start everything, and return when /readyz is ok. Raises BuildError, ControlPlaneError."""
        self._assets = build.assets()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        controlplane_files.write_certificates(self.directory, ("localhost", "127.0.0.1", self._address))
        self._tokens = controlplane_files.write_tokens(self.directory / "tokens.csv", self._identities)
        try:
            self._start_etcd()
            if self._netns_pid is not None:
                self._start_relay()
            await self._start_apiserver_on_a_port()
        except BaseException:  # Ctrl-C or a server that would not: leave nothing behind
            await self.stop()
            raise

    async def stop(self) -> None:
        """Kill the servers and the relay and wait until they are gone. Data stays. Repeating it is fine."""
        await self.stop_apiserver()
        for child in (self._relay, self._etcd):
            if child is not None:
                await kill(child)
        self._relay = self._etcd = None

    async def stop_apiserver(self) -> None:
        """Kill kube-apiserver only: its clients see resets, then refused connections. Repeating it is fine."""
        child, self._apiserver = self._apiserver, None
        if child is not None:
            await kill(child)

    async def start_apiserver(self) -> None:
        """Start kube-apiserver again, at the same address, and return when /readyz is ok. Raises ControlPlaneError."""
        if self._apiserver is None:
            self._apiserver = spawn(self._apiserver_command(), self._netns_pid, self.directory, self.apiserver_log)
        await self._until_ready()

    async def snapshot(self, path: Path) -> None:
        """Copy etcd's data to the directory `path`, which must not exist. Takes some 0.1 s, during which etcd stands.

        etcd is stopped between two instructions, not shut down: the copy is what a crash at that moment would leave,
        and etcd flushes to the page cache before it acknowledges. No client loses its connection.
        """
        if self._etcd is None:
            raise ControlPlaneError(f"{self.directory}: a snapshot is taken of a running control plane; start it first")
        try:
            await freeze(self._etcd)
            await _copy_tree(self._data, path)
        finally:
            thaw(self._etcd)

    async def restore(self, path: Path) -> None:
        """Put the data of `snapshot` back, API server and etcd restarted: resourceVersions go back with the objects."""
        if not path.is_dir():
            raise ControlPlaneError(f"{path}: no snapshot there; snapshot() makes one. Nothing was stopped")
        await self.stop_apiserver()
        if self._etcd is not None:
            await kill(self._etcd)
        await asyncio.to_thread(shutil.rmtree, self._data)
        await _copy_tree(path, self._data)
        self._start_etcd()
        await self.start_apiserver()

    # ---- the ways in

    @property
    def url(self) -> str:
        """Where our own network namespace finds it, through the relay if there is one."""
        return f"https://127.0.0.1:{self._relay_port or self._port}"

    @property
    def inside_url(self) -> str:
        """Where processes in the servers' namespace, and those routed to it, find it."""
        return f"https://{self._address}:{self._port}"

    @property
    def ca(self) -> bytes:
        """The PEM of the authority that signed the serving certificate (for 127.0.0.1, localhost and `address`)."""
        return (self.directory / "ca.crt").read_bytes()

    @property
    def apiserver_log(self) -> Path:
        """What kube-apiserver says, across restarts."""
        return self.directory / "kube-apiserver.log"

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each child that was started and not stopped: etcd, kube-apiserver, relay."""
        children = {"etcd": self._etcd, "kube-apiserver": self._apiserver, "relay": self._relay}
        return {name: child.pid for name, child in children.items() if child is not None}

    @property
    def kubectl_path(self) -> Path:
        """The kubectl that was built with the servers, for those who run it themselves."""
        return self._assets / "kubectl"

    def token(self, user: str) -> str:
        """Return the bearer token of one of `identities`. Raises ControlPlaneError for anybody else."""
        try:
            return self._tokens[user]
        except KeyError:
            known = ", ".join(self._tokens) or "nobody: it has not been started"
            raise ControlPlaneError(f"{self.directory}: no token for {user!r}; it knows {known}") from None

    def kubeconfig(self, user: str = ADMIN.user, inside: bool = False) -> Path:
        """Write and return a self-contained kubeconfig of `user`: for our namespace, or for `inside` the servers'."""
        name = re.sub(r"[^\w.-]", "_", user) + ("-inside" if inside else "")
        url = self.inside_url if inside else self.url
        path = self.directory / "kubeconfig" / name
        return controlplane_files.write_kubeconfig(path, url, self.ca, user, self.token(user))

    def client(self, user: str = ADMIN.user, timeout: float = 5.0) -> ApiClient:
        """Return a thin HTTP client for our namespace, to be used as `async with`; `timeout` in seconds a request."""
        return ApiClient(self.url, self.ca, self.token(user), timeout)

    async def kubectl(self, *words: str, user: str = ADMIN.user, stdin: str = "", within: float = 60.0) -> str:
        """Run kubectl as `user` for `within` seconds at most and return what it prints.

        Raises ControlPlaneError with the command and its stderr.
        """
        options = (f"--kubeconfig={self.kubeconfig(user)}", f"--cache-dir={self.directory / 'kubectl-cache'}")
        try:
            return await run(str(self.kubectl_path), *options, *words, stdin=stdin, within=within)
        except CommandFailed as error:
            raise ControlPlaneError(f"as {user}: {error}") from error

    async def apply(self, paths: Sequence[Path]) -> None:
        """Apply manifests in the order given and wait until all CRDs are served.

        A directory with a kustomization.yaml is applied by `-k`, anything else by `-f`; server-side, so a repetition
        changes nothing. Raises ControlPlaneError with kubectl's words.
        """
        for path in paths:
            flag = "-k" if (path / "kustomization.yaml").exists() else "-f"
            await self.kubectl("apply", "--server-side", "--force-conflicts", flag, str(path))
            await self._until_crds_are_served()

    # ---- how it is done

    @property
    def _data(self) -> Path:
        return self.directory / "etcd"

    def _start_etcd(self) -> None:
        for stale in self.directory.glob("*.sock:0"):
            stale.unlink()
        client, peer = f"--listen-client-urls={_ETCD}", "http://127.0.0.1:1"  # the peer's is a name, nobody connects
        self._etcd = spawn(
            [
                str(self._assets / "etcd"),
                f"--data-dir={self._data}",
                "--unsafe-no-fsync",
                client,
                f"--advertise-client-urls={_ETCD}",
                "--listen-peer-urls=unix://peer.sock:0",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--log-level=warn",
            ],
            self._netns_pid,
            self.directory,
            self.directory / "etcd.log",
        )

    def _apiserver_command(self) -> list[str]:
        return [
            str(self._assets / "kube-apiserver"),
            f"--etcd-servers={_ETCD}",
            f"--bind-address={'0.0.0.0' if self._netns_pid is not None else self._address}",
            f"--advertise-address={self._address}",
            f"--secure-port={self._port}",
            "--tls-cert-file=tls.crt",
            "--tls-private-key-file=tls.key",
            "--client-ca-file=ca.crt",
            "--service-account-issuer=https://ostkeeper.testbed",
            "--service-account-key-file=sa.key",
            "--service-account-signing-key-file=sa.key",
            "--authorization-mode=RBAC",
            "--token-auth-file=tokens.csv",
            "--disable-admission-plugins=ServiceAccount",  # no controller makes the default accounts here
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        ]

    def _start_relay(self) -> None:
        listener = socket.create_server(("127.0.0.1", self._relay_port))
        with listener:  # the child has its own copy
            self._relay_port = listener.getsockname()[1]
            script = str(Path(controlplane_relay.__file__))
            words = (str(listener.fileno()), self._address, str(self._port))
            self._relay = spawn(
                [sys.executable, "-I", "-S", script, *words],
                self._netns_pid,
                self.directory,
                self.directory / "relay.log",
                pass_fds=(listener.fileno(),),
            )

    async def _start_apiserver_on_a_port(self) -> None:
        """In our own namespace a drawn port may be taken before the server binds it: draw again."""
        for attempt in range(1, PORT_ATTEMPTS + 1):
            if self._netns_pid is None:
                self._port = _free_port(self._address)
            try:
                await self.start_apiserver()
                return
            except ControlPlaneError as error:
                await self.stop_apiserver()
                if "address already in use" not in str(error) or attempt == PORT_ATTEMPTS:
                    raise

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                async with self.client(timeout=_READINESS_TIMEOUT) as client:
                    while not await self._is_ready(client):
                        await asyncio.sleep(0.1)
        except TimeoutError:
            raise ControlPlaneError(
                f"kube-apiserver is not ready after {READY_SECONDS:.0f}s. The end of {self.apiserver_log}:\n"
                f"{tail(self.apiserver_log)}"
            ) from None

    async def _is_ready(self, client: ApiClient) -> bool:
        """Ask /readyz once. Raises ControlPlaneError if a server has ended, with the end of its log."""
        servers = (
            ("etcd", self._etcd, self.directory / "etcd.log"),
            ("kube-apiserver", self._apiserver, self.apiserver_log),
        )
        for name, child, log in servers:
            if child is None or child.poll() is not None:
                code = "not started" if child is None else f"exit code {child.returncode}"
                raise ControlPlaneError(f"{name} has ended ({code}). The end of {log}:\n{tail(log)}")
        try:
            return await client.text("/readyz") == "ok"
        except UNHEARD:
            return False

    async def _until_crds_are_served(self) -> None:
        async with self.client() as client, asyncio.timeout(READY_SECONDS):
            while not await _serves_all_crds(client):
                await asyncio.sleep(0.1)


async def _serves_all_crds(client: ApiClient) -> bool:
    try:
        items = (await client.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"))["items"]
    except UNHEARD:
        return False
    return all(_is_true(item, "Established") for item in items)


def _is_true(document: dict[str, object], kind: str) -> bool:
    status = document.get("status")
    conditions = status.get("conditions") or [] if isinstance(status, dict) else []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


async def _copy_tree(source: Path, target: Path) -> None:
    """Copy with holes kept: etcd preallocates 64 MB of write-ahead log, mostly empty."""
    words = ("--archive", "--sparse=always", "--reflink=auto", "--no-target-directory")
    try:
        await run("cp", *words, str(source), str(target))
    except CommandFailed as error:
        raise ControlPlaneError(str(error)) from error
