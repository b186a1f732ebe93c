"""The surrogate as an object."""


class Surrogate:
    """The surrogate of a derivation."""

    def __init__(self, derivation):
        self.derivation = derivation
