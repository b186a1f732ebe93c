"""How Numba compiles what kernels are made of: under which options, and by which of its passes.

The file's text is pasted into exported modules, before all others: it needs Numba only.
"""

from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager
from numba.core.cpu import CPUContext

# What generated code has no use for. Static single assignment walks the whole function once for every variable that is
# assigned twice, which was a third of the time that a long kernel took; here a name has one type wherever it is
# assigned, and LLVM brings what it is given into that form itself. There are no closures to inline, no expressions of
# whole arrays to fuse, and no loops over tuples of mixed types.
NEEDLESS = ("ReconstructSSA", "PreLowerStripPhis", "InlineClosureLikes", "NopythonRewrites", "LiteralUnroll",
            "LiteralPropagationSubPipelinePass")


class Context(CPUContext):
    """Numba's, in which arrays are no more than arrays.

    Wherever one is looked into Numba asks for a function that makes an array of it, and when there is none reads all of
    its registries anew and asks again: a third of a millisecond for each argument of a kernel.
    """

    def get_function(self, fn, sig, _firstcall=True):
        """What is called at some types."""
        return super().get_function(fn, sig, _firstcall and fn != "__array__")


class Pipeline(CompilerBase):
    """Numba's passes in its order, without the needless ones."""

    def define_pipelines(self):
        """The only pipeline: what cannot be compiled is an error, as with every `njit`."""
        self.state.targetctx.__class__ = Context  # it is this compilation's own copy
        passes = PassManager("kernel")
        for step, text in DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
            if step.__name__ not in NEEDLESS:
                passes.add_pass(step, text)
        passes.finalize()
        return [passes]


# A kernel's arithmetic is that of IEEE 754 in the order in which it stands, for what is compared, rounded or used as an
# index must come out as in the reference. Only sums over replicates may be added in any order: see `added`. It is
# spelled out because a function that leaves it open is compiled under that of the first kernel that calls it.
OPTIONS = {"_nrt": True, "nogil": True, "error_model": "numpy", "fastmath": False, "pipeline_class": Pipeline}
