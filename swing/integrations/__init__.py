"""Other libraries that train with `swing.allreduce`; none of them is a dependency."""
