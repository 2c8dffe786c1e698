"""What tests of an index share."""

import pytest

from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel


@pytest.fixture
def foo(lab: Lab) -> Lab:
    """An index with two releases of foo."""
    make_wheel(lab.packages, "foo", "1.0")
    make_sdist(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "foo", "2.0")
    lab.once()
    return lab
