import os, pytest


@pytest.fixture(scope="session")
def kafka():
    return os.environ["HEADRACE_TEST_KAFKA"]
