"""The passes of the compiler, one file each; none imports another. `scg.compile` puts them in a row."""
