"""What users pass as buffers, types and operations, read for numpy and MPI."""
