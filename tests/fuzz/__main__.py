"""``python -m tests.fuzz DIRECTORY [SUBJECT]... [OPTION]...``: fuzz subjects, all by default, each
guided by the coverage of the code that it calls.

Inputs that reach new code are written to the directory, for the next run. Options are those of
libFuzzer, such as ``-runs=10000`` or ``-max_total_time=600``. An input that fails is written to
``DIRECTORY/SUBJECT-crash-...``: put it into ``tests/fuzz/corpus/SUBJECT``, with a name that says
what it is. Exits with 1 after one.
"""

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["appliance", "multipart", "zipfile", "tarfile"]):
    from tests.fuzz.subjects import SUBJECTS
from tests.fuzz.seeds import failed, seeds


def main(directory: str, *arguments: str) -> int:
    options = [each for each in arguments if each.startswith("-")]
    subjects = [each for each in arguments if each in SUBJECTS] or list(SUBJECTS)
    return max(_fuzz(Path(directory), subject, options) for subject in subjects)


def _fuzz(directory: Path, subject: str, options: list[str]) -> int:
    """Fuzz a subject in a child process, as libFuzzer ends the one it runs in; return 1 if an input
    has failed."""
    corpus = directory / subject
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(subject)):
        (corpus / f"seed-{number}").write_bytes(seed)
    for path in failed(subject):
        (corpus / path.name).write_bytes(path.read_bytes())

    child = os.fork()
    if child == 0:
        crashes = f"-artifact_prefix={directory}/{subject}-"
        atheris.Setup([subject, str(corpus), crashes, *options], SUBJECTS[subject])
        atheris.Fuzz()
    return int(os.waitpid(child, 0)[1] != 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
