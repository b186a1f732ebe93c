"""Options of the suite."""


def pytest_addoption(parser):
    """Say what this suite adds to pytest's command line."""
    parser.addoption("--full", action="store_true", help="compile every problem under every strategy (slow)")
