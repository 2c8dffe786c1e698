"""The keys of a spec, as frozen values.

A :class:`Spec` that was loaded needs no second check: names can stand in URLs, bases exist, paths
are absolute and no directory is inside another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from appliance.spec.forms import (
    NAME,
    RESERVED,
    Account,
    Address,
    BundleKey,
    Changer,
    Duration,
    FormerIndex,
    HostName,
    IndexName,
    Location,
    Name,
    Network,
    OrText,
    OrVariable,
    ProjectPattern,
    Reader,
    RepositoryUrl,
    Size,
    SystemUser,
    Targets,
    Uploader,
    UpstreamUrl,
    Url,
    whole_number,
)
from appliance.spec.policy import Policy, Retention
from appliance.spec.section import Section as _Section
from appliance.spec.section import as_written as _as_written


class ProjectRights(_Section):
    """Rights in the projects of one pattern. A list that is left out is that of the index."""

    read: tuple[Reader, ...] | None = Field(None, description="Accounts that may read them.")
    upload: tuple[Uploader, ...] | None = Field(
        None, description="Accounts that may upload files of them, whoever uploaded the first."
    )
    yank: tuple[Changer, ...] | None = Field(None, description="Accounts that may yank files.")
    remove: tuple[Changer, ...] | None = Field(None, description="Accounts that may remove files.")


class IndexSection(_Section):
    """One index: its packages directory and its bases."""

    packages: Location = Field(
        description="Directory of the package files. `pyindex mirror`, `pyindex load` and"
        " uploads add package files to it; nothing else is ever written into it."
    )
    bases: tuple[Name, ...] = Field(
        (),
        description="Indexes to ask in turn for a project that this one lacks. The first that has"
        " it answers alone; nothing is merged.",
    )
    read: tuple[Reader, ...] = Field(
        ("everyone",),
        description="Accounts that may read: `everyone` needs no account, `members` are all"
        " accounts. What an index takes from a base requires the right to read that, too.",
    )
    upload: tuple[Uploader, ...] = Field(
        (),
        description="Accounts that may upload; `tokens` for tokens without an account. A project"
        " belongs to the account that uploads its first file, unless `projects` says who may upload"
        " it. Default: the index accepts no uploads.",
    )
    yank: tuple[Changer, ...] = Field(
        (), description="Accounts that may yank files; `owner` is the account of the first upload."
    )
    remove: tuple[Changer, ...] = Field(
        (), description="Accounts that may remove files; `owner` as above."
    )
    projects: Mapping[ProjectPattern, ProjectRights] = Field(
        default_factory=dict,
        description="Rights by project. A pattern such as `acme-*` is compared with normalized"
        " names; the first that matches and has a list for the right decides.",
    )
    formerly: tuple[FormerIndex, ...] = Field(
        (),
        description="Indexes of a devpi server that this one replaces, as USER/INDEX: their URLs"
        " of pages and files are redirected.",
    )
    policy: Policy = Field(default_factory=Policy)
    keep: Retention = Field(default_factory=Retention)

    @property
    def accepts_uploads(self) -> bool:
        """Whether any account or token may upload."""
        return bool(self.upload) or any(rule.upload for rule in self.projects.values())


class Upstream(_Section):
    """A remote index that `pyindex mirror` collects files from."""

    url: UpstreamUrl = Field(description="URL of its simple API, as clients use it.")
    username: Account | None = Field(None, description="User to log in as.")
    password_file: Location | None = Field(
        None,
        description="File with the user's password or token in its first line. Default: from"
        " `.netrc` or the keyring.",
    )
    ca: Location | None = Field(
        None,
        description="CA certificates (PEM) to trust instead of the system's; the same for all"
        " https upstreams. Default: from pip's configuration.",
    )


class Accounts(_Section):
    """Who may log in."""

    htpasswd: Location | None = Field(
        None,
        description="File of accounts and password hashes, as `htpasswd -B` writes it: bcrypt,"
        " SHA-512, SHA-256 or apr1. The server reads it again when it changes.",
    )


class Server(_Section):
    """The server: it answers all requests, or those that nginx passes on."""

    manager: Annotated[Literal["systemd", "supervisor"], OrVariable()] = Field(
        "systemd", description="The service manager that runs the server on a host."
    )
    bind: Annotated[Literal["socket", "port"], OrVariable()] | None = Field(
        None,
        description="How nginx reaches the server on a host: by a Unix socket, or by host and port."
        " Default: a socket, but the port on CentOS 7, whose SELinux keeps nginx from the socket.",
    )
    host: Address = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, whole_number(1, 65535), OrVariable()] = Field(
        8080, description="Port to listen on."
    )
    workers: Annotated[int, whole_number(1, 256), OrVariable()] = Field(
        2, description="Processes that answer requests."
    )
    threads: Annotated[int, whole_number(1, 256), OrVariable()] = Field(
        8, description="Requests that each worker answers at a time."
    )
    log: Annotated[Literal["lines", "json"], OrVariable()] = Field(
        "lines",
        description="Form of the log of the server and of the watcher: lines, or a JSON object a"
        " line.",
    )
    reconcile: Duration = Field(
        _as_written("1m"),
        description="How often the packages directories are scanned in full, for changes that the"
        " system does not announce (network file systems).",
    )


class Tls(_Section):
    """HTTPS. Without it nginx speaks plain HTTP."""

    certificate: Location = Field(description="File with the certificate and its chain (PEM).")
    key: Location = Field(description="File with the private key (PEM).")
    ca: Location | None = Field(
        None,
        description="File with the certificate of a private CA (PEM), offered to clients at"
        " /-/ca.pem.",
    )


class Nginx(_Section):
    """The web server in front of the application."""

    tls: Tls | None = None
    listen: tuple[Address, ...] = Field(
        ("0.0.0.0", "::"),  # noqa: S104  # the index is for all
        min_length=1,
        description="Addresses to listen on. The default leaves `::` out on a host without IPv6.",
    )
    names: tuple[HostName, ...] = Field(
        (), description="Other host names to answer to, in addition to that of the url."
    )
    stand_in: tuple[HostName, ...] = Field(
        (),
        description="Host names of another index, which nginx answers for, so that its locks"
        " install unchanged: that of its pages, that of its files (default: the same), and more."
        " The certificate must be for them too.",
    )
    internal: tuple[Network, ...] = Field(
        ("127.0.0.1", "::1"),
        description="Addresses and networks that may see /health and /metrics.",
    )
    log: Annotated[Literal["json", "lines"], OrVariable()] = Field(
        "json",
        description="Form of the access log on a host: a JSON object a request, or lines in the"
        " combined format of web servers.",
    )
    max_upload: Size = Field(
        _as_written("2g"), description="The largest file that may be uploaded."
    )

    @property
    def stand_in_files(self) -> str | None:
        """The URL of the files of the index that nginx stands in for, with a slash at its end."""
        hosts = [name.lower() for name in self.stand_in[:2]]
        return f"https://{hosts[-1]}/packages/" if hosts else None


class Backup(_Section):
    """Copies of the catalog, once a day. Back up the package files yourself."""

    directory: Location = Field(
        _as_written("/var/backups/pyindex"), description="Directory of the copies on the host."
    )
    keep: Annotated[int, whole_number(1, 3650), OrVariable()] = Field(
        14, description="How many copies to keep."
    )


class Keep(_Section):
    """How long to keep data that grows without limit. `pyindex gc` removes older data."""

    trash: Duration = Field(
        _as_written("30d"), description="How long to keep removed files in the trash."
    )
    catalogs: Duration = Field(
        _as_written("30d"),
        description="How long to keep catalogs that `rebuild` or `restore` replaced.",
    )
    journal: Duration = Field(
        _as_written("730d"),
        description="How long to keep changes in the journal. The decision log is never pruned.",
    )
    builds: Duration = Field(
        _as_written("90d"), description="How long to keep wheels that `mirror --build` built."
    )


class Bundles(_Section):
    """Bundles that `pyindex load` accepts."""

    keys: tuple[BundleKey, ...] = Field(
        (),
        description="Public keys in minisign's format, or files with one. If there are any, a"
        " bundle must be signed by one of them.",
    )


class Repository(_Section):
    """A repository of OS packages, for `pyindex appliance pack`."""

    url: RepositoryUrl = Field(
        description="For CentOS 7 the URL of the directory that has repodata/; for Debian 12 the"
        " URL of the mirror, suite and components: http://mirror.example/debian bookworm main."
    )
    key: Location | None = Field(
        None,
        description="File with the public key (OpenPGP) of its packages on CentOS 7, and of their"
        " list if that is signed, or of its Release file on Debian 12. Default: on CentOS 7"
        " signatures are not verified, on Debian 12 by the keys of the control machine.",
    )


class Host(_Section):
    """The machine that runs the appliance."""

    system: Annotated[Literal["centos-7", "debian-12"], OrVariable()] | None = Field(
        None, description="Its operating system. `pyindex render` requires it."
    )
    templates: Location | None = Field(
        None,
        description="Directory of templates that replace those of the same names in deploy/.",
    )
    contributors: tuple[SystemUser, ...] = Field(
        (),
        description="Users of the host who may put package files into the packages directories: a"
        " play makes them members of the group pyindex.",
    )
    repositories: tuple[Annotated[Repository, OrText("url")], ...] = Field(
        (),
        description="Where `pyindex appliance pack` takes nginx and the other OS packages from, for"
        " a host that reaches no repository. Default: the pack has no OS packages.",
    )


class Spec(_Section):
    """Everything about one pyindex appliance."""

    name: Name = Field("pyindex", description="Name that users see.")
    url: Url | None = Field(
        None,
        description="URL of the appliance for clients, without /simple/. It alone decides scheme,"
        " host and path prefix.",
    )
    state: Location = Field(description="Directory of the catalog and the pages.")
    indexes: Mapping[IndexName, IndexSection] = Field(
        min_length=1,
        description="The indexes by name. The first is also served at /simple/ and /packages/.",
        json_schema_extra={
            "propertyNames": {"pattern": f"^{NAME}$", "not": {"enum": list(RESERVED)}}
        },
    )
    targets: Targets | None = Field(
        None,
        description="What files are collected for: a list of targets, or a mapping of names that"
        " you choose to targets. `pyindex targets` lists them.",
    )
    upstreams: tuple[Annotated[Upstream, OrText("url")], ...] = Field(
        (),
        description="Remote indexes to collect files from, each a URL or the keys below. The first"
        " that has a project answers alone; nothing is merged. Default: from pip's configuration.",
    )
    accounts: Accounts = Field(default_factory=Accounts)
    server: Server = Field(default_factory=Server)
    nginx: Nginx = Field(default_factory=Nginx)
    backup: Backup = Field(default_factory=Backup)
    keep: Keep = Field(default_factory=Keep)
    bundles: Bundles = Field(default_factory=Bundles)
    host: Host = Field(default_factory=Host)

    @property
    def root(self) -> str:
        """Name of the first index, which needs no name in a URL."""
        return next(iter(self.indexes))

    @property
    def www(self) -> Path:
        """The published tree: pages, metadata and markers."""
        return self.state / "www"

    @property
    def catalog(self) -> Path:
        """The SQLite file."""
        return self.state / "catalog.sqlite"

    @property
    def trash(self) -> Path:
        """The directory of removed files, until ``keep.trash`` has passed."""
        return self.state / "trash"

    @property
    def tokens(self) -> Path:
        """The directory of tokens."""
        return self.state / "tokens"

    @property
    def path(self) -> str:
        """The path prefix of all URLs: "" or "/prefix"."""
        return urlsplit(self.url or "").path

    def foreign(self, view: str, index: str) -> tuple[str, ...]:
        """The patterns of projects that ``index`` may not answer for in the lineage of ``view``:
        those private to others there which it does not build on."""
        own = self.lineage(index)
        others = [name for name in self.lineage(view) if name not in own]
        return tuple(pattern for name in others for pattern in self.indexes[name].policy.private)

    @property
    def private(self) -> tuple[str, ...]:
        """The patterns of projects that are private to any index: no upstream is asked for them."""
        return tuple(pattern for index in self.indexes.values() for pattern in index.policy.private)

    def prefix(self, index: str) -> str:
        """The path before ``simple/`` in an index's URLs and below ``www``: "" or "<index>/"."""
        return "" if index == self.root else f"{index}/"

    def lineage(self, index: str) -> tuple[str, ...]:
        """The index and its bases in resolution order: depth first, each once."""
        names: dict[str, None] = {}
        pending = [index]
        while pending:
            name = pending.pop()
            if name not in names:
                names[name] = None
                pending.extend(reversed(self.indexes[name].bases))
        return tuple(names)
