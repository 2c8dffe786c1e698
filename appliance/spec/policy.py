"""The keys of the policy of one index: which files may enter it, and how long they stay."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.spec.forms import Duration, OrVariable, ProjectPattern, Size, whole_number
from appliance.spec.section import Section

FileType = Literal["wheel", "sdist", "egg", "exe", "msi", "dumb"]
RequiredField = Literal[
    "author",
    "classifiers",
    "description",
    "keywords",
    "license",
    "maintainer",
    "requires-python",
    "summary",
    "url",
]
_Choice = Annotated[Literal["accept", "refuse"], OrVariable()]


class Policy(Section):
    """Which files may be uploaded or promoted; `private` and used names bind mirrored files too."""

    reuse: _Choice = Field(
        "refuse",
        description="Whether the name of a removed file may be used again for other content. No"
        " upload ever replaces a file.",
    )
    types: tuple[Annotated[FileType, OrVariable()], ...] = Field(
        (),
        description="Types of files that may be uploaded: wheel, sdist, egg, exe, msi, dumb."
        " Default: all.",
    )
    max_size: Size | None = Field(
        None,
        description="The largest file that may be uploaded to this index. Default: that of"
        " `nginx.max_upload`.",
    )
    private: tuple[Annotated[ProjectPattern, OrVariable()], ...] = Field(
        (),
        description="Names of projects, such as `acme-*`, that are private to this index: no base"
        " answers for them, and no upstream is asked for them.",
    )
    required: tuple[Annotated[RequiredField, OrVariable()], ...] = Field(
        (),
        description="Metadata that each uploaded file must have: author, classifiers, description,"
        " keywords, license, maintainer, requires-python, summary, url.",
    )
    local_versions: _Choice = Field(
        "accept", description="Whether versions such as `1.0+lab2` may be uploaded (PEP 440)."
    )
    private_classifiers: _Choice = Field(
        "accept",
        description="Whether files with a classifier `Private :: …` may enter: `refuse` for an"
        " index that others may read.",
    )
    closed_after: Duration | None = Field(
        None,
        description="How long after its first file a release takes further files. Default: no"
        " limit.",
    )
    sdists: Annotated[Literal["any", "one"], OrVariable()] = Field(
        "any", description="How many sdists a release may have: `one` as on the public index."
    )

    @property
    def is_by_release(self) -> bool:
        """Whether a rule depends on the other files of a release."""
        return self.closed_after is not None or self.sdists == "one"


class Retention(Section):
    """Releases that `pyindex gc` keeps; others go to the trash, never the newest. Default: all."""

    versions: Annotated[int, whole_number(1, 100_000), OrVariable()] | None = Field(
        None, description="How many releases of each project to keep, by version."
    )
    age: Duration | None = Field(
        None, description="How long to keep a release after its last file, such as `2y`."
    )
    prereleases: Duration | None = Field(
        None, description="How long to keep a pre-release after its last file, such as `90d`."
    )

    @property
    def is_set(self) -> bool:
        """Whether any release may be removed."""
        return any(each is not None for each in (self.versions, self.age, self.prereleases))
